"""The picture of a study of objectives: every score of every fit."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from variform.evaluation.factors import SCORES
from variform.pages.style import BLUE, GREY, TICK_SIZE, WIDTH, new_figure, style_panel

_ACROSS = 4


def plot_objective_study(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """A panel a score: the fits of each objective as small points, their mean with its standard error as a large one.

    Args:
        rows: One mapping per objective: "objective"; "scores" by the names of `factors.SCORES`, "elbo", and "udr" where
            there are several seeds; each {"mean", "se", "each"}.

    Raises:
        ValueError: for no rows.

    Example:
        >>> one = {"mean": 0.5, "se": 0.1, "each": [0.4, 0.6]}
        >>> row = {"objective": "VAE", "elbo": one, "scores": {"mig": one, "sap": one}}
        >>> [axes.get_title() for axes in plot_objective_study([row]).axes]
        ['MIG', 'SAP', 'ELBO']
    """
    if not rows:
        raise ValueError(
            "plot_objective_study needs an objective at least; got none. Run the study first."
        )
    panels = {
        words: [row["scores"][name] for row in rows]
        for name, words in SCORES.items()
        if name in rows[0]["scores"]
    }
    if "udr" in rows[0]:
        panels["UDR"] = [row["udr"] for row in rows]
    panels["ELBO"] = [row["elbo"] for row in rows]
    down = -(-len(panels) // _ACROSS)
    height = down * (0.9 + 0.22 * len(rows)) + 0.8
    title = "How far codes stand for single factors, by objective"
    note = "small points: fits; large ones: their mean with one standard error; 1 is perfect, the ELBO in nats"
    figure = new_figure(WIDTH, height, title, note)
    axes = figure.subplots(down, _ACROSS, squeeze=False).reshape(-1)
    names = [row["objective"] for row in rows]
    for place, panel in enumerate(axes):
        if place >= len(panels):
            panel.remove()
            continue
        words = list(panels)[place]
        style_panel(panel, title=words)
        _draw_estimates(panel, panels[words])
        labels = names if place % _ACROSS == 0 else [""] * len(names)
        panel.set_yticks(range(len(names)), labels, fontsize=TICK_SIZE)
        panel.set_ylim(len(names) - 0.5, -0.5)
        if words != "ELBO":
            low = min(0.0, *(min(one["each"]) for one in panels[words]))
            panel.set_xlim(low - 0.03, 1.03)
    return figure


def _draw_estimates(panel: Axes, estimates: Sequence[Mapping[str, Any]]) -> None:
    for place, one in enumerate(estimates):
        panel.plot(one["each"], np.full(len(one["each"]), place), ".", color=GREY, markersize=4)
        panel.errorbar(
            one["mean"], place, xerr=one["se"], fmt="o", color=BLUE, markersize=5, capsize=3
        )
