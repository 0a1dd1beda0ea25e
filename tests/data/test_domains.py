"""Tables with domains: likelihoods in their units, bad cells by name, whole numbers and back."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy import stats

import flowjax_lite as fl
from flowjax_lite.data import dequantize_integers, domain_map, quantize_integers

COLUMNS = ("positive", "interval(-1, 2)", "circular", "real", "integer")


def table(num: int = 200) -> np.ndarray:
    """A column of each kind."""
    rng = np.random.default_rng(0)
    columns = [
        rng.lognormal(5.0, 2.0, num),
        rng.uniform(-0.99, 1.99, num),
        rng.vonmises(0.5, 2.0, num),
        rng.normal(1000.0, 3.0, num),
        rng.poisson(4.0, num) + rng.random(num),
    ]
    return np.stack(columns, axis=1)


def centre(data_map: Any) -> float:
    """The angle around which the column of angles is projected."""
    return float(data_map.bijectors[1].columns[2].removeprefix("circular(").rstrip(")"))


@pytest.mark.usefixtures("x64")
def test_likelihoods_are_in_the_units_of_the_table():
    """Catches a Jacobian factor that is missing; a flow that is the identity has none itself."""
    x = table()
    data_map = domain_map(COLUMNS, x)
    flow = fl.flows.maf(dim=5, num_layers=2, hidden=(4,), data_map=data_map, rngs=nnx.Rngs(0))
    positive, inner, angle, real, count = x.T
    angle = angle - centre(data_map)
    unconstrained = [
        np.log(positive),
        np.log((inner + 1) / (2 - inner)),
        np.tan(angle / 2),
        real,
        count,
    ]
    slopes = [1 / positive, 3 / (inner + 1) / (2 - inner), 0.5 / np.cos(angle / 2) ** 2, 1, 1]
    expected = np.zeros(len(x))
    for j, (u, slope) in enumerate(zip(unconstrained, slopes, strict=True)):
        # The projection of angles next to a half turn says nothing about scale.
        clipped = np.clip(u, *np.quantile(u, [0.05, 0.95])) if j == 2 else u
        expected += stats.norm.logpdf(u, clipped.mean(), clipped.std()) + np.log(slope)
    np.testing.assert_allclose(flow.log_prob(x), expected, rtol=1e-10)


def test_samples_respect_the_domains_and_files_are_exact(tmp_path: Path):
    """Catches a sample outside of its domain, and a map that a file forgets."""
    data_map = domain_map(COLUMNS, table())
    flow = fl.flows.maf(dim=5, num_layers=2, hidden=(4,), data_map=data_map, rngs=nnx.Rngs(0))
    fl.save(tmp_path / "flow.safetensors", flow)
    again = fl.load(tmp_path / "flow.safetensors")
    x = np.asarray(flow.sample(jax.random.key(0), (500,)))
    np.testing.assert_array_equal(again.sample(jax.random.key(0), (500,)), x)
    np.testing.assert_array_equal(again.log_prob(x), flow.log_prob(x))
    assert np.all(x[:, 0] > 0)
    assert np.all((x[:, 1] > -1) & (x[:, 1] < 2))
    assert np.all(np.abs(x[:, 2]) <= np.pi)


@pytest.mark.parametrize("mean", [0.0, 1.5, np.pi])
def test_angles_everywhere_on_the_circle_have_a_price(mean: float):
    """Catches the cut of the circle laid through the data: a row of 10^12 nats."""
    angles = np.random.default_rng(0).vonmises(mean, 1.0, 500)
    x = np.append(angles, [np.pi, -np.pi + 1e-4, np.pi])[:, None].astype(np.float32)
    data_map = domain_map(["circular"], x)
    flow = fl.flows.maf(dim=1, num_layers=1, hidden=(4,), data_map=data_map, rngs=nnx.Rngs(0))
    log_prob = np.asarray(flow.log_prob(x))
    assert log_prob.min() > -2000
    np.testing.assert_allclose(flow.log_prob(x + np.float32(2 * np.pi)), log_prob, rtol=1e-2)


@pytest.mark.parametrize(
    ("row", "column", "value"),
    [(3, 0, 0.0), (7, 0, -2.5), (0, 1, 2.0), (5, 1, -1.0), (199, 1, 7.0)],
)
def test_cells_outside_their_domain_are_named(row: int, column: int, value: float):
    """Catches a cell without an inverse that becomes a likelihood of NaN."""
    x = table()
    x[row, column] = value
    message = rf"x has {value} in row {row} \(counted from 0\), column {column}, outside of its "
    with pytest.raises(ValueError, match=message + "domain '"):
        domain_map(COLUMNS, x)


def test_other_mistakes_are_named():
    """Catches tables that fit no domains, and whole numbers, whose likelihood has no limit."""
    x = table()
    with pytest.raises(ValueError, match=r"x has shape \(200, 5\); expected \(n, 4\)"):
        domain_map(COLUMNS[:4], x)
    x[11, 3] = np.nan
    with pytest.raises(ValueError, match=r"nan\) in row 11 \(counted from 0\), column 3"):
        domain_map(COLUMNS, x)
    with pytest.raises(ValueError, match=r"column 4, .*dequantize_integers"):
        domain_map(COLUMNS, quantize_integers(COLUMNS, table()))


@pytest.mark.parametrize("dtype", [np.int64, np.float32, np.float64])
def test_integers_survive_noise(dtype: type):
    """Catches noise that reaches the next whole number, or that other columns get as well."""
    columns = ("integer", "real")
    levels = np.array([-3, 0, 1, 250, 2**22]).repeat(2000)
    x = np.stack([levels, np.arange(levels.size)], axis=1).astype(dtype)
    noisy = dequantize_integers(columns, x, seed=0)
    assert noisy.dtype == (np.float64 if dtype is np.float64 else np.float32)
    np.testing.assert_array_equal(quantize_integers(columns, noisy), x)
    np.testing.assert_array_equal(noisy[:, 1], x[:, 1])
    noise = (noisy - x)[levels == 1, 0]
    assert stats.kstest(noise, "uniform").pvalue > 1e-4
    # The twin: noise that is centred.
    assert stats.kstest(noise - 0.5, "uniform").pvalue < 1e-4
    again = dequantize_integers(columns, x, seed=0)
    np.testing.assert_array_equal(again, noisy)


def test_integers_stay_within_their_ends():
    """Catches a count below its lowest, above its highest, or noise that is on the end itself."""
    columns = ("integer(1, inf)", "integer(0, 2)", "integer")
    rng = np.random.default_rng(0)
    counts = np.stack([1 + rng.poisson(0.3, 500), *rng.integers(0, 3, (2, 500))], axis=1)
    x = dequantize_integers(columns, counts, seed=0)
    flow = fl.flows.maf(dim=3, data_map=domain_map(columns, x), rngs=nnx.Rngs(0))
    assert np.isfinite(flow.log_prob(x)).all()
    drawn = quantize_integers(columns, flow.sample(0, 5000))
    assert drawn[:, 0].min() == 1 and drawn[:, 0].max() > 2
    assert set(drawn[:, 1]) == {0, 1, 2}
    assert drawn[:, 2].min() < 0, "the twin: without ends, samples go beyond"
    # What rounds to the end of the domain belongs to the last number.
    np.testing.assert_array_equal(quantize_integers(["integer(0, 2)"], [[3.0], [0.0]]), [[2], [0]])


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (1.5, r"x has 1.5 in row 1 \(counted from 0\), column 0, no whole number"),
        (2.0**23, "row 1 .*, column 0, too large for fractions in float32"),
        (np.inf, "row 1 .*, column 0"),
    ],
)
def test_numbers_that_cannot_be_dequantised(value: float, message: str):
    """Catches noise added twice, and noise that rounding swallows."""
    x = np.array([[0.0, 0.1], [value, 0.2]], np.float32)
    with pytest.raises(ValueError, match=message):
        dequantize_integers(("integer", "real"), x, seed=0)


def test_a_trained_flow_of_a_table():
    """Catches a map on which training fails; the flow must beat its own start."""
    x = table(600).astype(np.float32)
    flow = fl.flows.maf(
        dim=5, num_layers=2, hidden=(8,), data_map=domain_map(COLUMNS, x), rngs=nnx.Rngs(0)
    )
    result = fl.fit(flow, x, key=jax.random.key(0), max_epochs=10, progress=False)
    before, after = (jnp.mean(model.log_prob(x)) for model in (flow, result.flow))
    assert after > before + 0.05
