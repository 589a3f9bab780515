"""What commands print and write."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from variform.config.drawing import DrawingConfig
from variform.config.options import in_options
from variform.config.words import counted
from variform.system.files import require_empty, require_new, to_json
from variform.system.locks import held
from variform.system.terminal import console, discard

if TYPE_CHECKING:
    from variform.design.handover import HandedOver
    from variform.evaluation.sections import Section
    from variform.runs.folder import Run
    from variform.runs.given import Asked


def report_on(run: "Run", json: bool, *, quiet: bool = False) -> None:
    """Say the numbers of a run and where its pages are; of several processes the first speaks for all.

    When it shall be quiet, warnings alone, or with `json` the numbers, which have them.
    """
    if os.environ.get("RANK", "0") != "0":  # the first process speaks for all
        return
    with kept_in(run.folder):
        if quiet and not json:
            print_warnings(placed_warnings(run))
            return
        print_numbers(run.evaluation, json, run.folder)
        if not json:
            _say_axes(run.folder)
            if (run.folder / "explorer.html").is_file():
                say(f"Explorer: {run.folder / 'explorer.html'}")
            say(f"Report: {run.folder / 'report.html'}")


def placed_warnings(run: "Run") -> list[str]:
    """What the evaluation of a run warns of, with what to type about it."""
    from variform.evaluation.verdict import placed

    return placed(run.evaluation.get("warnings", ()), run.folder)


def _say_axes(folder: Path) -> None:
    """How far codes moved, of a run that started from another model."""
    from variform.runs.records import read_axes
    from variform.runs.retraining import axes_in_words, bookmarks_table

    axes = read_axes(folder / "axes.json")
    if axes is None:
        return
    if axes["bookmarks"]:
        print_table(*bookmarks_table(axes))
    say(axes_in_words(axes))


@contextmanager
def kept_in(folder: Path) -> Iterator[None]:
    """Inside, what is printed also stands in files of `folder`: that nobody reads it is no failure."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        discard(sys.stdout)
    except OSError as error:
        discard(sys.stdout)
        raise OSError(
            f"standard output must take what is printed; the system says: {error.strerror}. All files are written and "
            f"whole, in {folder}."
        ) from error


def print_numbers(numbers: dict[str, Any], json: bool, folder: Path) -> None:
    """The numbers of an evaluation of the run in `folder`: what must be said first, the table, the notes."""
    from variform.evaluation.sections import sections_of
    from variform.evaluation.tables import LINEAR, numbers_table, response_table
    from variform.evaluation.verdict import placed

    if json:
        print_json(numbers)
        return
    print_warnings(placed(numbers.get("warnings", ()), folder))
    print_table(*numbers_table(numbers))
    for name, section in sections_of(numbers).items():
        _print_section(section, numbers[name])
    if numbers.get("responses"):
        print_table(*response_table(numbers))
        say(f"Note: {LINEAR}")
    for note in numbers["notes"]:
        say(f"Note: {note}")
    say("What a word means: variform explain NLL")


def _print_section(section: "Section", found: dict[str, Any]) -> None:
    """A section of an evaluation: its answer and its tables."""
    say(f"{section.title}: {section.answer(found)}.")
    for table in section.tables(found):
        if table.title:
            say(table.title)
        print_table(table.header, table.rows)
        if table.note:
            say(f"Note: {table.note}")


def require_there(run: Path) -> None:
    """Refuse a run whose folder, or a model whose file, is not there, before anything is imported that takes long.

    Of what is there more is asked later, by who may write into it.
    """
    if not run.exists():
        from variform.runs.records import require_run

        require_run(run)


def opened_run(run: Path) -> "Run":
    """The run in a folder, after a word on it where its latents hold nothing."""
    from variform.runs.folder import open_run
    from variform.runs.samplers import warned

    opened = open_run(run)
    print_warnings(warned(opened))
    return opened


def contexts_of(run: "Run", asked: "Asked", rows: int, seed: int) -> Any:
    """The contexts of new rows, after a word on what lies outside the training rows if it was asked for."""
    from variform.runs.folder import unseen
    from variform.runs.given import contexts_asked, remarks_on

    if asked.has_columns:
        raise ValueError(
            "`given` must name conditions where latent points are decoded; it names columns of the rows themselves. "
            "Leave them out, or use variform generate."
        )
    context = contexts_asked(run, asked, rows, seed=seed)
    if asked.has_ranges:
        print_warnings(remarks_on(run, asked))
    elif asked.conditions:
        print_warnings(unseen(run, context))
    return context


def print_warnings(sentences: Sequence[str]) -> None:
    """A line on each warning."""
    for sentence in sentences:
        say(f"Warning: {sentence}")


