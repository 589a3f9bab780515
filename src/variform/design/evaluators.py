"""Who answers for designs: a Python function or an external command, of which nothing that fails is fatal."""

import csv
import math
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from variform.config.words import listed, quoted
from variform.data.schema import Schema
from variform.export.rows import write_rows, write_table
from variform.system.import_path import find, imported

Array = NDArray[np.float64]
Rows = Any
"""Designs as a user's function takes them: columns by name of a table with names, else an array (n, *shape)."""

_LONGEST_REASON = 300  # characters
_LAST_LINES = 3  # of what a command says
_LAST_BYTES = 4_000


@dataclass(frozen=True)
class Answer:
    """What an evaluator says of a design.

    Args:
        responses: Numbers by name.
        valid: Whether the design could be evaluated and is one.
        reason: Why not.
        seconds: How long it took.
    """

    responses: dict[str, float]
    valid: bool = True
    reason: str = ""
    seconds: float = 0.0

    @classmethod
    def of(
        cls, values: Mapping[str, float], needed: Sequence[str], seconds: float = 0.0
    ) -> "Answer":
        """The answer of responses that may lack some of those needed, which makes a design invalid.

        Example:
            >>> Answer.of({"drag": float("nan"), "lift": 2.0}, ("drag", "lift"))
            Answer(responses={'lift': 2.0}, valid=False, reason='no number for drag', seconds=0.0)
        """
        responses = {name: float(value) for name, value in values.items() if math.isfinite(value)}
        lacking = [name for name in needed if name not in responses]
        reason = f"no number for {listed(lacking)}" if lacking else ""
        return cls(responses, not lacking, reason, seconds)


COMPARED = Answer({}, True, "compared")
"""What is known of a design that a person compared with another one, and did not rate."""


class Evaluator(Protocol):
    """What answers for designs."""

    def evaluate(self, designs: Array) -> list[Answer]:
        """An answer for each of the designs (n, *shape), in the user's units."""
        ...


# --- designs as a user's function has them ------------------------------------------------------------------------


def has_names(schema: Schema) -> bool:
    """Whether the columns of the data have names that a user gave."""
    return bool(schema.columns) and schema.columns[0] != "column 1"


def rows_of(designs: Array, schema: Schema) -> Rows:
    """Designs (n, *shape) as a user's function takes them.

    Of a table whose columns have names they are arrays (n,) by name, with categories as text; all others are one array.

    Example:
        >>> from variform.data.reading import read
        >>> schema = read({"mass": range(90), "drag": range(90)}).schema
        >>> rows_of(np.array([[1.0, 2.0]]), schema)
        {'mass': array([1.]), 'drag': array([2.])}
    """
    if not has_names(schema):
        return designs.copy()
    columns = {}
    for number, name in enumerate(schema.columns):
        values = designs[:, number].copy()
        words = schema.categories[number] if schema.kinds else ()
        columns[name] = _as_words(values, words) if words else values
    return columns


def designs_from(rows: Rows, schema: Schema, count: int) -> Array:
    """The designs (count, *shape) that a user's function gave: the opposite of `rows_of`.

    Raises:
        ValueError: for another number of rows or columns, or a category that the data do not have.
    """
    if not has_names(schema) or not isinstance(rows, Mapping):
        designs = np.asarray(rows, dtype=np.float64)
        if designs.shape != (count, *schema.shape):
            raise ValueError(f"the shape must be {(count, *schema.shape)}; it is {designs.shape}")
        return designs
    lacking = [name for name in schema.columns if name not in rows]
    if lacking:
        raise ValueError(f"all columns must be there; {listed(lacking)} are not")
    columns = []
    for number, name in enumerate(schema.columns):
        words = schema.categories[number] if schema.kinds else ()
        values = [words.index(word) for word in rows[name]] if words else rows[name]
        columns.append(np.asarray(values, dtype=np.float64))
    return np.stack(columns, axis=1).reshape(count, *schema.shape)


def _as_words(values: Array, words: Sequence[str]) -> NDArray[Any]:
    return np.array(["" if math.isnan(value) else words[int(value)] for value in values])


