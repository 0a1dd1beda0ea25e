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
from matplotlib.figure import Figure

import flowjax_lite as fl
from flowjax_lite.cli.config import Config, load
from flowjax_lite.cli.errors import CommandError
from flowjax_lite.cli.report import score as report
from flowjax_lite.cli.report.score import ComparisonRow, Score
from flowjax_lite.cli.run import batched, progress, results
from flowjax_lite.cli.run import directory as runs
from flowjax_lite.cli.run.experiment import (
    Experiment,
    baseline_scores,
    describe,
    load_data,
    prepare,
    train,
)
from flowjax_lite.data import Dataset
from flowjax_lite.training import Callback

TABLE, ROWS, PICTURE = "comparison.md", "comparison.jsonl", "comparison.png"
_SAME = 1e-3  # relative; what devices and versions may change of a likelihood
_REPEATS, _ENOUGH_SECONDS = 7, 20.0  # a slow call needs no median

Ready = tuple[Experiment, list[Callback]]


def compare(
    entries: tuple[str | Path | Config, ...], *, out: str = "runs/compare", overwrite: bool = False
) -> list[ComparisonRow]:
    """Compare flows on the same data, in one table and one picture.

    Args:
        entries: Configs, which are trained, and run directories, which were: their scores and
            curves are those of then, their rates are measured. Their `data` sections must be
            equal and their names different.
        out: The directory for the table, the picture and the run directory of each config.
        overwrite: Replace an earlier comparison.

    Returns:
        One row for each entry, in order, and one for each baseline.

    Raises:
        ValueError: The entries do not belong together, or do not fit the data; nothing was
            written.
    """
    target = Path(out)
    runs.check_target(target, overwrite=overwrite)
    read = [_read(entry, out) for entry in entries]
    configs = [entry if isinstance(entry, Config) else entry.config for entry in read]
    _check_comparable(configs)
    data = load_data(configs[0].data)
    ready = [_prepare(entry, data) for entry in read]
    with runs.exclusive(target, overwrite=overwrite):
        baselines = baseline_scores(data, logit=configs[0].data.logit)
        rows = []
        for entry in ready:
            trained = entry if isinstance(entry, runs.Trained) else _train(entry, baselines)
            rows.append(_row(trained, data))
        rows += [ComparisonRow(score) for score in baselines]
        text = table(rows)
        with runs.writing(target, files=(TABLE, ROWS, PICTURE)) as directory:
            (directory / TABLE).write_text(text, encoding="utf-8")
            lines = [json.dumps(dataclasses.asdict(row)) + "\n" for row in rows]
            (directory / ROWS).write_text("".join(lines), encoding="utf-8")
            flows = "one flow" if len(configs) == 1 else f"{len(configs)} flows"
            title = f"{data.name}: {flows} beside three baselines"
            picture(rows, title=title).savefig(directory / PICTURE, dpi=progress.DPI)
    print(f"\n{text}\nWrote {out}")
    return rows


def _read(entry: str | Path | Config, out: str) -> Config | runs.Trained:
    """Return a config that is trained into the directory of the comparison, or a trained run."""
    if not isinstance(entry, Config) and Path(entry).is_dir():
        return runs.read_trained(entry)
    config = entry if isinstance(entry, Config) else load(entry)
    return dataclasses.replace(config, output=out)


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


def picture(rows: Sequence[ComparisonRow], *, title: str) -> Figure:
    """Return the comparison as a picture."""
    return fl.plot.comparison(
        {row.score.name: (row.score.test, row.score.test_error) for row in rows},
        curves={row.score.name: tuple(zip(*row.curve, strict=True)) for row in rows if row.curve},
        levels={row.score.name: row.score.validation for row in rows if row.epochs is None},
        title=title,
    )


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
            raise CommandError(f"two of them are called {name!r}: give each a name of its own")


def _prepare(entry: Config | runs.Trained, data: Dataset) -> Ready | runs.Trained:
    """Return a config with all that its training needs, or a run whose data are as they were."""
    if isinstance(entry, Config):
        experiment = prepare(entry, data)
        return experiment, progress.callbacks(experiment)
    changed = (data.columns, data.condition_columns) != (entry.columns, entry.condition_columns)
    if not changed:
        test = batched.log_prob(entry.flow, data.test.x, data.test.condition).mean()
        changed = not abs(test - entry.score.test) <= _SAME * max(1.0, abs(entry.score.test))
    if changed:
        raise CommandError(
            f"{entry.config.data.source} is not what {entry.config.name} was trained on: the test "
            "rows do not have the likelihood under its model that it wrote down; fit it again"
        )
    note = f"{entry.score.note}, trained before, with the seconds of then"
    return dataclasses.replace(entry, score=dataclasses.replace(entry.score, note=note))


def _train(ready: Ready, baselines: Sequence[Score]) -> runs.Trained:
    """Train a config, write its run directory, and read it."""
    experiment, callbacks = ready
    print(describe(experiment), flush=True)
    with runs.exclusive(experiment.config.run_dir, overwrite=True):
        runs.begin(experiment.config, overwrite=True, resume=False)
        outcome = train(experiment, callbacks=callbacks)
        results.write(outcome, [outcome.score, *baselines])
    if outcome.result.interrupted:
        raise KeyboardInterrupt
    return runs.read_trained(experiment.config.run_dir)


def _row(trained: runs.Trained, data: Dataset) -> ComparisonRow:
    seconds = trained.seconds
    later = float(np.median(np.diff(seconds))) if len(seconds) > 1 else None
    log_prob_rate, sample_rate = _rates(trained.flow, data.test.x, data.test.condition)
    return ComparisonRow(
        trained.score,
        epochs=len(seconds),
        seconds_per_epoch=later,
        compile_seconds=None if later is None else max(0.0, seconds[0] - later),
        total_seconds=trained.total_seconds,
        log_prob_per_second=log_prob_rate,
        samples_per_second=sample_rate,
        curve=tuple(zip(seconds, trained.validation, strict=False)),
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
