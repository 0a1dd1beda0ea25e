"""`flowjax-lite fit`: train a flow, score it beside three baselines, write a run directory."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
from jax.sharding import Mesh

import flowjax_lite as fl
from flowjax_lite.cli import config_file as configs
from flowjax_lite.cli import live, report, run
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
    experiment = prepare(config, load_data(config.data))
    print(describe(experiment), flush=True)
    callbacks = live.callbacks(experiment)
    with run.exclusive(config.run_dir, overwrite=overwrite):
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
    config = outcome.experiment.config
    with run.writing(config.run_dir, live=config.live_dir) as directory:
        (directory / run.CONFIG).write_text(configs.dump(config), encoding="utf-8")
        (directory / run.METRICS).write_text(_metrics(outcome, scores), encoding="utf-8")
        fl.save(directory / run.MODEL, outcome.result.flow)
        _draw(outcome, directory)


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


def _draw(outcome: Outcome, directory: Path) -> None:
    """Write the pictures of a run."""
    data, result, title = outcome.experiment.data, outcome.result, _title(outcome)
    training = outcome.experiment.config.training
    samples = live.draw_samples(outcome.experiment, result.flow, title=title)
    samples.savefig(directory / run.SAMPLES, dpi=live.DPI)
    fl.plot.training(
        result,
        loss=None if training.likelihood else training.loss,
        title=f"{title} after {len(result.history['train'])} epochs, {outcome.seconds:.0f} s",
    ).savefig(directory / run.TRAINING, dpi=live.DPI)
    if data.dim == 2 and not data.condition_columns:
        rows = head(data.test, live.NUM_POINTS).x
        density = fl.plot.density(result.flow, rows, columns=data.columns, title=title)
        density.savefig(directory / run.DENSITY, dpi=live.DPI)
