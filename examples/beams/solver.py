"""The stiffest plate of a given volume, on a grid of elements that are all alike, by SIMP.

A plate (rows, columns) of bilinear elements of thickness and Young's modulus 1 is in plane stress. With the densities
rho of its elements, each of stiffness E(rho) = E_min + rho^p (1 - E_min), and forces f, its displacements solve
K(rho) u = f; it is stiffest where the compliance f'u is least. The optimality criteria move density to where it pays
most:

    dc/drho_e = -E'(rho_e) u_e' k u_e,      rho_e <- rho_e sqrt(-dc/drho_e / (multiplier volume_e))

with the sensitivities filtered (Sigmund 2001) and the multiplier such that the volume is what was asked for.

In each node x points to the right and y down, as in an image; the displacements are those of x and y,
node by node. Elements are squares of side 1. A grid may also be closed to a ring, its rows from the inside to
the outside: then x points round it and y outwards at each node, and all elements are similar, with radii in geometric
progression; the stiffness of similar plane elements is the same.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.linalg import block_diag, solveh_banded
from scipy.optimize import brentq

Array = NDArray[np.float64]
Indices = NDArray[np.intp]

POISSON = 0.3
POWER = 3
WEAKEST = 1e-9  # the modulus of an element without material
MOVE = 0.2  # how much a density changes at most in an iteration

SOLID = -1


SQUARE = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])


def element_stiffness(corners: Array = SQUARE, poisson: float = POISSON) -> Array:
    """Stiffness (8, 8) of an element of modulus 1 with `corners` (4, 2), by 2 x 2 Gauss points; of a square exact."""
    law = np.array([[1, poisson, 0], [poisson, 1, 0], [0, 0, (1 - poisson) / 2]])
    law /= 1 - poisson**2
    signs = 2 * SQUARE - 1
    points = signs / np.sqrt(3)
    along = signs * (1 + points[:, None, ::-1] * signs[:, ::-1]) / 4  # (points, corners, 2)
    jacobian = np.einsum("gna,nx->gax", along, corners)
    slopes = np.einsum("gxa,gna->gnx", np.linalg.inv(jacobian), along)
    strain = np.zeros((4, 3, 8))
    strain[:, 0, 0::2] = strain[:, 2, 1::2] = slopes[:, :, 0]
    strain[:, 1, 1::2] = strain[:, 2, 0::2] = slopes[:, :, 1]
    weights = np.linalg.det(jacobian)
    return np.einsum("g,gai,ab,gbj->ij", weights, strain, law, strain)


def ring_stiffness(angle: float) -> Array:
    """Stiffness (8, 8) of an element of a ring that spans `angle`, by displacements round the ring and outwards.

    Its corners lie on rays and on two circles whose radii are as 1 to exp(angle), so that it is nearly square.
    """
    turned = angle * np.array([0, 1, 1, 0])
    outwards = np.stack([np.cos(turned), -np.sin(turned)], axis=1)
    round_it = np.stack([-np.sin(turned), -np.cos(turned)], axis=1)
    radii = np.exp(angle * np.array([0, 0, 1, 1]))
    axes = block_diag(*np.stack([round_it, outwards], axis=2))
    return axes.T @ element_stiffness(radii[:, None] * outwards) @ axes


def modulus(density: Array) -> Array:
    """Young's modulus of elements of `density`."""
    return WEAKEST + density**POWER * (1 - WEAKEST)


