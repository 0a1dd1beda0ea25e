"""Bayesian neural networks whose posterior over weights is made flexible by a flow."""

import functools
import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import ArrayLike

from flowjax_lite.conditioners.activations import Activation, get_activation
from flowjax_lite.conditioners.convolution import check_image_shape
from flowjax_lite.core.arrays import zeros
from flowjax_lite.core.checks import (
    Shape,
    check_batch,
    check_choice,
    check_condition_batch,
    check_event,
    check_event_shape,
    check_positive_int,
)
from flowjax_lite.core.mesh import by_parts
from flowjax_lite.core.recipe import RecordedModule
from flowjax_lite.distributions import DiagonalNormal, Flow
from flowjax_lite.distributions.bases.normal import LOG_SCALE_BOUND, log_normal
from flowjax_lite.distributions.model import AbstractModel
from flowjax_lite.distributions.slices import in_slices
from flowjax_lite.distributions.statistics import replace_weightless
from flowjax_lite.flows import iaf, maf, realnvp
from flowjax_lite.inference.labels import log_prob_of_labels
from flowjax_lite.losses import Loss
from flowjax_lite.losses.likelihood import warm_up, weighted_mean
from flowjax_lite.numerics.convolution import Padding, convolution
from flowjax_lite.numerics.random import lecun_normal, normal
from flowjax_lite.numerics.scalar import log_scale

Family = Literal["realnvp", "iaf"]
FAMILIES: tuple[str, ...] = get_args(Family)
# Of a weight around its mean, and of a factor around 1: nearly a network without noise.
_FIRST_STD, _FIRST_STD_OF_Z = 0.01, 0.1
_CONV_INIT = nnx.initializers.lecun_normal()


