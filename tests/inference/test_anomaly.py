"""Scores, p-values and typicality: in the right direction, and as often as they say."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import flowjax_lite as fl
from flowjax_lite.bijectors import Permutation
from flowjax_lite.distributions import Flow, FlowMixture, StandardNormal
from flowjax_lite.inference import anomaly_scores, p_values, typicality

RNG = np.random.default_rng(0)


def _normal(dim: int) -> Flow:
    return Flow(StandardNormal(dim), Permutation(range(dim)))


def test_scores_are_negative_log_densities():
    """Catches the opposite sign, a condition or a batch size that is dropped."""
    flow = fl.flows.realnvp(dim=2, condition_dim=1, num_layers=1, hidden=(4,), rngs=nnx.Rngs(0))
    x, condition = RNG.normal(size=(7, 2)), RNG.normal(size=(7, 1))
    scores = anomaly_scores(flow, x, condition, batch_size=3)
    np.testing.assert_allclose(scores, -flow.log_prob(x, condition), rtol=1e-5)


def test_an_ensemble_is_scored_as_a_mixture():
    """Catches a mean of the members' scores, which is no density's."""
    flows = [_normal(2), _normal(2)]
    scores = anomaly_scores(FlowMixture(flows), np.eye(2))
    np.testing.assert_allclose(scores, -flows[0].log_prob(np.eye(2)), rtol=1e-5)


def test_p_values_count_held_out_scores():
    """Catches a strict inequality, a missing 1 and the wrong end."""
    got = p_values([0.5, 1.0, 2.0, 9.0, np.nan, np.inf], [1.0, 2.0, 2.0, 3.0])
    np.testing.assert_allclose(got, [1.0, 1.0, 0.8, 0.2, np.nan, 0.2])
    assert p_values(np.zeros((2, 3)), [0.0]).shape == (2, 3)
    assert p_values(jnp.float32(1.0), jnp.ones(1)) == 1.0


def _false_alarms(p_of) -> np.ndarray:
    """How often normal events have p-values below 0.1 and below 0.2, over held-out sets of 20."""
    scores = RNG.normal(size=(4000, 21)) ** 2
    p = np.array([p_of(row[0], row[1:]) for row in scores])
    return np.array([(p <= 0.1 + 1e-9).mean(), (p <= 0.2 + 1e-9).mean()])


def test_p_values_are_right_as_often_as_they_say():
    """Catches p-values that are not valid; the twin counts without the event itself."""

    def too_small(score, held_out):
        return np.mean(held_out >= score)

    np.testing.assert_allclose(_false_alarms(p_values), [2 / 21, 4 / 21], atol=0.02)
    assert _false_alarms(too_small)[0] > 0.125


def test_groups_that_are_too_likely_are_found_by_typicality_alone():
    """Catches a one-sided distance; the score alone, the twin, finds no such group."""
    flow = _normal(100)
    normal = RNG.normal(size=(3, 60, 5, 100))
    reference, held_out, new = (np.asarray(anomaly_scores(flow, x)) for x in normal)
    reference = reference.ravel()
    # Near the mode, where almost no normal event lies.
    likely = np.asarray(anomaly_scores(flow, 0.5 * normal[2]))
    held_out, new, likely = (scores.mean(axis=1) for scores in (held_out, new, likely))
    others = typicality(held_out, reference)
    assert (p_values(typicality(likely, reference), others) < 0.02).all()
    assert (p_values(likely, held_out) == 1.0).all()
    assert p_values(typicality(new, reference), others).mean() > 0.4


def test_mistakes_are_named():
    """Catches numbers that would make every p-value wrong without a word."""
    with pytest.raises(ValueError, match="held_out has 1 NaN of 2"):
        p_values([0.0], [np.nan, 1.0])
    with pytest.raises(ValueError, match=r"held_out has shape \(0,\)"):
        p_values([0.0], [])
    with pytest.raises(ValueError, match=r"held_out has shape \(2, 2\)"):
        p_values([0.0], np.ones((2, 2)))
    with pytest.raises(TypeError, match="scores has dtype <U1"):
        p_values(["a"], [0.0])
    with pytest.raises(ValueError, match="mean of reference is not finite"):
        typicality([0.0], [np.inf, 1.0])
