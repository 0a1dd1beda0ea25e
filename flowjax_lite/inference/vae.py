"""Variational autoencoders, whose approximate posterior is any conditional flow."""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike

from flowjax_lite.conditioners import AbstractConditioner
from flowjax_lite.conditioners.base import in_shape
from flowjax_lite.core.checks import (
    Shape,
    as_key,
    check_batch,
    check_choice,
    check_positive_int,
)
from flowjax_lite.core.mesh import by_parts
from flowjax_lite.distributions import AbstractBase, Flow, StandardNormal
from flowjax_lite.distributions.bases.normal import LOG_SCALE_BOUND, log_normal
from flowjax_lite.distributions.flow import flow_of_base, sample_shape
from flowjax_lite.distributions.model import AbstractModel
from flowjax_lite.distributions.slices import in_slices
from flowjax_lite.distributions.statistics import replace_weightless
from flowjax_lite.losses import Loss
from flowjax_lite.losses.likelihood import warm_up, weighted_mean
from flowjax_lite.numerics.scalar import log_scale

Likelihood = Literal["bernoulli", "normal"]
LIKELIHOODS: tuple[str, ...] = get_args(Likelihood)


class VAE(AbstractModel):
    """A latent variable model p(x) = ∫ p(z) p(x|z) dz, with a flow q(z|x) as its posterior.

        log p(x) ≥ E_q[log p(x|z) + log p(z) - log q(z|x)]

    The encoder turns x into a vector h, which is the condition of the posterior: it makes the
    base's parameters, where that is a `ConditionalNormal`, and those of the layers, in any flow
    that is built with condition_dim. Layers that sample in one pass suit best: `planar`,
    `sylvester`, `iaf`, `Householder`.

    Kingma and Welling, 2014, arXiv:1312.6114; with flows Rezende and Mohamed, 2015,
    arXiv:1505.05770.

    Attributes:
        encoder: from x to h.
        posterior: q(z|h), a conditional flow.
        decoder: from z to the parameters of p(x|z).
        prior: p(z), a flow.
        likelihood: the family of p(x|z).
        event_shape: shape of one x.
        condition_shape: None.

    Example:
        >>> import jax, flowjax_lite as fl
        >>> from flax import nnx
        >>> rngs = nnx.Rngs(0)
        >>> encoder = fl.conditioners.MLP(6, out_shape=(8,), hidden=(16,), zero=False, rngs=rngs)
        >>> base = fl.distributions.ConditionalNormal(2, condition_dim=8, rngs=rngs)
        >>> flow = fl.flows.planar(dim=2, condition_dim=8, num_layers=2, base=base, rngs=rngs)
        >>> decoder = fl.conditioners.MLP(2, out_shape=(6,), hidden=(16,), zero=False, rngs=rngs)
        >>> vae = fl.inference.VAE(encoder, flow, decoder)
        >>> x = jax.random.bernoulli(jax.random.key(0), 0.3, (100, 6)).astype(float)
        >>> loss = fl.inference.elbo(warm_up_steps=20)
        >>> options = {"max_epochs": 2, "progress": False, "checks": "off"}  # rows repeat
        >>> result = fl.fit(vae, x, loss=loss, key=0, **options)
        >>> bound = result.flow.lower_bound(x, 1, num_samples=50)  # (100,)
    """

    def __init__(
        self,
        encoder: AbstractConditioner,
        posterior: Flow,
        decoder: AbstractConditioner,
        *,
        prior: AbstractBase | Flow | None = None,
        likelihood: Likelihood = "bernoulli",
    ) -> None:
        """Join the parts.

        Args:
            encoder: a network such as `ConvEncoder` or `MLP(..., zero=False)`, from event_shape
                to (h,).
            posterior: a flow with events (z,) and conditions (h,).
            decoder: a network such as `ConvDecoder` or `MLP(..., zero=False)`, from (z,) to
                logits of event_shape for "bernoulli", or to (2, *event_shape), means and raw
                scales, for "normal".
            prior: a base or a flow without a condition, with events (z,); None is a standard
                normal.
            likelihood: "bernoulli", of x within 0 and 1, or "normal".

        Raises:
            TypeError: the posterior takes no condition.
            ValueError: shapes do not fit together, or there is no such likelihood.
        """
        check_choice(likelihood, LIKELIHOODS, "likelihood")
        if posterior.condition_shape is None:
            raise TypeError(
                "the posterior takes no condition, so all x would have the same latents: build it "
                "with condition_dim, the length of the encoder's output"
            )
        self.event_shape = in_shape(encoder)
        self.condition_shape = None
        if prior is None:
            prior = StandardNormal(posterior.event_shape)
        if isinstance(prior, AbstractBase):
            prior = flow_of_base(prior)
        of_decoder = {"bernoulli": self.event_shape, "normal": (2, *self.event_shape)}
        _check_fit("the encoder gives", _out_shape(encoder), posterior.condition_shape)
        _check_fit("the decoder takes", in_shape(decoder), posterior.event_shape)
        _check_fit("the decoder gives", _out_shape(decoder), of_decoder[likelihood])
        _check_fit("the prior has events of", prior.event_shape, posterior.event_shape)
        if prior.condition_shape is not None:
            raise ValueError("the prior takes a condition, and there is none: build it without")
        self.encoder, self.posterior, self.decoder = encoder, posterior, decoder
        self.prior, self.likelihood = prior, likelihood

    def lower_bound(
        self,
        x: ArrayLike,
        key: Array | int,
        *,
        num_samples: int = 1,
        batch_size: int | None = None,
    ) -> Array:
        """An estimate from below of the log-likelihood, which itself has no closed form.

            E[log (1/K) Σ_k p(x, z_k) / q(z_k|x)] ≤ log p(x),  K samples z_k of q(z|x)

        For K = 1 it is the evidence lower bound. It rises with K, towards log p(x). It is a bound
        in its mean: report it as one.

        Burda, Grosse and Salakhutdinov, 2016, arXiv:1509.00519, equation 8.

        Args:
            x: (..., *event_shape).
            key: randomness, or a seed.
            num_samples: samples K, evaluated one after the other.
            batch_size: number of events to evaluate at a time; None for all at once.

        Returns:
            (...), in nats.

        Raises:
            TypeError: x is not floating-point, or a number is not whole.
            ValueError: x has the wrong shape, or a number is below 1.
        """
        num = check_positive_int(num_samples, "num_samples")
        rows, batch = self._rows(x)
        evaluate = functools.partial(_lower_bound, self, num_samples=num)
        bound: Array = in_slices(evaluate, (rows,), key, batch_size)
        return bound.reshape(batch)

    def sample(self, key: Array | int, shape: int | Shape = ()) -> Array:
        """Independent samples of x.

        Args:
            key: a random key, or a seed.
            shape: number of samples, or the shape of a batch of them.

        Returns:
            (*shape, *event_shape).
        """
        of_latent, of_noise = jax.random.split(as_key(key))
        z = self.prior.sample(of_latent, shape)
        keys = jax.random.split(of_noise, (math.prod(sample_shape(shape)),))
        flat = _sample_events(self, z.reshape(-1, *self.prior.event_shape), keys)
        return flat.reshape(*sample_shape(shape), *self.event_shape)

    def decode(self, z: ArrayLike) -> Array:
        """The mean of p(x|z): probabilities of ones, or the means of normals.

        Args:
            z: (..., *latent shape).

        Returns:
            (..., *event_shape).
        """
        z = check_batch(z, self.posterior.event_shape, "z")
        batch = z.shape[: z.ndim - len(self.posterior.event_shape)]
        flat = _means(self, z.reshape(-1, *self.posterior.event_shape))
        return flat.reshape(*batch, *self.event_shape)

    def encode(self, x: ArrayLike, key: Array | int, shape: int | Shape = ()) -> Array:
        """Samples of the latents of every event, from q(z|x).

        Args:
            x: (..., *event_shape).
            key: a random key, or a seed.
            shape: number of samples for each event, or the shape of a batch of them.

        Returns:
            (*shape, ..., *latent shape).
        """
        rows, batch = self._rows(x)
        h = _encode(self, rows).reshape(*batch, *_out_shape(self.encoder))
        return self.posterior.sample(key, shape, h)

    def reconstruct(self, x: ArrayLike, key: Array | int) -> Array:
        """What the decoder makes of the latents of x: the mean of p(x|z), z drawn from q(z|x).

        Args:
            x: (..., *event_shape).
            key: a random key, or a seed.

        Returns:
            (..., *event_shape).
        """
        return self.decode(self.encode(x, key))

    def _summary(self) -> list[tuple[str, object]]:
        parts = ("encoder", "posterior", "decoder", "prior")
        rows: list[tuple[str, object]] = [(name, str(getattr(self, name).recipe)) for name in parts]
        return [*rows, ("likelihood", self.likelihood), *super()._summary()]

    def _log_likelihood(self, x: Array, z: Array) -> Array:
        """log p(x|z) of one event, a scalar."""
        params = self.decoder(z)
        if self.likelihood == "bernoulli":
            # log sigmoid(±logit), weighted: also of grey values between 0 and 1
            log_p = x * jax.nn.log_sigmoid(params) + (1 - x) * jax.nn.log_sigmoid(-params)
            return jnp.sum(log_p)
        loc, raw_scale = params
        log_scales = log_scale(raw_scale, LOG_SCALE_BOUND)
        return jnp.sum(log_normal((x - loc) * jnp.exp(-log_scales)) - log_scales)


