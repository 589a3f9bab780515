"""What the latents hold."""

from typing import TYPE_CHECKING, Any

from variform.config.in_depth import InDepth
from variform.config.words import Own, quoted
from variform.evaluation.sections.section import Lines, Numbers, Scene, Section
from variform.evaluation.tables import show

if TYPE_CHECKING:
    from variform.data.dataset import Dataset, Splits

_OF_CLASSES = {
    "accuracy": "accuracy, linear probe",
    "log_loss": "log loss in nats, linear probe",
    "neighbours_accuracy": "accuracy, nearest neighbours",
    "kmeans_ari": "adjusted Rand index, k-means",
    "kmeans_nmi": "normalised mutual information, k-means",
    "mixture_ari": "adjusted Rand index, mixture of Gaussians",
    "mixture_nmi": "normalised mutual information, mixture of Gaussians",
}
_OF_NUMBERS = {"r_squared": "R², linear probe", "neighbours_r_squared": "R², nearest neighbours"}
_OF_NEIGHBOURS = {"trustworthiness": "trustworthiness", "preserved": "neighbours that stay"}
_SILHOUETTE = "silhouette"
_MEAN = "mean over columns"
_COLUMNS = "R² of columns, linear probe"
_SPACES = {
    "codes": "codes",
    "pca": "PCA",
    "codes_minus_pca": "codes minus PCA",
    "columns": "rows as they are",
    "guess": "guess",
}
_MEANINGS = {
    _OF_CLASSES["accuracy"]: "The share of rows whose class a logistic regression finds: what is linear in the codes.",
    _OF_CLASSES["log_loss"]: "Minus the logarithm of the probability that it gives the true class: less is better.",
    _OF_CLASSES["neighbours_accuracy"]: "The share of rows whose class is that of most of the nearest training rows.",
    _OF_CLASSES["kmeans_ari"]: "How far clusters that know no classes are the classes, by pairs of rows. "
    "It is 0 by chance and 1 where they are the same.",
    _OF_CLASSES["kmeans_nmi"]: "What clusters that know no classes tell of the classes. "
    "It is 1 where they are the same, and above 0 by chance.",
    _OF_CLASSES["mixture_ari"]: "As for k-means, with clusters that may be stretched.",
    _OF_CLASSES["mixture_nmi"]: "As for k-means, with clusters that may be stretched.",
    _OF_NUMBERS["r_squared"]: "The share of the variance that a ridge regression tells: what is linear in the codes.",
    _OF_NUMBERS["neighbours_r_squared"]: "The share of the variance that the mean of the nearest training rows tells.",
    _OF_NEIGHBOURS["trustworthiness"]: "It is 1 where no code has a neighbour whose row is far.",
    _OF_NEIGHBOURS["preserved"]: "The share of the nearest codes whose rows are nearest too.",
    _SILHOUETTE: "How far clusters are apart: 0 not at all, 1 far. "
    "It falls with the number of dimensions: do not compare codes with rows by it.",
    _MEAN: "R² of ridge regressions from the codes to each column. "
    "No linear code of as many dimensions keeps more of columns of one scale than PCA.",
    "codes": "The means of q(z|x).",
    "PCA": "As many principal components as there are latents.",
    "codes minus PCA": "Their difference over the same rows, which are hard or easy for both.",
    "rows as they are": "The same of the rows themselves, as the model sees them.",
    "guess": "What is reached without looking at a row.",
}  # fmt: skip
_HEADINGS = {
    _OF_CLASSES["accuracy"]: ("Linear probe", ""),
    _OF_CLASSES["log_loss"]: ("Linear probe", ""),
    _OF_CLASSES["kmeans_ari"]: ("Adjusted Rand index", ""),
    _OF_CLASSES["mixture_ari"]: ("Adjusted Rand index", ""),
    _OF_NEIGHBOURS["trustworthiness"]: ("Trustworthiness", "trustworthiness"),
    _OF_NEIGHBOURS["preserved"]: ("Trustworthiness", "preserved"),
    _OF_NUMBERS["r_squared"]: ("Linear probe", "r-squared"),
    _MEAN: ("Linear probe", "r-squared"),
    "PCA": ("PCA", "ppca"),
    "codes minus PCA": ("Paired difference", "paired"),
}
_CLEAR = 3.0  # standard errors: there are a dozen measures
_MOST_SHOWN = 12  # columns


def _require(_asked: InDepth, rows: "Dataset", splits: "Splits") -> None:
    from variform.evaluation.probes import require_rows

    if rows is splits.train:
        raise ValueError(
            "`probe` learns from the training rows and judges on others; got `split='train'`. Choose test or valid."
        )
    require_rows(len(rows), len(splits.train))


def _measure(scene: Scene) -> Numbers:
    from variform.evaluation.probes import probe

    return probe(scene.vae, scene.rows, scene.splits.train, seed=scene.seed)