def load_function(name: str, folder: Path, field: str) -> Callable[..., Any]:
    """The function that `module:function` names; a file of that module in `folder` comes before what is installed.

    Raises:
        ValueError: when there is none, or its module cannot be imported; names the field of the problem.

    Example:
        >>> load_function("statistics:fmean", Path("."), "evaluator")([3, 5])
        4.0
    """
    module, _, function = name.partition(":")
    beside = folder.resolve() / f"{module.replace('.', '/')}.py"
    rule = f"`{field}` must name a function as module:function, of a file beside the problem or of what is installed"
    try:
        found = imported(find(f"{beside}:{function}" if beside.is_file() else name))
    except ValueError as error:
        raise ValueError(f"{rule}; {error}") from error
    if not callable(found):
        raise ValueError(f"{rule}; {name} is a {type(found).__name__}. Name a function.")
    return found


def _said(error: BaseException) -> str:
    return _shortened(f"{type(error).__name__}: {error}")


def _shortened(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST_REASON else f"{line[: _LONGEST_REASON - 1]}…"


# --- functions ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FunctionEvaluator:
    """A Python function that takes designs, as `rows_of` has them, and gives one array of numbers a response.

    The function may also give an array `valid` of true and false. Where it raises an exception for several designs
    each is tried alone, and those that raise again are invalid.

    Args:
        function: The function.
        needed: Responses that it must give.
        schema: What the designs are.

    Example:
        >>> from variform.data.reading import read
        >>> schema = read(np.random.default_rng(0).normal(size=(90, 2))).schema
        >>> def judge(rows):
        ...     return {"area": rows[:, 0] / rows[:, 1].clip(0), "valid": rows[:, 0] < 9}
        >>> with np.errstate(all="ignore"):
        ...     answers = FunctionEvaluator(judge, ("area",), schema).evaluate(np.array([[6.0, 2], [1, 0], [9, 1]]))
        >>> [(answer.responses, answer.reason) for answer in answers]
        [({'area': 3.0}, ''), ({}, 'no number for area'), ({'area': 9.0}, 'the evaluator said no')]
    """

    function: Callable[[Rows], Mapping[str, Any]]
    needed: tuple[str, ...]
    schema: Schema

    def evaluate(self, designs: Array) -> list[Answer]:
        """An answer for each of the designs (n, *shape).

        Raises:
            ValueError: when the function gives something else than one number a design for every response.
        """
        started = time.perf_counter()
        try:
            given = self.function(rows_of(designs, self.schema))
        except (Exception, SystemExit) as error:
            if len(designs) > 1:
                return [self.evaluate(design[None])[0] for design in designs]
            return [Answer({}, False, _said(error), time.perf_counter() - started)]
        seconds = (time.perf_counter() - started) / max(1, len(designs))
        columns = self._columns(given, len(designs))
        said_yes = columns.pop("valid", np.ones(len(designs)))
        answers = []
        for row in range(len(designs)):
            values = {name: column[row] for name, column in columns.items()}
            answer = Answer.of(values, self.needed, seconds)
            if answer.valid and not said_yes[row] > 0:
                answer = Answer(answer.responses, False, "the evaluator said no", seconds)
            answers.append(answer)
        return answers

    def _columns(self, given: Any, count: int) -> dict[str, Array]:
        """The responses that the function gave, checked."""
        if not isinstance(given, Mapping):
            raise ValueError(
                f"the evaluator must give a dict of arrays by response; it gave {type(given).__name__}. "
                "Return for example {'drag': drag}."
            )
        lacking = [name for name in self.needed if name not in given]
        if lacking:
            raise ValueError(
                f"the evaluator must give every response of the problem; {listed(lacking)} is not among "
                f"{listed([str(name) for name in given])}. Correct the name in the problem, or return it."
            )
        return {str(name): _numbers(name, values, count) for name, values in given.items()}


def _numbers(name: Any, values: Any, count: int) -> Array:
    try:
        numbers = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"the response {quoted(name)} must be numbers; {_said(error)}. Return NaN where there is none."
        ) from error
    if numbers.shape != (count,):
        raise ValueError(
            f"the response {quoted(name)} must have one number a design, ({count},); its shape is {numbers.shape}. "
            "Return an array of that shape."
        )
    return numbers


