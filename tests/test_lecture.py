"""The lecture's map, step by step, and its pictures: what they draw is what other code than ours computes."""

import ast
import importlib
import re
import sys
import xml.etree.ElementTree as xml
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import norm
from torch.distributions import Normal, kl_divergence

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGE = (DOCS / "lecture.md").read_text(encoding="utf-8")
sys.path.insert(0, str(ROOT / "tools"))
pictures = importlib.import_module("lecture_pictures")

ROW = re.compile(
    r"^\| (\d+) \| \[(.+)\]\(#(\S+)\) \| \[(\S+)\]\((\S+)\) \| \[`(.+)`\]\((\S+)\) \|$",
    re.MULTILINE,
)
STEPS = ROW.findall(PAGE)
HEADINGS = re.findall(r"^## (\d+\. .+)$", PAGE, re.MULTILINE)
X = 0.7, 0.3  # the point of the page, and the deviation of its decoder
NOISE = 0.1
MINUS = "\N{MINUS SIGN}"


# --- the map ------------------------------------------------------------------------------------------------------


def anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_the_map_has_the_sections_in_their_order():
    assert len(STEPS) == 21
    for (number, says, link, *_), heading in zip(STEPS, HEADINGS, strict=True):
        assert f"{number}. {says}".replace("\\|", "|") == heading
        assert link == anchor(heading)


def defined(file: Path) -> set[str]:
    """Names that a file defines, those within classes by `Class.name`."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    kinds = (ast.ClassDef, ast.FunctionDef)
    outer = [node for node in tree.body if isinstance(node, kinds)]
    inner = [
        f"{node.name}.{part.name}"
        for node in outer
        for part in node.body
        if isinstance(part, kinds)
    ]
    return {node.name for node in outer} | set(inner)


@pytest.mark.parametrize("row", STEPS, ids=[row[0] for row in STEPS])
def test_a_step_has_its_picture_and_its_line_of_code(row):
    _, _, _, picture, shown, code, path = row
    assert (DOCS / shown).stem == picture
    assert (DOCS / shown).stat().st_size < 60_000
    assert re.search(rf"^!\[.+\]\({re.escape(shown)}\)$", PAGE, re.MULTILINE)
    file = (DOCS / path).resolve()
    lines = file.read_text(encoding="utf-8").splitlines()
    tagged = sum(line.endswith(f"  # eq: {code}") for line in lines)
    assert tagged + (code in defined(file)) == 1


def test_every_picture_is_in_the_map_or_beside_its_step():
    shown = set(re.findall(r"^!\[.+\]\(images/lecture/(.+)\)$", PAGE, re.MULTILINE))
    assert shown == {path.name for path in (DOCS / "images" / "lecture").iterdir()}
    assert shown == set(pictures.PICTURES)


def test_each_exercise_has_one_answer_that_is_folded_away():
    """A blank line on both sides of what is folded: without it neither GitHub nor MyST reads Markdown there."""
    text = (DOCS / "exercises.md").read_text(encoding="utf-8")
    exercises = re.split(r"^## \d+\. ", text, flags=re.MULTILINE)[1:]
    assert len(exercises) == 12
    for exercise in exercises:
        folded = "<details>\n<summary>Answer</summary>\n\n(.+)\n\n</details>\n+$"
        question, answer, _ = re.split(folded, exercise, flags=re.DOTALL)
        assert "details>" not in question + answer
        for step in re.findall(r"\d+", re.search(r"^\*To (.+?)\.\*", question, re.MULTILINE)[1]):
            assert 1 <= int(step) <= len(STEPS)


# --- the pictures -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def names():
    """What the page computes before it trains anything: 2 seconds."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    yield pictures.computed(15)
    torch.set_default_dtype(before)


CHEAP = [name for name, (step, _) in pictures.PICTURES.items() if step <= 15]


def words(path: Path) -> list[str]:
    return [
        "".join(node.itertext())
        for node in xml.parse(path).iter("{http://www.w3.org/2000/svg}text")
    ]


@pytest.mark.parametrize("name", CHEAP)
def test_a_picture_says_what_the_code_computes_today(names, tmp_path, name):
    pictures.save(pictures.PICTURES[name][1](names), tmp_path / name)
    assert words(tmp_path / name) == words(pictures.FOLDER / name)


