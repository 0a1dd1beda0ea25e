"""`flowjax-lite fit`: train a flow, score it beside three baselines, write a run directory."""

import dataclasses
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jax.sharding import Mesh

import flowjax_lite as fl
from flowjax_lite.cli import batched, live, plots, report, run
from flowjax_lite.cli import config_file as configs
from flowjax_lite.cli.config import Config
from flowjax_lite.cli.experiment import (
    Outcome,
    baseline_scores,
    describe,
    load_data,
    prepare,
    train,
)
from flowjax_lite.cli.report import Score
from flowjax_lite.cli.rows import head

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GRID = 200


def fit(
    config: Config, *, overwrite: bool = False, resume: bool = False, mesh: Mesh | None = None
) -> list[Score]:
    """Train one config, print its table and write its run directory.

    Args:
        config: The config.
        overwrite: Whether an earlier run of that name may be replaced.
        resume: Whether to go on with a run of that name that was interrupted, if there is one.
        mesh: The devices that share each batch. Of several processes the first one writes.

    Returns:
        The scores of the flow and of the baselines; in a process that does not write, of the
        flow alone.

    Raises:
        ValueError: The config does not fit the data, or the run exists; nothing was written.
        DivergedError: Training failed; the best model until then was written, if any was good.
    """
    run.check_target(config.run_dir, overwrite=overwrite)
    plots.require_matplotlib()
    experiment = prepare(config, load_data(config.data))
    print(describe(experiment), flush=True)
    callbacks = live.callbacks(experiment)
    checkpoint = run.begin(config, overwrite=overwrite, resume=resume)
    print(f"Its progress is in {config.live_dir}", flush=True)
    outcome = train(experiment, checkpoint=checkpoint, mesh=mesh, callbacks=callbacks)
    if jax.process_index() > 0:
        return [outcome.score]
    scores = [outcome.score, *baseline_scores(experiment.data, logit=config.data.logit)]
    write(outcome, scores)
    print(f"\n{report.score_table(scores)}")
    print(f"\nWrote {config.run_dir}")
    if outcome.failure:
        raise outcome.failure
    return scores


def write(outcome: Outcome, scores: Sequence[Score]) -> None:
    """Write a trained experiment into its run directory, whole or not at all.

    What it wrote on its way moves there too.

    Args:
        outcome: The trained experiment.
        scores: The scores of the flow and of the baselines.
    """
    config, data = outcome.experiment.config, outcome.experiment.data
    with run.writing(config.run_dir, live=config.live_dir) as directory:
        (directory / run.CONFIG).write_text(configs.dump(config), encoding="utf-8")
        (directory / run.METRICS).write_text(_metrics(outcome, scores), encoding="utf-8")
        fl.save(directory / run.MODEL, outcome.result.flow)
        plots.save(_samples(outcome), directory / run.SAMPLES)
        plots.save(_training(outcome), directory / run.TRAINING)
        if data.dim == 2 and not data.condition_columns:
            plots.save(_density(outcome), directory / run.DENSITY)


def _metrics(outcome: Outcome, scores: Sequence[Score]) -> str:
    """Return one line of JSON for each epoch, log-likelihoods in nats, and one for the result."""
    data, history = outcome.experiment.data, outcome.result.history
    epochs = zip(history["train"], history["validation"], history["seconds"], strict=True)
    # A loss that is no likelihood is written as it is, under a name of its own.
    likelihood = outcome.experiment.config.training.likelihood
    sign, suffix = (-1, "") if likelihood else (1, "_loss")
    lines: list[dict[str, Any]] = [
        {
            "epoch": epoch,
            f"train{suffix}": sign * float(train),
            f"validation{suffix}": sign * float(validation),
            "seconds": round(float(seconds), 6),
        }
        for epoch, (train, validation, seconds) in enumerate(epochs, start=1)
    ]
    lines.append(
        {
            "best_epoch": outcome.result.best_epoch + 1,
            "parameters": outcome.experiment.num_parameters,
            "seconds": round(outcome.seconds, 3),
            "scores": [dataclasses.asdict(score) for score in scores],
            "columns": data.columns,
            "condition_columns": data.condition_columns,
            "num_levels": data.num_levels,
        }
    )
    return "".join(json.dumps(line) + "\n" for line in lines)


def _title(outcome: Outcome) -> str:
    score = outcome.score
    bits = "" if score.bits_per_dim is None else f", {score.bits_per_dim:.3f} bits/dim"
    family = outcome.experiment.config.flow.family
    return f"{outcome.experiment.data.name}, {family}: test {report.with_error(score)} nats{bits}"


def _samples(outcome: Outcome) -> "Figure":
    return live.draw_samples(outcome.experiment, outcome.result.flow, title=_title(outcome))


def _training(outcome: Outcome) -> "Figure":
    epochs, seconds = len(outcome.result.history["train"]), outcome.seconds
    title = f"{_title(outcome)} after {epochs} epochs, {seconds:.0f} s"
    config = outcome.experiment.config.training
    return plots.training(
        outcome.result.history,
        best_epoch=outcome.result.best_epoch,
        title=title,
        loss=None if config.likelihood else config.loss,
    )


def _density(outcome: Outcome) -> "Figure":
    data = outcome.experiment.data
    rows = head(data.test, live.NUM_POINTS).x
    margin = 0.15 * (rows.max(0) - rows.min(0))
    (left, bottom), (right, top) = rows.min(0) - margin, rows.max(0) + margin
    x, y = np.meshgrid(np.linspace(left, right, GRID), np.linspace(bottom, top, GRID))
    points = np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float32)
    log_prob = batched.log_prob(outcome.result.flow, points).reshape(GRID, GRID)
    return plots.density(
        log_prob,
        rows,
        extent=(left, right, bottom, top),
        columns=data.columns,
        title=_title(outcome),
    )
