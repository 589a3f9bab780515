"""The solver of the beams: closed forms, finite differences, a published optimum, and the wheel's symmetry."""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "examples" / "beams"))

from beams import HIGHEST, LOWEST, Condition, cantilever, conditions, load
from solver import POISSON, SOLID, VOID, Plate, element_stiffness, optimise
from wheel import Wheel, as_stiff

SPEC = spec_from_file_location("beams_main", Path(sys.path[0]) / "main.py")
case = sys.modules["beams_main"] = module_from_spec(SPEC)
SPEC.loader.exec_module(case)


def plate(rows, columns, held=(), **options):
    return Plate(np.arange(rows * columns).reshape(rows, columns), np.array(held, int), **options)


def left_edge(rows):
    """Displacements of the nodes of the left edge."""
    return np.arange(2 * (rows + 1))


def forces(plate, *parts):
    """Forces (count, 1) from nodes and their parts in x and y."""
    values = np.zeros((plate.count, 1))
    for nodes, x, y in parts:
        values[2 * np.atleast_1d(nodes), 0] += x
        values[2 * np.atleast_1d(nodes) + 1, 0] += y
    return values


def test_a_rigid_motion_of_an_element_has_no_energy_and_nothing_else_has_none():
    stiffness = element_stiffness()
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]])
    along_x, along_y = np.tile([1.0, 0.0], 4), np.tile([0.0, 1.0], 4)
    turned = np.stack([-corners[:, 1], corners[:, 0]], axis=1).ravel().astype(float)
    for motion in (along_x, along_y, turned):
        np.testing.assert_allclose(stiffness @ motion, 0, atol=1e-15)
    values = np.linalg.eigvalsh(stiffness)
    assert (values > 0.1).sum() == 5
    np.testing.assert_allclose(stiffness, stiffness.T, atol=1e-16)


def test_a_uniform_strain_has_the_energy_of_plane_stress():
    """Twice the energy of a unit square: strain' D strain, with D written out for Young's modulus 1."""
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]])
    x, y, shear = 0.3, -0.2, 0.5
    moved = (corners @ np.array([[x, shear / 2], [shear / 2, y]])).ravel()
    energy = (x**2 + y**2 + 2 * POISSON * x * y) / (1 - POISSON**2)
    energy += shear**2 / (2 * (1 + POISSON))
    assert moved @ element_stiffness() @ moved == pytest.approx(energy, rel=1e-13)


def test_uniform_tension_stretches_and_narrows_exactly():
    rows, columns, stress = 6, 10, 0.7
    beam = plate(rows, columns)
    held = np.append(2 * beam.node(np.arange(rows + 1), 0), 1)
    beam = plate(rows, columns, held)
    shares = np.ones(rows + 1)
    shares[[0, -1]] = 0.5
    pulled = forces(beam, (beam.node(np.arange(rows + 1), columns), stress * shares, 0))
    moved = beam.displacements(np.ones(beam.shape), pulled)[:, 0].reshape(columns + 1, rows + 1, 2)
    across, down = np.arange(columns + 1), np.arange(rows + 1)
    np.testing.assert_allclose(moved[:, :, 0], (stress * across)[:, None] + 0 * down, atol=1e-11)
    narrowed = 0 * across[:, None] - POISSON * stress * down
    np.testing.assert_allclose(moved[:, :, 1], narrowed, atol=1e-11)


def test_a_cantilever_bends_as_timoshenko_says():
    rows, columns = 24, 240
    beam = plate(rows, columns, left_edge(rows))
    end = beam.node(np.arange(rows + 1), columns)
    shear = 1 - (2 * np.arange(rows + 1) / rows - 1) ** 2  # a parabola over the end
    loaded = forces(beam, (end, 0, shear / shear.sum()))
    deflection = beam.displacements(np.ones(beam.shape), loaded)[2 * end + 1, 0].mean()
    inertia = rows**3 / 12
    coefficient = 10 * (1 + POISSON) / (12 + 11 * POISSON)  # Cowper (1966), of a rectangle
    bending = columns**3 / (3 * inertia)
    shearing = columns * 2 * (1 + POISSON) / (coefficient * rows)
    assert deflection == pytest.approx(bending + shearing, rel=0.005)


