"""Training without data: a flow is fitted to a density, or to another flow, by its own samples."""

import inspect
from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any, NamedTuple, final

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from flowjax_lite.core.checks import as_key, check_choice, check_positive_int
from flowjax_lite.core.fingerprint import fingerprint
from flowjax_lite.core.mesh import Placement
from flowjax_lite.distributions import Flow
from flowjax_lite.distributions.model import AbstractModel
from flowjax_lite.losses import Loss
from flowjax_lite.training.checkpoint import Checkpoint
from flowjax_lite.training.loop import train
from flowjax_lite.training.optimizer import AdamW
from flowjax_lite.training.record import Callback, FitResult, Metric
from flowjax_lite.training.settings import Settings, as_checkpoint, as_flow, as_optimizer
from flowjax_lite.training.sources import AbstractSource, batch_ends


def fit_density(
    flow: Flow,
    loss: Loss,
    *,
    key: Array | int,
    num_steps: int,
    arguments: Mapping[str, Any] | None = None,
    optimizer: AdamW | optax.GradientTransformation | None = None,
    learning_rate: float | None = None,
    num_epochs: int = 100,
    patience: int | None = None,
    ema: float | None = None,
    metrics: Mapping[str, Metric] | None = None,
    monitor: str = "train",
    callbacks: Sequence[Callback] = (),
    checkpoint: Checkpoint | str | PathLike[str] | None = None,
    progress: bool = True,
) -> FitResult:
    """Train a flow by a loss that needs no data, and return the best parameters.

    Such losses are `reverse_kl`, `forward_kl`, `importance_weighted` and `distillation`. The steps
    are cut into epochs of equal length, after each of which the history grows by the mean loss of
    its steps, the best model is chosen and callbacks are called. Steps that are not finite are
    skipped, and a run that cannot go on goes back, as in `fit`.

    Args:
        flow: the model; it is left as it is.
        loss: function of (flow, key, ...), a scalar to minimise.
        key: randomness of the loss; a whole number is taken as the seed of a key.
        num_steps: optimisation steps.
        arguments: what else the loss takes, by name, such as {"teacher": teacher} or
            {"condition": condition}. Arrays in it are inputs of the compiled program.
        optimizer: an `AdamW` with its schedule over num_steps, or any optax transformation; None
            is `AdamW(learning_rate)`.
        learning_rate: of the default optimizer, 1e-3 unless it is given; another optimizer has its
            own.
        num_epochs: into how many epochs the steps are cut, at most.
        patience: stop after this many epochs without a lower value of what is monitored; None
            never stops early.
        ema: as for `fit`, also the following five.
        metrics: as there.
        monitor: "train", which is the mean loss over the steps of an epoch, or a metric, which a
            loss that changes with the step needs.
        callbacks: as there.
        checkpoint: as there.
        progress: show a progress bar.

    Returns:
        The best flow and the history, in which "validation" is "train".

    Raises:
        FileExistsError: the checkpoint's directory holds a run, and it does not say `resume`.
        TypeError: the loss takes other arguments, or a setting is of another kind.
        ValueError: settings out of range.
        DivergedError: as `fit`.

    Example:
        >>> import flowjax_lite as fl
        >>> from flax import nnx
        >>> flow = fl.flows.realnvp(dim=2, num_layers=2, hidden=(8,), rngs=nnx.Rngs(0))
        >>> loss = fl.reverse_kl(lambda x: -(x**4).sum(), num_samples=64)
        >>> result = fl.fit_density(flow, loss, key=0, num_steps=100, progress=False)
    """
    flow = as_flow(flow)
    check_choice(monitor, ("train", *(metrics or {})), "monitor")
    num_steps = check_positive_int(num_steps, "num_steps")
    num_epochs = min(num_steps, check_positive_int(num_epochs, "num_epochs"))
    settings = Settings(
        key=as_key(key),
        loss=loss,
        optimizer=as_optimizer(optimizer, learning_rate),
        max_epochs=num_epochs,
        patience=patience,
        ema=ema,
        metrics=dict(metrics or {}),
        monitor=monitor,
        callbacks=callbacks,
        checkpoint=as_checkpoint(checkpoint),
        progress=progress,
    )
    source = Draws(flow, loss, arguments or {}, num_steps=num_steps, num_epochs=num_epochs)
    return train(flow, source, settings)


class Arguments(NamedTuple):
    """What a loss takes beside the flow and the key, in order; the window of a run without rows."""

    arguments: tuple[Any, ...]

    def order(self, key: Array) -> None:
        """There is none."""

    def batch(
        self, order: None, number: Array, key: Array, placement: Placement
    ) -> tuple[tuple[Any, ...], Array]:
        """What the loss takes beside the flow in one step, and its weight."""
        return (key, *self.arguments), jnp.ones(())


@final
class Draws(AbstractSource):
    """Steps without data, whose loss draws its own samples.

    Args:
        flow: the model.
        loss: what is minimised.
        arguments: what it takes beside the flow and the key, by name.
        num_steps: of the run.
        num_epochs: into how many epochs they are cut.

    Raises:
        TypeError: the loss takes other arguments.
    """

    placement = Placement()
    advice = "lower learning_rate, or look for x at which the log-density is not finite"

    def __init__(
        self,
        flow: Flow,
        loss: Loss,
        arguments: Mapping[str, Any],
        *,
        num_steps: int,
        num_epochs: int,
    ) -> None:
        signature = inspect.signature(loss)
        try:
            bound = signature.bind(flow, None, **arguments)
        except TypeError as error:
            raise TypeError(
                f"arguments are {list(arguments)}, and the loss takes {signature} after the flow "
                f"and the key: {error}"
            ) from None
        bound.apply_defaults()
        self._arguments = Arguments(jax.device_put(bound.args[2:]))
        self._ends = batch_ends(num_steps, num_epochs)
        self.batches = int(np.diff(self._ends).max())

    def steps(self, epoch: int) -> range:
        return range(int(self._ends[epoch]), int(self._ends[epoch + 1]))

    def window(self, epoch: int, number: int) -> Arguments:
        return self._arguments

    def checksum(self) -> str:
        return fingerprint(jax.tree.leaves(self._arguments)).split()[-1]

    def describe(self, flow: AbstractModel, loss: Loss, key: Array, epoch: int, step: int) -> str:
        describe = getattr(loss, "describe", None)  # a loss of a log target looks at it
        said = None if describe is None else describe(flow, key, *self._arguments.arguments)
        return said or "its samples, or their log-densities, have no finite mean"
