"""Rules that rows of a table must keep: comparisons of columns, read without executing anything."""

import ast
import difflib
import itertools
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from variform.config.units import name_and_unit
from variform.config.words import quoted

_NUMBERS: dict[type[ast.operator], Callable[..., np.ndarray]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_COMPARISONS: dict[type[ast.cmpop], Callable[..., np.ndarray]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_ALL = r"\s*\.\.\s*"  # between the first and the last of neighbouring columns
_MARK = "\u01c2"  # a letter that begins what stands for columns
_COLUMNS = rf"{_MARK}\d+(?:to\d+)?"
_MOST = 10_000  # characters of a rule


@dataclass(frozen=True)
class Constraint:
    """What the columns of a row must fulfil, such as SS Thickness < SS OD/2.

    Names of columns stand as they are, spaces too, with or without their unit in brackets; of two names that
    fit the longer is meant. `first .. last` stands for all columns from the first to the last, which are compared one
    by one: the rule holds where it does for all of them. Beside names there are numbers, + - * /, brackets and
    comparisons, which may be chained: 0 < a < b.

    Args:
        text: As the user wrote it.
        columns: Names of all columns.

    Raises:
        ValueError: for what is no such comparison.

    Example:
        >>> rule = Constraint("wall < OD / 2", ("wall", "OD"))
        >>> rule.holds(np.array([[1.0, 3.0], [2.0, 3.0], [np.nan, 3.0]])).tolist()
        [True, False, True]
    """

    text: str
    columns: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.text) > _MOST:
            raise self._wrong("it is too long")
        self._check(self._tree(), is_top=True)

    def holds(self, values: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Whether each of the rows (N, columns) keeps the rule, (N,); where a value is missing it does."""
        with np.errstate(all="ignore"):
            result = self._comparison(self._tree(), values)
        return result | self.is_unknown(values)

    def is_unknown(self, values: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Whether a value that the rule needs is missing, (N,)."""
        return np.any(np.isnan(values[:, self.used]), axis=1)

    @property
    def used(self) -> list[int]:
        """Numbers of the columns in the rule."""
        return sorted(
            {
                column
                for node in ast.walk(self._tree())
                if isinstance(node, ast.Name)
                for column in _numbers_of(node.id)
            }
        )

    def _tree(self) -> ast.expr:
        try:
            return ast.parse(self._with_identifiers(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise self._wrong(self._unknown_name() or "it cannot be read") from error

    def _with_identifiers(self) -> str:
        """The rule with identifiers instead of names of columns, and of neighbouring ones."""
        spoken = _spoken(self.columns)
        if not spoken:
            return self.text
        names = "|".join(re.escape(name) for name in sorted(spoken, key=len, reverse=True))
        text = re.sub(
            rf"(?<!\w)(?<!\w\.)(?:{names})(?!\w)",
            lambda found: f" {_MARK}{spoken[found[0]]} ",
            self.text,
        )
        text = re.sub(rf"({_MARK}\d+){_ALL}{_MARK}(\d+)", r"\1to\2", text)
        return text.strip()

    def _check(self, node: ast.AST, *, is_top: bool = False) -> None:
        """Refuse whatever is no comparison of sums and products."""
        if is_top and not isinstance(node, ast.Compare):
            raise self._wrong("it compares nothing")
        match node:
            case ast.Compare(left=left, ops=ops, comparators=others) if is_top:
                if not all(type(one) in _COMPARISONS for one in ops):
                    raise self._wrong("it holds another comparison")
                for part in (left, *others):
                    self._check(part)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _NUMBERS:
                self._check(left)
                self._check(right)
            case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=operand):
                self._check(operand)
            case ast.Constant(value=value) if type(value) in (int, float):
                pass
            case ast.Name(id=name) if re.fullmatch(_COLUMNS, name):
                if not _numbers_of(name) or max(_numbers_of(name)) >= len(self.columns):
                    raise self._wrong(self._unknown_name() or "its columns run backwards")
            case _:
                raise self._wrong(self._unknown_name() or "it holds something else")

    def _comparison(self, node: ast.expr, values: np.ndarray) -> np.ndarray:
        assert isinstance(node, ast.Compare)
        sides = [self._number(part, values) for part in (node.left, *node.comparators)]
        holds = np.ones(len(values), bool)
        for op, (left, right) in zip(node.ops, itertools.pairwise(sides), strict=True):
            outcome = _COMPARISONS[type(op)](*self._fitting(left, right))
            holds &= np.broadcast_to(outcome, (len(values), outcome.shape[1])).all(1)
        return holds

    def _number(self, node: ast.expr, values: np.ndarray) -> np.ndarray:
        """A part of the rule, (N or 1, columns or 1)."""
        match node:
            case ast.BinOp(left=left, op=op, right=right):
                sides = self._number(left, values), self._number(right, values)
                return _NUMBERS[type(op)](*self._fitting(*sides))
            case ast.UnaryOp(op=op, operand=operand):
                number = self._number(operand, values)
                return -number if isinstance(op, ast.USub) else number
            case ast.Constant(value=value):
                return np.array([[float(value)]])  # pyrefly: ignore[bad-argument-type]
            case ast.Name(id=name):
                return values[:, _numbers_of(name)]
        raise self._wrong("it holds something else")

    def _fitting(self, left: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        widths = {left.shape[1], right.shape[1]} - {1}
        if len(widths) > 1:
            raise self._wrong(f"it compares {left.shape[1]} columns with {right.shape[1]}")
        return left, right

    def _unknown_name(self) -> str:
        """What is said of words that are no column's name; empty where there are none."""
        rest = re.sub(_COLUMNS, " , ", self._with_identifiers())
        words = [word.strip() for word in re.split(r"[-+*/<>=!()\[\],]+", rest)]
        odd = [word for word in words if re.search(r"[^\W\d]", word) and not _is_number(word)]
        if not odd:
            return ""
        near = difflib.get_close_matches(odd[0], list(self.columns), 1) or list(self.columns[:1])
        hint = f", did you mean {quoted(near[0])}" if near else ""
        return f"there is no column {quoted(odd[0])}{hint}"

    def _wrong(self, why: str) -> ValueError:
        return ValueError(
            f"`rule` must compare columns and numbers, such as 'wall < OD / 2'; of {quoted(self.text)} {why}. Write"
            " names of columns as the table has them, numbers, + - * /, brackets and < <= > >= == !=."
        )


def _spoken(columns: Sequence[str]) -> Mapping[str, int]:
    """What each column may be called in a rule: its name, and the name without its unit where no other has that."""
    without = [name_and_unit(name)[0] for name in columns]
    spoken = {
        name: number for number, name in enumerate(without) if name and without.count(name) == 1
    }
    spoken |= {name: number for number, name in enumerate(columns) if name}
    return spoken


def _numbers_of(identifier: str) -> list[int]:
    first, _, last = identifier.removeprefix(_MARK).partition("to")
    return list(range(int(first), int(last or first) + 1))


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
