"""Clusters of particles: densities that neither turns nor exchanges of particles change."""

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import final

import jax.numpy as jnp
import numpy as np
from jax import Array

from flowjax_lite.core.checks import check_event
from flowjax_lite.inference.targets.base import AbstractTarget


class AbstractCluster(AbstractTarget):
    """Particles whose centre is at the origin.

    An energy of distances does not change where all particles move together, so it has a
    normalising constant only with the centre fixed. An event holds orthonormal coordinates of
    what is left, (particles - 1) · space entries; `positions` makes particles of them.
    """

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int]:
        """Number of particles, and dimension of their space."""

    @property
    def dim(self) -> int:
        particles, space = self.shape
        return (particles - 1) * space

    def positions(self, x: Array) -> Array:
        """Where the particles are.

        Args:
            x: (dim,), one event.

        Returns:
            (particles, space), of mean zero.

        Raises:
            ValueError: x has another shape.
        """
        particles, space = self.shape
        x = check_event(x, (self.dim,), "x")
        return jnp.asarray(_centred_basis(particles), x.dtype) @ x.reshape(particles - 1, space)

    def _log_density(self, x: Array) -> Array:
        positions = self.positions(x)
        first, second = np.triu_indices(self.shape[0], 1)
        squares = jnp.sum((positions[first] - positions[second]) ** 2, axis=1)
        return -self._energy(squares, positions)

    @abstractmethod
    def _energy(self, squares: Array, positions: Array) -> Array:
        """The energy, from the squared distances of all pairs and the particles."""


@final
@dataclass(frozen=True)
class DW4(AbstractCluster):
    """Four particles in the plane, with a double well for the distance of each pair.

        Σ_pairs -4 (d - 4)² + 0.9 (d - 4)⁴

    Köhler, Klein and Noé, 2020, arXiv:2006.02425, section 5.
    """

    @property
    def shape(self) -> tuple[int, int]:
        return 4, 2

    def _energy(self, squares: Array, positions: Array) -> Array:
        beyond = jnp.sqrt(squares) - 4
        return jnp.sum(-4 * beyond**2 + 0.9 * beyond**4)


@final
@dataclass(frozen=True)
class LJ13(AbstractCluster):
    """Thirteen particles in space with Lennard-Jones forces, held together by a harmonic one.

        Σ_pairs (d⁻¹² - 2 d⁻⁶) + ½ Σ |x_i|²

    Köhler, Klein and Noé, 2020, arXiv:2006.02425, section 5. Some authors count each pair twice.
    """

    @property
    def shape(self) -> tuple[int, int]:
        return 13, 3

    def _energy(self, squares: Array, positions: Array) -> Array:
        attraction = squares**-3
        return jnp.sum(attraction**2 - 2 * attraction) + 0.5 * jnp.sum(positions**2)


def _centred_basis(number: int) -> np.ndarray:
    """(number, number - 1), orthonormal columns that are orthogonal to (1, ..., 1)."""
    basis = np.zeros((number, number - 1))
    for j in range(1, number):
        basis[:j, j - 1] = 1 / math.sqrt(j * (j + 1))
        basis[j, j - 1] = -j / math.sqrt(j * (j + 1))
    return basis
