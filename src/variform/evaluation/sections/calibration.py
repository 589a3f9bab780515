"""Whether the model is as sure as it may be."""

from typing import Any

from variform.config.words import Own
from variform.evaluation.sections.section import Lines, Numbers, Scene, Section
from variform.evaluation.tables import show

_LAWS = {
    "predictive": "new rows",
    "given_others": "given the other columns",
    "given_some": "given some columns",
}
_COVERAGE = [f"coverage at {level}" for level in ("50 %", "80 %", "90 %", "95 %")]
_PIT = "PIT from 0 to 1"
_CALIBRATED = "calibrated columns"
_CRPS = {"crps": "CRPS", "crps_of_training": "CRPS of training rows"}
_TOGETHER = "p-value of columns together"
_FEW = "too few samples"
_MEANINGS = {
    _LAWS["predictive"]: "What the model says of a row of which it is told nothing but its conditions: p(x).",
    _LAWS["given_others"]: "What it says of one column when it is told all others, as where a gap is filled.",
    _LAWS["given_some"]: "What it says of the rest of a row when it is told a part at random, as where designs are "
    "completed.",
    **dict.fromkeys(
        _COVERAGE,
        "The share of values inside the intervals that hold so much of what the model draws. Below: it is surer than "
        "it may be. Above: not sure enough. Counts and other values that repeat are not among them where others "
        "are: of those intervals hold more.",
    ),
    _PIT: "How often a value has which place among the model's draws, from the lowest tenth to the highest. It is flat "
    "where the model is right, high at both ends where it is too sure, and high in the middle where it is not enough.",
    _CALIBRATED: "Columns whose coverage and PIT are what they are by chance for a model that is right.",
    _CRPS["crps"]: "How far the draws are from the value, less half of how far they are apart, in standard "
    "deviations of the training rows. Less is better; of two models that are calibrated it names the one that says "
    "more.",
    _CRPS["crps_of_training"]: "The same of training rows at random: what is known of a value without a model.",
    _TOGETHER: "Whether columns that are drawn together belong together as in the data: below 0.01 they do not.",
    _FEW: "The share of laws from which too few importance samples came to judge: their draws repeat.",
}  # fmt: skip
_HEADINGS = {
    **dict.fromkeys(_COVERAGE, ("Coverage of intervals", "interval-coverage")),
    _PIT: ("PIT", "pit"),
    _CALIBRATED: ("Coverage of intervals", "binomial-band"),
    **dict.fromkeys(_CRPS.values(), ("CRPS", "crps")),
    _FEW: ("Effective importance samples", ""),
}
_BARS = "▁▂▃▄▅▆▇█"
_NINETY = 2  # place of 90 % among the levels
_MOST_SHOWN = 12  # columns


def _measure(scene: Scene) -> Numbers:
    from variform.evaluation.calibration import calibrate

    return calibrate(
        scene.vae,
        scene.rows,
        scene.splits.train,
        rows=scene.asked.calibration_rows,
        columns=scene.asked.calibration_columns,
        seed=scene.seed,
        progress=scene.progress,
    )


def _answer(found: Numbers) -> str:
    worst = min(_LAWS, key=lambda law: _share(found[law]["calibrated"]))
    calibrated, coverage = found[worst]["calibrated"], found[worst]["coverage"]
    if calibrated["count"] == calibrated["of"]:
        return "In every column intervals hold as much as they say, for all that the model is asked"
    wrong = (
        f"{calibrated['of'] - calibrated['count']} of {calibrated['of']} columns are not calibrated"
    )
    if not coverage:
        return f"{wrong} ({_LAWS[worst]})"
    share = 100 * coverage[_NINETY]["mean"]
    return f"{wrong} ({_LAWS[worst]}): intervals of 90 % hold {share:.1f} %"


def _share(calibrated: dict[str, int]) -> float:
    return calibrated["count"] / max(1, calibrated["of"])


def _tables(found: Numbers) -> list[Lines]:
    laws = [found[law] for law in _LAWS]
    rows = []
    for place, words in enumerate(_COVERAGE):
        rows.append([words, *(_coverage(law, place) for law in laws)])
    rows.append([_PIT, *(_bars(law["histogram"]) for law in laws)])
    counts = [law["calibrated"] for law in laws]
    rows.append([_CALIBRATED, *(f"{count['count']} of {count['of']}" for count in counts)])
    rows += [[words, *(show(law[name]) for law in laws)] for name, words in _CRPS.items()]
    together = laws[-1]["jointly"]
    if together is not None:
        rows.append([_TOGETHER, "", "", f"{together:.2g}"])
    if any(law["few_samples"] for law in laws):
        rows.append([_FEW, *(f"{100 * law['few_samples']:.1f} %" for law in laws)])
    note = (
        f"There are {found['rows']:,} rows and {found['columns']:,} columns, with {found['draws']:,} draws each; given "
        f"some columns, each is told with the probability {1 - found['mask']:.2g}.{_left_out(found)}"
    )
    tables = [Lines(["measure", *_LAWS.values()], rows, note=note)]
    wrong = _wrong(found)
    if wrong:
        header = ["column", "asked for", *_COVERAGE, "p-value of PIT"]
        tables.append(Lines(header, wrong, title="Columns that are not calibrated"))
    return tables


def _left_out(found: Numbers) -> str:
    """Of how many rows and columns these are, where they are not all; evaluations of before do not say it."""
    rows, columns = found.get("of_rows", found["rows"]), found.get("of_columns", found["columns"])
    if (rows, columns) == (found["rows"], found["columns"]):
        return ""
    return (
        f" They are some at random of {rows:,} rows and {columns:,} columns, for the rest of a row is drawn anew for "
        "each of its columns; `calibration_rows` and `calibration_columns` ask for more."
    )


def _coverage(law: dict[str, Any], place: int) -> str:
    if not law["coverage"]:
        return ""
    estimate = law["coverage"][place]
    return show({name: value and 100 * value for name, value in estimate.items()}) + " %"


def _bars(histogram: list[float]) -> str:
    """A histogram as a line of text, whose middle height is what a calibrated model has."""
    even = 1 / len(histogram)
    heights = [min(len(_BARS) - 1, round(3.5 * share / even)) for share in histogram]
    return "".join(_BARS[height] for height in heights)


def _wrong(found: Numbers) -> list[list[str]]:
    """The columns that are not calibrated, the least likely PIT first."""
    rows = []
    for law, words in _LAWS.items():
        for name, column in found[law]["columns"].items():
            if column["is_calibrated"]:
                continue
            shares = column.get("coverage")
            cells = (
                [f"{100 * share:.1f} %" for share in shares] if shares else [""] * len(_COVERAGE)
            )
            line = [Own(name), words, *cells, f"{column['p_value']:.2g}"]
            rows.append((column["p_value"], line))
    rows.sort(key=lambda entry: entry[0])
    return [line for _, line in rows[:_MOST_SHOWN]]


CALIBRATION = Section(
    title="Calibration",
    question="Is the model as sure as it may be: do intervals hold as much of what comes as they say?",
    is_asked=lambda asked: asked.calibration,
    measure=_measure,
    answer=_answer,
    tables=_tables,
    meanings=_MEANINGS,
    headings=_HEADINGS,
)
