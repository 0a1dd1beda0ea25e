"""What a user does with a flow besides density and samples: latents, layers, ways, summaries."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from battery.measure import randomised
from flax import nnx
from jax import Array

from flowjax_lite import bijectors as b
from flowjax_lite.conditioners import MLP
from flowjax_lite.continuous import ContinuousFlow, MLPDynamics, Solver
from flowjax_lite.core.summary import as_html, as_text
from flowjax_lite.distributions import (
    DiagonalNormal,
    Flow,
    FlowMixture,
    GaussianMixture,
    Product,
    StandardNormal,
    Uniform,
)
from flowjax_lite.flows import nice, realnvp
from flowjax_lite.transformers import Affine

DIM, CONDITION_DIM = 3, 2
X = np.random.default_rng(0).normal(size=(4, 5, DIM)).astype(np.float32)
CONDITION = np.random.default_rng(1).normal(size=(5, CONDITION_DIM)).astype(np.float32)


@pytest.fixture(scope="module")
def conditional() -> Flow:
    """A flow with a condition, which is standardised first."""
    model = realnvp(
        dim=DIM,
        num_layers=2,
        hidden=(8,),
        condition_dim=CONDITION_DIM,
        condition_map=b.Standardize(CONDITION_DIM, loc=(1.0, 2.0), scale=(0.5, 2.0)),
        rngs=nnx.Rngs(0),
    )
    return randomised(model, scale=0.3)


def test_latents_and_data_are_two_ends(conditional: Flow):
    """Catches directions exchanged, a lost condition or its map, and log-determinants' signs."""
    z, log_det = conditional.to_latent(X, CONDITION)
    assert z.shape == X.shape and log_det.shape == X.shape[:-1]
    base = jax.vmap(jax.vmap(conditional.base.log_prob))(z)
    np.testing.assert_allclose(base + log_det, conditional.log_prob(X, CONDITION), rtol=1e-5)
    x, back = conditional.to_data(z, CONDITION)
    np.testing.assert_allclose(x, X, atol=1e-5)
    np.testing.assert_allclose(back, -log_det, atol=1e-5)


def test_a_trajectory_passes_every_layer(conditional: Flow):
    """Catches layers left out, doubled or in the wrong order, and the wrong ends."""
    layers = conditional.layers()
    path = conditional.trajectory(X, CONDITION)
    assert path.shape == (len(layers) + 1, *X.shape)
    np.testing.assert_array_equal(path[0], X)
    np.testing.assert_allclose(path[-1], conditional.to_data(X, CONDITION)[0], rtol=1e-5, atol=1e-5)
    condition = conditional.map_condition(CONDITION[2])
    for layer, start, stop in zip(layers, path[:-1], path[1:], strict=True):
        takes = None if layer.condition_shape is None else condition
        np.testing.assert_allclose(layer.forward(start[1, 2], takes), stop[1, 2], atol=1e-5)


def test_layers_run_backwards_in_a_trajectory():
    """Catches an inverted composition whose layers keep their order or direction."""
    shift, scale = b.Standardize(1, loc=(3.0,)), b.Standardize(1, scale=(2.0,))
    model = Flow(StandardNormal(1), b.Invert(b.Chain([shift, scale])))
    z = jnp.array([4.0])
    np.testing.assert_allclose(model.trajectory(z)[:, 0], [4.0, 2.0, -1.0])
    np.testing.assert_allclose(model.to_data(z)[0], [-1.0])


@pytest.mark.parametrize("inverted", [False, True])
def test_a_trajectory_along_time(inverted: bool):
    """Catches times in the wrong sense, and a way of another length than the one asked for."""
    dynamics = MLPDynamics(2, hidden=(8,), activation="tanh", rngs=nnx.Rngs(0))
    layer = ContinuousFlow(randomised(dynamics, scale=0.5), solver=Solver(num_steps=8))
    after = b.Standardize(2, loc=(1.0, 1.0))
    model = Flow(StandardNormal(2), b.Chain([b.Invert(layer) if inverted else layer, after]))
    z = jnp.array([[0.3, -1.0], [2.0, 0.1], [0.0, 0.0]])
    path = model.trajectory(z, num_times=4)
    assert path.shape == (1 + 4 + 1, 3, 2)
    np.testing.assert_allclose(path[-1], model.to_data(z)[0], atol=1e-4)
    ends = (1.0, 0.5) if inverted else (0.0, 0.5)
    np.testing.assert_allclose(path[2, 1], layer.flow_map(z[1], *ends), atol=1e-4)


