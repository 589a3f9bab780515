"""Comparisons: finished runs beside each other, differences with their errors, and no ranking where none is fair."""

import csv
import dataclasses
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from variform.config.checks import Count, checked
from variform.config.toml import to_dict
from variform.evaluation.differences import (
    LEVEL,
    differences,
    mean_difference,
    root_mean_difference,
)
from variform.evaluation.illnesses.latents import SOME_ROWS
from variform.evaluation.metrics import METRICS
from variform.evaluation.standard_error import HIGH_K, pooled
from variform.evaluation.tables import LINEAR, r_squared, show
from variform.evaluation.verdict import placed
from variform.pages.report import Picture, Table, render
from variform.runs.folder import open_run
from variform.runs.grounds import (
    DATA,
    DENSITIES,
    DENSITY,
    MEASURES,
    OF_SOME,
    Entry,
    Ground,
    partition,
    refusals_of,
    schema_of_entry,
)
from variform.runs.records import history
from variform.runs.scores import scored_rows
from variform.system.files import new_folder, replacing, write_json, write_text
from variform.system.notebook import html_line, html_table


@dataclass(frozen=True)
class Comparison:
    """What `compare` found.

    Args:
        entries: The runs, as they were given.
        groups: Runs that may be ranked by density, the best first, and what separates each from the best: dicts with
            measure (nll), reference, runs, and differences by run.
        error_groups: Likewise by reconstruction error.
        refusals: Why runs of different groups are not ranked: dicts with measure, ground, values (each with its runs)
            and reason, a sentence.
        seeds: Configurations that several runs share but for the seed, with means over the runs.
        options: The options in which the runs differ: name to a value per run.
    """

    entries: list[Entry]
    groups: list[dict[str, Any]]
    error_groups: list[dict[str, Any]]
    refusals: list[dict[str, Any]]
    seeds: list[dict[str, Any]]
    options: dict[str, list[str]]

    def _repr_html_(self) -> str:
        """The tables, as a notebook shows them."""
        shown = [
            html_table(table.header, table.rows, title=table.title, note=table.note)
            for table in self.tables()
        ]
        refusals = [html_line(refusal["reason"]) for refusal in self.refusals]
        return "".join([*shown, *refusals])

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        runs = [
            {
                "name": entry.name,
                "folder": str(entry.run.folder),
                "likelihood": entry.run.config.model.likelihood,
                "latent_dim": entry.run.config.model.latent_width,
                "seed": entry.run.config.train.seed,
                "split": entry.scored["split"],
                "importance_samples": entry.scored["samples"],
                "refine": entry.refine,
                **entry.numbers(),
                "active_units": entry.run.evaluation["active_units"]["count"],
                "responses": entry.run.evaluation.get("responses", {}),
            }
            for entry in self.entries
        ]
        return {
            "unit": "nats; reconstruction_error in the data's own units",
            "runs": runs,
            "ranked": self.groups,
            "ranked_by_reconstruction_error": self.error_groups,
            "refused": self.refusals,
            "seeds": self.seeds,
            "options": self.options,
            "warnings": self.warnings(),
        }

    def tables(self) -> list[Table]:
        """The comparison as tables of text."""
        plain = self.to_dict()["runs"]
        optional = [key for key in OF_SOME if any(key in run for run in plain)]
        keys = [*MEASURES, *optional]
        rows = [
            [
                run["name"],
                run["likelihood"],
                *(show(run.get(key)) for key in keys),
                f"{run['active_units']} of {run['latent_dim']}",
            ]
            for run in plain
        ]
        units = {entry.run.evaluation.get("data_unit", "") for entry in self.entries}
        data_unit = units.pop() if len(units) == 1 else ""
        header = [
            "run",
            "likelihood",
            *(METRICS[key].column(data_unit) for key in keys),
            "active units",
        ]
        note = "Mean ± standard error over the rows of each run. Only runs of one table below may be ranked."
        tables = [Table("Numbers", header, rows, note)]
        tables += [_differences(group) for group in self.groups]
        shown = [set(group["runs"]) for group in self.groups]
        tables += [
            _differences(group) for group in self.error_groups if set(group["runs"]) not in shown
        ]
        tables += self._responses()
        if self.seeds:
            rows = [
                [
                    ", ".join(means["runs"]),
                    *(show(means.get(key)) for key in ("nll", "elbo", "reconstruction_error")),
                ]
                for means in self.seeds
            ]
            note = "Means over runs that differ in their seed alone; the errors are over rows and over seeds."
            tables.append(
                Table("Over seeds", ["runs", "NLL (nats)", "ELBO (nats)", "error, RMS"], rows, note)
            )
        if self.options:
            rows = [[option, *values] for option, values in self.options.items()]
            tables.append(
                Table(
                    "Options that differ", ["option", *(entry.name for entry in self.entries)], rows
                )
            )
        return tables

    def _responses(self) -> list[Table]:
        """How much of each response a linear function of each run's codes tells, where any does."""
        fits = {entry.name: entry.run.evaluation.get("responses", {}) for entry in self.entries}
        names = dict.fromkeys(name for own in fits.values() for name in own)
        rows = []
        for name in names:
            own = [fit.get(name, {}) for fit in fits.values()]
            cells = [[r_squared(fit.get(key)) for key in ("codes", "pca")] for fit in own]
            rows.append([name, *itertools.chain.from_iterable(cells)])
        heads = [(f"R² from codes of {name}", f"from PCA as large as {name}") for name in fits]
        header = ["response", *itertools.chain.from_iterable(heads)]
        return (
            [Table("Responses", header, rows, f"{LINEAR} As the runs were evaluated.")]
            if rows
            else []
        )

    def warnings(self) -> list[str]:
        """What the evaluation of each run says first, with the run's name."""
        warnings = []
        for entry in self.entries:
            sentences = placed(entry.run.evaluation.get("warnings", ()), entry.run.folder)
            warnings += [f"{entry.name}: {sentence}" for sentence in sentences]
        return warnings

    def notes(self) -> list[str]:
        """What was not ranked, and why; how to read what was."""
        notes = [refusal["reason"] for refusal in self.refusals]
        steps = self.entries[0].refine
        if steps:
            notes.append(
                f"All numbers are of a q(z|x) of its own for each row, {steps} steps from the encoder's: they compare "
                "what the decoders can do, not encoders and decoders together."
            )
        for entry in self.entries:
            share = entry.distrusted()
            if share > SOME_ROWS:
                closer = "" if steps else "; a comparison with `refine=50` comes closer"
                notes.append(
                    f"The NLL of {entry.name} is too high for {share:.0%} of its rows (Pareto k above {HIGH_K}), by an "
                    f"unknown amount{closer}."
                )
        for group in self.groups:
            best = group["reference"]
            near = [
                name
                for name, difference in group["differences"].items()
                if not difference["told_apart"]
            ]
            if near:
                notes.append(
                    f"The NLL of {', '.join(near)} and that of {best} are not told apart by these rows, with all pairs "
                    "looked at together."
                )
        if self.groups or self.error_groups:
            notes.append(
                "A seed is a draw: differences between single runs are between these models, not between their "
                "configurations. Train several seeds of each configuration to compare these."
            )
        return notes