def elbo(*, num_samples: int = 1, warm_up_steps: int = 0) -> Loss:
    """The negative evidence lower bound of a `VAE`, a loss for `fit`.

        E_q[-log p(x|z) + β (log q(z|x) - log p(z))]

    β grows from 0 to 1 over the first steps, linearly, if so asked: without it, latents that do
    not help at once are given up for good. On rows held out β is 1, and samples have the same noise
    in every epoch, so that epochs compare.

    Warm-up: Sønderby et al., 2016, arXiv:1602.02282, section 2.3.

    Args:
        num_samples: samples z for each x, over which the bound is a mean.
        warm_up_steps: number of steps until β is 1; 0 for β = 1 from the start.

    Returns:
        `loss(vae, x, condition, weights, key)`, a scalar in nats. Equal arguments give equal
        losses, so nothing compiles twice.

    Raises:
        TypeError: a number is not whole.
        ValueError: num_samples is below 1, or warm_up_steps below 0.
    """
    return _ELBO(
        check_positive_int(num_samples, "num_samples"),
        check_positive_int(warm_up_steps, "warm_up_steps", minimum=0),
    )


@dataclass(frozen=True)
class _ELBO:
    num_samples: int
    warm_up_steps: int

    def __call__(
        self,
        vae: VAE,
        x: Array,
        condition: Array | None = None,
        weights: Array | None = None,
        key: Array | None = None,
        *,
        step: Array | None = None,
    ) -> Array:
        if not isinstance(vae, VAE):
            raise TypeError(f"elbo is a loss of a VAE; the model is a {type(vae).__name__}")
        if weights is not None:
            x, _ = replace_weightless(weights, x, None)
        x = check_batch(x, vae.event_shape, "x")
        beta = jnp.asarray(warm_up(step, self.warm_up_steps), x.dtype)

        def loss(shared: tuple[VAE, Array], x: Array, keys: Array) -> Array:
            vae, beta = shared
            log_likelihood, log_ratio = _terms(vae, x, _encode(vae, x), keys)
            return beta * log_ratio - log_likelihood

        # without a key, for rows held out: noise that is always the same
        keys = jax.random.split(jax.random.key(0) if key is None else key, len(x))
        samples = jax.vmap(lambda key: jax.random.split(key, self.num_samples))(keys)
        of_rows = functools.partial(_over_samples, loss)
        return weighted_mean(by_parts(vae.mesh, of_rows, (vae, beta), x, samples), weights)