def test_the_gradient_of_compliance_is_that_of_finite_differences():
    random = np.random.default_rng(0)
    beam = plate(4, 7, left_edge(4))
    loaded = np.concatenate(
        [forces(beam, (beam.node(2, 7), 0.3, 1)), forces(beam, (beam.node(0, 5), 1, 0))], axis=1
    )
    density = random.uniform(0.2, 0.9, beam.shape)
    compliance, slope = beam.compliance(density, loaded)
    moved = beam.displacements(density, loaded)
    assert compliance == pytest.approx((loaded * moved).sum() / 2, rel=1e-10)  # a mean of two cases
    step = 1e-5
    for row, column in [(0, 0), (2, 3), (3, 6)]:
        ends = []
        for sign in (1, -1):
            other = density.copy()
            other[row, column] += sign * step
            ends.append(beam.compliance(other, loaded)[0])
        assert slope[row, column] == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-6)


def test_elements_that_share_a_density_share_its_gradient():
    """Of the unfiltered gradient: a radius of 1 makes the filter the identity."""
    cells = np.array([[0, 1, 1], [SOLID, 2, VOID]])
    beam = Plate(cells, left_edge(2), radius=1.0)
    loaded = forces(beam, (beam.node(0, 3), 0, 1))
    variables = np.array([0.4, 0.6, 0.5])
    density = beam.density(variables)
    np.testing.assert_array_equal(density, [[0.4, 0.6, 0.6], [1, 0.5, 0]])
    np.testing.assert_allclose(beam.variables(density), variables)
    slope = beam.filtered(density, beam.compliance(density, loaded)[1])
    for variable in range(3):
        ends = []
        for step in (1e-5, -1e-5):
            other = variables.copy()
            other[variable] += step
            ends.append(beam.compliance(beam.density(other), loaded)[0])
        assert slope[variable] == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-6)


def test_the_filter_is_that_of_the_formula():
    random = np.random.default_rng(1)
    beam = plate(3, 5, left_edge(3), radius=2.4)
    density, slope = random.uniform(0.1, 1, (3, 5)), -random.uniform(1, 2, (3, 5))
    places = np.argwhere(np.ones((3, 5)))
    distance = np.linalg.norm(places[:, None] - places[None], axis=2)
    weights = np.maximum(0, 2.4 - distance)
    expected = weights @ (density * slope).ravel() / (density.ravel() * weights.sum(1))
    np.testing.assert_allclose(beam.filtered(density, slope), expected)


def mbb(radius):
    """Half of a beam on two supports with a load in the middle, 60 x 20 elements, and its force."""
    rows, columns = 20, 60
    symmetric = 2 * np.arange(rows + 1)
    support = 2 * (columns * (rows + 1) + rows) + 1
    beam = plate(rows, columns, [*symmetric, support], radius=radius)
    return beam, forces(beam, (0, 0, 1))


def test_the_beam_of_the_88_lines_is_as_stiff_as_published():
    """Andreassen et al. (2011), figure 3: compliance 216.81 of 60 x 20 elements with the sensitivity filter."""
    beam, loaded = mbb(2.4)
    optimum = optimise(beam, loaded, 0.5, iterations=200, tolerance=0.01)
    assert optimum.compliances[-1] == pytest.approx(216.81, rel=1e-3)
    assert optimum.density.mean() == pytest.approx(0.5, abs=1e-9)


def test_a_plate_of_full_volume_is_full():
    beam, loaded = mbb(1.5)
    optimum = optimise(beam, loaded, 1.0, iterations=2)
    np.testing.assert_allclose(optimum.density, 1)


def test_a_start_is_shifted_to_the_volume():
    beam, _ = mbb(1.5)
    random = np.random.default_rng(2)
    variables = beam.with_volume(random.uniform(0, 1, 1200), 0.3)
    assert variables.mean() == pytest.approx(0.3, abs=1e-9)
    assert variables.min() == 0


# --- beams --------------------------------------------------------------------------------------------------------


def test_conditions_are_within_their_ranges_and_a_load_is_a_force_of_1_at_its_angle():
    asked = conditions(20)
    assert len(set(asked)) == 20
    assert np.all((np.array(asked) >= LOWEST) & (np.array(asked) <= HIGHEST))
    force = load(Condition(lx=0.5, ly=0.25, angle=30, volume=0.4))
    node = cantilever().node(18, 24)
    assert set(np.flatnonzero(force)) == {2 * node, 2 * node + 1}
    np.testing.assert_allclose(force[2 * node : 2 * node + 2, 0], [0.5, np.sqrt(0.75)])