class AbstractMNF(RecordedModule, kind="mnf"):
    """A layer whose weights are normal given factors z, which follow a flow.

        W_ij ~ N(z_i μ_ij, σ²_ij),  z ~ q, a flow;  p(W) = N(0, 1)

    One z is drawn for each event, so map a batch by `jax.vmap` with a key for each row: with one z
    for all, the noise of the gradient would not average out. Outputs are drawn in the place of
    weights (local reparameterisation: Kingma, Salimans and Welling, 2015, arXiv:1506.02557).

    Louizos and Welling, 2017, arXiv:1703.01961, equations 2 to 14.

    Attributes:
        mean: μ, whose axis of z is `z_axis`.
        raw_std: σ, through a sigmoid times `max_std`.
        bias: a parameter without noise.
        flow: q(z).
        auxiliary: the map of r(z|W), from the normal whose mean and scale W gives.
        directions: (3, dim), c, b₁ and b₂ of that normal.
    """

    z_axis: int
    in_shape: Shape
    out_shape: Shape

    def _build(
        self,
        mean: Array,
        *,
        family: Family,
        num_layers: int,
        hidden: tuple[int, ...],
        max_std: float,
        rngs: nnx.Rngs,
    ) -> None:
        if not _FIRST_STD < max_std < math.inf:
            raise ValueError(f"max_std is {max_std!r}; expected a number above {_FIRST_STD}")
        check_choice(family, FAMILIES, "family")
        dim = mean.shape[self.z_axis]
        ratio = _FIRST_STD / max_std
        self.mean = nnx.Param(mean)
        self.raw_std = nnx.Param(jnp.full(mean.shape, math.log(ratio / (1 - ratio))))
        self.bias = nnx.Param(zeros(mean.shape[-1]))
        self.max_std = float(max_std)
        # q samples in one pass, and so does the density of r.
        make, make_auxiliary = (realnvp, realnvp) if family == "realnvp" else (iaf, maf)
        options: dict[str, Any] = {
            "dim": dim,
            "num_layers": num_layers,
            "hidden": hidden,
            "rngs": rngs,
        }
        base = DiagonalNormal(dim)
        base.loc[...] = jnp.ones(dim)
        base.raw_scale[...] = jnp.full(dim, math.log(_FIRST_STD_OF_Z))
        self.flow: Flow = make(base=base, **options)
        self.auxiliary = make_auxiliary(**options).bijector
        self.directions = nnx.Param(normal(rngs.params(), (3, dim)) / math.sqrt(dim))

    @abstractmethod
    def __call__(self, x: Array, key: Array | None = None) -> Array:
        """The output for one event, of weights drawn for it alone.

        Args:
            x: one event.
            key: randomness; None takes the mean of the weights at the flow's image of its centre.
        """

    @property
    def std(self) -> Array:
        """σ, of the shape of the weights."""
        return self.max_std * jax.nn.sigmoid(self.raw_std[...])

    def kl(self, key: Array) -> Array:
        """An estimate of an upper bound on KL(q(W) || p(W)), from one z and one W.

            E[KL(q(W|z) || p(W)) + log q(z) - log r(z|W)]

        Args:
            key: randomness.

        Returns:
            A scalar, in nats.
        """
        of_z, of_w = jax.random.split(key)
        z, log_q = self.flow.sample_and_log_prob(of_z)
        mean, std = (jnp.moveaxis(w, self.z_axis, 0) for w in (self.mean[...], self.std))
        mean, std = (w.reshape(len(z), -1) for w in (mean, std))
        weight_mean = z[:, None] * mean
        given_z = jnp.sum(0.5 * (std**2 + weight_mean**2 - 1) - jnp.log(std))
        c, b1, b2 = self.directions[...]
        noise = normal(of_w, mean.shape[1:], mean.dtype)
        projected = c @ weight_mean + jnp.sqrt(c**2 @ std**2) * noise
        signal = jnp.mean(jnp.tanh(projected))
        latent, log_det = self.auxiliary.inverse_and_log_det(z)
        log_scales = log_scale(b2 * signal, LOG_SCALE_BOUND)
        standardized = (latent - b1 * signal) * jnp.exp(-log_scales)
        log_r = jnp.sum(log_normal(standardized) - log_scales) + log_det
        return given_z + log_q - log_r

    def _factors(self, key: Array | None) -> Array:
        """One z; the image of the base's centre without a key."""
        if key is None:
            return self.flow.bijector.forward(self.flow.base.center())
        return self.flow.sample(key)


def _noisy(mean: Array, variance: Array, key: Array) -> Array:
    """Normal numbers; the gradient is finite where the variance is 0."""
    noise = normal(key, mean.shape, mean.dtype)
    return mean + jnp.sqrt(variance + jnp.finfo(variance.dtype).tiny ** 0.5) * noise


class MNFLinear(AbstractMNF):
    """A dense layer with multiplicative normalizing flows: one factor for each input.

    Louizos and Welling, 2017, arXiv:1703.01961, section 3.2.

    Attributes:
        in_shape: (in_dim,).
        out_shape: (out_dim,).
    """

    z_axis = 0

    def __init__(
        self,
        in_dim: int,
        out_dim: int,
        *,
        family: Family = "realnvp",
        num_layers: int = 2,
        hidden: tuple[int, ...] = (50,),
        max_std: float = 0.5,
        rngs: nnx.Rngs,
    ) -> None:
        """Build the layer, close to one without noise.

        Args:
            in_dim: length of the input.
            out_dim: length of the output.
            family: of the flow over z, "realnvp" or "iaf"; of the auxiliary flow, "realnvp" or
                `maf`.
            num_layers: layers of each of the two flows.
            hidden: widths of the networks in their layers.
            max_std: upper bound of the weights' standard deviations.
            rngs: source of the initial weights.

        Raises:
            ValueError: there is no such family, or a number is out of range.
        """
        shape = check_positive_int(in_dim, "in_dim"), check_positive_int(out_dim, "out_dim")
        self.in_shape, self.out_shape = (in_dim,), (out_dim,)
        options: dict[str, Any] = {"family": family, "num_layers": num_layers, "hidden": hidden}
        self._build(lecun_normal(rngs.params(), shape), **options, max_std=max_std, rngs=rngs)

    def __call__(self, x: Array, key: Array | None = None) -> Array:
        x = check_event(x, self.in_shape, "x")
        of_z, of_noise = (None, None) if key is None else jax.random.split(key)
        mean = jnp.matmul(x * self._factors(of_z), self.mean[...], precision="highest")
        if of_noise is not None:
            variance = jnp.matmul(x**2, self.std**2, precision="highest")
            mean = _noisy(mean, variance, of_noise)
        return mean + self.bias[...]


