"""What users write, for a type checker: `make types` checks it in mypy's strict mode.

Nothing runs it. Would catch a public name that is `Any` or hidden from a checker, and an annotation
that refuses what the documentation tells users to write.
"""

from typing import assert_type

import jax
import jax.numpy as jnp
import numpy as np
import optax  # type: ignore[import-untyped]
from flax import nnx
from jax import Array

import flowjax_lite as fl
from flowjax_lite import bijectors as fb
from flowjax_lite import conditioners as fc
from flowjax_lite import transformers as ft


def density_estimation(x: np.ndarray) -> Array:
    """Fit a flow, ask it, keep it."""
    to_data = fb.Standardize.from_data(x)
    flow = fl.flows.maf(dim=2, num_layers=5, hidden=(64, 64), data_map=to_data, rngs=nnx.Rngs(0))
    assert_type(flow, fl.Flow)
    result = fl.fit(flow, x, key=jax.random.key(0), max_epochs=20)
    assert_type(result, fl.FitResult)
    assert_type(result.flow, fl.Flow)
    x_new, log_p_new = result.flow.sample_and_log_prob(jax.random.key(1), (1000,))
    assert_type(x_new, Array)
    assert_type(log_p_new, Array)
    fl.save("maf.safetensors", result.flow)
    loaded: fl.Flow = fl.load("maf.safetensors")  # a file may hold a mixture, a base, a network
    return loaded.log_prob(x, batch_size=1000)


def arrays_of_numpy(flow: fl.Flow, x: np.ndarray, c: np.ndarray, weights: np.ndarray) -> None:
    """Pass arrays of numpy and seeds wherever batches go."""
    mixture = fl.distributions.FlowMixture([flow, flow], weights=weights)
    for model in (flow, mixture):
        assert_type(model.log_prob(x, c, 0), Array)
        assert_type(model.sample(0, 5, c, temperature=np.float32(0.7)), Array)
        assert_type(model.sample_and_log_prob(0, 5, c), tuple[Array, Array])
    assert_type(flow.to_latent(x, c), tuple[Array, Array])
    assert_type(flow.to_data(x, c), tuple[Array, Array])
    assert_type(flow.trajectory(x, c), Array)
    assert_type(fl.negative_log_likelihood(flow, x, c, weights, 0), Array)
    assert_type(fl.initialize(flow, x, c), fl.Flow)
    assert_type(fl.diagnostics.solver_error(flow, x, c), Array)
    print(fl.diagnose(flow, x, c))
    fl.plot.density(flow, x, condition=c[0])
    fl.plot.pairs(x, flow.sample(0, 1000))
    fl.fit(flow, x, condition=c, weights=weights, key=0)
    teacher: dict[str, object] = {"teacher": flow, "condition": c}
    fl.fit_density(flow, fl.distillation(num_samples=8), key=0, num_steps=10, arguments=teacher)


def conditional_density(x: np.ndarray, c: np.ndarray) -> Array:
    """Give a condition to `fit` and to samples."""
    flow = fl.flows.nsf_coupling(
        dim=2, condition_dim=1, num_layers=4, hidden=(64, 64), num_bins=8, rngs=nnx.Rngs(0)
    )
    flow = fl.fit(flow, x, condition=c, key=jax.random.key(0), validation=0.2).flow
    return flow.sample(jax.random.key(2), (5,), c[:10])


def own_loop(x: Array) -> fl.Flow:
    """Write a loop around a step."""
    optimizer = optax.adam(1e-3)
    step = fl.make_train_step(fl.negative_log_likelihood, optimizer)
    flow = fl.flows.realnvp(dim=2, num_layers=4, hidden=(64, 64), rngs=nnx.Rngs(0))
    state = fl.TrainState.create(flow, optimizer)
    for _ in range(3):
        state, loss = step(state, x)
        assert_type(loss, Array)
    jax.jit(step)(state, x)
    return state.flow


def own_composition() -> fl.Flow:
    """Compose layers by hand."""
    spline = ft.RationalQuadraticSpline(num_bins=8, bound=5.0)

    def layer(rngs: nnx.Rngs) -> fb.Chain:
        network = fc.MADE(3, num_params=spline.num_params, hidden=(32, 32), rngs=rngs)
        return fb.Chain([fb.MaskedAutoregressive(spline, network), fb.LU(3), fb.Reverse(3)])

    return fl.Flow(fl.distributions.StudentT(3), fb.Repeat(layer, 6, rngs=nnx.Rngs(0)))


def latent_variables(vae: fl.inference.VAE, x: np.ndarray) -> Array:
    """Train another model than a flow, and watch it."""

    def watch(progress: fl.training.Progress[fl.inference.VAE]) -> None:
        assert_type(progress.best, fl.inference.VAE)

    loss = fl.inference.elbo(warm_up_steps=100)
    result = fl.fit(vae, x, key=0, loss=loss, callbacks=[watch])
    assert_type(result.flow, fl.inference.VAE)
    return result.flow.lower_bound(x, 0)


class Double(fb.AbstractBijector):
    """A bijector of one's own."""

    def __init__(self, dim: int) -> None:
        self.event_shape = (dim,)
        self.condition_shape = None

    def forward_and_log_det(
        self, x: Array, condition: Array | None = None, key: Array | None = None
    ) -> tuple[Array, Array]:
        return 2 * x, x.size * jnp.log(2.0)

    def inverse_and_log_det(
        self, y: Array, condition: Array | None = None, key: Array | None = None
    ) -> tuple[Array, Array]:
        return y / 2, -y.size * jnp.log(2.0)


def without_data() -> fl.Flow:
    """Fit a flow to a density."""

    def log_target(x: Array) -> Array:
        return -jnp.sum(x**2)

    loss = fl.losses.reverse_kl(log_target, num_samples=64)
    flow = fl.Flow(fl.distributions.StandardNormal(2), Double(2))
    return fl.fit_density(flow, loss, key=jax.random.key(0), num_steps=3000).flow