class Plate:
    """A plate that is held at some displacements, with what of it may be designed.

    Args:
        cells: (rows, columns), the design variable from 0 on that is each element's density: a number of its own for
            each, or one number for elements that are to be alike; or SOLID, density 1.
        held: displacements that are 0.
        radius: of the sensitivity filter, in elements.
        angle: of each element of a ring, whose last column touches the first; none of a grid of squares.

    Attributes:
        shape: rows and columns.
        areas: (rows, columns), of elements; 1 of squares, and of a ring such that its inner radius is 1.
        free: displacements that are not 0.
        volumes: (variables,), the area of all elements of each.
    """

    def __init__(
        self, cells: Indices, held: Indices, radius: float = 1.5, *, angle: float | None = None
    ) -> None:
        self.cells = cells
        self.shape = cells.shape
        self.is_designed = cells >= 0
        self.is_ring = angle is not None
        self._stiffness = element_stiffness() if angle is None else ring_stiffness(angle)
        self.areas = np.ones(self.shape) if angle is None else self._areas_of_ring(angle)
        self.volumes = np.bincount(cells[self.is_designed], self.areas[self.is_designed])
        self.count = 2 * (self.shape[0] + 1) * self._columns_of_nodes
        self._degrees = self._degrees_of_elements()
        self.free = np.setdiff1d(np.arange(self.count), held)
        self._is_used, self._entry = self._pattern()
        self._filter = self._filter_weights(radius)

    def _areas_of_ring(self, angle: float) -> Array:
        squares = np.exp(2 * angle * np.arange(self.shape[0] + 1))
        return np.sin(angle) / 2 * np.diff(squares)[:, None] * np.ones(self.shape)

    @property
    def _columns_of_nodes(self) -> int:
        return self.shape[1] if self.is_ring else self.shape[1] + 1

    def _degrees_of_elements(self) -> Indices:
        """Displacements (elements, 8) of the elements."""
        row, column = np.indices(self.shape).reshape(2, -1)
        corners = [(0, 0), (0, 1), (1, 1), (1, 0)]
        nodes = np.stack([self.node(row + down, column + right) for down, right in corners], axis=1)
        return np.stack([2 * nodes, 2 * nodes + 1], axis=2).reshape(-1, 8)

    def node(self, row: Indices | int, column: Indices | int) -> Indices:
        """Numbers of the nodes at corners of elements, from row 0, column 0 to (rows, columns).

        They run down the columns. Those of a ring are numbered alternately from both ends, so that columns that are
        next to each other are at most two apart, and the bands of the matrix few.
        """
        columns = self._columns_of_nodes
        column = np.asarray(column) % columns
        if self.is_ring:
            column = np.minimum(2 * column, 2 * (columns - column) - 1)
        return column * (self.shape[0] + 1) + row

    def _pattern(self) -> tuple[NDArray[np.bool_], Indices]:
        """Which of the 64 numbers of each element are used, and to which entry of the matrix each of these is added.

        The matrix is that of the free displacements, as its bands: the diagonal and, below, what is left of it.
        """
        place = np.full(self.count, -1)
        place[self.free] = np.arange(len(self.free))
        local = place[self._degrees]
        row, column = np.repeat(local, 8, axis=1).ravel(), np.tile(local, (1, 8)).ravel()
        is_used = (column >= 0) & (row >= column)
        return is_used, ((row - column) * len(self.free) + column)[is_used]

    def _filter_weights(self, radius: float) -> sparse.csr_matrix:
        """Weights max(0, radius - distance) between designed elements, with rows of sum 1."""
        row, column = np.nonzero(self.is_designed)
        number = np.full(self.shape, -1)
        number[row, column] = np.arange(len(row))
        reach = int(np.ceil(radius))
        padded = np.pad(number, reach, constant_values=-1)
        if self.is_ring:
            padded[reach:-reach] = np.pad(number, ((0, 0), (reach, reach)), mode="wrap")
        parts = []
        for down in range(-reach, reach + 1):
            for right in range(-reach, reach + 1):
                weight = radius - np.hypot(down, right)
                other = padded[row + reach + down, column + reach + right]
                near = np.flatnonzero(other >= 0)
                parts.append((near, other[near], np.full(len(near), max(0.0, weight))))
        here, other, weights = (np.concatenate(part) for part in zip(*parts, strict=True))
        matrix = sparse.csr_matrix((weights, (here, other)), shape=(len(row), len(row)))
        return sparse.diags(1 / np.asarray(matrix.sum(axis=1)).ravel()) @ matrix

    def density(self, variables: Array) -> Array:
        """Densities (rows, columns) of the elements."""
        everything = np.ones(self.shape)
        everything[self.is_designed] = variables[self.cells[self.is_designed]]
        return everything

    def variables(self, density: Array) -> Array:
        """The mean density (variables,) of the elements of each."""
        cells, inside = self.cells[self.is_designed], self.is_designed
        return np.bincount(cells, weights=(self.areas * density)[inside]) / self.volumes

    def displacements(self, density: Array, forces: Array) -> Array:
        """Displacements (count, cases) under `forces` (count, cases), by a banded Cholesky factorisation."""
        values = modulus(density).reshape(-1, 1) * self._stiffness.ravel()
        entries = np.bincount(self._entry, weights=values.ravel()[self._is_used])
        size = len(self.free)
        bands = np.pad(entries, (0, -len(entries) % size)).reshape(-1, size)
        moved = np.zeros_like(forces)
        moved[self.free] = solveh_banded(bands, forces[self.free], lower=True, check_finite=False)
        return moved

    def compliance(self, density: Array, forces: Array) -> tuple[float, Array]:
        """The compliance, a mean over the cases of load, and its gradient (rows, columns) by the densities."""
        moved = self.displacements(density, forces)
        energy = self.energies(moved).mean(axis=1).reshape(self.shape)
        slope = -POWER * density ** (POWER - 1) * (1 - WEAKEST) * energy
        return float((modulus(density) * energy).sum()), slope

    def energies(self, moved: Array) -> Array:
        """u'ku (elements, cases) of the elements, of modulus 1, at displacements (count, cases)."""
        own = moved[self._degrees]
        return np.einsum("eic,ij,ejc->ec", own, self._stiffness, own, optimize=True)

    def filtered(self, density: Array, slope: Array) -> Array:
        """The gradient by the design variables (variables,), after the sensitivity filter."""
        inside, areas = density[self.is_designed], self.areas[self.is_designed]
        by_area = inside * slope[self.is_designed] / areas
        smooth = areas * (self._filter @ by_area) / np.maximum(inside, 1e-3)
        return np.bincount(self.cells[self.is_designed], weights=smooth).astype(np.float64)

    def with_volume(self, variables: Array, volume: float) -> Array:
        """Variables nearest to these, within 0 and 1, whose elements have the mean density `volume`."""

        def excess(shift: float) -> float:
            return self.volumes @ (variables + shift).clip(0, 1) / self.volumes.sum() - volume

        shift = brentq(excess, -variables.max(), 1 - variables.min(), xtol=1e-12)
        return (variables + shift).clip(0, 1)