@pytest.mark.parametrize("number", [1, 2, 7, 100])
def test_batches_of_any_size_give_the_same(conditional: Flow, number: int):
    """Catches rows that are lost, doubled or moved where the last slice is not full."""
    expected = conditional.log_prob(X, CONDITION)
    got = conditional.log_prob(X, CONDITION, batch_size=number)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


def test_slices_share_one_program(conditional: Flow, compiled: list[str]):
    """Catches a program of its own for the last slice."""
    rows = np.zeros((23, DIM), np.float32)
    conditional.log_prob(rows[:6], CONDITION[0]).block_until_ready()
    compiled.clear()
    conditional.log_prob(rows, CONDITION[0], batch_size=6)
    # The condition, which all rows share, is given to each of them.
    assert len([name for name in compiled if "_log_prob" in name]) <= 1, compiled


def test_numbers_seeds_and_shapes(conditional: Flow):
    """Catches a number of samples that is no shape, and a seed that is another key."""
    key = jax.random.key(3)
    one = conditional.sample(key, (3,), CONDITION)
    assert one.shape == (3, 5, DIM)
    for again in (
        conditional.sample(3, 3, CONDITION),
        conditional.sample(key, np.int64(3), CONDITION),
        conditional.sample(jax.random.key_data(key), [3], CONDITION),
        conditional.sample_and_log_prob(3, 3, CONDITION)[0],
    ):
        np.testing.assert_allclose(again, one, rtol=1e-5, atol=1e-5)


def test_temperature_scales_the_base(compiled: list[str]):
    """Catches a scale about zero instead of the mean, and a compilation for each temperature."""
    base = DiagonalNormal(DIM)
    base.loc[...] = jnp.array([5.0, -5.0, 0.0])
    model = Flow(base, b.Standardize(DIM, scale=(2.0, 2.0, 2.0)))
    center = np.array([10.0, -10.0, 0.0])
    cold = np.asarray(model.sample(0, 50, temperature=0.5))
    compiled.clear()
    np.testing.assert_allclose(model.sample(0, 50, temperature=0), np.tile(center, (50, 1)))
    hot = np.asarray(model.sample(0, 50, temperature=jnp.float32(2.0)))
    assert compiled == []
    np.testing.assert_allclose(hot - center, 4 * (cold - center), rtol=1e-4, atol=1e-5)
    plain = np.asarray(model.sample(0, 50))
    np.testing.assert_allclose(plain - center, 2 * (cold - center), rtol=1e-4, atol=1e-5)


def test_temperature_of_a_product_and_a_mixture_of_flows():
    """Catches a part, or a member, that is not scaled."""
    product = Flow(Product([StandardNormal(1), DiagonalNormal(1)]), b.Identity(2))
    assert jnp.all(product.sample(0, 5, temperature=0.0) == 0)
    members = [nice(dim=2, num_layers=1, hidden=(4,), rngs=nnx.Rngs(i)) for i in range(2)]
    mixture = FlowMixture(members)
    assert jnp.all(mixture.sample(0, 5, temperature=0.0) == 0)
    x = np.ones((5, 2), np.float32)
    np.testing.assert_allclose(mixture.log_prob(x, batch_size=2), mixture.log_prob(x), rtol=1e-6)


class Image(b.AbstractBijector):
    """A shift and scale of each pixel that a condition gives."""

    def __init__(self, shape: tuple[int, ...], condition_dim: int) -> None:
        self.event_shape, self.condition_shape = shape, (condition_dim,)
        self.network = MLP(
            0, out_shape=(2, *shape), hidden=(4,), condition_dim=condition_dim, rngs=nnx.Rngs(0)
        )

    def _params(self, condition: Array | None) -> Array:
        return self.network(jnp.zeros(0), condition)

    def forward_and_log_det(
        self, x: Array, condition: Array | None = None, key: Array | None = None
    ) -> tuple[Array, Array]:
        y, log_det = Affine().forward_and_log_det(self._params(condition), x)
        return y, jnp.sum(log_det)

    def inverse_and_log_det(
        self, y: Array, condition: Array | None = None, key: Array | None = None
    ) -> tuple[Array, Array]:
        x, log_det = Affine().inverse_and_log_det(self._params(condition), y)
        return x, jnp.sum(log_det)


