"""`flowjax-lite compare`: several flows on the same data, in one table and one picture."""

import dataclasses
import json
import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import flax
import jax
import numpy as np
from flax import nnx

import flowjax_lite as fl
from flowjax_lite.cli import report
from flowjax_lite.cli.config import Config, load
from flowjax_lite.cli.report import Score
from flowjax_lite.cli.run import directory as runs
from flowjax_lite.cli.run import experiment, output
from flowjax_lite.cli.run.directory import Run
from flowjax_lite.cli.run.experiment import BATCH, Experiment
from flowjax_lite.data import Dataset

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TABLE, ROWS, PICTURE = "comparison.md", "comparison.jsonl", "comparison.png"
_SAME = 1e-3  # relative; what devices and versions may change of a likelihood
_REPEATS, _ENOUGH_SECONDS = 7, 20.0  # a slow call needs no median


@dataclass(frozen=True)
class Row:
    """What is known of one density; None where it does not apply, as for a baseline.

    Args:
        score: Log-likelihoods in nats.
        epochs: The number of epochs trained.
        seconds_per_epoch: The median over all epochs but the first.
        compile_seconds: The first epoch less the median of the later ones.
        total_seconds: The whole of training, compilation included.
        log_prob_per_second: Events per second, in full batches.
        samples_per_second: The same for sampling.
        curve: (seconds, validation log-likelihood) after every epoch.
    """

    score: Score
    epochs: int | None = None
    seconds_per_epoch: float | None = None
    compile_seconds: float | None = None
    total_seconds: float | None = None
    log_prob_per_second: float | None = None
    samples_per_second: float | None = None
    curve: tuple[tuple[float, float], ...] = ()


def compare(
    entries: tuple[str | Path | Config, ...], *, out: str = "runs/compare", overwrite: bool = False
) -> list[Row]:
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
    configs = [entry.config if isinstance(entry, Run) else entry for entry in read]
    _check_comparable(configs)
    data = experiment.load_data(configs[0].data)
    ready = [_prepare(entry, data) for entry in read]
    with runs.exclusive(target, overwrite=overwrite):
        baselines = experiment.baseline_scores(data, configs[0].data["logit"])
        rows = []
        for entry in ready:
            run = entry if isinstance(entry, Run) else _train(entry, baselines)
            rows.append(_row(run, data))
        rows += [Row(score) for score in baselines]
        text = table(rows)
        with runs.writing(target, files=(TABLE, ROWS, PICTURE)) as directory:
            (directory / TABLE).write_text(text, encoding="utf-8")
            lines = [json.dumps(dataclasses.asdict(row)) + "\n" for row in rows]
            (directory / ROWS).write_text("".join(lines), encoding="utf-8")
            flows = "one flow" if len(configs) == 1 else f"{len(configs)} flows"
            title = f"{data.name}: {flows} beside {len(baselines)} baselines"
            picture(rows, title=title).savefig(directory / PICTURE, dpi=output.DPI)
    print(f"\n{text}\nWrote {out}")
    return rows


def _read(entry: str | Path | Config, out: str) -> Config | Run:
    """Return a config that is trained into the directory of the comparison, or a trained run."""
    if not isinstance(entry, Config) and Path(entry).is_dir():
        return runs.read(entry)
    config = entry if isinstance(entry, Config) else load(entry)
    return dataclasses.replace(config, output=out)


def table(rows: Sequence[Row]) -> str:
    """Return the comparison as Markdown: a table, notes, and what it was measured on."""
    images = any(row.score.bits_per_dim is not None for row in rows)
    lines = []
    for row in rows:
        line = {
            "model": row.score.name,
            "parameters": f"{row.score.parameters:,}",
            "test log-likelihood (nats)": report.with_error(row.score),
        }
        if images:
            line["bits/dim"] = report.number(row.score.bits_per_dim, digits=3)
        line["epochs"] = report.number(row.epochs, digits=0)
        line["s/epoch"] = report.short(row.seconds_per_epoch)
        line["log_prob/s"] = report.short(row.log_prob_per_second)
        line["samples/s"] = report.short(row.samples_per_second)
        line["compile s"] = report.short(row.compile_seconds)
        line["total s"] = report.short(row.total_seconds)
        lines.append(line)
    notes = report.notes([row.score for row in rows])
    return f"{report.markdown(lines)}{notes}\n\n{_footer()}\n"


