"""A folder that says what is in data: a page, all numbers, a schema to edit, and the rows that are clean."""

import csv
import dataclasses
import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from variform.config.columns import with_schema
from variform.config.data import DataConfig
from variform.config.run import RunConfig
from variform.config.toml import to_command
from variform.config.words import counted
from variform.data.findings import ColumnFindings, Findings, find
from variform.data.findings.limits import for_mixed
from variform.data.sources.cells import as_texts
from variform.data.sources.formats import FORMATS, check_options, read_source, source_format
from variform.data.sources.meaning import source_of
from variform.data.sources.tables import table_of
from variform.data.sources.text_tables import Frame
from variform.pages import findings as page
from variform.pages.report import Table, render
from variform.pages.vector import picture_of
from variform.runs.plan import choices
from variform.system.files import new_folder, write_json, write_text

FILES = ("inspect.html", "inspect.json", "columns.toml", "clean.csv", "removed.csv")
"""What the folder holds."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Proposal:
    """What a training would choose for these rows, by the same rules.

    Args:
        likelihood: Its likelihood; None where it would refuse the rows.
        latent_dim: Its latent dimensions; likewise.
        scaling: How it would scale the rows; likewise.
        reasons: Why, in sentences without a full stop; or why it would refuse them.
        command: The training.
    """

    likelihood: str | None = None
    latent_dim: int | None = None
    scaling: str | None = None
    reasons: tuple[str, ...]
    command: str


def look(
    source: str, config: DataConfig, *, rules: Sequence[str] = (), id_pattern: str | None = None
) -> tuple[Findings, Frame | None]:
    """What is in a source, and its table as it stands there, where it is one with names of columns.

    Args:
        source: A file, a folder or a built-in name.
        config: How to read it.
        rules: As of `variform.data.findings.find`.
        id_pattern: Likewise.

    Raises:
        FileNotFoundError: if the source does not exist.
        ValueError: if it cannot be read, or a rule or an option does not fit.

    Example:
        >>> found, frame = look("digits", DataConfig())
        >>> found.form, found.rows, frame
        ('images', 1797, None)
    """
    form = FORMATS[source_format(source)]
    if not form.has_columns:
        config, _ = with_schema(config, is_mixed=True)
        read = read_source(source, config)
        return find(read, config, rules=rules, id_pattern=id_pattern), None
    config, _ = with_schema(dataclasses.replace(config, cells="mixed"), is_mixed=True)
    check_options(config, source_format(source), Path(source).name)
    frame = table_of(source, config)
    read = source_of(frame, config)
    found = find(read, config, rules=rules, id_pattern=id_pattern, place=frame.place)
    return _with_ignored(found, frame, config), frame


def _with_ignored(found: Findings, frame: Frame, config: DataConfig) -> Findings:
    """The same with the columns that are to be ignored: they stand in clean.csv, and so in columns.toml."""
    ignored = []
    for name, cells in zip(frame.columns, frame.cells, strict=True):
        if name in config.ignore:
            words = [text for text in _as_written(cells) if text]
            counts = {"missing": found.rows - len(words), "distinct": len(set(words))}
            ignored.append(ColumnFindings(name=name, role="ignore", reason="as asked", **counts))
    return dataclasses.replace(found, columns=(*found.columns, *ignored))


def inspect(
    source: str,
    folder: Path,
    config: DataConfig = DataConfig(),
    *,
    rules: Sequence[str] = (),
    id_pattern: str | None = None,
    command: str = "",
) -> tuple[Findings, Proposal]:
    """Look at a source and write what is found into a new folder: `FILES`.

    Args:
        source: As of `look`.
        folder: A new or empty folder.
        config: How to read the source.
        rules: As of `look`.
        id_pattern: As of `look`.
        command: What repeats this, for the page.

    Raises:
        FileExistsError: when the folder holds something already.
        ValueError: as `look`.
    """
    found, frame = look(source, config, rules=rules, id_pattern=id_pattern)
    proposal = proposed(source, found, config)
    with new_folder(folder) as temporary:
        write_json(temporary / "inspect.json", to_dict(found, proposal))
        write_text(temporary / "columns.toml", "".join(schema_lines(found)))
        _write_rows(temporary, found, frame)
        write_text(temporary / "inspect.html", _page(found, proposal, command))
    return found, proposal


def proposed(source: str, found: Findings, config: DataConfig) -> Proposal:
    """What `variform train` would choose for a source, with the roles and families that were found.

    Args:
        source: As of `look`.
        found: What `look` found.
        config: How to read the source.

    Example:
        >>> found, _ = look("digits", DataConfig())
        >>> proposal = proposed("digits", found, DataConfig())
        >>> proposal.likelihood, proposal.latent_dim, proposal.command
        ('gaussian-shared', 10, 'variform train digits --out NEW')
    """
    run = RunConfig(source=source, data=_data_of_training(found, config))
    command = to_command(run)
    try:
        chosen, splits, reasons = choices(run)
    except ValueError as error:
        refusal = f"none yet, for a training refuses these rows: {str(error).removesuffix('.')}"
        return Proposal(reasons=(refusal,), command=command)
    laws = for_mixed(found.columns)
    is_gaussian = chosen.model.likelihood.startswith("gaussian")
    if found.form == "table" and is_gaussian and laws:
        better = f"beside it `likelihood='mixed'`, with laws of their own for {', '.join(laws)}"
        reasons = (*reasons, better)
    if splits.scaling:
        reasons = (*reasons, f"scaling {splits.scaling}")
    return Proposal(
        likelihood=chosen.model.likelihood,
        latent_dim=chosen.model.latent_dim,
        scaling=splits.scaling,
        reasons=reasons,
        command=command,
    )


def _data_of_training(found: Findings, config: DataConfig) -> DataConfig:
    """How a training reads the source: names of rows and what is ignored aside, and families together."""
    by_role = {
        role: tuple(column.name for column in found.columns if column.role == role)
        for role in ("id", "ignore")
    }
    has_columns = bool(found.columns) and found.columns[0].name != "column 1"
    if has_columns:
        rest = [*by_role["id"][1:], *by_role["ignore"]]
        first = by_role["id"][0] if by_role["id"] else None
        config = dataclasses.replace(
            config, id=config.id or first, ignore=tuple(dict.fromkeys([*config.ignore, *rest]))
        )
    has_families = found.near is not None and len(found.near.sizes) < found.rows
    if has_families and config.group is None:
        config = dataclasses.replace(config, group="families")
    return config


def to_dict(found: Findings, proposal: Proposal) -> dict[str, Any]:
    """What inspect.json holds: all that was found, and the proposal."""
    return found.to_dict() | {"proposal": dataclasses.asdict(proposal)}


def summary(found: Findings) -> str:
    """What is most worth knowing, in a few sentences."""
    what = {"images": "images", "series": "curves or outlines", "table": "rows"}[found.form]
    parts = [f"{found.rows:,} {what} of {_shape(found)}."]
    if found.spikes:
        largest = found.spikes[0]
        parts.append(
            f"{counted(len(found.spikes), 'column')} with more than 5 % of the rows at one exact value, most of all"
            f" {largest.name} with {largest.spike_share:.0%}."
        )
    parts.append(f"{counted(found.equal_pairs, 'pair')} of equal rows.")
    if found.near is not None:
        parts.append(
            f"{counted(found.near.count, 'pair')} within {found.near.tolerance:.3g} of each other, which leaves"
            f" {len(found.near.sizes):,} families."
        )
    for rule in found.rules:
        parts.append(
            f"{len(rule.broken):,} rows ({len(rule.broken) / found.rows:.1%}) break {rule.rule}."
        )
    inactive = [column for column in found.columns if column.active_if]
    if inactive:
        words = "; ".join(f"{column.name} only where {column.active_if}" for column in inactive[:3])
        parts.append(f"Columns that say something: {words}.")
    parts.append(f"{counted(len(found.removed), 'row')} are not clean.")
    return " ".join(parts).replace("1 row are", "1 row is")


def _shape(found: Findings) -> str:
    if found.form == "images":
        return " x ".join(map(str, found.shape))
    return counted(found.values.shape[1], "column")


def _page(found: Findings, proposal: Proposal, command: str) -> str:
    reasons = [(f"{reason}.",) for reason in proposal.reasons]
    with tempfile.TemporaryDirectory() as place:
        pictures = []
        for number, (title, caption, figure) in enumerate(page.figures(found)):
            path = Path(place) / f"{number}.png"
            pictures.append(picture_of(figure, title, path, caption))
        return render(
            title=f"What is in {found.source}",
            summary=summary(found),
            facts=facts(found),
            tables=[
                Table("What to begin with", ("proposal, and why",), reasons),
                *page.tables(found),
            ],
            pictures=pictures,
            command=command or proposal.command,
            notes=[
                *found.notes,
                f"To begin with: {proposal.command}",
                "Rows far out and nearly equal rows stay in clean.csv; a split by families keeps the latter together.",
                "columns.toml has a table for each column, to be edited; a training with `schema` takes what it says.",
            ],
            config="",
        )


def facts(found: Findings) -> list[tuple[str, str]]:
    """The figures that are said first, with their names."""
    counts = [
        ("rows", f"{found.rows:,}"),
        ("clean rows", f"{found.rows - len(found.removed):,}"),
        ("one row is", _shape(found)),
        ("pairs of equal rows", f"{found.equal_pairs:,}"),
    ]
    if found.near is not None:
        counts += [
            ("pairs of nearly equal rows", f"{found.near.count:,}"),
            ("rows near another", f"{found.near.rows:,}"),
            ("families", f"{len(found.near.sizes):,}"),
        ]
    if found.form == "table":
        counts += [
            ("columns with a spike", f"{len(found.spikes)}"),
            ("of them above 20 %", f"{sum(one.spike_share > 0.2 for one in found.spikes)}"),
            ("inactive columns", f"{sum(bool(one.active_if) for one in found.columns)}"),
            ("values missing", f"{sum(one.missing for one in found.columns):,}"),
        ]
    return counts


# --- columns.toml -------------------------------------------------------------------------------------------------


def schema_lines(found: Findings) -> Iterator[str]:
    """A file that says what each column is, as TOML, one table a column, to be edited.

    Example:
        >>> found, _ = look("digits", DataConfig())
        >>> list(schema_lines(found))
        ['# What the columns of digits are. Edit what is not so.\\n']
    """
    yield f"# What the columns of {json.dumps(found.source)[1:-1]} are. Edit what is not so.\n"
    for column in found.columns:
        yield from _lines_of(column)


def _lines_of(column: ColumnFindings) -> Iterator[str]:
    yield f"\n[columns.{_toml(column.name)}]\n"
    if column.reason:
        yield f"# {_plain(column.reason)}\n"
    yield f"role = {_toml(column.role)}\n"
    if column.unit:
        yield f"unit = {_toml(column.unit)}\n"
    if column.role not in ("value", "condition", "response", "label"):
        return
    yield f"kind = {_toml(column.kind)}{_comment(column.law)}\n"
    yield from _law_lines(column)
    for sentence in column.unclear:
        yield f"# not clear: {_plain(sentence)}\n"


def _law_lines(column: ColumnFindings) -> Iterator[str]:
    if column.bounds:
        yield f"bounds = [{column.bounds[0]!r}, {column.bounds[1]!r}]\n"
    if column.order:
        yield f"order = [{', '.join(map(_toml, column.order))}]\n"
    if column.spikes:
        values = ", ".join(repr(value) for value, _ in column.spikes)
        written = f"[{values}]" if len(column.spikes) > 1 else values
        yield f"spike = {written}{_comment(_shares(column))}\n"
    if column.active_when:
        yield f"active_if = {_toml(column.active_when)}{_comment(f'inactive in {column.inactive} rows')}\n"
    elif column.active_if:
        yield f"# inactive in {column.inactive} rows: it says something where {_plain(column.active_if)}\n"


def _shares(column: ColumnFindings) -> str:
    """How many rows hold the spikes of a column."""
    where = " where it is active" if column.inactive else ""
    shares = [share for _, share in column.spikes]
    if len(shares) == 1:
        return f"{shares[0]:.1%} of the rows{where}"
    return f"{shares[0]:.1%} of the rows{where} hold the first, {sum(shares):.1%} one of them"


def _comment(text: str) -> str:
    return f"  # {_plain(text)}" if text else ""


def _plain(text: str) -> str:
    """A text on one line of a comment."""
    return json.dumps(text, ensure_ascii=False)[1:-1].replace('\\"', '"').replace("\x7f", "")


def _toml(text: str) -> str:
    """A text as TOML has it in quotes."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


