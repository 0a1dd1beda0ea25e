import numpy as np
import pytest

from flowjax_lite.data import dequantize, quantize


def check_uniform(x: np.ndarray) -> None:
    """Assert that x is uniform on [0, 1): Kolmogorov-Smirnov at a level of about 1e-4."""
    sorted_x = np.sort(x.ravel())
    ranks = np.arange(1, x.size + 1) / x.size
    assert np.abs(sorted_x - ranks).max() < 2.2 / np.sqrt(x.size)


def test_uniform_levels_become_uniform_values() -> None:
    """Would catch noise of the wrong width and scaling by num_levels - 1."""
    u = np.random.default_rng(0).integers(17, size=20000)
    check_uniform(dequantize(u, 17, seed=1))


@pytest.mark.parametrize(
    "wrong",
    [
        lambda u, noise: (u + 0.5) / 17,
        lambda u, noise: (u + noise) / 16,
        lambda u, noise: (u - noise) / 17,
    ],
)
def test_twin_wrong_noise_is_not_uniform(wrong) -> None:
    """Would catch a check of uniformity that cannot fail."""
    rng = np.random.default_rng(0)
    u = rng.integers(17, size=20000)
    with pytest.raises(AssertionError):
        check_uniform(wrong(u, rng.random(20000)))


def test_each_value_stays_with_its_level() -> None:
    """Would catch noise that crosses into another level."""
    u = np.arange(256, dtype=np.uint8).repeat(50)
    x = dequantize(u, 256, seed=0)
    assert x.dtype == np.float32
    np.testing.assert_array_equal(np.floor(x[:-50] * 256), u[:-50])


@pytest.mark.parametrize("noise", [0.0, np.nextafter(np.float32(1), np.float32(0))])
@pytest.mark.parametrize("num_levels", [2, 17, 200, 256])
def test_levels_come_back(monkeypatch: pytest.MonkeyPatch, num_levels: int, noise: float) -> None:
    """Would catch a level lost to rounding where the noise is as small or as large as can be."""

    class Extreme:
        def random(self, shape, dtype):
            return np.full(shape, noise, dtype)

    monkeypatch.setattr(np.random, "default_rng", lambda seed: Extreme())
    levels = np.arange(num_levels)
    x = dequantize(levels, num_levels, seed=0)
    np.testing.assert_array_equal(quantize(x, num_levels), levels)
    assert quantize(x, num_levels).dtype == np.uint8
    np.testing.assert_array_equal(quantize([-0.5, 1.5], num_levels), [0, num_levels - 1])


def test_strictly_below_one_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Would catch 255 + 0.99999994, which is 256 in float32 and has logit infinity."""

    class Largest:
        def random(self, shape, dtype):
            return np.full(shape, np.nextafter(np.float32(1), np.float32(0)), dtype)

    monkeypatch.setattr(np.random, "default_rng", lambda seed: Largest())
    assert dequantize(np.array([255]), 256, seed=0)[0] < 1


def test_seed_decides_the_noise() -> None:
    """Would catch noise from a global generator."""
    u = np.zeros((4, 3), int)
    np.testing.assert_array_equal(dequantize(u, 2, seed=5), dequantize(u, 2, seed=5))
    assert not np.array_equal(dequantize(u, 2, seed=5), dequantize(u, 2, seed=6))


def test_values_that_are_not_levels_are_refused() -> None:
    """Would catch a wrong num_levels, and values that were dequantised or scaled before."""
    with pytest.raises(ValueError, match=r"spans 0 to 16; expected levels 0 to 15"):
        dequantize(np.array([0, 16]), 16, seed=0)
    with pytest.raises(ValueError, match="spans -1 to 3"):
        dequantize(np.array([-1, 3]), 16, seed=0)
    with pytest.raises(ValueError, match="fractions"):
        dequantize(np.array([0.5, 1.0]), 16, seed=0)
    with pytest.raises(ValueError, match="spans nan"):
        dequantize(np.array([np.nan, 1.0]), 16, seed=0)