@checked
def compare(
    folders: Sequence[str | Path],
    *,
    samples: Count | None = None,
    refine: int = 0,
    seed: int = 0,
    progress: bool = False,
) -> Comparison:
    r"""Finished runs beside each other, on their test rows.

    Differences are paired: $\bar d = \frac1N \sum_n (a_n - b_n)$ with the standard error $s_d / \sqrt N$, where $a_n$
    and $b_n$ are two runs' scores of the same row. What makes a row hard is hard for both and leaves the difference.

    Args:
        folders: Two or more runs.
        samples: Score the test rows again with this many importance samples; by default the runs' own scores.
        refine: Score the test rows again with a q(z|x) of its own for each, as `evaluation.evaluate` does: so many
            steps on its own ELBO, the decoder as it is. All that is compared is then of that q(z|x).
        seed: Seed of new scores.
        progress: Show progress bars on a terminal.

    Raises:
        FileNotFoundError: for a folder that holds no finished run.
        ValueError: for fewer than two different runs, and for scores that need data that have changed.
    """
    paths = [Path(folder) for folder in folders]
    if len({path.resolve() for path in paths}) < max(2, len(paths)):
        raise ValueError(
            f"a comparison needs two or more different runs; got {', '.join(map(str, folders)) or 'none'}. "
            "Name the folder of each run once."
        )
    runs = [open_run(path) for path in paths]
    for run in runs:
        if not (run.folder / "evaluation.json").is_file():
            raise FileNotFoundError(
                f"a run must be finished to be compared; {run.folder} has no evaluation.json. "
                f"Go on with variform train --resume {run.folder}."
            )
    options: dict[str, Any] = {
        "samples": samples,
        "refine": refine,
        "seed": seed,
        "progress": progress,
    }
    entries = [
        Entry(name, run, *scored_rows(run, **options), refine)
        for name, run in zip(_names(paths), runs, strict=True)
    ]
    densities = partition([entry for entry in entries if entry.has_density], DENSITY)
    errors = partition(entries, DATA)
    return Comparison(
        entries=entries,
        groups=[_ranked(group, "nll") for group in densities if len(group) > 1],
        error_groups=[_ranked(group, "reconstruction_error") for group in errors if len(group) > 1],
        refusals=refusals_of(entries),
        seeds=_over_seeds(entries),
        options=_options(entries),
    )


