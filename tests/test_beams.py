"""The solver of the beams and wheels: closed forms, finite differences, a published optimum, and symmetry."""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "examples" / "beams"))

import wheel as wheels
from beams import HIGHEST, LOWEST, Condition, cantilever, conditions, load
from solver import POISSON, SOLID, Plate, element_stiffness, optimise, ring_stiffness
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
    cells = np.array([[0, 1, 1], [SOLID, 2, 2]])
    beam = Plate(cells, left_edge(2), radius=1.0)
    loaded = forces(beam, (beam.node(0, 3), 0, 1))
    variables = np.array([0.4, 0.6, 0.5])
    density = beam.density(variables)
    np.testing.assert_array_equal(density, [[0.4, 0.6, 0.6], [1, 0.5, 0.5]])
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
    expected = [10, 20, 28, 200 / 3, 0, 10, 18, 200 / 3, 0]
    np.testing.assert_allclose(figures, expected, atol=1e-12)


def test_grey_is_what_is_neither_there_nor_not():
    assert case.grey(np.array([[0.0, 1.0]])) == 0
    assert case.grey(np.full((2, 2), 0.5)) == 1
    assert case.grey(np.array([0.25, 1.0])) == pytest.approx(3 / 8)


def test_a_blend_is_the_mean_of_the_nearest_beams():
    known = case.Known(
        np.array([[0.0], [1.0], [5.0]]) * np.ones(4),
        np.array([0.2, 0.4, 0.9])[:, None, None] * np.ones((24, 48)),
        np.ones(4),
    )
    blend = known.blend(2, Condition(0.4, 0.4, 0.4, 0.4))
    np.testing.assert_allclose(blend, np.full((1, 24, 48), 0.3))


# --- the wheel ----------------------------------------------------------------------------------------------------


def ring(rows, columns, radius=1.5):
    """A ring that is held inside, whose inner radius is 1."""
    held = 2 * np.arange(columns) * (rows + 1)
    angle = 2 * np.pi / columns
    cells = np.arange(rows * columns).reshape(rows, columns)
    return Plate(cells, np.concatenate([held, held + 1]), radius, angle=angle)


def test_a_rigid_motion_of_an_element_of_a_ring_has_no_energy():
    """In the axes of the ring, which turn from corner to corner; and an element that spans little is a square."""
    angle = 0.2
    turned, radii = angle * np.array([0, 1, 1, 0]), np.exp(angle * np.array([0, 0, 1, 1]))
    sine, cosine = np.sin(turned), np.cos(turned)
    along_x = np.stack([-sine, cosine], axis=1)
    along_y = np.stack([-cosine, -sine], axis=1)
    rotated = np.stack([radii, 0 * radii], axis=1)
    for motion in (along_x, along_y, rotated):
        np.testing.assert_allclose(ring_stiffness(angle) @ motion.ravel(), 0, atol=1e-14)
    np.testing.assert_allclose(ring_stiffness(1e-6), element_stiffness(), atol=1e-5)


def test_a_ring_under_pressure_and_torque_moves_as_lame_says():
    """Held inside: u_r = A (r - 1/r) in plane stress, and shear that falls as 1/r^2."""
    rows, columns, pressure, shear = 20, 80, 0.3, 0.7
    wheel = ring(rows, columns)
    rim, outside = wheel.node(rows, np.arange(columns)), np.exp(rows * 2 * np.pi / columns)
    arc = 2 * np.pi * outside / columns
    loaded = forces(wheel, (rim, shear * arc, -pressure * arc))
    moved = wheel.displacements(np.ones(wheel.shape), loaded)[:, 0]
    slope = -pressure * (1 - POISSON**2) / (1 + POISSON + (1 - POISSON) / outside**2)
    inwards = slope * (outside - 1 / outside)
    round_it = shear * (1 + POISSON) * outside**3 * (1 - 1 / outside**2)
    np.testing.assert_allclose(moved[2 * rim + 1], inwards, rtol=3e-3)
    np.testing.assert_allclose(moved[2 * rim], round_it, rtol=3e-3)


