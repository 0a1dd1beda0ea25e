"""What a trained experiment leaves in its run directory: config, metrics, model, pictures."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import flowjax_lite as fl
from flowjax_lite.cli import config as configs
from flowjax_lite.cli.report import score as report
from flowjax_lite.cli.report.score import Score
from flowjax_lite.cli.run import directory as run
from flowjax_lite.cli.run import progress
from flowjax_lite.cli.run.experiment import Outcome


def write(outcome: Outcome, scores: Sequence[Score]) -> None:
    """Write a trained experiment into its run directory, whole or not at all.

    What it wrote before its end moves there too, unless it was interrupted and may go on.

    Args:
        outcome: The trained experiment.
        scores: The scores of the flow and of the baselines.
    """
    config = outcome.experiment.config
    progress_dir = None if outcome.result.interrupted else config.progress_dir
    with run.writing(config.run_dir, progress=progress_dir) as directory:
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
            **_schemas(outcome),
        }
    )
    return "".join(json.dumps(line) + "\n" for line in lines)


def _schemas(outcome: Outcome) -> dict[str, Any]:
    """Return what the columns of the table were, where a schema was inferred."""
    data = outcome.experiment.data
    if outcome.experiment.config.data.schema is None:
        return {}
    schemas = {"schema": data.schema, "condition_schema": data.condition_schema}
    return {name: schema.kinds for name, schema in schemas.items() if schema is not None}


def _title(outcome: Outcome) -> str:
    score = outcome.score
    bits = "" if score.bits_per_dim is None else f", {score.bits_per_dim:.3f} bits/dim"
    family = outcome.experiment.config.flow.family
    return f"{outcome.experiment.data.name}, {family}: test {report.with_error(score)} nats{bits}"


def _draw(outcome: Outcome, directory: Path) -> None:
    """Write the pictures of a run."""
    data, result, title = outcome.experiment.data, outcome.result, _title(outcome)
    training = outcome.experiment.config.training
    samples = progress.draw_samples(outcome.experiment, result.flow, title=title)
    samples.savefig(directory / run.SAMPLES, dpi=progress.DPI)
    fl.plot.training(
        result,
        loss=None if training.likelihood else training.loss,
        title=f"{title} after {len(result.history['train'])} epochs, {outcome.seconds:.0f} s",
    ).savefig(directory / run.TRAINING, dpi=progress.DPI)
    if data.dim == 2 and not data.condition_columns:
        rows = data.test.x[: progress.NUM_POINTS]
        density = fl.plot.density(result.flow, rows, columns=data.columns, title=title)
        density.savefig(directory / run.DENSITY, dpi=progress.DPI)