class MNFConv(AbstractMNF):
    """A convolution with multiplicative normalizing flows: one factor for each output channel.

    Louizos and Welling, 2017, arXiv:1703.01961, section 3.3.

    Attributes:
        in_shape: (height, width, channels) of the input.
        out_shape: that of the output.
    """

    z_axis = -1

    def __init__(
        self,
        image_shape: Shape,
        out_channels: int,
        *,
        size: int = 3,
        stride: int = 1,
        padding: Padding = "SAME",
        family: Family = "realnvp",
        num_layers: int = 2,
        hidden: tuple[int, ...] = (50,),
        max_std: float = 0.5,
        rngs: nnx.Rngs,
    ) -> None:
        """Build the layer, close to one without noise.

        Args:
            image_shape: (height, width, channels) of the input.
            out_channels: channels of the output.
            size: height and width of the kernel.
            stride: distance between neighbouring windows, in pixels.
            padding: "SAME" or "VALID"; see `numerics.convolution`.
            family: as for `MNFLinear`, with the following ones.
            num_layers: as there.
            hidden: as there.
            max_std: as there.
            rngs: source of the initial weights.

        Raises:
            ValueError: there is no such family, or a number is out of range.
        """
        self.in_shape = check_image_shape(image_shape)
        self.stride, self.padding = stride, padding
        shape = size, size, self.in_shape[-1], check_positive_int(out_channels, "out_channels")
        options: dict[str, Any] = {"family": family, "num_layers": num_layers, "hidden": hidden}
        self._build(_CONV_INIT(rngs.params(), shape), **options, max_std=max_std, rngs=rngs)
        image = jax.ShapeDtypeStruct(self.in_shape, self.mean.dtype)
        kernel = jax.ShapeDtypeStruct(shape, self.mean.dtype)
        convolve = functools.partial(convolution, stride=stride, padding=padding)
        self.out_shape: Shape = jax.eval_shape(convolve, image, kernel).shape

    def __call__(self, x: Array, key: Array | None = None) -> Array:
        x = check_event(x, self.in_shape, "x")
        of_z, of_noise = (None, None) if key is None else jax.random.split(key)
        z = self._factors(of_z)[None, None]
        mean = convolution(x, self.mean[...], self.stride, self.padding) * z
        if of_noise is not None:
            variance = convolution(x**2, self.std**2, self.stride, self.padding)
            mean = _noisy(mean, variance, of_noise)
        return mean + self.bias[...][None, None]


class MaxPool(RecordedModule, kind="mnf"):
    """The largest number of each square of an image, channel by channel.

    Attributes:
        in_shape: (height, width, channels) of the input.
        out_shape: that of the output.
    """

    def __init__(self, image_shape: Shape, *, size: int = 2) -> None:
        """Note the shapes.

        Args:
            image_shape: (height, width, channels), multiples of size.
            size: height and width of a square.

        Raises:
            ValueError: the squares do not fill the image.
        """
        self.in_shape = check_image_shape(image_shape)
        height, width, channels = self.in_shape
        self.size = check_positive_int(size, "size")
        if height % size or width % size:
            raise ValueError(f"image_shape is {image_shape}; expected multiples of size, {size}")
        self.out_shape = height // size, width // size, channels

    def __call__(self, x: Array) -> Array:
        """The output for one image."""
        height, width, channels = self.out_shape
        squares = check_event(x, self.in_shape, "x")
        return squares.reshape(height, self.size, width, self.size, channels).max((1, 3))


