"""`flowjax-lite compare`: several flows on the same data, in one table and one picture."""

import dataclasses
import json
import os
import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import flax
import jax
import numpy as np
from flax import nnx

import flowjax_lite as fl
from flowjax_lite.cli import batched, plots, report, run
from flowjax_lite.cli.config import Config
from flowjax_lite.cli.errors import CommandError
from flowjax_lite.cli.experiment import (
    Outcome,
    baseline_scores,
    describe,
    load_data,
    prepare,
    train,
)
from flowjax_lite.cli.fit import write
from flowjax_lite.cli.report import ComparisonRow

TABLE, ROWS, PICTURE = "comparison.md", "comparison.jsonl", "comparison.png"
_REPEATS, _ENOUGH_SECONDS = 7, 20.0  # a slow call needs no median


def compare(
    configs: Sequence[Config], *, out: str | Path, overwrite: bool = False
) -> list[ComparisonRow]:
    """Train several flows on the same data, and write one table and one picture.

    Args:
        configs: The configs; their `data` sections must be equal and their names different.
        out: The directory for the table, the picture and the run directory of each config.
        overwrite: Whether an earlier comparison may be replaced.

    Returns:
        One row for each config, in order, and one for each baseline.

    Raises:
        ValueError: The configs do not belong together, or do not fit the data; nothing was written.
    """
    out = Path(out)
    run.check_target(out, overwrite=overwrite)
    plots.require_matplotlib()
    configs = [dataclasses.replace(config, output=str(out)) for config in configs]
    _check_comparable(configs)
    data = load_data(configs[0].data)
    experiments = [prepare(config, data) for config in configs]
    baselines = baseline_scores(data, logit=configs[0].data.logit)
    rows = []
    for experiment in experiments:
        print(describe(experiment), flush=True)
        outcome = train(experiment)
        write(outcome, [outcome.score, *baselines])
        rows.append(_row(outcome))
    rows += [ComparisonRow(score) for score in baselines]
    text = table(rows)
    with run.writing(out, files=(TABLE, ROWS, PICTURE)) as directory:
        (directory / TABLE).write_text(text, encoding="utf-8")
        lines = [json.dumps(dataclasses.asdict(row)) + "\n" for row in rows]
        (directory / ROWS).write_text("".join(lines), encoding="utf-8")
        title = f"{data.name}: {len(configs)} flows beside three baselines"
        plots.save(plots.comparison(rows, title=title), directory / PICTURE)
    print(f"\n{text}\nWrote {out}")
    return rows


def table(rows: Sequence[ComparisonRow]) -> str:
    """Return the comparison as Markdown: a table, notes, and what it was measured on."""
    images = any(row.score.bits_per_dim is not None for row in rows)
    columns = ["model", "parameters", "test log-likelihood (nats)"]
    columns += ["bits/dim"] if images else []
    columns += ["epochs", "s/epoch", "log_prob/s", "samples/s", "compile s", "total s"]
    cells = []
    for row in rows:
        line = [row.score.name, f"{row.score.parameters:,}", report.with_error(row.score)]
        line += [report.number(row.score.bits_per_dim, digits=3)] if images else []
        line += ["–" if row.epochs is None else str(row.epochs)]
        line += [
            report.short(value)
            for value in (
                row.seconds_per_epoch,
                row.log_prob_per_second,
                row.samples_per_second,
                row.compile_seconds,
                row.total_seconds,
            )
        ]
        cells.append(line)
    notes = report.notes([row.score for row in rows])
    return f"{report.markdown(columns, cells)}{notes}\n\n{_footer()}\n"


def _check_comparable(configs: Sequence[Config]) -> None:
    first = configs[0]
    for config in configs[1:]:
        for field in dataclasses.fields(config.data):
            one, other = getattr(first.data, field.name), getattr(config.data, field.name)
            if one != other:
                raise CommandError(
                    f"data.{field.name} is {one!r} in {first.name} and {other!r} in {config.name}: "
                    "flows are compared on the same data and split; make the data sections equal"
                )
    names = [config.name for config in configs]
    for name in names:
        if names.count(name) > 1:
            raise CommandError(f"two configs are called {name!r}: give each a name of its own")


def _row(outcome: Outcome) -> ComparisonRow:
    history = outcome.result.history
    seconds = np.asarray(history["seconds"])
    later = float(np.median(np.diff(seconds))) if len(seconds) > 1 else None
    data = outcome.experiment.data.test
    log_prob_rate, sample_rate = _rates(outcome.result.flow, data.x, data.condition)
    # A loss that is no likelihood has no place among the curves of the others.
    likelihood = outcome.experiment.config.training.likelihood
    curve = zip(seconds, history["validation"], strict=True) if likelihood else ()
    return ComparisonRow(
        outcome.score,
        epochs=len(seconds),
        seconds_per_epoch=later,
        compile_seconds=None if later is None else max(0.0, float(seconds[0]) - later),
        total_seconds=outcome.seconds,
        log_prob_per_second=log_prob_rate,
        samples_per_second=sample_rate,
        curve=tuple((float(at), -float(loss)) for at, loss in curve),
    )


def _rates(flow: fl.Flow, x: np.ndarray, condition: np.ndarray | None) -> tuple[float, float]:
    """Return log-densities per second and samples per second, in full batches."""
    rows = np.arange(batched.BATCH) % len(x)
    x = jax.device_put(x[rows])
    condition = None if condition is None else jax.device_put(condition[rows])
    graph, state = nnx.split(flow)
    key = jax.random.key(0)
    return (
        _rate(lambda: batched.log_prob_step(graph, state, x, condition)),
        _rate(lambda: batched.sample_step(graph, state, key, batched.BATCH, condition)),
    )


def _rate(call: Callable[[], Any]) -> float:
    """Return how many events of a batch a call handles per second, the median of several."""
    jax.block_until_ready(call())
    seconds: list[float] = []
    while len(seconds) < _REPEATS and sum(seconds) < _ENOUGH_SECONDS:
        start = time.perf_counter()
        jax.block_until_ready(call())
        seconds.append(time.perf_counter() - start)
    return batched.BATCH / float(np.median(seconds))


def _footer() -> str:
    device = jax.devices()[0]
    return (
        f"Mean log-likelihood of the test rows ± one standard error. Rates: batches of "
        f"{batched.BATCH}, median of up to {_REPEATS} after a warm-up. Compile: first "
        f"epoch less the median of the later ones. "
        f"Measured on {device.platform} ({device.device_kind}), {os.cpu_count()} cores, "
        f"{platform.system()} {platform.machine()}, Python {platform.python_version()}, "
        f"flowjax-lite {fl.__version__}, jax {jax.__version__}, flax {flax.__version__}."
    )