@pytest.mark.parametrize("name", ["parabola.svg", "bound.svg", "divergence.svg", "dimensions.svg"])
def test_numbers_in_a_picture_are_those_of_the_text(name):
    printed = set(re.findall(r"\d+(?:\.\d+)?", PAGE.replace(",", "")))
    said = " ".join(words(pictures.FOLDER / name)).replace(",", "")
    exact = set(re.findall(r"\d+\.\d{4}|\d{5,}", said))
    if name == "dimensions.svg":
        exact = {"1.0", f"{MINUS}8.7", f"{MINUS}17.0", f"{MINUS}26.1"}
        assert exact <= set(said.split())
        exact = {number.strip(MINUS) for number in exact}
    assert exact and exact <= printed


def log_joint(z: float) -> float:
    """log p(x, z) of the parabola by SciPy."""
    return norm.logpdf(z) + norm.logpdf(X, [z, z**2 / 2], NOISE).sum()


def elbo(mean: np.ndarray, std: float) -> np.ndarray:
    """The ELBO of N(mean, std^2) on the parabola by the moments of a Gaussian."""
    second = mean**2 + std**2
    fourth = mean**4 + 6 * mean**2 * std**2 + 3 * std**4
    squares = (X[0] ** 2 - 2 * X[0] * mean + second) + (X[1] ** 2 - X[1] * second + fourth / 4)
    likelihood = -squares / (2 * NOISE**2) - np.log(2 * np.pi * NOISE**2)
    return likelihood - (second - 1 - np.log(std**2)) / 2


def curve(panel, number: int) -> np.ndarray:
    return np.asarray(panel.lines[number].get_xydata())


def test_the_posterior_drawn_is_that_of_a_quadrature(names):
    _, line = pictures.parabola(names).axes
    evidence, _ = quad(lambda z: np.exp(log_joint(z)), -3, 3, points=[0.7], epsabs=1e-12)
    prior, q, posterior = (curve(line, number) for number in range(3))
    exact = [np.exp(log_joint(z)) / evidence for z in posterior[:, 0]]
    np.testing.assert_allclose(posterior[:, 1], exact, rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(prior[:, 1], norm.pdf(prior[:, 0]), rtol=1e-6)
    mean, _ = quad(lambda z: z * np.exp(log_joint(z)) / evidence, -3, 3, points=[0.7])
    assert abs(q[q[:, 1].argmax(), 0] - mean) < 0.01


def test_the_bound_drawn_is_the_closed_form_and_stays_below(names):
    (panel,) = pictures.bound(names).axes
    means, values = curve(panel, 0).T
    std = names["q"].stddev.item()
    np.testing.assert_allclose(values, elbo(means, std), atol=1e-6)
    evidence, _ = quad(lambda z: np.exp(log_joint(z)), -3, 3, points=[0.7], epsabs=1e-12)
    height = curve(panel, 1)[0, 1]
    assert abs(height - np.log(evidence)) < 1e-6
    assert (values < height).all()


def test_the_levels_drawn_are_kls_of_torch(names):
    _, plane = pictures.divergence(names).axes
    lines = next(part for part in plane.collections if hasattr(part, "levels"))
    for level, path in zip(lines.levels, lines.get_paths(), strict=True):
        mean, std = torch.tensor(path.vertices).T
        found = kl_divergence(Normal(mean, std), Normal(0.0, 1.0))
        torch.testing.assert_close(found, torch.full_like(found, level), atol=0.02, rtol=0.02)


def test_the_costs_drawn_are_those_of_scipy(names):
    _, gaussian = pictures.errors(names).axes
    for number, std in enumerate((1, 0.25, 0.125)):
        y, cost = curve(gaussian, number).T
        np.testing.assert_allclose(cost, -norm.logpdf(0.5, y, std), rtol=1e-5, atol=1e-5)


def test_the_error_drawn_falls_with_the_root_of_the_draws(names):
    (panel,) = pictures.monte_carlo(names).axes
    slope, _ = np.polyfit(*np.log(curve(panel, 1)).T, 1)
    assert abs(slope + 0.5) < 0.02


def test_the_gradients_drawn_have_the_mean_of_the_closed_form(names):
    one, many = pictures.gradients(names).axes
    step = 1e-5
    exact = (elbo(np.array(0.5 + step), 0.1) - elbo(np.array(0.5 - step), 0.1)) / (2 * step)
    mean, noise = curve(one, 0)[0, 0], curve(many, 0)[0, 1]
    assert abs(mean - exact) < 4 * noise / 4000**0.5
