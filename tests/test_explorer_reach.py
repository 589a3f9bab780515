"""A slider of a column moves the point no farther than it must: the page's search against closed forms and SciPy."""

import json
from importlib import resources

import models
import numpy as np
import pytest
import torch
from py_mini_racer import MiniRacer
from scipy.optimize import minimize

from variform import read
from variform.evaluation import exploration
from variform.pages.explorer.payload import decoder_payload

SCRIPT = resources.files("variform.pages") / "script"
ATOB = "const atob = (text) => Array.from(Uint8Array.fromBase64(text), (byte) => String.fromCharCode(byte)).join('');"


@pytest.fixture(scope="module")
def page():
    with MiniRacer() as context:
        context.eval(ATOB + SCRIPT.joinpath("bundle.js").read_text(encoding="utf-8"))
        yield context


def reached(page, measure, start, target, box, tolerance=1e-3, others=()):
    """Where the search of the page ends, and whether it says that this is the target."""
    points = [f"Float32Array.of({', '.join(map(str, point))})" for point in (start, *others)]
    given = [points[0], target, json.dumps(box), tolerance, f"[{', '.join(points[1:])}]"]
    call = f"variform.reach({measure}, {', '.join(map(str, given))})"
    script = (
        f"{call}.then(({{ z, value, isReached }}) => JSON.stringify([[...z], value, isReached]))"
    )
    z, value, is_reached = json.loads(page.eval(script).get())
    return np.array(z), value, is_reached


def linear(slope):
    """A measure that is linear in z."""
    width = len(slope)
    dot = f"{json.dumps(list(slope))}.reduce((sum, a, k) => sum + a * codes[{width} * i + k], 0)"
    return (
        f"async (codes) => Float32Array.from({{ length: codes.length / {width} }}, (_, i) => {dot})"
    )


def test_of_a_plane_the_nearest_point_is_found(page):
    random = np.random.default_rng(0)
    for _ in range(5):
        slope, start, target = random.normal(size=4), random.normal(size=4), random.normal()
        z, _, is_reached = reached(page, linear(slope), start, target, [[-20, 20]] * 4)
        expected = start + slope * (target - slope @ start) / (slope @ slope)
        assert is_reached
        np.testing.assert_allclose(z, expected, atol=3e-3)


def test_within_the_box_it_is_the_nearest_too(page):
    slope, start, box = np.array([3.0, 1, 0.5]), np.array([0.0, 0.2, -0.1]), [[-0.5, 0.5]] * 3
    z, value, is_reached = reached(page, linear(slope), start, 2.0, box)
    best = minimize(
        lambda z: np.square(z - start).sum(),
        start,
        bounds=box,
        constraints={"type": "eq", "fun": lambda z: slope @ z - 2},
    )
    assert is_reached and best.success and z[0] == pytest.approx(0.5)
    np.testing.assert_allclose(z, best.x, atol=3e-3)
    z, value, is_reached = reached(page, linear(slope), start, 9.0, box)
    assert not is_reached and value == pytest.approx(slope @ [0.5, 0.5, 0.5], rel=1e-3)
    np.testing.assert_allclose(z, 0.5, atol=1e-5)


def test_where_nothing_changes_the_point_stays(page):
    z, value, is_reached = reached(page, linear([0.0, 0.0]), [0.25, 0.5], 1.0, [[-1, 1]] * 2)
    assert z.tolist() == [0.25, 0.5] and value == 0 and not is_reached


@pytest.mark.filterwarnings("ignore:Values in x were outside bounds")  # of SciPy before 1.16
@pytest.mark.parametrize("seed", range(8))
def test_of_a_decoder_it_is_where_scipy_finds_it(page, seed):
    """Sequential quadratic programming on what torch decodes, from several starts, comes no nearer."""
    torch.set_default_dtype(torch.float64)
    random = np.random.default_rng(seed)
    rows = random.normal(size=(200, 2)) @ random.normal(size=(2, 4))
    splits = read(rows + 0.1 * random.normal(size=rows.shape))
    vae = models.model_of("units", splits, seed=seed, activation="silu")
    start, box = random.normal(size=3), [[-3.0, 3.0]] * 3

    def value_at(z):
        return float(exploration.decode(vae, np.asarray(z))[2])

    known = random.uniform(-2, 2, (100, 3))
    values = np.array([value_at(z) for z in known])
    target, span = float(np.quantile(values, 0.8)), np.ptp(values)
    alike = known[np.abs(values - target) < 0.05 * span]
    others = alike[np.argsort(np.linalg.norm(alike - start, axis=1))[:2]]
    best = np.inf
    for first in (start, *random.uniform(-2, 2, (4, 3))):
        found = minimize(
            lambda z: np.square(z - start).sum(),
            first,
            bounds=box,
            constraints={"type": "eq", "fun": lambda z: (value_at(z) - target) / span},
            method="SLSQP",
        )
        if found.success:
            best = min(best, float(np.sqrt(found.fun)))
    page.eval(f"globalThis.decoder = variform.createDecoder({json.dumps(decoder_payload(vae))})")
    part = "Float32Array.from({ length: codes.length / 3 }, (_, i) => decoder.decode(codes)[4 * i + 2])"
    z, _, is_reached = reached(
        page, f"async (codes) => {part}", start, target, box, 1e-3 * span, others
    )
    assert is_reached and abs(value_at(z) - target) < 3e-3 * span
    assert np.linalg.norm(z - start) <= 1.02 * best + 5e-3