def test_a_load_that_is_mirrored_has_a_mirrored_beam():
    beams = [
        optimise(cantilever(), load(Condition(0.75, ly, angle, 0.4)), 0.4, iterations=10).density
        for ly, angle in ((0.25, 30), (0.75, -30))
    ]
    np.testing.assert_allclose(beams[0], beams[1][::-1], atol=1e-6)


def test_the_answer_of_a_way_is_its_stiffest_candidate_at_the_volume_that_was_asked_for():
    condition = Condition(1.0, 0.5, 0.0, 0.4)
    solved = optimise(cantilever(), load(condition), 0.4, iterations=5)
    worse = np.full((24, 48), 0.5)
    result = case.answer(lambda _: np.stack([worse, solved.density]), condition)
    assert result.compliance == pytest.approx(solved.compliances[-1])
    assert result.improved.mean() == pytest.approx(0.4, abs=1e-9)
    assert result.improved_compliance < result.compliance
    better = optimise(cantilever(), load(condition), 0.4, iterations=10)
    assert result.improved_compliance == pytest.approx(better.compliances[-1], rel=1e-6)


def test_parts_hang_together_by_their_edges():
    beam = np.zeros((4, 4))
    beam[0, :2] = beam[1, 1] = 0.6
    assert case.is_one_part(beam)
    beam[2, 2] = 0.6
    assert not case.is_one_part(beam)


def test_the_table_has_medians_quantiles_and_shares_in_percent():
    whole, split = np.ones((2, 2)), np.eye(2)
    asked = [Condition(1, 0.5, 0, 0.5)] * 3
    answers = [
        case.Answer(0.5, whole, 1.1, whole, 1.0),
        case.Answer(0.55, split, 1.3, whole, 1.1),
        case.Answer(0.45, whole, 1.2, split, 1.2),
    ]
    figures = case.row_of(answers, asked, np.ones(3))
    np.testing.assert_allclose(figures, [10, 20, 28, 200 / 3, 10, 18, 200 / 3])


# --- the wheel ----------------------------------------------------------------------------------------------------


def test_a_wheel_of_four_sectors_is_unchanged_by_a_quarter_turn():
    wheel = Wheel.of(4, side=32)
    optimum = optimise(wheel.plate, wheel.loads(0.4), 0.4, iterations=8)
    np.testing.assert_array_equal(np.rot90(optimum.density), optimum.density)
    assert optimum.compliances[-1] < 0.8 * optimum.compliances[0]


def test_every_quarter_of_a_wheel_is_as_stiff():
    wheel = Wheel.of(4, side=32)
    loads = wheel.loads(0.4)
    optimum = optimise(wheel.plate, loads, 0.4, iterations=8)
    moved = wheel.plate.displacements(optimum.density, loads)
    quarters = (loads * moved).sum(0).reshape(4, 3)
    np.testing.assert_allclose(quarters, quarters[:1].repeat(4, 0), rtol=1e-7)


def test_a_load_of_the_wheel_points_to_the_hub_and_along_the_rim():
    wheel = Wheel.of(5, side=40)
    forces = wheel.loads(0.5)
    for case_of_load in forces.T:
        nodes = np.flatnonzero(case_of_load)
        assert len(nodes) == 2
        assert np.linalg.norm(case_of_load) == pytest.approx(np.hypot(1, 0.5))
        column, row = divmod(nodes[0] // 2, 41)
        outwards = np.array([column, row]) - 20.0
        assert np.hypot(*outwards) == pytest.approx(18.5, abs=0.8)
        inwards = -outwards @ case_of_load[nodes] / np.hypot(*outwards)
        assert inwards == pytest.approx(1, abs=0.03)


def test_wheels_get_the_volume_that_makes_them_as_stiff():
    wheel = Wheel.of(4, side=32)
    reference = optimise(wheel.plate, wheel.loads(0.0), 0.4, iterations=40)
    target = wheel.compliance(reference.density)
    found, volume = as_stiff(wheel, 0.0, target)
    assert volume == pytest.approx(0.4, abs=0.01)
    assert wheel.compliance(found.density) == pytest.approx(target, rel=0.01)