def print_table(
    header: Sequence[str], rows: Sequence[Sequence[str]], *, justify: Literal["left", "right"] = "right"
) -> None:  # fmt: skip
    """A table with a header; the first column is of names."""
    table = Table(header_style="bold")
    for number, name in enumerate(header):
        table.add_column(name, justify=justify if number else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    console = Console(width=None if sys.stdout.isatty() else 200)
    with console.capture() as text:  # rich would end the process when nobody reads on
        console.print(table, markup=False, highlight=False)
    write(text.get().rstrip("\n"))


def say(text: str) -> None:
    """A sentence on standard output, in the words of the command line."""
    write(in_options(text))


def say_aside(text: str) -> None:
    """A sentence on standard error, in the words of the command line: it is no result."""
    console().print(f"Note: {in_options(text)}", highlight=False, markup=False, soft_wrap=True)


def say_error(text: str) -> None:
    """A user's mistake on standard error, red where colours are wanted: on a terminal, without NO_COLOR."""
    console().print(Text.assemble(("error:", "red"), f" {text}"), soft_wrap=True)


def open_page(page: Path) -> None:
    """Open a page in the browser; where there is none, say where the page lies."""
    import webbrowser

    if _has_display() and webbrowser.open(page.resolve().as_uri()):
        say(f"Opened: {page}")
    else:
        say(f"There is no display to open it on: {page.resolve()}")


def _has_display() -> bool:
    """Whether a browser has somewhere to appear: one of the terminal would take it over."""
    if sys.platform in ("win32", "darwin"):
        return True
    return any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"))


def print_json(values: Any) -> None:
    """Values as files have them, on standard output."""
    write(to_json(values))


def write(text: str) -> None:
    """A line on standard output."""
    sys.stdout.write(f"{text}\n")


@contextmanager
def writing_into(run: Path, out: Path | None = None) -> Iterator[None]:
    """Inside, this process alone writes into a run's folder, where its output, by default or as `out`, goes there."""
    goes_there = out is None or out.resolve().is_relative_to(run.resolve())
    with held(run) if goes_there and run.is_dir() else nullcontext():
        yield


def datasets_of(run: "Run", source: str | None) -> list[Any]:
    """The rows of `source` in the shape of the run's data, or the run's own splits."""
    from variform.data.reading import read_rows

    if source is None:
        splits = run.data()
        return [splits.train, splits.valid, splits.test]
    schema = run.vae.schema
    assert schema is not None
    return [read_rows(source, schema, run.config.data)]


def new_output(run: "Run", out: Path | None, name: str) -> Path:
    """Where output goes, by default in the run's folder as a folder of images or a table.

    What is there already is refused here, before anything is computed; drawings, whose files are named by their number,
    are refused where they are written.
    """
    from variform.export.drawings import DRAWINGS

    schema = run.vae.schema
    assert schema is not None
    path = out or run.folder / (name if schema.kind == "image" else f"{name}.csv")
    if not path.suffix:
        require_empty(path)
    elif path.suffix not in DRAWINGS:
        require_new(path)
    return path


def write_output(
    run: "Run", path: Path, values: Any, context: Any = None, *, rows: Any = None, quiet: bool = False,
    drawing: DrawingConfig | None = None, points: Any = None, seed: int | None = None,
) -> None:  # fmt: skip
    """Write data in the user's own units in the form that the path asks for, with what a conditional model was given.

    Images that are made of `rows` have the names of these. Rows of a table that are not tidy yet become so, and what
    that changes is said. Outlines become drawings where a `drawing` says how, with their latent `points` and the `seed`
    in a file of provenance.
    """
    import torch

    from variform.evaluation import exploration
    from variform.export.drawings import DRAWINGS
    from variform.export.rows import (
        context_cells,
        image_files,
        write_images,
        write_rows,
        write_table,
    )

    schema = run.vae.schema
    assert schema is not None
    remarks = exploration.remarks(schema, values)
    values = schema.tidy(torch.from_numpy(values)).numpy()
    cells = ((), ()) if context is None else context_cells(schema, context.expand(len(values), -1))
    if drawing is not None and path.suffix in DRAWINGS:
        from variform.runs.handing import hand_over_designs

        written = hand_over_designs(
            run, values, path, drawing=drawing, points=points, seed=seed, context=context
        )
        print_handed_over(written)
        return
    if path.suffix == ".csv" and (schema.kinds or (schema.conditions and schema.kind == "table")):
        write_table(path, values, schema, cells)
    elif path.suffix:
        write_rows(path, values, schema.columns)
    elif schema.kind == "image":
        names = () if rows is None else image_files(rows)
        write_images(path, values, schema.grey_range, cells, names)
        remarks += _shown(schema)
    else:
        raise ValueError(
            f"a table needs an output that ends in .csv or .npy; got {path}. Add the suffix."
        )
    if not quiet:
        say(f"{len(values):,} rows: {path}")
        for remark in remarks:
            say(f"Note: {remark}")


def print_handed_over(written: "HandedOver") -> None:
    """What was written of designs, and what was not."""
    print_warnings(written.warnings())
    say(f"{counted(written.designs, 'design')}: {written.path}")
    say(f"Where they come from: {written.provenance}")


def _shown(schema: Any) -> list[str]:
    """What must be said of image files in which values are no grey levels of 8 bits, or channels no colours."""
    if schema.levels is not None:
        return []
    if schema.unit_names:
        return [
            "each channel is shown from its least to its greatest value in these files of 8 bits, the first three as "
            "red, green and blue; a .npy file keeps all numbers"
        ]
    low, high = schema.grey_range
    return [
        f"black is {low:.7g} and white {high:.7g} in these files of 8 bits; a .npy file keeps the numbers"
    ]


def flattened(values: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Values by dotted names."""
    pairs: list[tuple[str, Any]] = []
    for key, value in values.items():
        pairs += (
            flattened(value, f"{prefix}{key}.")
            if isinstance(value, dict)
            else [(prefix + key, value)]
        )
    return pairs
