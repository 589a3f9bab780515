"""The command that finds outliers."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from variform.faces.cli.generate import identity
from variform.faces.cli.options import Flag, Option
from variform.faces.cli.output import (
    datasets_of,
    opened_run,
    print_json,
    print_table,
    require_there,
    say,
    writing_into,
)
from variform.system.files import require_new

if TYPE_CHECKING:
    import numpy as np

    from variform.data.dataset import Dataset

_SHOWN = 10
_REFERENCE = 100  # rows whose attribution is the usual one
_MOST = 3  # columns that are named


def outliers(
    run: Path,
    source: str | None = None,
    /,
    *,
    by: Annotated[Literal["nll", "regret", "typicality"], Option] = "nll",
    attribution: Annotated[bool, Flag] = False,
    out: Annotated[Path | None, Option] = None,
    samples: Annotated[int, Option] = 1000,
    refine: Annotated[int, Option] = 50,
    seed: Annotated[int, Option] = 0,
    json: Annotated[bool, Flag] = False,
) -> None:
    """Which rows are unusual, beside the run's validation rows, and which columns make them so.

    A p-value is the share of validation rows that are as unusual or more: of rows like these it is below 0.05 in one of
    twenty.

    Examples: `variform outliers runs/wine new.csv --attribution`,
    `variform outliers runs/demo --by typicality --out scores.csv`

    Args:
        run: Folder of a run.
        source: Data to look at; by default the run's test rows.
        by: nll, -log p(x); regret, by how much a q(z|x) of the row's own beats the encoder's; or typicality, how far
            -log p(x) is from its mean over validation rows, so that what is too likely is unusual too.
        attribution: Say what each column adds to -log p(x): Shapley values, which add up to it. Takes longer.
        out: A new .csv file for all rows: score, p-value, and with --attribution a column for each column.
        samples: Importance samples per row.
        refine: Steps by which q(z|x) of every row is improved, for the regret and the attribution.
        seed: Seed of the draws.
        json: Print the most unusual rows as JSON.
    """
    require_there(run)
    import numpy as np
    import torch

    from variform.evaluation.outliers import attribute
    from variform.evaluation.outliers import outliers as scored
    from variform.export.rows import write_rows

    if attribution and by != "nll":
        raise ValueError(
            f"`attribution` adds up to -log p(x), which is `by='nll'`; got `by='{by}'`. Leave out one of the two."
        )
    if out is not None:
        _require_csv(out)
    with writing_into(run, out):
        opened = opened_run(run)
        valid = opened.data().valid
        rows: Dataset = opened.data().test if source is None else datasets_of(opened, source)[-1]
        rows.schema.require(opened.vae.likelihood.support, "the model's likelihood")
        options: dict[str, Any] = {"samples": samples, "refine": refine, "seed": seed}
        found = scored(opened.vae, rows, valid, by=by, progress=True, **options)
        worst = np.argsort(-found.score, kind="stable")[:_SHOWN]
        chosen = np.arange(len(rows)) if out is not None else worst
        shares, usual = None, None
        if attribution:
            some = torch.from_numpy(chosen.copy())
            options["samples"] = 4 * samples
            shares = attribute(opened.vae, rows.take(some), score=found.score[chosen], **options)
            usual = attribute(
                opened.vae, valid.take(torch.arange(len(valid))[:_REFERENCE]), **options
            )
        names = list(rows.schema.columns) or [
            f"pixel {number}" for number in range(int(np.prod(rows.schema.shape)))
        ]
        known = identity([rows], has_splits=False)
        if out is not None:
            cells = {**known, "score": found.score, "p_value": found.p_value}
            if shares is not None:
                flat = shares.values.reshape(len(rows), -1)
                cells |= {f"{name} adds": flat[:, place] for place, name in enumerate(names)}
            table = np.array([np.asarray(column, dtype=object) for column in cells.values()]).T
            write_rows(out, table, list(cells))
    rank = {int(row): place for place, row in enumerate(chosen)}
    lines = []
    for row in worst.tolist():
        line: dict[str, Any] = {name: cells[row] for name, cells in known.items()}
        line |= {"score": float(found.score[row]), "p_value": float(found.p_value[row])}
        if shares is not None and usual is not None:
            above = shares.above(usual)[rank[row]].ravel()
            own = shares.values[rank[row]].ravel()
            line["columns"] = _columns(names, own, above)
        lines.append(line)
    if json:
        print_json({"by": by, "rows": len(rows), "reference": len(valid), "most_unusual": lines})
        return
    heads = ["row", *[name for name in ("id", "file") if name in known][:1]]
    header = [
        *heads,
        f"{by}, nats",
        "p-value",
        *(["adds most, nats above usual"] if attribution else []),
    ]
    print_table(header, [_cells(line, heads) for line in lines])
    flagged = int((found.p_value <= 0.05).sum())
    say(
        f"{flagged:,} of {len(rows):,} rows have a p-value of at most 0.05 among {len(valid):,} validation rows; "
        f"{0.05 * len(rows):.3g} would by chance."
    )
    if out is not None:
        say(f"{len(rows):,} rows: {out}")


def _require_csv(out: Path) -> None:
    if out.suffix != ".csv":
        raise ValueError(f"scores go to a .csv file; got {out}. Change the suffix.")
    require_new(out)


def _columns(names: list[str], own: "np.ndarray", above: "np.ndarray") -> list[dict[str, Any]]:
    """What each column adds, that which is most above usual first."""
    order = (-above).argsort()
    return [
        {"column": names[place], "adds": float(own[place]), "above_usual": float(above[place])}
        for place in order.tolist()
    ]


def _cells(line: dict[str, Any], heads: list[str]) -> list[str]:
    cells = [*(line[name] for name in heads), f"{line['score']:.4g}", f"{line['p_value']:.3g}"]
    if "columns" in line:
        most = line["columns"][:_MOST]
        cells.append(", ".join(f"{each['column']} {each['above_usual']:+.2g}" for each in most))
    return cells