def picture(rows: Sequence[Row], *, title: str) -> "Figure":
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
        for name, value in config.data.items():
            if first.data[name] != value:
                raise ValueError(
                    f"data.{name} is {first.data[name]!r} in {first.name} and {value!r} in "
                    f"{config.name}: flows are compared on the same data and split; make the data "
                    "sections equal"
                )
    names = [config.name for config in configs]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"two of them are called {name!r}: give each a name of its own")


def _prepare(entry: Config | Run, data: Dataset) -> Experiment | Run:
    """Return a config with all that its training needs, or a run whose data are as they were."""
    if isinstance(entry, Config):
        prepared = experiment.prepare(entry, data)
        output.callbacks(prepared)  # or say which package is missing
        return prepared
    told, score = entry.summary, entry.score
    changed = (data.columns, data.condition_columns) != (told.columns, told.condition_columns)
    if not changed:
        test = experiment.log_prob(entry.flow, data.test).mean()
        changed = not abs(test - score.test) <= _SAME * max(1.0, abs(score.test))
    if changed:
        raise ValueError(
            f"{entry.config.data['source']} is not what {entry.config.name} was trained on: the "
            "test rows do not have the likelihood under its model that it wrote down; fit it again"
        )
    note = f"{score.note}, trained before, with the seconds of then"
    return dataclasses.replace(entry, score=dataclasses.replace(score, note=note))


def _train(prepared: Experiment, baselines: Sequence[Score]) -> Run:
    """Train a config, write its run directory, and read it."""
    config = prepared.config
    print(prepared, flush=True)
    with runs.exclusive(config.run_dir, overwrite=True):
        runs.begin(config, overwrite=True, resume=False)
        outcome = experiment.train(prepared, callbacks=output.callbacks(prepared))
        output.write(outcome, [outcome.score, *baselines])
    if outcome.result.interrupted:
        raise KeyboardInterrupt
    return runs.read(config.run_dir)


def _row(run: Run, data: Dataset) -> Row:
    """Return what the metrics of a run tell, and the rates of its flow, measured now."""
    seconds = run.seconds
    later = float(np.median(np.diff(seconds))) if len(seconds) > 1 else None
    flow, rows, _ = experiment.density(run.flow, data.test[np.arange(BATCH) % len(data.test)])
    x, condition = jax.device_put((rows.x, rows.condition))
    # Split once: taking a flow apart for each call takes longer than a small one is evaluated.
    graph, state = nnx.split(flow)
    score = jax.jit(lambda state, x, c: nnx.merge(graph, state).log_prob(x, c))
    shape, key = (BATCH,) if condition is None else (), jax.random.key(0)
    draw = jax.jit(lambda state, key, c: nnx.merge(graph, state).sample(key, shape, c))
    return Row(
        run.score,
        epochs=len(seconds),
        seconds_per_epoch=later,
        compile_seconds=None if later is None else max(0.0, seconds[0] - later),
        total_seconds=run.summary.seconds,
        log_prob_per_second=_rate(lambda: score(state, x, condition)),
        samples_per_second=_rate(lambda: draw(state, key, condition)),
        curve=tuple(zip(seconds, run.validation, strict=False)),
    )


def _rate(call: Callable[[], Any]) -> float:
    """Return how many events of a batch a call handles per second, the median of several."""
    jax.block_until_ready(call())
    seconds: list[float] = []
    while len(seconds) < _REPEATS and sum(seconds) < _ENOUGH_SECONDS:
        start = time.perf_counter()
        jax.block_until_ready(call())
        seconds.append(time.perf_counter() - start)
    return BATCH / float(np.median(seconds))


def _footer() -> str:
    device = jax.devices()[0]
    return (
        f"Mean log-likelihood of the test rows ± one standard error. Rates: batches of "
        f"{BATCH}, median of up to {_REPEATS} after a warm-up. Compile: first "
        f"epoch less the median of the later ones. "
        f"Measured on {device.platform} ({device.device_kind}), {os.cpu_count()} cores, "
        f"{platform.system()} {platform.machine()}, Python {platform.python_version()}, "
        f"flowjax-lite {fl.__version__}, jax {jax.__version__}, flax {flax.__version__}."
    )