def _compared(found: Numbers) -> list[tuple[str, str, dict[str, Any], int]]:
    """What is measured of codes and of PCA: of what, in words, the numbers, and 1 where more is better, else -1."""
    measures = []
    for target, numbers in found["classes"].items():
        for name, words in _OF_CLASSES.items():
            if name in numbers:
                sign = -1 if name == "log_loss" else 1
                measures.append((quoted(target), words, numbers[name], sign))
    for target, numbers in found["responses"].items():
        measures += [
            (quoted(target), words, numbers[name], 1) for name, words in _OF_NUMBERS.items()
        ]
    if found["columns"]:
        measures.append((_MEAN, _OF_NUMBERS["r_squared"], found["columns"]["all"], 1))
    for name, words in _OF_NEIGHBOURS.items():
        measures.append(("neighbourhoods", words, found["neighbourhoods"][name], 1))
    return measures


def _answer(found: Numbers) -> str:
    measures = _compared(found)
    gains = []
    for measure in measures:
        *_, numbers, sign = measure
        difference = numbers["codes_minus_pca"]
        gains.append((sign * difference["mean"] / max(difference["se"] or 0, 1e-9), measure))
    worse = [entry for entry in gains if entry[0] < -_CLEAR]
    better = [entry for entry in gains if entry[0] > _CLEAR]
    parts = []
    if worse:
        target, words, numbers, _ = min(worse, key=lambda entry: entry[0])[1]
        parts.append(
            f"PCA of as many components is better in {len(worse)} of {len(measures)} measures, most clearly in "
            f"{target}: {words} ({numbers['pca']['mean']:.3f} against {numbers['codes']['mean']:.3f} of the codes)"
        )
    if better:
        target, words, numbers, _ = max(better, key=lambda entry: entry[0])[1]
        parts.append(
            f"the codes are better than PCA in {len(better)} of {len(measures)} measures, most clearly in "
            f"{target}: {words} ({numbers['codes']['mean']:.3f} against {numbers['pca']['mean']:.3f} of PCA)"
        )
    if not parts:
        parts.append(
            f"codes and as many principal components are level in all {len(measures)} measures"
        )
    answer = "; ".join(parts)
    return answer[:1].upper() + answer[1:]


def _tables(found: Numbers) -> list[Lines]:
    tables = []
    dimensions = found["dimensions"]
    how = (
        f"Learned from {found['fitted']:,} training rows and judged on {found['judged']:,} others (latents: "
        f"{dimensions['codes']}, components of PCA: {dimensions['pca']}, columns: {dimensions['columns']:,})."
    )
    if found["is_told"]:
        how += " The encoder is given a condition of each row, which the codes need not hold."
    for target, numbers in found["classes"].items():
        rows = [
            [words, *_cells(numbers[name])] for name, words in _OF_CLASSES.items() if name in numbers
        ]  # fmt: skip
        tables.append(Lines(["measure", *_SPACES.values()], rows, title=Own(target), note=how))
    for target, numbers in found["responses"].items():
        rows = [[words, *_cells(numbers[name])] for name, words in _OF_NUMBERS.items()]
        tables.append(Lines(["measure", *_SPACES.values()], rows, title=Own(target), note=how))
    if found["columns"]:
        tables.append(_columns(found["columns"]))
    rows = [
        [words, *_cells(found["neighbourhoods"][name])] for name, words in _OF_NEIGHBOURS.items()
    ]
    rows.append([_SILHOUETTE, *_cells(found["clusters"]["silhouette"])])
    counts = found["clusters"]["count"]
    near = found["neighbourhoods"]["neighbours"]
    note = (
        f"Neighbours are the {near} nearest; there are {counts['codes']} clusters of the codes, {counts['pca']} of PCA "
        f"and {counts['columns']} of the rows as they are, by k-means."
    )
    tables.append(
        Lines(["measure", *_SPACES.values()], rows, title="Neighbours and clusters", note=note)
    )
    return tables


def _columns(found: Numbers) -> Lines:
    """R^2 of the columns that the codes tell least beside PCA, after the mean over all."""
    each = found["each"]
    first = sorted(each, key=lambda name: each[name]["codes_minus_pca"]["mean"])[:_MOST_SHOWN]
    rows = [[_MEAN, *_cells(found["all"])]]
    rows += [[Own(name), *_cells(each[name])] for name in first]
    note = ""
    if len(each) > len(first):
        note = (
            f"The {len(first)} columns of {len(each)} that the codes tell least beside PCA. "
            "The file evaluation.json and `json` have all."
        )
    short = list(_SPACES.values())[:3]
    return Lines(["column", *short], [row[:4] for row in rows], title=_COLUMNS, note=note)


def _cells(numbers: dict[str, Any]) -> list[str]:
    return [show(numbers.get(name)) for name in _SPACES]


PROBE = Section(
    title="What the latents hold",
    question="What do the codes tell of labels, responses and columns, and do rows that are alike stay together, "
    "more than in as many principal components?",
    is_asked=lambda asked: asked.probe,
    require=_require,
    measure=_measure,
    answer=_answer,
    tables=_tables,
    meanings=_MEANINGS,
    headings=_HEADINGS,
)
