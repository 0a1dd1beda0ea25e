"""Several flows trained at once, and their mixture."""

import functools
import time
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
import optax
from jax import Array
from tqdm.auto import tqdm

from flowjax_lite.core.checks import as_key
from flowjax_lite.core.mesh import Placement
from flowjax_lite.distributions import Flow, FlowMixture
from flowjax_lite.distributions.mixture import check_alike, one_for_each
from flowjax_lite.losses import Loss
from flowjax_lite.losses.likelihood import negative_log_likelihood
from flowjax_lite.training.failure import ADVICE, MOST_RETURNS, DivergedError
from flowjax_lite.training.feed import Resident
from flowjax_lite.training.fit import check_settings, over_steps
from flowjax_lite.training.optimizer import AdamW
from flowjax_lite.training.record import FitResult, Record
from flowjax_lite.training.rows import check_rows, split_rows
from flowjax_lite.training.share import Share, num_shares


@dataclass(frozen=True)
class EnsembleResult:
    """What training an ensemble returns.

    Attributes:
        members: what training each flow returned, in the order of the flows.
        mixture: of the members whose training did not fail, with equal weights.
    """

    members: tuple[FitResult, ...]
    mixture: FlowMixture


def fit_ensemble(
    flows: Sequence[Flow],
    data: Any,
    *,
    key: Array | int,
    rates: Sequence[float] | None = None,
    condition: Any = None,
    weights: Any = None,
    loss: Loss = negative_log_likelihood,
    optimizer: AdamW | optax.GradientTransformation | None = None,
    learning_rate: float | None = None,
    batch_size: int = 256,
    max_epochs: int = 100,
    patience: int | None = 20,
    ema: float | None = None,
    validation: Any = 0.1,
    checks: str = "error",
    progress: bool = True,
) -> EnsembleResult:
    """Train flows that are built alike, all at once.

    On a GPU, 8 small flows take the time of one. A CPU trains a share of them on each core: on two,
    small flows take about half the time that they take one by one.

    Each member is trained as `fit` would, with an order of the rows of its own, and ends where it
    would end: it goes back, loses patience or fails without the others. All have the same rows
    held out.

    Lakshminarayanan, Pritzel and Blundell, 2017, arXiv:1612.01474.

    Args:
        flows: the models, such as `[fl.flows.maf(..., rngs=nnx.Rngs(i)) for i in range(8)]`; they
            are left as they are.
        data: (rows, dim), floating-point.
        key: randomness of the validation split, and by `fold_in(key, i)` of the member i.
        rates: factors on the learning rate, one for each flow; None is 1 for all.
        condition: as for `fit`, also the following ten.
        weights: as there.
        loss: as there.
        optimizer: as there.
        learning_rate: as there.
        batch_size: as there.
        max_epochs: as there.
        patience: as there, for each member.
        ema: as there.
        validation: as there.
        checks: as there.
        progress: show a progress bar.

    Returns:
        What `fit` returns of each flow, and the mixture of all.

    Raises:
        TypeError: data, condition or weights are not floating-point.
        ValueError: flows are not built alike, rates are not positive, or as `fit`.
        DivergedError: no member could be trained. Where some could, the others are named in a
            warning.
    """
    key = as_key(key)
    optimizer = check_settings(
        loss=loss,
        optimizer=optimizer,
        learning_rate=learning_rate,
        batch_size=batch_size,
        max_epochs=max_epochs,
        patience=patience,
        ema=ema,
    )
    check_alike(flows)
    num = len(flows)
    factors = one_for_each(rates, "rates", num)
    checked = check_rows(flows[0], data, condition, weights, checks=checks)
    split = split_rows(flows[0], checked, validation, key, checks=checks)
    feed = Resident(split, batch_size, Placement())
    optimizer = over_steps(optimizer, max_epochs * feed.num_steps)
    keys = jax.vmap(functools.partial(jax.random.fold_in, key))(np.arange(num))
    rows = feed.window(0, 0), Placement().put(feed.validation)
    settings: dict[str, Any] = {"loss": loss, "optimizer": optimizer, "ema": ema}
    settings |= {"batch_size": batch_size, "num_steps": feed.num_steps}
    settings |= {"max_epochs": max_epochs, "patience": patience}
    shares = [
        Share([flows[i] for i in which], keys[which], factors[which], *rows, **settings)
        for which in np.array_split(np.arange(num), num_shares(num))
    ]
    start = time.perf_counter()
    with (
        tqdm(total=max_epochs, disable=not progress, unit="epoch") as bar,
        ThreadPoolExecutor(len(shares)) as threads,
    ):
        while left := [share for share in shares if share.going.any()]:
            list(threads.map(Share.advance, left))
            for share in left:
                share.keep(time.perf_counter() - start)
            bar.update(max(record.epoch for share in shares for record in share.records) - bar.n)
    results = [result for share in shares for result in share.results()]
    records = [record for share in shares for record in share.records]
    return _checked_result(results, records)


def _checked_result(results: Sequence[FitResult], records: Sequence[Record]) -> EnsembleResult:
    """The result of all members, if any of them could be trained; what went wrong is told."""
    bad = [record.returns > MOST_RETURNS or record.best_epoch < 0 for record in records]
    good = [result.flow for result, is_bad in zip(results, bad, strict=True) if not is_bad]
    failed = [
        f"member {i} after {record.epoch} epochs"
        for i, (record, is_bad) in enumerate(zip(records, bad, strict=True))
        if is_bad
    ]
    skipped = int(sum(sum(result.history.get("skipped", ())) for result in results))
    message = (
        f"training ended before its time, as step after step was not finite, for "
        f"{', '.join(failed)}: {ADVICE}"
        if failed
        else f"{skipped} steps of all members were skipped, as their loss or gradient was not "
        "finite"
    )
    if not good:
        raise DivergedError(message, results[0])
    if failed or skipped:
        warnings.warn(message, RuntimeWarning, stacklevel=3)
    return EnsembleResult(tuple(results), FlowMixture(good))