def test_the_area_of_a_ring_is_that_of_its_polygons():
    wheel = ring(9, 30)
    outside = np.exp(9 * 2 * np.pi / 30)
    polygons = 15 * np.sin(2 * np.pi / 30) * (outside**2 - 1)
    assert wheel.areas.sum() == pytest.approx(polygons) == wheel.volumes.sum()


def test_the_filter_of_a_ring_goes_round_and_weighs_by_area():
    """Sigmund's filter of dc/drho per area, by its formula, between elements of both ends too."""
    random = np.random.default_rng(3)
    wheel = ring(3, 8, radius=2.4)
    density, slope = random.uniform(0.1, 1, (3, 8)), -random.uniform(1, 2, (3, 8))
    row, column = np.indices((3, 8)).reshape(2, -1)
    across = np.abs(column[:, None] - column)
    distance = np.hypot(row[:, None] - row, np.minimum(across, 8 - across))
    weights = np.maximum(0, 2.4 - distance)
    areas = wheel.areas.ravel()
    expected = weights @ ((density * slope).ravel() / areas) * areas
    expected /= density.ravel() * weights.sum(1)
    np.testing.assert_allclose(wheel.filtered(density, slope), expected)


def test_the_loads_of_one_sector_are_enough():
    """Compliance and the gradient of the shared densities are those of loads all round the wheel."""
    wheel = Wheel.of(5, arcs=30)
    plate, one = wheel.plate, wheel.loads(0.4, places=3)
    density = plate.density(np.random.default_rng(4).uniform(0.2, 1, len(plate.volumes)))
    np.testing.assert_array_equal(density, np.roll(density, 6, axis=1))
    nodes = plate.node(plate.shape[0], np.arange(0, 30, 2))
    everywhere = np.zeros((plate.count, 15))
    everywhere[2 * nodes, np.arange(15)] = 0.4
    everywhere[2 * nodes + 1, np.arange(15)] = -1
    found, expected = plate.compliance(density, one), plate.compliance(density, everywhere)
    assert found[0] == pytest.approx(expected[0], rel=1e-9)
    gradients = [plate.filtered(density, slope) for _, slope in (found, expected)]
    np.testing.assert_allclose(*gradients, rtol=1e-8)


def test_wheels_get_the_volume_that_makes_them_as_stiff():
    wheel = Wheel.of(4, arcs=32)
    density = as_stiff(wheel, 0.2, 3, 15.0)
    assert wheel.compliance(density) == pytest.approx(15, rel=0.02)
    other = as_stiff(wheel, 0.2, 3, 20.0)
    assert wheel.filled(other) < wheel.filled(density)


def test_a_picture_has_the_material_of_the_wheel_and_does_not_turn_with_it():
    wheel = Wheel.of(3, arcs=60)
    rows, columns = wheel.plate.shape
    spokes = np.cos(3 * 2 * np.pi * np.arange(columns) / columns)
    density = np.where(np.arange(rows)[:, None] < rows - 2, 0.5 + 0.4 * spokes, 1.0)
    picture = wheel.picture(density, side=200)
    disc = np.pi / 4 * 200**2
    assert picture.sum() / disc == pytest.approx(wheel.filled(density), abs=0.01)
    turned = wheel.picture(np.roll(density, 7, axis=1), side=200)
    np.testing.assert_allclose(turned, picture, atol=1e-9)


def test_wheels_are_chosen_that_differ_and_are_stiff_light_and_not_grey(monkeypatch):
    monkeypatch.setattr(wheels, "CHOSEN", 2)
    right = {"compliance": wheels.COMPLIANCE, "mass_kg": 5.0, "grey": 0.1}
    rows = [
        right | {"mass_kg": 5.5},
        right,
        right | {"mass_kg": 5.2},
        right | {"compliance": 0.9 * wheels.COMPLIANCE},
        right | {"grey": 0.9},
        right | {"mass_kg": 9.0},
    ]
    pictures = np.array([0.2, 0.1, 0.15, 0.9, 0.9, 0.9])[:, None, None] * np.ones((1, 4, 4))
    selection = wheels.choose(rows, pictures)
    assert selection.chosen.tolist() == [1, 0]
    np.testing.assert_allclose(selection.apart, 0.1)
