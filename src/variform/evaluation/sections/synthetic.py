"""What synthetic rows are good for, and whom they betray."""

from typing import TYPE_CHECKING, Any

from variform.config.in_depth import InDepth
from variform.config.words import Own
from variform.evaluation.sections.section import Lines, Numbers, Scene, Section
from variform.evaluation.tables import show

if TYPE_CHECKING:
    from variform.data.dataset import Dataset, Splits

_NEARER = "nearer to training rows"
_COPIES = "copies of training rows"
_AUTHENTIC = "authentic rows"
_BY_ROWS = "attack with the rows, AUC"
_BY_MODEL = "attack with the model, AUC"
_TOLD = "told from real rows (C2ST)"
_COLUMNS = "distance of columns"
_PAIRS = "distance of pairs of columns"
_PREDICTIONS = "predictions, R² or accuracy"
_BROKEN = "rows that break the worst rule"
_MEANINGS = {
    _NEARER: "The share of synthetic rows that are nearer to a training row than to any of as many rows that the model "
    "never saw. One half means that nothing was copied.",
    _COPIES: "Synthetic rows that lie far closer to one training row than to every other real row, beyond what rows "
    "that were not trained on lead to expect. p is the probability of as many by chance.",
    _AUTHENTIC: "The share of rows that are farther from their nearest training row than that is from its own "
    "neighbour. Compare it with real rows that were not trained on.",
    _BY_ROWS: "How well the distance to the nearest synthetic row tells rows that were trained on from others. "
    "One half is a coin.",
    _BY_MODEL: "How well the likelihood tells rows that were trained on from others: what the model itself betrays "
    "where it is handed out. One half is a coin.",
    _TOLD: "How often boosted trees tell synthetic from real rows. One half means that they cannot.",
    _COLUMNS: "The mean over columns of how far synthetic and real rows are apart, from 0 to 1: by their "
    "distribution functions, of categories by their shares.",
    _PAIRS: "The same of two columns together, cut into classes.",
    _PREDICTIONS: "The mean over columns of how well trees that saw synthetic rows predict real ones, beside trees "
    "that saw as many real rows.",
    _BROKEN: "Bounds and rules that real rows keep: whole numbers, categories, ends of a range.",
    "real rows": "What real rows that were not trained on have in place of synthetic ones, or what chance gives.",
}  # fmt: skip
_HEADINGS = {
    _NEARER: ("Synthetic rows", "nearer-to-training"),
    _COPIES: ("Synthetic rows", "copies"),
    _AUTHENTIC: ("Synthetic rows", "authenticity"),
    _BY_ROWS: ("Membership attack", "auc"),
    _BY_MODEL: ("Membership attack", "auc"),
    _TOLD: ("C2ST", "c2st-p-value"),
    _COLUMNS: ("Synthetic rows", "kolmogorov-smirnov"),
    _PAIRS: ("Synthetic rows", "total-variation"),
    _PREDICTIONS: ("Synthetic rows", "r-squared"),
}
_HALF = "0.5"


def _require(asked: InDepth, rows: "Dataset", splits: "Splits") -> None:
    from variform.evaluation.synthetic import require_judged

    if rows is splits.train:
        raise ValueError(
            "`synthetic` holds training rows against others; got `split='train'`. Choose test or valid."
        )
    try:
        require_judged(
            splits.train, rows, rules=asked.synthetic_rules, target=asked.synthetic_target
        )
    except ValueError as error:
        text = str(error).replace("`target`", "`synthetic_target`")
        raise ValueError(text.replace("`rule`", "`synthetic_rules`")) from error


def _measure(scene: Scene) -> Numbers:
    from variform.evaluation.synthetic import synthetic

    return synthetic(
        scene.vae,
        scene.splits.train,
        scene.rows,
        rules=scene.asked.synthetic_rules,
        target=scene.asked.synthetic_target,
        seed=scene.seed,
    )


