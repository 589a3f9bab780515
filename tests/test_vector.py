"""Figures as drawings of a page: what they show is what was plotted, they flow, and they have the page's colours."""

import io
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from test_plots import epochs

from variform.pages import report
from variform.pages.curves import plot_curves
from variform.pages.examples import plot_reconstructions
from variform.pages.latents import plot_latent
from variform.pages.palette import DARK_PALETTE, PALETTE
from variform.pages.vector import drawing_of, picture_of, themed

HOSTILE = "</svg><script>window.hacked=1</script>$x$ & <b>"


def page_of(*pictures):
    return report.render(
        title="Figures",
        summary="",
        facts=[],
        tables=[],
        pictures=pictures,
        command="variform",
        notes=[],
        config="",
    )


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("figures")
    random = np.random.default_rng(0)
    figures = {
        "curves": plot_curves(epochs(9)),
        "more curves": plot_curves(epochs(9)),
        "points": plot_latent(
            random.normal(size=(90, 2)), np.arange(90) % 3, classes=(HOSTILE, "b", "c")
        ),
        "columns": plot_reconstructions(
            random.normal(size=(40, 5)),
            random.normal(size=(40, 5)),
            columns=("a", "b", "c", "d", HOSTILE),
        ),
    }
    return [
        picture_of(figure, name, folder / f"{name}.png", name) for name, figure in figures.items()
    ]


def test_the_points_of_a_line_are_the_numbers_that_were_plotted():
    """By the numbers that stand along the axis: a straight line leads from where they stand to what they are."""
    history = epochs(9)
    drawing = drawing_of(plot_curves(history), "curves")
    svg = ElementTree.fromstring(drawing.panels[0].svg)
    lines = [
        one.get("d")
        for one in svg.iter("path")
        if one.get("clip-path") and one.get("d").count("L") == 8
    ]
    ticks = [
        one for one in svg.iter("text") if re.fullmatch(r"[-\u2212]?\d+(\.\d+)?", one.text or "")
    ]
    rightmost = max(float(one.get("x")) for one in ticks if "middle" not in one.get("style"))
    upwards = [one for one in ticks if float(one.get("x")) == rightmost]
    places = [float(one.get("y")) for one in upwards]
    values = [float(one.text.replace("\u2212", "-")) for one in upwards]
    assert len(values) > 2
    slope, start = np.polyfit(places, values, 1)
    drawn = [
        np.array(re.findall(r"([-\d.]+) ([-\d.]+)", line), dtype=float)[:, 1] for line in lines
    ]
    shift = np.mean([row["train_elbo"] for row in history]) - np.mean(slope * drawn[0] + start)
    assert abs(shift) < 0.1 * abs(values[1] - values[0])  # a number stands a little below its place
    for line, key in zip(drawn, ("train_elbo", "valid_elbo"), strict=True):
        expected = [row[key] for row in history]
        np.testing.assert_allclose(
            slope * line + start + shift, expected, atol=2e-2 * np.ptp(values)
        )


def test_colours_are_those_of_the_page_in_both_themes(pictures):
    page = page_of(*pictures)
    drawn = "".join(re.findall(r"<svg.*?</svg>", page))
    assert "var(--ink)" in drawn and "var(--c0)" in drawn and "#222222" not in drawn
    named = set(re.findall(r"var\((--[\w]+)\)", drawn))
    light, dark, printed = re.findall(r":root \{(.*?)\}", page, re.DOTALL)
    for theme in (light, dark, printed):
        assert named <= set(re.findall(r"(--\w+):", theme))
    for number, (colour, at_night) in enumerate(zip(PALETTE, DARK_PALETTE, strict=True)):
        assert f"--c{number}: {colour}" in light and f"--c{number}: {at_night}" in dark


def test_what_a_page_refers_to_is_there_once(pictures):
    page = page_of(*pictures)
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    used = set(re.findall(r"url\(#([^)]+)\)", page)) | set(
        re.findall(r'<use[^>]* href="#([^"]+)"', page)
    )
    assert used and used <= set(ids)


def test_a_wall_of_tiles_stays_a_picture_and_many_points_stay_pixels():
    tiles = np.random.default_rng(0).random((6, 1, 8, 8))
    assert drawing_of(plot_reconstructions(tiles, tiles), "tiles") is None
    few, many = (np.random.default_rng(0).normal(size=(count, 2)) for count in (100, 3000))
    assert "<image" not in drawing_of(plot_latent(few), "few").panels[0].svg
    cloud = drawing_of(plot_latent(many), "many").panels[0]
    assert "<image" in cloud.svg and "<text" in cloud.svg and len(cloud.svg) < 200_000


def test_a_page_flows_and_its_words_are_words(chromium, pictures, tmp_path):
    (tmp_path / "page.html").write_text(page_of(*pictures), encoding="utf-8")
    columns = """[...document.querySelectorAll(".drawn")].map((one) => {
        const lefts = [...one.querySelectorAll(".panel")].map((part) => Math.round(part.getBoundingClientRect().left));
        return new Set(lefts).size;
    })"""
    ink = """(() => {
        const words = [...document.querySelectorAll("svg text")].find((one) => one.textContent === "ELBO");
        getSelection().selectAllChildren(words);
        return [getSelection().toString(), getComputedStyle(words).fill];
    })()"""
    smallest = """(() => {
        const boxes = [...document.querySelectorAll(".panel svg text")].map((one) => one.getBoundingClientRect());
        return Math.min(...boxes.filter(({ height }) => height).map(({ width, height }) => Math.min(width, height)));
    })()"""
    try:
        for width, scheme, expected, fill in (
            (1200, "light", [3, 3, 1, 4], "rgb(29, 35, 39)"),
            (390, "dark", [1, 1, 1, 1], "rgb(230, 233, 235)"),
        ):
            chromium.resize(width, 800, color_scheme=scheme)
            chromium.page.goto((tmp_path / "page.html").as_uri())
            assert chromium.run(columns) == expected
            assert chromium.run(ink) == ["ELBO", fill]
            assert chromium.run("document.documentElement.scrollWidth") <= width
            assert chromium.run(smallest) > 5
            assert chromium.run("window.hacked") is None
        texts = chromium.run(
            "[...document.querySelectorAll('svg text')].map((one) => one.textContent)"
        )
        assert any("<script>" in words for words in texts)
    finally:
        chromium.resize(1100, 760)
    assert chromium.errors == []


def test_a_drawing_in_a_file_has_a_dark_colour_for_each_of_its_light_ones():
    """What Matplotlib drew has no colour left but those that the style sheet names, in light and in dark."""
    content = io.StringIO()
    plot_curves(epochs(9)).savefig(content, format="svg")
    drawing = themed(content.getvalue())
    ElementTree.fromstring(drawing)
    [style] = re.findall(r"<style>svg{color-scheme.*?</style>", drawing)
    assert not re.search("#[0-9a-f]{6}", drawing.replace(style, ""))
    light, dark = (dict(re.findall(r"(--\w+):(#\w+)", part)) for part in style.split("@media"))
    used = set(re.findall(r"var\((--\w+)\)", drawing))
    assert {"--ink", "--paper", "--c0"} <= used <= set(light) <= set(dark)
    assert light["--c0"] == PALETTE[0] and dark["--c0"] == DARK_PALETTE[0]
