from collections.abc import Callable

import numpy as np
import pytest

from flowjax_lite.data import TOYS, toy

NUM = 4000


def distance_to_curve(x: np.ndarray, curve: np.ndarray) -> np.ndarray:
    """Distances from points (n, 2) to the nearest of the points (m, 2) of a curve."""
    return np.min([np.hypot(*(x - point).T) for point in curve], axis=0)


def distance_to_radii(x: np.ndarray, radii: list[float]) -> np.ndarray:
    """Distances from points (n, 2) to the nearest of some circles around the origin."""
    return np.abs(np.hypot(*x.T)[:, None] - radii).min(axis=1)


def moons_distance(x: np.ndarray) -> np.ndarray:
    """Distances to the two half circles of radius 2."""
    t = np.linspace(0, np.pi, 300)
    upper = np.stack([2 * np.cos(t) - 1, 2 * np.sin(t) - 0.5], axis=1)
    return distance_to_curve(x, np.concatenate([upper, -upper]))


def spiral(start: float, end: float, growth: float) -> np.ndarray:
    """Points of the curve whose radius is growth times its angle."""
    t = np.linspace(start, end, 400)
    return np.stack([growth * t * np.cos(t), growth * t * np.sin(t)], axis=1)


def two_spirals_distance(x: np.ndarray) -> np.ndarray:
    """Distances to the two arms."""
    arm = spiral(0, 3 * np.pi, 1 / np.pi)
    return distance_to_curve(x, np.concatenate([arm, -arm]))


def eight_gaussians_distance(x: np.ndarray) -> np.ndarray:
    """Distances to the nearest of the eight centres."""
    centres = [(3.0, 0.0), (0.0, 3.0), (-3.0, 0.0), (0.0, -3.0)]
    diagonal = 3 / np.sqrt(2)
    centres += [(a * diagonal, b * diagonal) for a in (-1, 1) for b in (-1, 1)]
    return distance_to_curve(x, np.array(centres))


def pinwheel_distance(x: np.ndarray) -> np.ndarray:
    """Distances across the nearest of the five arms, unbent."""
    radius = np.hypot(*x.T) / 2
    angle = np.arctan2(x[:, 1], x[:, 0]) - 0.25 * np.exp(radius)
    fifth = 2 * np.pi / 5
    return 2 * radius * np.abs((angle + fifth / 2) % fifth - fifth / 2)


def off_the_dark_squares(x: np.ndarray) -> np.ndarray:
    """1 where a point lies on a light square or off the board, else 0."""
    square = np.floor((x + 4) / 2)
    light = square.sum(axis=1) % 2 == 1
    return np.where(light | (np.abs(x) > 4).any(axis=1), 1.0, 0.0)


def mirror(x: np.ndarray) -> np.ndarray:
    """Turn left into right: what a wrong sign of an angle does."""
    return x * [1.0, -1.0]


def stretch(x: np.ndarray) -> np.ndarray:
    """Scale by a fifth: what a wrong radius does."""
    return 1.2 * x


# name: (distance from where the density lives, scale of the noise, a mistake it must notice)
SUPPORTS: dict[str, tuple[Callable, float, Callable]] = {
    "moons": (moons_distance, 0.2, mirror),
    "circles": (lambda x: distance_to_radii(x, [1.5, 3.0]), 0.15, stretch),
    "eight_gaussians": (eight_gaussians_distance, 0.3, stretch),
    "pinwheel": (pinwheel_distance, 0.2, mirror),
    "two_spirals": (two_spirals_distance, 0.1, mirror),
    "checkerboard": (off_the_dark_squares, 0.1, mirror),
    "swissroll": (
        lambda x: distance_to_curve(x, spiral(1.5 * np.pi, 4.5 * np.pi, 0.8 / np.pi)),
        0.1,
        mirror,
    ),
    "rings": (lambda x: distance_to_radii(x, [0.9, 1.8, 2.7, 3.6]), 0.1, stretch),
}


def check_support(name: str, x: np.ndarray) -> None:
    """Assert that nearly all points lie within three scales of the noise (97 % or more do)."""
    distance, scale, _ = SUPPORTS[name]
    assert (distance(x) < 3 * scale).mean() > 0.96


def check_balance(x: np.ndarray) -> None:
    """Assert that the halves of a density symmetric about the origin are equally likely."""
    assert np.all(np.abs(x.mean(axis=0)) < 5 * x.std(axis=0) / np.sqrt(len(x)))


@pytest.mark.parametrize("name", TOYS)
def test_samples_lie_where_they_should(name: str) -> None:
    """Would catch wrong angles, radii, signs and scales of noise."""
    x = TOYS[name](NUM, seed=0)
    assert x.shape == (NUM, 2)
    assert x.dtype == np.float32
    assert np.abs(x).max() < 4.8
    assert (np.abs(x) > 3).any()
    check_support(name, x)


@pytest.mark.parametrize("name", TOYS)
def test_twin_a_mistake_is_noticed(name: str) -> None:
    """Would catch a check of the support that cannot fail."""
    mistake = SUPPORTS[name][2]
    with pytest.raises(AssertionError):
        check_support(name, mistake(TOYS[name](NUM, seed=0)))


@pytest.mark.parametrize("name", sorted(set(TOYS) - {"swissroll"}))
def test_parts_are_equally_likely(name: str) -> None:
    """Would catch a part that is drawn too often; the spiral of swissroll is not symmetric."""
    check_balance(TOYS[name](NUM, seed=0))


@pytest.mark.parametrize("name", sorted(set(TOYS) - {"swissroll"}))
def test_twin_an_unequal_part_is_noticed(name: str) -> None:
    """Would catch a check of balance that cannot fail."""
    x = TOYS[name](NUM, seed=0)
    with pytest.raises(AssertionError):
        check_balance(x[(x[:, 0] > 0) | (np.arange(NUM) % 4 > 0)])


def test_checkerboard_fills_its_eight_squares_evenly() -> None:
    """Would catch squares that are left out or drawn twice as often."""
    x = TOYS["checkerboard"](NUM, seed=0)
    squares = np.floor((x + 4) / 2) @ [4, 1]
    _, counts = np.unique(squares, return_counts=True)
    assert len(counts) == 8
    assert np.all(np.abs(counts / NUM - 1 / 8) < 5 * np.sqrt(1 / 8 * 7 / 8 / NUM))


def test_dataset() -> None:
    """Would catch wrong sizes, an unused seed, and a name that goes unchecked."""
    data = toy("moons", num=100, seed=1, validation=20, test=0.3)
    assert [len(part) for part in (data.train, data.validation, data.test)] == [50, 20, 30]
    assert (data.name, data.dim, data.columns) == ("moons", 2, ("x0", "x1"))
    np.testing.assert_array_equal(data.test.x, toy("moons", num=100, seed=1, test=0.3).test.x)
    assert not np.array_equal(data.train.x, toy("moons", num=100, validation=20, test=0.3).train.x)
    with pytest.raises(ValueError, match=r"Unknown toy density 'mons'; expected one of moons"):
        toy("mons")