@pytest.mark.parametrize(
    "base",
    [
        StandardNormal((4, 4, 3)),
        DiagonalNormal((4, 4, 3)),
        GaussianMixture((4, 4, 3), num_components=2, rngs=nnx.Rngs(0)),
    ],
    ids=lambda base: type(base).__name__,
)
def test_events_of_any_rank(base: DiagonalNormal):
    """Catches sums over the last axis alone, and batch axes counted as axes of an image."""
    shape = (4, 4, 3)
    model = randomised(Flow(base, b.Chain([Image(shape, 2), b.Invert(Image(shape, 2))])))
    condition = CONDITION[:4]
    x, log_prob = model.sample_and_log_prob(0, 2, condition)
    assert x.shape == (2, 4, *shape) and log_prob.shape == (2, 4)
    np.testing.assert_allclose(model.log_prob(x, condition), log_prob, rtol=1e-4)
    np.testing.assert_allclose(model.log_prob(x, condition, batch_size=3), log_prob, rtol=1e-4)
    z, log_det = model.to_latent(x, condition)
    assert z.shape == x.shape and log_det.shape == (2, 4)
    path = model.trajectory(z, condition)
    assert path.shape == (3, *x.shape)
    np.testing.assert_allclose(path[-1], x, atol=1e-4)


def test_a_summary_says_what_it_is(conditional: Flow):
    """Catches a repr of pages, one without family, sizes or parameters, and unescaped HTML."""
    text = str(conditional)
    assert text == repr(conditional)
    number = sum(leaf.size for leaf in jax.tree.leaves(nnx.state(conditional, nnx.Param)))
    for word in ("realnvp(dim=3", "StandardNormal", "(3,)", "(2,)", f"{number:,}"):
        assert word in text
    assert len(text.splitlines()) < 20 and max(map(len, text.splitlines())) <= 100
    assert conditional._repr_html_().count("<tr>") == 6
    assert "hand" in repr(Flow(StandardNormal(1), b.Identity(1)))
    jax.eval_shape(
        lambda model: repr(model) and model.log_prob(jnp.ones(3), jnp.ones(2)), conditional
    )
    assert "members" in repr(FlowMixture([conditional]))
    assert as_text("A", [("b", 1), ("long", 2)]).splitlines() == ["A", "  b     1", "  long  2"]
    assert "&lt;b&gt;" in as_html("<b>", [("<b>", "<b>")]) and "<b>" not in as_html("<b>", [])


ERRORS = {
    "negative shape": (lambda m: m.sample(0, (-1,)), ValueError, r"shape is \(-1,\).*-1 would be"),
    "no number": (lambda m: m.sample(0, 2.5), TypeError, "shape is 2.5; expected a number of"),
    "words as a key": (lambda m: m.sample("0"), TypeError, "key is '0'.*seed"),
    "negative temperature": (
        lambda m: m.sample(0, temperature=-1.0),
        ValueError,
        "temperature is -1.0.*from 0",
    ),
    "word as a temperature": (
        lambda m: m.sample(0, temperature="hot"),
        TypeError,
        "temperature is",
    ),
    "temperature of a uniform": (
        lambda m: Flow(Uniform(2), b.Identity(2)).sample(0, temperature=0.5),
        TypeError,
        "temperature.*Uniform.*StandardNormal",
    ),
    "batch_size under jit": (
        lambda m: jax.jit(lambda x: m.log_prob(x, batch_size=2))(X),
        TypeError,
        "jax.lax.map",
    ),
    "batch_size": (lambda m: m.log_prob(X, batch_size=0), ValueError, "batch_size is 0"),
    "shape of z": (lambda m: m.to_data(X[..., :2]), ValueError, r"z has shape \(4, 5, 2\)"),
    "shape of a start": (lambda m: m.trajectory(X[..., :2]), ValueError, "z has shape"),
    "no time": (lambda m: m.trajectory(X, num_times=3), ValueError, "num_times is 3.*leave it out"),
    "unwanted condition": (lambda m: m.to_latent(X, CONDITION), ValueError, "condition was given"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_mistakes_are_named(case: str):
    """Catches an error that does not name the argument, what came and what to do."""
    call, error, message = ERRORS[case]
    model = Flow(StandardNormal(DIM), b.Identity(DIM))
    with pytest.raises(error, match=message):
        call(model)
