"""Two-dimensional densities to look at, each about 8 wide and centred near the origin."""

from collections.abc import Callable

import numpy as np

from flowjax_lite.data.dataset import Dataset, split


def toy(
    name: str,
    *,
    num: int = 10000,
    seed: int = 0,
    validation: float | int = 0.1,
    test: float | int = 0.1,
) -> Dataset:
    """Draw a toy data set.

    Args:
        name: A key of `TOYS`.
        num: Number of rows in all.
        seed: Seed of the draw and of the split.
        validation: Fraction (float) or number (int) of validation rows.
        test: Fraction (float) or number (int) of test rows.

    Returns:
        The data set, 2 columns.

    Raises:
        ValueError: The name is unknown.
    """
    if name not in TOYS:
        raise ValueError(f"Unknown toy density {name!r}; expected one of {', '.join(TOYS)}.")
    x = TOYS[name](num, seed=seed)
    parts = split(x, seed=seed, validation=validation, test=test)
    return Dataset(name, *parts, columns=("x0", "x1"))


def moons(num: int, *, seed: int) -> np.ndarray:
    """Two interleaved half circles of radius 2, with Gaussian noise of scale 0.2.

    Args:
        num: Number of rows.
        seed: Seed of the draw.

    Returns:
        Samples, `(num, 2)` float32.
    """
    rng = np.random.default_rng(seed)
    angle = rng.uniform(0, np.pi, num)
    side = _signs(rng, num)  # +1 opens downwards, -1 upwards
    centre = side * np.array([[-1.0], [-0.5]])
    points = centre + 2 * side * np.stack([np.cos(angle), np.sin(angle)])
    return _noisy(rng, points.T, scale=0.2)


def circles(num: int, *, seed: int) -> np.ndarray:
    """Two circles of radius 1.5 and 3, equally likely, with Gaussian noise of scale 0.15.

    Args:
        num: Number of rows.
        seed: Seed of the draw.

    Returns:
        Samples, `(num, 2)` float32.
    """
    rng = np.random.default_rng(seed)
    radius = rng.choice([1.5, 3.0], num)
    return _noisy(rng, _polar(radius, rng.uniform(0, 2 * np.pi, num)), scale=0.15)


def eight_gaussians(num: int, *, seed: int) -> np.ndarray:
    """Eight Gaussians of scale 0.3 on a circle of radius 3.

    Args:
        num: Number of rows.
        seed: Seed of the draw.

    Returns:
        Samples, `(num, 2)` float32.
    """
    rng = np.random.default_rng(seed)
    return _noisy(rng, _polar(3.0, np.pi / 4 * rng.integers(8, size=num)), scale=0.3)


def pinwheel(num: int, *, seed: int) -> np.ndarray:
    """Five Gaussian arms, bent more the further out they reach.

    Args:
        num: Number of rows.
        seed: Seed of the draw.

    Returns:
        Samples, `(num, 2)` float32.

    Reference: Johnson et al. (2016), arXiv:1603.06277.
    """
    rng = np.random.default_rng(seed)
    along = 1 + 0.3 * rng.standard_normal(num)
    across = 0.1 * rng.standard_normal(num)
    angle = 2 * np.pi / 5 * rng.integers(5, size=num) + 0.25 * np.exp(along)
    return (2 * (_polar(along, angle) + _polar(across, angle + np.pi / 2))).astype(np.float32)


def two_spirals(num: int, *, seed: int) -> np.ndarray:
    """Two opposite arms, one and a half turns to radius 3, with Gaussian noise of scale 0.1.

    Args:
        num: Number of rows.
        seed: Seed of the draw.

    Returns:
        Samples, `(num, 2)` float32.
    """
    rng = np.random.default_rng(seed)
    radius = 3 * np.sqrt(rng.uniform(size=num))  # even along the arm, whose length grows as radius²
    return _noisy(rng, _polar(_signs(rng, num) * radius, np.pi * radius), scale=0.1)


def checkerboard(num: int, *, seed: int) -> np.ndarray:
    """Uniform on the eight dark squares of a 4 × 4 board over [-4, 4]².

    Args:
        num: Number of rows.
        seed: Seed of the draw.

    Returns:
        Samples, `(num, 2)` float32; the density is 1/32 where it is not 0.
    """
    rng = np.random.default_rng(seed)
    row = rng.integers(4, size=num)
    square = np.stack([row, 2 * rng.integers(2, size=num) + row % 2], axis=1)
    return (2 * (square + rng.uniform(size=(num, 2))) - 4).astype(np.float32)


def swissroll(num: int, *, seed: int) -> np.ndarray:
    """One arm from radius 1.2 to 3.6 in a turn and a half, with Gaussian noise of scale 0.1.

    Args:
        num: Number of rows.
        seed: Seed of the draw.

    Returns:
        Samples, `(num, 2)` float32.
    """
    rng = np.random.default_rng(seed)
    angle = 1.5 * np.pi * (1 + 2 * rng.uniform(size=num))
    return _noisy(rng, _polar(0.8 * angle / np.pi, angle), scale=0.1)


def rings(num: int, *, seed: int) -> np.ndarray:
    """Four circles of radius 0.9, 1.8, 2.7 and 3.6, equally likely, with noise of scale 0.1.

    Args:
        num: Number of rows.
        seed: Seed of the draw.

    Returns:
        Samples, `(num, 2)` float32.
    """
    rng = np.random.default_rng(seed)
    radius = 0.9 * rng.integers(1, 5, size=num)
    return _noisy(rng, _polar(radius, rng.uniform(0, 2 * np.pi, num)), scale=0.1)


_SAMPLERS = (moons, circles, eight_gaussians, pinwheel, two_spirals, checkerboard, swissroll, rings)
TOYS: dict[str, Callable[..., np.ndarray]] = {sampler.__name__: sampler for sampler in _SAMPLERS}


def _polar(radius: np.ndarray | float, angle: np.ndarray) -> np.ndarray:
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def _signs(rng: np.random.Generator, num: int) -> np.ndarray:
    return rng.choice([-1.0, 1.0], num)


def _noisy(rng: np.random.Generator, points: np.ndarray, *, scale: float) -> np.ndarray:
    return (points + scale * rng.standard_normal(points.shape)).astype(np.float32)
