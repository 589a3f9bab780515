"""Colours of categories can be told apart with any kind of eyes."""

import itertools
import re
from importlib import resources

import numpy as np
import pytest

from variform.pages.palette import DARK_PALETTE, PALETTE

# Machado, Oliveira and Fernandes (2009), table 1, severity 1.0: of linear RGB.
EYES = {
    "all cones": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
# Ottosson (2020), https://bottosson.github.io/posts/oklab/
TO_CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


def oklab(colour, eyes):
    """A colour `#rrggbb` as these eyes see it, in OKLab times 100."""
    shares = np.array([int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)])
    linear = np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.array(EYES[eyes]) @ linear, 0, 1)
    return 100 * TO_LAB @ np.cbrt(TO_CONES @ seen)


def variable(name):
    """What a variable of the page's style sheet is in the light and in the dark theme."""
    css = (resources.files("variform.pages") / "script" / "page.css").read_text(encoding="utf-8")
    return re.findall(rf"--{name}: (#[0-9a-f]{{6}});", css)[:2]


def test_white_and_red_are_where_oklab_has_them():
    np.testing.assert_allclose(oklab("#ffffff", "all cones"), [100, 0, 0], atol=0.01)
    np.testing.assert_allclose(oklab("#ff0000", "all cones"), [62.8, 22.5, 12.6], atol=0.1)


@pytest.mark.parametrize("eyes", EYES)
@pytest.mark.parametrize("theme", [0, 1])
def test_no_two_colours_of_categories_are_alike(eyes, theme):
    """Nor one of them and the grey of what is missing; all stand off from the map behind them."""
    palette = (PALETTE, DARK_PALETTE)[theme]
    shades = [oklab(colour, eyes) for colour in (*palette, variable("missing")[theme])]
    pairs = [np.linalg.norm(a - b) for a, b in itertools.combinations(shades, 2)]
    assert len(palette) == 10 and min(pairs) > 8
    behind = oklab(variable("lit")[theme], eyes)
    assert min(np.linalg.norm(shade - behind) for shade in shades) > 16