def _answer(found: Numbers) -> str:
    told = found["told_apart"]["accuracy"]["mean"]
    use = f"; trees tell them from real rows in a share of {told:.3f}"
    if found["verdict"] == "copies":
        return f"Do not hand these rows out: some are copies of training rows{use}"
    if found["verdict"] == "betrays":
        return (
            "Hand these rows out only to whom you would show the data: an attack finds rows that were trained on"
            + use
        )
    return f"No attack that was tried finds anybody in these rows, which is no proof{use}"


def _tables(found: Numbers) -> list[Lines]:
    sentences = " ".join(found["sentences"])
    tables = [_of_privacy(found), _of_use(found, sentences), _of_predictions(found["usefulness"])]
    tables.append(_of_columns(found["marginals"]))
    broken = [one for one in found["broken"] if one["share"]["mean"] > 0]
    if broken:
        rows = [[Own(one["rule"]), show(one["share"]), show(one["of_real"])] for one in broken]
        tables.append(Lines(["rule", "synthetic rows", "real rows"], rows, title="Broken rules"))
    return tables


def _of_privacy(found: Numbers) -> Lines:
    copies = found["copies"]
    rows = [
        [_NEARER, show(found["nearer_to_training"]), _HALF],
        [_COPIES, f"{copies['share']:.2%}, p = {copies['p_value']:.2g}", "0"],
        [_AUTHENTIC, show(found["authenticity"]), show(found["authenticity"]["of_real"])],
        [_BY_ROWS, show(found["attacks"]["by_distance"]["auc"]), _HALF],
    ]
    if "by_likelihood" in found["attacks"]:
        rows.append([_BY_MODEL, show(found["attacks"]["by_likelihood"]["auc"]), _HALF])
    counts = found["rows"]
    note = (
        f"There are {counts['synthetic']:,} synthetic rows, {counts['train']:,} training rows and "
        f"{counts['holdout']:,} others; at most 10,000 of each are looked at."
    )
    head = ["measure", "synthetic rows", "real rows"]
    return Lines(head, rows, title="Whom the rows betray", note=note)


def _of_use(found: Numbers, note: str) -> Lines:
    told, used = found["told_apart"], found["usefulness"]
    rows = [[_TOLD, show(told["accuracy"]), show(told["of_real"])]]
    for words, name in ((_COLUMNS, "marginals"), (_PAIRS, "pairs")):
        mean = found[name]["mean"]
        if mean["distance"] is not None:
            rows.append([words, f"{mean['distance']:.3f}", f"{mean['of_real']:.3f}"])
    if used:
        rows.append([_PREDICTIONS, _mean(used, "synthetic"), _mean(used, "real")])
    if found["broken"]:
        worst = max(found["broken"], key=lambda one: one["share"]["mean"] - one["of_real"]["mean"])
        rows.append([_BROKEN, show(worst["share"]), show(worst["of_real"])])
    head = ["measure", "synthetic rows", "real rows"]
    return Lines(head, rows, title="What the rows are good for", note=note)


def _mean(used: list[dict[str, Any]], name: str) -> str:
    return f"{sum(one[name]['mean'] for one in used) / len(used):.3f}"


def _of_predictions(used: list[dict[str, Any]]) -> Lines:
    rows = []
    for one in used:
        numbers = [show(one[name]) for name in ("synthetic", "real", "loss")]
        rows.append([Own(one["column"]), one["measure"], *numbers])
    head = ["column", "measure", "trained on synthetic rows", "trained on real rows", "loss"]
    return Lines(head, rows, title="Predictions of a column from the others, tested on real rows")


def _of_columns(found: Numbers) -> Lines:
    rows = [
        [Own(one["column"]), f"{one['distance']:.3f}", f"{one['of_real']:.3f}"]
        for one in found["farthest"]
    ]
    return Lines(["column", "synthetic rows", "real rows"], rows, title="The farthest columns")


SYNTHETIC = Section(
    title="Synthetic rows",
    question="May rows that the model draws be handed out in place of the data: whom do they betray, and what are they "
    "good for?",
    is_asked=lambda asked: asked.synthetic,
    require=_require,
    measure=_measure,
    answer=_answer,
    tables=_tables,
    meanings=_MEANINGS,
    headings=_HEADINGS,
)