# --- rows ---------------------------------------------------------------------------------------------------------


def _write_rows(folder: Path, found: Findings, frame: Frame | None) -> None:
    """clean.csv and removed.csv: cells as they stand in the source, of images their places."""
    if frame is not None:
        header = list(frame.columns)
        cells = [_as_written(column) for column in frame.cells]
    elif found.form != "images":
        header = [column.name for column in found.columns[: found.values.shape[1]]]
        cells = [_shortest(column) for column in found.values.T]
    else:
        header, cells = ["row"], [[found.place(row) for row in range(found.rows)]]
    rows = list(zip(*cells, strict=True)) if cells else []
    clean = (rows[row] for row in range(len(rows)) if row not in found.removed)
    removed = (
        (found.place(row), "; ".join(reasons), *rows[row]) for row, reasons in found.removed.items()
    )
    _write_csv(folder / "clean.csv", header, clean)
    _write_csv(folder / "removed.csv", ["place", "reason", *header], removed)


def _as_written(cells: Any) -> list[str]:
    """The cells of a column as texts, empty where there is a gap."""
    if pa.types.is_floating(cells.type):
        return [
            "" if value is None or np.isnan(value) else repr(value) for value in cells.to_pylist()
        ]
    return pc.fill_null(as_texts(cells), "").to_pylist()


def _shortest(values: np.ndarray) -> list[str]:
    """Numbers in as few digits as tell them apart, those of single precision too; empty where there is a gap."""
    single = values.astype(np.float32)
    exact = single if np.array_equal(single, values, equal_nan=True) else values
    return ["" if value != value else str(value) for value in exact]


def _write_csv(path: Path, header: Sequence[str], rows: Any) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