def paired(entry: Entry, other: Entry) -> dict[str, dict[str, Any]]:
    """Mean differences of two runs over the same rows, `entry` minus `other`, with paired standard errors.

    That of the root mean square errors is found by the delta method, from $s_n / 2r$ of each run.
    """
    names = DENSITIES if entry.has_density and other.has_density else ()
    estimates = {
        name: mean_difference(entry.rows[name], other.rows[name]).to_dict() for name in names
    }
    error = root_mean_difference(entry.rows["squared_error"], other.rows["squared_error"])
    return estimates | {"reconstruction_error": error.to_dict()}


def write(comparison: Comparison, folder: Path, command: str) -> Path:
    """Write comparison.json, comparison.csv and comparison.html, one page with all tables and curves.

    Args:
        comparison: What `compare` found.
        folder: A new or empty folder.
        command: What to type to repeat it.

    Returns:
        The page.

    Raises:
        OSError: for a folder that holds something already.
    """
    with new_folder(folder) as temporary:
        _fill(comparison, temporary, command)
    return folder / "comparison.html"


def _fill(comparison: Comparison, folder: Path, command: str) -> None:
    write_json(folder / "comparison.json", comparison.to_dict())
    _write_csv(comparison, folder / "comparison.csv")
    entries = comparison.entries
    html = render(
        title=f"variform: {len(entries)} runs compared",
        summary=_summary(comparison),
        facts=[
            ("Data", ", ".join(dict.fromkeys(schema_of_entry(entry).source for entry in entries))),
            (
                "Test rows",
                ", ".join(dict.fromkeys(f"{len(entry.rows['index']):,}" for entry in entries)),
            ),
            (
                "Importance samples",
                ", ".join(dict.fromkeys(f"{entry.scored['samples']:,}" for entry in entries)),
            ),
        ],
        tables=comparison.tables(),
        pictures=_draw(comparison, folder),
        command=command,
        warnings=comparison.warnings(),
        notes=comparison.notes(),
        config="",
    )
    write_text(folder / "comparison.html", html)


def _ranked(group: Sequence[Entry], measure: str) -> dict[str, Any]:
    """The runs of a group from the best to the worst, and what separates each from the best."""

    def rank(entry: Entry) -> float:
        mean = entry.numbers()[measure]["mean"]
        if not math.isfinite(mean):
            return math.inf
        return mean if METRICS[measure].lower_is_better else -mean

    best, *others = order = sorted(group, key=rank)
    ends = _intervals([entry for entry in order if math.isfinite(rank(entry))], measure)
    from_best = {}
    for entry in others:
        difference = paired(entry, best)
        interval = ends.get(entry.name)
        difference[measure]["interval"] = interval
        from_best[entry.name] = difference | {
            "told_apart": interval is not None and not interval[0] <= 0 <= interval[1]
        }
    return {
        "measure": measure,
        "reference": best.name,
        "runs": [entry.name for entry in order],
        "rows": len(best.rows["index"]),
        "differences": from_best,
        "level": 1 - LEVEL,
    }


def _intervals(order: Sequence[Entry], measure: str) -> dict[str, list[float]]:
    """The interval of each run's difference from the first; all differences of any two lie in theirs at once."""
    if measure == "nll":
        scores, means = [entry.rows["nll"] for entry in order], None
    else:
        squares = [entry.rows["squared_error"].double() for entry in order]
        means = [one.nanmean().sqrt().item() for one in squares]
        scores = [
            one / (2 * mean or 1) for one, mean in zip(squares, means, strict=True)
        ]  # the delta method
    if len(order) < 2 or len(scores[0]) < 2:
        return {}
    simultaneous = differences(scores, means)
    width, mean = simultaneous.half_widths()[:, 0], simultaneous.mean[:, 0]
    return {
        entry.name: [float(mean[i] - width[i]), float(mean[i] + width[i])]
        for i, entry in enumerate(order)
    }


def _differences(group: dict[str, Any]) -> Table:
    best, measure = group["reference"], group["measure"]
    keys = [*MEASURES] if measure == "nll" else ["reconstruction_error"]
    rows = [[f"{best} (best)", *[""] * (len(keys) + 2)]]
    for name, difference in group["differences"].items():
        cells = [show(difference.get(key)) for key in keys]
        rows.append(
            [
                name,
                *cells,
                _interval(difference[measure]),
                "yes" if difference["told_apart"] else "no",
            ]
        )
    what = "NLL" if measure == "nll" else "reconstruction error"
    title = f"Ranked by {what}: difference from {best}"
    note = (
        f"Mean of the differences over the same {group['rows']:,} rows, ± its standard error (paired, so smaller than "
        f"the errors of the two runs suggest). The run with the least {what} on these rows is the reference. The "
        f"intervals hold the true differences of all pairs at once with {group['level']:.0%}; where 0 lies inside, "
        "these rows do not tell the two runs apart."
    )
    head = [
        "run",
        *(f"{METRICS[key].brief} minus {best}'s" for key in keys),
        f"{METRICS[measure].brief}, interval",
        "told apart",
    ]
    return Table(title, head, rows, note)


