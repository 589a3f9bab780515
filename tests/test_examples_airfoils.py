"""The case study of airfoils: its reading of coordinate files, its repair, and what its picture shows."""

import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.integrate import trapezoid

sys.path.insert(0, str(Path(__file__).parent.parent / "examples" / "airfoils"))

import foils
import pictures


def naca(x, thickness=0.12):
    """Half the thickness of the symmetric NACA foil of four digits, with a closed trailing edge."""
    powers = 0.2969 * np.sqrt(x) - 0.126 * x - 0.3516 * x**2 + 0.2843 * x**3 - 0.1036 * x**4
    return 5 * thickness * powers


def test_a_coordinate_file_is_read_as_the_formula_of_its_foil(tmp_path):
    """NACA 0012, moved and with the pitch of no file in common with the stations, from the edge over the top."""
    x = (1 - np.cos(np.linspace(0, np.pi, 50))) / 2
    over, under = np.stack([x, naca(x)], 1)[::-1], np.stack([x, -naca(x)], 1)[1:]
    points = 0.5 * np.concatenate([over, under]) + [0.2, 0.1]
    lines = [f"{a:.6f} {b:.6f}" for a, b in points]
    (tmp_path / "naca.dat").write_text("\n".join(["NACA 0012", *lines]))
    surfaces = foils.read_surfaces(tmp_path / "naca.dat")
    expected = naca(foils.STATIONS)
    np.testing.assert_allclose(surfaces, [expected, -expected], atol=1e-4)


def test_points_that_are_too_few_or_in_another_order_are_refused(tmp_path):
    back_and_forth = np.linspace([1, 1], [0, 0], 20).tolist()
    for name, rows in (("few", [(1, 0), (0, 0), (1, 0)]), ("other", [*back_and_forth, (1, 0)])):
        path = tmp_path / f"{name}.dat"
        path.write_text("\n".join(f"{a} {b}" for a, b in rows))
        with pytest.raises(ValueError):
            foils.read_surfaces(path)


def test_legal_foils_are_thicker_than_nothing_and_not_too_thick():
    half = naca(foils.STATIONS)
    crossed = half.copy()
    crossed[40] = -0.01
    several = np.array([[half, -half], [4 * half, -4 * half], [crossed, -half + 0.02]])
    assert foils.is_legal(several).tolist() == [True, False, False]


def test_families_are_letters_and_are_never_split():
    names = ["e434", "E387", "fx84w140", "2032c"]
    families = foils.families(names)
    assert families == ["e", "e", "fx", "2032c"]
    assert foils.part_of("fx") == foils.part_of("uag") == "test"
    assert foils.part_of("e") in ("train", "valid")


def test_the_repair_opens_the_trailing_edge_and_leaves_the_rest():
    pytest.importorskip("neuralfoil")
    import polar

    half = naca(foils.STATIONS)
    is_edge = foils.STATIONS > 0.99
    crossed = np.where(is_edge, -0.002, half)
    designs = np.array([[half + 0.01, -half + 0.01], [crossed, -crossed]])
    columns = dict(zip(foils.COLUMNS, designs.reshape(2, -1).T, strict=True))
    repaired = polar.with_open_edge(columns)
    after = np.stack(list(repaired.values()), axis=1).reshape(2, 2, -1)
    np.testing.assert_allclose(after[:, :, ~is_edge], designs[:, :, ~is_edge])
    np.testing.assert_allclose(after.mean(1), designs.mean(1), atol=1e-12)
    thickness = after[:, 0] - after[:, 1]
    assert thickness[:, is_edge].min() == pytest.approx(polar.EDGE)
    assert foils.is_legal(after).all()


# --- the picture --------------------------------------------------------------------------------------------------


def test_the_picture_has_the_asked_space_the_best_components_and_the_others():
    medians = {"latent": 3.0, "pca-4": 2.0, "pca-6": 1.0, "random": 4.0}
    spaces = [{"name": name, "best": [0, median, 9]} for name, median in medians.items()]
    expected = ["latent", "pca-6", "random"]
    assert [one["name"] for one in pictures.shown(spaces, "min")] == expected
    assert [one["name"] for one in pictures.shown(spaces, "max")][1] == "pca-4"


def test_the_axis_leaves_room_on_the_worse_side():
    assert pictures.limits([70.0, 75.0], 72.0, "min") == pytest.approx((68, 81))
    assert pictures.limits([180.0, 200.0], 170.0, "max") == pytest.approx((134, 212))


def test_an_outline_goes_from_the_edge_over_the_top_and_back():
    half = naca(foils.STATIONS)
    heights = np.concatenate([half, -half])
    row = {name: str(value) for name, value in zip(foils.COLUMNS, heights, strict=True)}
    points = pictures.outline(row)
    assert points[0, 0] == points[-1, 0] == 1
    x, y = points.T
    area = abs(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1))) / 2
    grid = np.linspace(0, 1, 20_001)
    assert area == pytest.approx(2 * trapezoid(naca(grid), grid), rel=2e-3)