def _over_samples(loss: Callable[..., Array], shared: Any, x: Array, samples: Array) -> Array:
    """The mean over (rows, samples) keys of a loss of rows."""
    return jnp.mean(jax.vmap(loss, (None, None, 1))(shared, x, samples), axis=0)


def _terms(vae: VAE, x: Array, h: Array, keys: Array) -> tuple[Array, Array]:
    """log p(x|z), and log q(z|x) - log p(z), of one sample z for each row; (rows,) each."""

    def of_one(key: Array, h: Array) -> tuple[Array, Array]:
        return vae.posterior.sample_and_log_prob(key, (), h)

    z, log_q = jax.vmap(of_one)(keys, h)
    return jax.vmap(vae._log_likelihood)(x, z), log_q - vae.prior.log_prob(z)


# Compiled once for each structure and shape.


@jax.jit
def _encode(vae: VAE, x: Array) -> Array:
    return jax.vmap(vae.encoder)(x)


@functools.partial(jax.jit, static_argnames=("num_samples",))
def _lower_bound(vae: VAE, x: Array, key: Array, *, num_samples: int) -> Array:
    h = _encode(vae, x)

    def add(total: Array, key: Array) -> tuple[Array, None]:
        log_likelihood, log_ratio = _terms(vae, x, h, jax.random.split(key, len(x)))
        return jnp.logaddexp(total, log_likelihood - log_ratio), None

    start = jnp.full(len(x), -jnp.inf, x.dtype)
    total, _ = lax.scan(add, start, jax.random.split(key, num_samples))
    return total - np.log(num_samples)


@jax.jit
def _means(vae: VAE, z: Array) -> Array:
    params = jax.vmap(vae.decoder)(z)
    return jax.nn.sigmoid(params) if vae.likelihood == "bernoulli" else params[:, 0]


@jax.jit
def _sample_events(vae: VAE, z: Array, keys: Array) -> Array:
    def sample(z: Array, key: Array) -> Array:
        params = vae.decoder(z)
        if vae.likelihood == "bernoulli":
            return jax.random.bernoulli(key, jax.nn.sigmoid(params)).astype(params.dtype)
        loc, raw_scale = params
        scale = jnp.exp(log_scale(raw_scale, LOG_SCALE_BOUND))
        return loc + scale * jax.random.normal(key, loc.shape, loc.dtype)

    return jax.vmap(sample)(z, keys)


def _out_shape(network: Any) -> Shape:
    """The shape that a network gives."""
    shape: Shape = network.out_shape
    return shape


def _check_fit(what: str, shape: Shape, expected: Shape) -> None:
    if shape != expected:
        raise ValueError(f"{what} shape {shape}; expected {expected}, so that the parts fit")