def _interval(difference: dict[str, Any]) -> str:
    return (
        "" if difference["interval"] is None else "{:.4g} to {:.4g}".format(*difference["interval"])
    )


def _names(paths: Sequence[Path]) -> list[str]:
    """The folders' names, or their whole paths where names repeat."""
    names = [path.resolve().name for path in paths]
    return names if len(set(names)) == len(names) else [str(path) for path in paths]


def _over_seeds(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """Pooled numbers of runs that share everything but the seed of the training."""

    def others(entry: Entry) -> str:
        config = entry.run.config
        return repr(
            (
                dataclasses.replace(config, train=dataclasses.replace(config.train, seed=0)),
                entry.scored["samples"],
            )
        )

    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(others(entry), []).append(entry)
    means_over_seeds = []
    for group in groups.values():
        numbers = [entry.numbers() for entry in group]
        if len(group) > 1:
            names = [
                name for name in numbers[0] if all(name in item for item in numbers)
            ]  # older runs have fewer
            means = {name: pooled([item[name] for item in numbers]) for name in names}
            means_over_seeds.append({"runs": [entry.name for entry in group], **means})
    return means_over_seeds


def _options(entries: Sequence[Entry]) -> dict[str, list[str]]:
    """The options that differ between the runs, with each run's value in words."""
    configs = [_flat(to_dict(entry.run.config)) for entry in entries]
    names = dict.fromkeys(name for config in configs for name in config)
    values = {name: [str(config.get(name, "")) for config in configs] for name in names}
    return {name: words for name, words in values.items() if len(set(words)) > 1}


def _flat(values: dict[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= value if isinstance(value, dict) else {key: value}
    return flat


def _summary(comparison: Comparison) -> str:
    if not comparison.groups:
        return "These runs are shown side by side and not ranked by density; the notes say why."
    sentences = []
    for group in comparison.groups:
        second = group["runs"][1]
        difference = group["differences"][second]["nll"]
        apart = (
            "" if group["differences"][second]["told_apart"] else ", which does not tell them apart"
        )
        sentences.append(
            f"{group['reference']} has the least NLL of {len(group['runs'])} runs that may be ranked; {second} follows "
            f"at {show(difference)} nats more{apart}."
        )
    return " ".join(sentences)


def _write_csv(comparison: Comparison, path: Path) -> None:
    """One line a run; a difference stands beside the run's numbers where it is ranked."""
    plain = comparison.to_dict()
    keys = [*MEASURES, *OF_SOME]
    by_run: dict[str, dict[str, Any]] = {}
    for group in (*plain["ranked_by_reconstruction_error"], *plain["ranked"]):
        for name in group["runs"]:
            by_run[name] = {"reference": group["reference"], **group["differences"].get(name, {})}
    head = [
        "run",
        "folder",
        "likelihood",
        "latent_dim",
        "seed",
        "split",
        "importance_samples",
        "active_units",
    ]
    with replacing(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        parts = [f"{key}{part}" for key in keys for part in ("", "_se")]
        gaps = [f"{key}_difference{part}" for key in MEASURES for part in ("", "_se")]
        writer.writerow([*head, *parts, "reference", *gaps])
        for run in plain["runs"]:
            from_best = by_run.get(run["name"], {})
            cells = [(run.get(key) or {}).get(part, "") for key in keys for part in ("mean", "se")]
            more = [
                (from_best.get(key) or {}).get(part, "")
                for key in MEASURES
                for part in ("mean", "se")
            ]
            writer.writerow(
                [
                    run["name"],
                    *(run[name] for name in head[1:]),
                    *cells,
                    from_best.get("reference", ""),
                    *more,
                ]
            )


def _draw(comparison: Comparison, folder: Path) -> list[Picture]:
    """The curves of runs of one kind over each other: one picture for each kind of nats."""
    from variform.pages.curves import plot_compared_curves  # here, for a table needs no Matplotlib
    from variform.pages.vector import picture_of

    kind = [Ground("density", lambda entry: entry.has_density, str, ""), *DENSITY[:-1]]
    pictures = []
    for number, group in enumerate(partition(comparison.entries, kind), 1):
        curves = {entry.name: history(entry.run.folder) for entry in group}
        path = folder / f"curves-{number}.png"
        title = f"Curves of {', '.join(curves)}"
        caption = "Means per validation row; a star marks the epoch that was kept."
        pictures.append(picture_of(plot_compared_curves(curves), title, path, caption))
    return pictures
