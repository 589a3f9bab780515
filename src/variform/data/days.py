"""Dates as numbers: days since the first of a column."""

import datetime
from collections.abc import Sequence

import numpy as np


def days_since_first(dates: Sequence[str | None]) -> tuple[np.ndarray, str]:
    """Days since the first day of a column, NaN where a date is missing, and that day, an ISO date.

    Args:
        dates: ISO dates, or dates with times, whose seconds are fractions of a day; None where one is missing.

    Raises:
        ValueError: for text that is no ISO date, and for a column without a date.

    Example:
        >>> days_since_first(["2024-03-01", None, "2024-02-28T12:00"])
        (array([2. , nan, 0.5]), '2024-02-28')
    """
    moments = [None if date is None else datetime.datetime.fromisoformat(date) for date in dates]
    known = [moment for moment in moments if moment is not None]
    if not known:
        raise ValueError("a column of dates must hold one; all are missing. Delete the column.")
    first = min(known).date()
    return np.array([_days(moment, first) for moment in moments]), first.isoformat()


def _days(moment: datetime.datetime | None, first: datetime.date) -> float:
    if moment is None:
        return np.nan
    start = datetime.datetime.combine(first, datetime.time(), moment.tzinfo)
    return (moment - start) / datetime.timedelta(days=1)


def days_between(first: str, second: str) -> int:
    """Days from one ISO date to another.

    Example:
        >>> days_between("2024-02-28", "2024-03-01")
        2
    """
    return (datetime.date.fromisoformat(second) - datetime.date.fromisoformat(first)).days


def date_text(days: float, first: str, *, whole: bool) -> str:
    """The ISO date that many days after another, with its time to the second unless days are whole.

    Args:
        days: How many.
        first: An ISO date.
        whole: Whether the column holds days and no times.

    Example:
        >>> date_text(2.0, "2024-02-28", whole=True), date_text(0.5, "2024-02-28", whole=False)
        ('2024-03-01', '2024-02-28T12:00:00')
    """
    start = datetime.datetime.fromisoformat(first)
    try:
        moment = start + datetime.timedelta(seconds=round(float(days) * 86400))
    except OverflowError:  # before the year 1 or after 9999
        moment = datetime.datetime.min if days < 0 else datetime.datetime.max.replace(microsecond=0)
    return moment.date().isoformat() if whole else moment.isoformat()
