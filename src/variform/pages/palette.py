"""The colours of categories, in figures and on the explorer page.

No two of them, and none and the grey of what is missing, are nearer than 9 in OKLab (100 times the distance), whether
seen with all cones or without those for long, medium or short waves (Machado, Oliveira and Fernandes 2009).
"""

PALETTE = (
    "#0068a8",  # blue
    "#e39518",  # yellow orange
    "#1a9c73",  # green
    "#d45e09",  # orange
    "#5cb9fa",  # sky blue
    "#b775c0",  # pink
    "#222222",  # black
    "#8800ff",  # violet
    "#663311",  # brown
    "#ffc11c",  # yellow
)
"""On white; after eight colours of Okabe and Ito (2008)."""

DARK_PALETTE = (
    "#3a89db",
    "#f3ab18",
    "#26c18e",
    "#ed7422",
    "#96d6ff",
    "#b5a0da",
    "#eaf9ff",
    "#6930fd",
    "#a8622d",
    "#f0e442",
)
"""The same names on the dark page."""