class BayesianClassifier(AbstractModel):
    """A classifier of `MNFLinear` and `MNFConv` layers: a distribution over networks.

    `fit` takes the labels as conditions, (rows, 1), and `bayesian_loss`; -1 marks rows without one,
    which are left out. Predictions are means over networks: unlike those of one network, they
    become uncertain away from the data.

    Louizos and Welling, 2017, arXiv:1703.01961.

    Attributes:
        layers: the layers; those that are no `MaxPool` have noise.
        event_shape: shape of one x.
        condition_shape: (1,), the label's.
        num_classes: number of classes.

    Example:
        >>> import jax, numpy as np, flowjax_lite as fl
        >>> from flax import nnx
        >>> x = np.asarray(jax.random.normal(jax.random.key(0), (200, 2)))
        >>> labels = (x[:, :1] > 0).astype(int)
        >>> sizes, rngs = [(2, 8), (8, 2)], nnx.Rngs(0)
        >>> layers = [fl.inference.MNFLinear(a, b, hidden=(8,), rngs=rngs) for a, b in sizes]
        >>> net = fl.inference.BayesianClassifier(layers)
        >>> loss = fl.inference.bayesian_loss(num_rows=len(x))
        >>> options = {"max_epochs": 2, "progress": False}
        >>> net = fl.fit(net, x, condition=labels, loss=loss, key=0, **options).flow
        >>> log_p = net.predict(x, 1, num_samples=10)  # (200, 2)
    """

    def __init__(
        self, layers: Sequence[AbstractMNF | MaxPool], *, activation: str | Activation = "relu"
    ) -> None:
        """Join layers, with an activation after each of them that has weights, but the last.

        An image becomes a vector where a layer expects one.

        Args:
            layers: at least one; the last one gives the logits of the classes.
            activation: name or function.

        Raises:
            ValueError: shapes do not fit together.
        """
        if not layers:
            raise ValueError("layers is empty; expected one MNFLinear at least")
        shape: Shape = layers[0].in_shape
        for number, layer in enumerate(layers):
            flat = len(layer.in_shape) == 1 and layer.in_shape == (math.prod(shape),)
            if layer.in_shape != shape and not flat:
                raise ValueError(
                    f"layer {number} takes shape {layer.in_shape}; the one before gives {shape}"
                )
            shape = layer.out_shape
        if len(shape) != 1 or shape[0] < 2:
            raise ValueError(f"the last layer gives shape {shape}; expected (classes,), 2 at least")
        self.layers = nnx.List(layers)
        self.activation = get_activation(activation)
        self.event_shape = check_event_shape(layers[0].in_shape)
        self.condition_shape = (1,)
        self.num_classes = shape[0]

    def logits(self, x: Array, key: Array | None = None) -> Array:
        """The logits for one x, of one network drawn for it; of the mean network without a key.

        Args:
            x: event_shape.
            key: randomness.
        """
        last = len(self.layers) - 1
        for number, layer in enumerate(self.layers):
            if isinstance(layer, MaxPool):
                x = layer(x)
                continue
            of_layer = None if key is None else jax.random.fold_in(key, number)
            x = layer(x.reshape(layer.in_shape), of_layer)
            x = x if number == last else self.activation(x)
        return x

    def kl(self, key: Array) -> Array:
        """The sum over layers of the bound on KL(q(W) || p(W)), in nats; see `MNFLinear.kl`."""
        layers = [layer for layer in self.layers if isinstance(layer, AbstractMNF)]
        keys = jax.random.split(key, len(layers))
        return sum((layer.kl(k) for layer, k in zip(layers, keys, strict=True)), jnp.zeros(()))

    def predict(
        self,
        x: ArrayLike,
        key: Array | int,
        *,
        num_samples: int = 20,
        batch_size: int | None = None,
    ) -> Array:
        """Log-probabilities of the classes, whose mean is taken over networks.

        Args:
            x: (..., *event_shape).
            key: randomness, or a seed.
            num_samples: number of networks for each event.
            batch_size: number of events to evaluate at a time; None for all at once.

        Returns:
            (..., classes), in nats.

        Raises:
            TypeError: x is not floating-point.
            ValueError: x has the wrong shape, or a number is below 1.
        """
        rows, batch = self._rows(x)
        num = check_positive_int(num_samples, "num_samples")
        evaluate = functools.partial(_predict, self, num_samples=num)
        log_p: Array = in_slices(evaluate, (rows,), key, batch_size)
        return log_p.reshape(*batch, self.num_classes)

    def _summary(self) -> list[tuple[str, object]]:
        shapes = " → ".join(str(layer.out_shape) for layer in self.layers)
        return [("layers", f"{self.event_shape} → {shapes}"), *super()._summary()]


