"""The page of a training that runs: its curves in one small file, which loads itself anew and needs no server."""

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import TYPE_CHECKING, Any, Literal

from variform.config.checks import checked
from variform.pages.report import unbroken

if TYPE_CHECKING:
    from jinja2 import Template

State = Literal["running", "finishing", "stopped", "died", "done"]
_LEFT, _TOP, _WIDTH, _HEIGHT = 52.0, 6.0, 282.0, 148.0
_MOST_POINTS = 300  # of a line
_SETTLED = 20  # epochs after which the first tenth no longer sets the range
_PARTS = (("train", "training"), ("valid", "validation"))


@checked
@dataclass(frozen=True)
class Live:
    """What the page shows.

    Args:
        state: How the training is.
        title: What is trained on what.
        headline: How it is, in a few words.
        rows: As `History.rows`, with `active_units` where they were counted.
        share: Of the steps, those that are done; None where there is none to show.
        facts: Names and values.
        said: What went wrong, or what follows.
        links: Names and addresses.
        written: When, in milliseconds since 1970.
        clock: When, in words.
        patience: Milliseconds after which no news is worth a word.
    """

    state: State
    title: str
    headline: str
    rows: Sequence[Mapping[str, Any]] = ()
    share: float | None = None
    facts: Sequence[tuple[str, str]] = ()
    said: str = ""
    links: Sequence[tuple[str, str]] = ()
    written: int = 0
    clock: str = ""
    patience: int = 0


@dataclass(frozen=True)
class _Line:
    kind: str
    name: str
    value: str
    points: str


@dataclass(frozen=True)
class _Chart:
    number: int
    title: str
    first: int
    last: int
    ticks: list[tuple[float, str]]
    lines: list[_Line] = field(default_factory=list)

    @property
    def words(self) -> str:
        """For those who do not see it."""
        return ", ".join(f"{line.name} {line.value}" for line in self.lines)


def render_live(page: Live) -> str:
    """The page as the text of one HTML file; whatever is passed is shown as text, never as HTML.

    Example:
        >>> html = render_live(Live("running", "digits <2>", "Epoch 1 of 9", [{"epoch": 1, "valid_loss": 2.5}]))
        >>> "digits &lt;2&gt;" in html, html.count("<svg")
        (True, 1)
    """
    fields = {name: getattr(page, name) for name in Live.__dataclass_fields__ if name != "rows"}
    return _template().render(**fields, charts=_charts(page.rows))


@functools.cache
def _template() -> "Template":
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined
    )
    environment.filters["unbroken"] = unbroken
    source = resources.files("variform.pages").joinpath("live.html.j2").read_text(encoding="utf-8")
    return environment.from_string(source)


def _charts(rows: Sequence[Mapping[str, Any]]) -> list[_Chart]:
    """The curves, of what every epoch has."""
    parts = {
        "Loss": [(kind, name, f"{kind}_loss") for kind, name in _PARTS],
        "Log-likelihood": [(kind, name, f"{kind}_log_likelihood") for kind, name in _PARTS],
        "KL": [(kind, name, f"{kind}_kl") for kind, name in _PARTS],
        "Active units": [("valid", "validation", "active_units")],
        "Learning rate": [("train", "training", "learning_rate")],
    }
    charts = []
    for title, lines in parts.items():
        chart = _chart(len(charts) + 1, title, rows, lines)
        if chart is not None:
            charts.append(chart)
    return charts


def _chart(
    number: int, title: str, rows: Sequence[Mapping[str, Any]], lines: list[tuple[str, str, str]]
) -> _Chart | None:
    """Lines over the epochs; None where there is nothing to draw."""
    shown = {
        (kind, name): [(row["epoch"], row[key]) for row in rows if _is_number(row.get(key))]
        for kind, name, key in lines
    }
    shown = {key: points for key, points in shown.items() if points}
    if not shown:
        return None
    first, last = rows[0]["epoch"], rows[-1]["epoch"]
    # The first epochs are far off, and would press all others into a line.
    since = first + (last - first) // 10 if last - first >= _SETTLED else first
    values = [value for points in shown.values() for epoch, value in points if epoch >= since]
    values = values or [points[-1][1] for points in shown.values()]
    low, high = min(values), max(values)
    if title == "Active units":
        low, high = 0, max(high, 1)
    margin = (high - low) * 0.05 or abs(high) * 0.05 or 1.0
    low, high = low - margin, high + margin

    def place(epoch: float, value: float) -> str:
        x = _LEFT + _WIDTH * (epoch - first) / max(1, last - first)
        share = min(max((value - low) / (high - low), -1.0), 2.0)
        return f"{x:.1f},{_TOP + _HEIGHT * (1 - share):.1f}"

    drawn = []
    for (kind, name), points in shown.items():
        step = math.ceil(len(points) / _MOST_POINTS)
        kept = [*points[:-1:step], points[-1]]
        if len(kept) == 1:  # a dot
            kept = [(first - 0.02, kept[0][1]), (first + 0.02, kept[0][1])]
        joined = " ".join(place(*point) for point in kept)
        drawn.append(_Line(kind, name, f"{points[-1][1]:.4g}", joined))
    ticks = [
        (_TOP + _HEIGHT * (1 - at), _short(low + at * (high - low))) for at in (0.05, 0.5, 0.95)
    ]
    return _Chart(number, title, first, last, ticks, drawn)


def _short(value: float) -> str:
    """A number as it fits beside an axis.

    Example:
        >>> _short(0.000763), _short(-36.905), _short(1234567)
        ('7.6e-04', '-36.9', '1.23e+06')
    """
    text = f"{value:.3g}"
    return text if len(text) <= 8 and "0.000" not in text else f"{value:.1e}"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