# --- commands -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CommandEvaluator:
    """An external program that is run once for each design.

    It finds the design in the file {in}, a .csv with names of columns, or a .npy array (1, *shape) of images, and
    writes its responses to {out}, a .csv with their names and one line of numbers. A program that fails, says nothing
    or takes too long makes the design invalid; with it end all processes that it began.

    Args:
        command: As in `solver {in} {out}`; no shell reads it.
        timeout: Seconds that a design may take.
        needed: Responses that it must give.
        schema: What the designs are.
        folder: Where it runs.
    """

    command: str
    timeout: float
    needed: tuple[str, ...]
    schema: Schema
    folder: Path

    def require_program(self) -> None:
        """Refuse a command whose program is not there.

        Raises:
            ValueError: says which.
        """
        program = self._words("in", "out")[0]
        found = shutil.which(program, path=None) or shutil.which(str(self.folder / program))
        if found is None:
            raise ValueError(
                f"`command` must begin with a program; there is no {quoted(program)}. Check its name and that it may "
                "be executed."
            )

    def evaluate(self, designs: Array) -> list[Answer]:
        """An answer for each of the designs (n, *shape), one after the other."""
        return [self._evaluate(design[None]) for design in designs]

    def _evaluate(self, design: Array) -> Answer:
        started = time.perf_counter()
        with tempfile.TemporaryDirectory(prefix="variform-") as place:
            source = Path(place) / ("in.csv" if self.schema.kind == "table" else "in.npy")
            target, said = Path(place) / "out.csv", Path(place) / "stderr"
            write_design(source, design, self.schema)
            reason = self._run(self._words(str(source), str(target)), said)
            seconds = time.perf_counter() - started
            if reason:
                return Answer({}, False, _shortened(f"{reason}{_last_lines(said)}"), seconds)
            try:
                return Answer.of(_responses(target), self.needed, seconds)
            except (OSError, ValueError) as error:
                return Answer({}, False, _shortened(f"{error}{_last_lines(said)}"), seconds)

    def _words(self, source: str, target: str) -> list[str]:
        places = {"{in}": source, "{out}": target}
        words = shlex.split(self.command)
        for mark, path in places.items():
            words = [word.replace(mark, path) for word in words]
        return words

    def _run(self, words: list[str], said: Path) -> str:
        """Run the program; gives why it failed, or nothing."""
        with open(said, "wb") as errors:
            try:
                process = subprocess.Popen(
                    words,
                    cwd=self.folder,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=errors,
                    start_new_session=True,
                )
            except OSError as error:
                return f"{words[0]} cannot be run: {error.strerror}"
            try:
                code = process.wait(self.timeout)
            except subprocess.TimeoutExpired:
                return f"not done after {self.timeout:g} s"
            finally:
                _end_group(process)
        return f"exit code {code}" if code else ""


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """End a process and all that it began."""
    with suppress(ProcessLookupError, PermissionError):  # none is left
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _last_lines(said: Path) -> str:
    content = said.read_bytes()[-_LAST_BYTES:].decode(errors="replace")
    lines = [line.strip() for line in content.splitlines() if line.strip()]
    return f"; it said: {' / '.join(lines[-_LAST_LINES:])}" if lines else ""


def _responses(path: Path) -> dict[str, float]:
    """The numbers by name in the file that a program wrote."""
    if not path.is_file():
        raise ValueError("no output was written")
    with open(path, newline="", encoding="utf-8-sig") as file:
        header, *rows = [row for row in csv.reader(file, skipinitialspace=True) if row] or [[]]
    if len(rows) != 1:
        raise ValueError(f"the output must have one line of numbers; it has {len(rows)}")
    (cells,) = rows
    if len(cells) < len(header):  # such as a line that was not written to its end
        raise ValueError(
            f"the output must have a number for each of its {len(header)} names; it has {len(cells)}"
        )
    return {name.strip(): as_number(cell) for name, cell in zip(header, cells, strict=False)}


def as_number(cell: Any) -> float:
    """The number in a cell; NaN where there is none."""
    try:
        return float(cell)
    except (TypeError, ValueError):
        return math.nan


def write_design(path: Path, designs: Array, schema: Schema) -> None:
    """Designs (n, *shape) as a file: a .csv of a table, or a .npy array."""
    if path.suffix == ".csv":
        write_table(path, designs, schema)
    else:
        write_rows(path, designs, ())