@functools.partial(jax.jit, static_argnames="num_samples")
def _predict(net: BayesianClassifier, x: Array, key: Array, *, num_samples: int) -> Array:
    def add(total: Array, key: Array) -> tuple[Array, None]:
        logits = jax.vmap(net.logits)(x, jax.random.split(key, len(x)))
        return jnp.logaddexp(total, jax.nn.log_softmax(logits)), None

    start = jnp.full((len(x), net.num_classes), -jnp.inf, x.dtype)
    total, _ = jax.lax.scan(add, start, jax.random.split(key, num_samples))
    return total - math.log(num_samples)


def bayesian_loss(*, num_rows: int, warm_up_steps: int = 0) -> Loss:
    """The negative evidence lower bound of a `BayesianClassifier`, for each row.

        -E[log p(y|x, W)] + β KL(q(W) || p(W)) / N

    β grows from 0 to 1 over the first steps, linearly, if so asked: before the network has learned
    anything, the second term is the larger one, and takes units away for good. Without a key, as
    on the rows that `fit` holds out, it is the first term for the mean network.

    Args:
        num_rows: N, the number of rows that are trained on, all batches together.
        warm_up_steps: number of steps until β is 1; 0 for β = 1 from the start.

    Returns:
        `loss(net, x, condition, weights, key)`, a scalar in nats. Equal arguments give equal
        losses.

    Raises:
        TypeError: a number is not whole.
        ValueError: num_rows is below 1, or warm_up_steps below 0.
    """
    return _BayesianLoss(
        check_positive_int(num_rows, "num_rows"),
        check_positive_int(warm_up_steps, "warm_up_steps", minimum=0),
    )


@dataclass(frozen=True)
class _BayesianLoss:
    num_rows: int
    warm_up_steps: int

    def __call__(
        self,
        net: BayesianClassifier,
        x: Array,
        condition: Array | None = None,
        weights: Array | None = None,
        key: Array | None = None,
        *,
        step: Array | None = None,
    ) -> Array:
        if not isinstance(net, BayesianClassifier):
            raise TypeError(
                f"bayesian_loss is a loss of a BayesianClassifier; the model is a "
                f"{type(net).__name__}"
            )
        labels = check_condition_batch(condition, net.condition_shape)
        if weights is not None:
            x, labels = replace_weightless(weights, x, labels)
        assert labels is not None
        x = check_batch(x, net.event_shape, "x")
        of_rows, of_kl = (None, None) if key is None else jax.random.split(key)
        keys = None if of_rows is None else jax.random.split(of_rows, len(x))
        loss = weighted_mean(by_parts(net.mesh, _losses, net, x, labels, keys), weights)
        if of_kl is None:
            return loss
        return loss + warm_up(step, self.warm_up_steps) * net.kl(of_kl) / self.num_rows


def _losses(net: BayesianClassifier, x: Array, labels: Array, keys: Array | None) -> Array:
    """-log p(label | x) of each row."""
    log_p = jax.nn.log_softmax(jax.vmap(net.logits)(x, keys))
    return -log_prob_of_labels(log_p, labels)
