"""Rules: columns that say something only where another column has certain values."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from variform.config.checks import from_file


@dataclass(frozen=True)
class Rule:
    """A column is active where its flag has one of some values; elsewhere its cell says nothing.

    Args:
        column: Number of the column.
        flag: Number of the column that decides, of values 0 and 1 or of categories.
        active: Values of the flag, raw, at which the column is active.
        value: What an inactive cell holds; None where it is empty.

    Example:
        >>> rule = Rule(column=1, flag=0, active=(1.0,), value=0.5)
        >>> rule.is_inactive(torch.tensor([[0.0, 0.5], [1.0, 0.5], [torch.nan, 0.7]]))
        tensor([ True, False, False])
    """

    column: int
    flag: int
    active: tuple[float, ...]
    value: float | None

    def is_inactive(self, raw: Tensor) -> Tensor:
        """Whether the column says nothing in each of raw rows (..., D), (...): an unknown flag leaves it active."""
        flag = raw[..., self.flag]
        is_active = flag.isnan()
        for value in self.active:
            is_active = is_active | (flag == value)
        return ~is_active


def known_rule(values: dict[str, Any]) -> Rule:
    """The rule that plain values of a file describe."""
    return from_file(Rule, values, "a rule")


def is_inactive(rules: tuple[Rule, ...], raw: Tensor) -> Tensor:
    """Which cells of raw rows (..., D) say nothing, (..., D)."""
    inactive = torch.zeros_like(raw, dtype=torch.bool)
    for rule in rules:
        inactive[..., rule.column] = rule.is_inactive(raw)
    return inactive
