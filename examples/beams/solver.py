"""The stiffest plate of a given volume, on a grid of square elements, by SIMP.

A plate (rows, columns) of bilinear elements of side, thickness and Young's modulus 1 is in plane stress. With the
densities rho of its elements, each of stiffness E(rho) = E_min + rho^p (1 - E_min), and forces f, its displacements
solve K(rho) u = f; it is stiffest where the compliance f'u is least. The optimality criteria move density to where it
pays most:

    dc/drho_e = -E'(rho_e) u_e' k u_e,      rho_e <- rho_e sqrt(-dc/drho_e / multiplier)

with the sensitivities filtered (Sigmund 2001) and the multiplier such that the volume is what was asked for.

Nodes are numbered down the columns; x points to the right and y down, as in an image; the displacements are those of x
and y, node by node.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import brentq
from scipy.sparse.linalg import splu

Array = NDArray[np.float64]
Indices = NDArray[np.intp]

POISSON = 0.3
POWER = 3
WEAKEST = 1e-9  # the modulus of an element without material
MOVE = 0.2  # how much a density changes at most in an iteration

VOID, SOLID = -1, -2


def element_stiffness(poisson: float = POISSON) -> Array:
    """Stiffness (8, 8) of a square element of modulus 1, by 2 x 2 Gauss points, which is exact.

    Its corners are (0, 0), (1, 0), (1, 1), (0, 1).
    """
    law = np.array([[1, poisson, 0], [poisson, 1, 0], [0, 0, (1 - poisson) / 2]])
    law /= 1 - poisson**2
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    points = corners / np.sqrt(3)
    along_x = corners[:, 0] * (1 + points[:, 1:] * corners[:, 1]) / 2  # of side 1, not 2
    along_y = corners[:, 1] * (1 + points[:, :1] * corners[:, 0]) / 2
    strain = np.zeros((4, 3, 8))
    strain[:, 0, 0::2] = strain[:, 2, 1::2] = along_x
    strain[:, 1, 1::2] = strain[:, 2, 0::2] = along_y
    return np.einsum("gai,ab,gbj->ij", strain, law, strain) / 4


def modulus(density: Array) -> Array:
    """Young's modulus of elements of `density`."""
    return WEAKEST + density**POWER * (1 - WEAKEST)


class Plate:
    """A plate that is held at some displacements, with what of it may be designed.

    Args:
        cells: (rows, columns), the design variable from 0 on that is each element's density: a number of its own for
            each, or one number for elements that are to be alike; or VOID, no element at all, or SOLID, density 1.
        held: displacements that are 0.
        radius: of the sensitivity filter, in elements.

    Attributes:
        shape: rows and columns.
        free: displacements that are not 0.
        volumes: (variables,), the number of elements of each.
    """

    def __init__(self, cells: Indices, held: Indices, radius: float = 1.5) -> None:
        self.cells = cells
        self.shape = cells.shape
        rows, columns = self.shape
        self.is_designed = cells >= 0
        self.volumes = np.bincount(cells[self.is_designed]).astype(float)
        self.count = 2 * (rows + 1) * (columns + 1)
        self._is_there = cells != VOID
        self._stiffness = element_stiffness()
        self._degrees = self._degrees_of_elements()
        self.free = np.setdiff1d(self._degrees, held)
        self._is_used, self._entry, self._sparse = self._pattern()
        self._filter = self._filter_weights(radius)

    def _degrees_of_elements(self) -> Indices:
        """Displacements (elements, 8) of the elements that are there."""
        row, column = np.nonzero(self._is_there)
        corners = [(0, 0), (0, 1), (1, 1), (1, 0)]
        nodes = np.stack([self.node(row + down, column + right) for down, right in corners], axis=1)
        return np.stack([2 * nodes, 2 * nodes + 1], axis=2).reshape(-1, 8)

    def node(self, row: Indices | int, column: Indices | int) -> Indices:
        """Numbers of the nodes at corners of elements, from row 0, column 0 to (rows, columns)."""
        return np.asarray(column * (self.shape[0] + 1) + row)

    def _pattern(self) -> tuple[NDArray[np.bool_], Indices, sparse.csc_matrix]:
        """The stiffness matrix of the free displacements without its numbers, and where those of the elements go.

        Returns:
            Which of the 64 numbers of each element are used, the entry of the matrix that each of these is added to,
            and the matrix.
        """
        place = np.full(self.count, -1)
        place[self.free] = np.arange(len(self.free))
        local = place[self._degrees]
        row, column = np.repeat(local, 8, axis=1).ravel(), np.tile(local, (1, 8)).ravel()
        is_used = (row >= 0) & (column >= 0)
        size = len(self.free)
        flat = column[is_used] * size + row[is_used]
        entries, entry = np.unique(flat, return_inverse=True)
        starts = np.searchsorted(entries, np.arange(size + 1) * size)
        empty = (np.zeros(len(entries)), entries % size, starts)
        return is_used, entry, sparse.csc_matrix(empty, shape=(size, size))

    def _filter_weights(self, radius: float) -> sparse.csr_matrix:
        """Weights max(0, radius - distance) between designed elements, with rows of sum 1."""
        row, column = np.nonzero(self.is_designed)
        number = np.full(self.shape, -1)
        number[row, column] = np.arange(len(row))
        reach = int(np.ceil(radius))
        padded = np.pad(number, reach, constant_values=-1)
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
        """Densities (rows, columns) of the elements, with 0 where there is none."""
        everything = np.where(self.cells == SOLID, 1.0, 0.0)
        everything[self.is_designed] = variables[self.cells[self.is_designed]]
        return everything

    def variables(self, density: Array) -> Array:
        """The mean density (variables,) of the elements of each."""
        cells = self.cells[self.is_designed]
        return np.bincount(cells, weights=density[self.is_designed]) / self.volumes

    def displacements(self, density: Array, forces: Array) -> Array:
        """Displacements (count, cases) under `forces` (count, cases)."""
        values = modulus(density[self._is_there])[:, None] * self._stiffness.ravel()
        matrix = self._sparse.copy()
        matrix.data = np.bincount(self._entry, weights=values.ravel()[self._is_used])
        factors = splu(
            matrix,
            permc_spec="MMD_AT_PLUS_A",
            diag_pivot_thresh=0.0,
            options={"SymmetricMode": True},
        )
        moved = np.zeros_like(forces)
        moved[self.free] = factors.solve(forces[self.free])
        return moved

    def compliance(self, density: Array, forces: Array) -> tuple[float, Array]:
        """The compliance, a mean over the cases of load, and its gradient (rows, columns) by the densities."""
        moved = self.displacements(density, forces)
        energy = self.energies(moved).mean(axis=1)
        slope = np.zeros(self.shape)
        inside = density[self._is_there]
        slope[self._is_there] = -POWER * inside ** (POWER - 1) * (1 - WEAKEST) * energy
        return float(modulus(inside) @ energy), slope

    def energies(self, moved: Array) -> Array:
        """u'ku (elements, cases) of the elements that are there, of modulus 1, at displacements (count, cases)."""
        own = moved[self._degrees]
        return np.einsum("eic,ij,ejc->ec", own, self._stiffness, own, optimize=True)

    def filtered(self, density: Array, slope: Array) -> Array:
        """The gradient by the design variables (variables,), after the sensitivity filter."""
        inside = density[self.is_designed]
        smooth = self._filter @ (inside * slope[self.is_designed]) / np.maximum(inside, 1e-3)
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
