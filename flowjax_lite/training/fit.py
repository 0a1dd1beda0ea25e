"""Training by maximum likelihood with one call."""

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any

import numpy as np
import optax
from jax import Array
from jax.sharding import Mesh

from flowjax_lite.core.checks import as_key, check_positive_int
from flowjax_lite.core.mesh import Placement, Rule, replicated
from flowjax_lite.data import Stream, stream
from flowjax_lite.losses import Loss
from flowjax_lite.losses.likelihood import negative_log_likelihood
from flowjax_lite.training.checkpoint import Checkpoint
from flowjax_lite.training.loop import train
from flowjax_lite.training.optimizer import AdamW
from flowjax_lite.training.record import Callback, FitResult, Metric, Model
from flowjax_lite.training.rows import Blocks, divided_rows
from flowjax_lite.training.settings import Settings, as_checkpoint, as_flow, as_optimizer
from flowjax_lite.training.sources import AbstractSource, InMemory, Streamed


def fit(
    flow: Model,
    data: Any,
    *,
    key: Array | int,
    condition: Any = None,
    weights: Any = None,
    loss: Loss = negative_log_likelihood,
    optimizer: AdamW | optax.GradientTransformation | None = None,
    learning_rate: float | None = None,
    batch_size: int | None = None,
    max_epochs: int = 100,
    patience: int | None = 20,
    ema: float | None = None,
    validation: Any = 0.1,
    checks: str = "error",
    metrics: Mapping[str, Metric] | None = None,
    monitor: str = "validation",
    callbacks: Sequence[Callback] = (),
    checkpoint: Checkpoint | str | PathLike[str] | None = None,
    mesh: Mesh | None = None,
    sharding: Rule = replicated,
    progress: bool = True,
) -> FitResult[Model]:
    """Train a flow on rows of data, and return the parameters that validate best.

    Whole epochs run on the device. Calling `fit` again with the same shapes compiles nothing, also
    for a flow built anew, or with another learning rate, number of epochs or patience; with an
    optimizer of your own, pass the same object again. An interrupt from the keyboard, or a
    notebook's stop button, ends training with a warning, and the best model so far is returned.

    A step whose loss, gradient or new parameters are not finite is skipped, and a warning tells
    of it at the end. After ten in a row the run goes back to the best parameters so far and goes
    on at a tenth of the rate; the fourth time it ends with an error that holds the best model.

    Args:
        flow: the model, or a base distribution alone, or a model that holds flows, such as
            `inference.VAE`; it is left as it is.
        data: (rows, *event_shape), floating-point; or a `data.Stream` of rows that stay where they
            lie, and their conditions; a memory-mapped array is read as one.
        key: randomness of the validation split, the order of rows and the training loss; a whole
            number is taken as the seed of a key.
        condition: (rows, condition_dim) where the flow takes a condition.
        weights: (rows,), not negative; relative influence of each row.
        loss: function of (flow, x, condition, weights, key), a scalar to minimise. On rows held
            out the key is None: they are compared from epoch to epoch without noise. A loss that
            has an argument `step` is told there, in training, how many steps are done.
        optimizer: an `AdamW` with its schedule over max_epochs, or any optax transformation;
            None is `AdamW(learning_rate)`.
        learning_rate: of the default optimizer, 1e-3 unless it is given; another optimizer has its
            own.
        batch_size: most rows per step; of fewer rows, each step has all. None is 256, or of fewer
            than 4096 training rows a power of two, a sixteenth of them at most, but no less than
            16.
        max_epochs: passes over the training rows.
        patience: stop after this many epochs without a lower value of what is monitored; None
            never stops early.
        ema: decay of an exponential moving average of the parameters over the steps, such as
            0.999, which is then what is validated and returned; None validates the parameters.
        validation: fraction of rows to hold out, or their number; or an array x, or a pair
            (x, condition), to validate on; or None to select by the training loss, which says
            nothing where it warms up with the step: hold out rows, or monitor a metric, there.
        checks: what happens to data that a density does not fit: "error" raises, and warns of
            what deserves a look, "warn" warns of both, "off" looks at types and shapes alone;
            see `data.check_data`.
        metrics: functions of the flow by name, which are called after each epoch; their values go
            into the history.
        monitor: the column of the history whose lowest value says which epoch is the best:
            "validation", "train", or a metric.
        callbacks: functions that are called after each epoch with a `training.Progress`, to write,
            draw or look for something; one that returns True ends the run there.
        checkpoint: where the run saves itself, to go on after an interruption; see `Checkpoint`.
            A path is `Checkpoint(path, resume=True)`.
        mesh: devices that divide the rows of each batch, such as `all_devices()`; None is the
            default device alone. With several processes every one of them calls `fit` with the
            same arguments, data included.
        sharding: function of the name and the shape of an array of the run's state, such as
            "train/flow/bijector/layers/0/kernel", that returns its `PartitionSpec` over the mesh;
            by default every device holds all parameters.
        progress: show a progress bar.

    Returns:
        The best flow and the history.

    Raises:
        FileExistsError: the checkpoint's directory holds a run, and it does not say `resume`.
        TypeError: data, condition or weights are not floating-point; or key, loss, optimizer or
            mesh is of another kind.
        ValueError: wrong shapes, too few rows, NaN or infinite cells, constant columns or such
            that others determine, settings out of range.
        DivergedError: step after step was not finite, or no epoch had a finite value of what is
            monitored; a FloatingPointError whose `result` holds the best model so far.
    """
    flow = as_flow(flow)
    settings = Settings(
        key=as_key(key),
        loss=loss,
        optimizer=as_optimizer(optimizer, learning_rate),
        batch_size=batch_size,
        max_epochs=check_positive_int(max_epochs, "max_epochs"),
        patience=patience,
        ema=ema,
        metrics=dict(metrics or {}),
        monitor=monitor,
        callbacks=callbacks,
        checkpoint=as_checkpoint(checkpoint),
        progress=progress,
    )
    if isinstance(data, np.memmap):
        data = stream(data)
    held_out: Any = {"validation": validation, "key": settings.key, "checks": checks}
    batches: Any = {"batch_size": settings.batch_size, "placement": Placement(mesh, sharding)}
    source: AbstractSource
    if not isinstance(data, Stream):
        rows = divided_rows(flow, data, condition, weights, **held_out)
        source = InMemory(rows, **batches)
    else:
        blocks = Blocks(flow, data, condition, weights, **held_out, progress=progress)
        source = Streamed(blocks, **batches)
    return train(flow, source, settings)
