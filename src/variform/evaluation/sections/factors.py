"""How far single codes stand for single known factors."""

from typing import TYPE_CHECKING

from variform.config.in_depth import InDepth
from variform.config.words import Own
from variform.evaluation.factors import SCORES
from variform.evaluation.sections.section import Lines, Numbers, Scene, Section
from variform.evaluation.tables import show

if TYPE_CHECKING:
    from variform.data.dataset import Dataset, Splits

_MEANINGS = {
    "mig": "Mutual information gap: how far the code that tells most of a factor is ahead of the next, as a share of "
    "the entropy of the factor.",
    "sap": "Separated attribute predictability: how far the code that predicts a factor best is ahead of the next.",
    "dci_disentanglement": "Whether each code matters for one factor alone, when all codes together predict them.",
    "dci_completeness": "Whether each factor is predicted by one code alone.",
    "dci_informativeness": "How well all codes together predict the factors, on rows that were held out: R² of "
    "numbers, accuracy above the most frequent one of categories.",
    "beta_vae": "How often a linear classifier names the factor in which rows agree, from the mean differences of "
    "their codes.",
    "factor_vae": "How often the code that varies least among rows that agree in a factor names that factor.",
    "modularity": "Whether what a code tells is of one factor alone.",
    "explicitness": "How well logistic regression tells the values of a factor apart: area under the curve.",
    "irs": "Interventional robustness: how little a code moves while its factor is held and the others change.",
}
_FORMULAS = {
    "mig": "gap",
    "sap": "gap",
    "dci_disentanglement": "dci-disentanglement",
    "dci_completeness": "dci-completeness",
    "modularity": "modularity",
    "irs": "irs",
}
_HEADS = {
    "by chance": "The same score after the rows of the codes were permuted, so that they know nothing.",
    "above chance": "The share of the way from chance to 1: 0 for codes that know nothing, 1 for perfect ones. Where "
    "chance comes within two standard errors of 1, nothing is left.",
    "best code": "The latent that tells most of the factor.",
    "it tells": "Its mutual information with the factor, as a share of the entropy of the factor.",
    "next tells": "The same of the latent that tells most after it.",
    "all predict": "How well all codes together predict the factor, on rows that were held out.",
}

_NOTHING_LEFT = "nothing is left"


def _require(asked: InDepth, rows: "Dataset", _splits: "Splits") -> None:
    from variform.evaluation.known_factors import require_factors

    require_factors(rows, asked.factors)


def _measure(scene: Scene) -> Numbers:
    from variform.evaluation.known_factors import scores_by_factors

    return scores_by_factors(
        scene.vae,
        scene.rows,
        scene.splits,
        scene.asked.factors,
        seed=scene.seed,
        progress=scene.progress,
    )


def _answer(found: Numbers) -> str:
    above = [found["scores"][name]["above_chance"] for name in ("dci_informativeness", "mig")]
    if None in above:
        return "Codes that know nothing score as high as perfect ones: these rows do not tell"
    together, ahead = (max(0.0, estimate["mean"]) for estimate in above)
    return (
        f"All codes together predict the factors by {together:.2f}, and the best code of each is {ahead:.2f} ahead of "
        "the next, of 1 each and above chance"
    )


def _tables(found: Numbers) -> list[Lines]:
    rows = []
    for name, words in SCORES.items():
        if name in found["scores"]:
            score = found["scores"][name]
            above = show(score["above_chance"]) or _NOTHING_LEFT
            rows.append([words, show(score), f"{score['by_chance']:.3f}", above])
    note = (
        f"Of {found['of']} latents {len(found['codes'])} are used. Only ranks of codes count, so that no monotone map "
        "of a code changes a score."
    )
    scores = Lines(
        [f"{found['rows']:,} rows", "score", "by chance", "above chance"], rows, note=note
    )
    factors = []
    for name, told in found["factors"].items():
        code = "" if told["code"] is None else f"z{told['code'] + 1}"
        shares = [f"{told[key]:.3f}" for key in ("information", "next", "together")]
        factors.append([Own(name), code, *shares])
    header = ["factor", "best code", "it tells", "next tells", "all predict"]
    return [scores, Lines(header, factors, title="Factor by factor")]


FACTORS = Section(
    title="Disentanglement",
    question="Does each code stand for one of the factors that are known, and for no other?",
    is_asked=lambda asked: bool(asked.factors),
    require=_require,
    measure=_measure,
    answer=_answer,
    tables=_tables,
    meanings={SCORES[name]: words for name, words in _MEANINGS.items()} | _HEADS,
    headings={
        words: ("Disentanglement scores", _FORMULAS.get(name, "")) for name, words in SCORES.items()
    }
    | {"above chance": ("Disentanglement scores", "above-chance")},
)
