"""Samples beside data: values known in closed form, and sets that are wrong in one way each."""

import numpy as np
import pytest

from flowjax_lite.diagnostics import frechet_distance, nearest_distances, precision_recall


def normal(seed: int, rows: int = 2000, *, scale: float = 1.0, shift: float = 0.0) -> np.ndarray:
    """Rows of three independent numbers."""
    return shift + scale * np.random.default_rng(seed).normal(size=(rows, 3))


def test_the_frechet_distance_of_known_normals():
    """Catches a root of the wrong matrix, and a covariance that is left out."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 3, 3))
    first, second = normal(1) @ a.T, 1.0 + normal(2) @ b.T
    s, t = np.cov(first, rowvar=False), np.cov(second, rowvar=False)
    # The eigenvalues of the product, which is not symmetric, are those of the root squared.
    common = np.sqrt(np.linalg.eigvals(s @ t).real).sum()
    shift = first.mean(0) - second.mean(0)
    expected = shift @ shift + np.trace(s) + np.trace(t) - 2 * common
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(second, first) == pytest.approx(expected, rel=1e-9)


def test_the_frechet_distance_sees_what_differs():
    """Catches a distance that is near zero for anything: its twins are moved or stretched."""
    assert frechet_distance(normal(0), normal(1)) < 0.02
    assert frechet_distance(normal(0), normal(1, shift=1.0)) == pytest.approx(3.0, abs=0.3)
    assert frechet_distance(normal(0), normal(1, scale=2.0)) == pytest.approx(3.0, abs=0.3)
    assert frechet_distance(normal(0), normal(0)) == pytest.approx(0, abs=1e-9)


def test_precision_and_recall_name_what_is_wrong():
    """Catches the two being swapped, and radii of the wrong set."""
    data = np.concatenate([normal(0, 500), normal(1, 500, shift=20.0)])
    alike = np.concatenate([normal(2, 500), normal(3, 500, shift=20.0)])
    both = precision_recall(data, alike)
    assert min(both) > 0.8
    one_mode = precision_recall(data, normal(4, 1000))
    assert one_mode.precision > 0.8 and one_mode.recall < 0.55
    noise = np.random.default_rng(0).uniform(-5, 25, (1000, 3))
    spread = precision_recall(data, np.concatenate([alike, noise]))
    assert spread.recall > 0.8 and spread.precision < 0.7


def test_radii_are_those_of_the_named_neighbour():
    """Catches a row that counts as its own neighbour: points of a line, one apart."""
    line, between = np.arange(5.0)[:, None], np.array([[-0.9], [-1.1], [-1.9], [-2.1]])
    near = [precision_recall(line, row[None].repeat(4, 0), num_neighbors=1) for row in between]
    assert [each.precision for each in near] == [1, 0, 0, 0]
    # The second neighbour of an end is two away.
    near = [precision_recall(line, row[None].repeat(4, 0), num_neighbors=2) for row in between]
    assert [each.precision for each in near] == [1, 1, 1, 0]


def test_copies_are_nearer_than_what_is_held_out(monkeypatch: pytest.MonkeyPatch):
    """Catches rows lost between chunks, and a model of copies that nobody would notice."""
    monkeypatch.setattr("flowjax_lite.diagnostics.sample_quality._CHUNK", 7)
    train, test = normal(0, 300), normal(1, 100)
    copies = train[:100] + 1e-3 * normal(2, 100)
    held_out, copied = nearest_distances(test, train), nearest_distances(copies, train)
    assert held_out.shape == (100,)
    assert np.median(copied) < 0.02 * np.median(held_out)
    np.testing.assert_allclose(held_out[3], np.linalg.norm(train - test[3], axis=1).min())


@pytest.mark.parametrize(
    ("samples", "reference", "message"),
    [
        (np.zeros((4, 2)), np.zeros((4, 3)), r"shape \(4, 3\) and samples \(4, 2\)"),
        (np.zeros((4, 2, 2)), np.zeros((4, 2, 2)), "flatten images"),
        (np.zeros((3, 2)), np.zeros((4, 2)), "samples has 3 rows; expected at least 4"),
        (np.zeros((4, 2)), np.full((4, 2), np.nan), "reference has entries that are NaN"),
    ],
)
def test_what_is_no_pair_of_features(
    samples: np.ndarray, reference: np.ndarray, message: str
) -> None:
    """Catches an error from inside numpy."""
    with pytest.raises(ValueError, match=message):
        precision_recall(reference, samples)
