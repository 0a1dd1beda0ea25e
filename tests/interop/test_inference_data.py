"""Samples as inference data."""

import numpy as np
import pytest

from flowjax_lite.interop import to_arviz

X = np.random.default_rng(0).normal(size=(4, 50, 2)) + [0.0, 5.0]


def test_names_belong_to_their_entries() -> None:
    """Would catch chains taken for draws, or entries under the wrong names."""
    posterior = to_arviz(X, names=["mu", "tau"]).posterior
    assert dict(posterior.sizes) == {"chain": 4, "draw": 50}
    np.testing.assert_allclose(posterior["tau"], X[..., 1], rtol=1e-6)
    assert to_arviz(X).posterior["x"].shape == (4, 50, 2)


def test_mistakes_are_named() -> None:
    """Would catch a variable that is lost without a word."""
    with pytest.raises(ValueError, match=r"expected \(chains, draws, dim\)"):
        to_arviz(X[0])
    for names in (["mu"], ["mu", "mu"], "mu"):
        with pytest.raises(ValueError, match="expected 2"):
            to_arviz(X, names=names)