@dataclass(frozen=True)
class Optimum:
    """Densities (rows, columns), and the compliance before each iteration and after the last."""

    density: Array
    compliances: list[float]


def optimise(
    plate: Plate,
    forces: Array,
    volume: float,
    *,
    start: Array | None = None,
    iterations: int = 30,
    tolerance: float = 0.0,
) -> Optimum:
    """Move the densities of a plate until it is as stiff as its volume allows.

    Args:
        plate: the plate and what of it may be designed.
        forces: (count, cases); the mean compliance over the cases counts.
        volume: the mean density of the designed elements.
        start: densities (rows, columns) to begin with, shifted to the volume; uniform without.
        iterations: at most as many, of one solution each.
        tolerance: stop where no density changed by more.
    """
    variables = np.full(len(plate.volumes), volume)
    if start is not None:
        variables = plate.with_volume(plate.variables(start), volume)
    compliances = []
    for _ in range(iterations):
        density = plate.density(variables)
        compliance, slope = plate.compliance(density, forces)
        compliances.append(compliance)
        before = variables
        variables = _moved(variables, plate.filtered(density, slope), plate.volumes, volume)
        if np.abs(variables - before).max() <= tolerance:
            break
    density = plate.density(variables)
    compliances.append(plate.compliance(density, forces)[0])
    return Optimum(density, compliances)


def _moved(variables: Array, slope: Array, volumes: Array, volume: float) -> Array:
    """Variables after a step of the optimality criteria that keeps the volume."""
    pull = np.sqrt(np.maximum(-slope / volumes, 0))
    low, high = np.maximum(variables - MOVE, 0), np.minimum(variables + MOVE, 1)

    def at(logarithm: float) -> Array:
        return (variables * pull * np.exp(-logarithm)).clip(low, high)

    def excess(logarithm: float) -> float:
        return volumes @ at(logarithm) / volumes.sum() - volume

    middle = np.log(pull.max() + 1e-300)
    return at(brentq(excess, middle - 60, middle + 60, xtol=1e-10))
