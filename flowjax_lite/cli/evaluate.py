"""`flowjax-lite evaluate` and `diagnose`: data under a trained flow, and whether to trust it."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

import flowjax_lite as fl
from flowjax_lite.cli import batched, build, report, rows, run
from flowjax_lite.cli.config import Config, DataConfig
from flowjax_lite.cli.errors import CommandError
from flowjax_lite.cli.experiment import load_data
from flowjax_lite.data import Dataset, Split, join
from flowjax_lite.diagnostics import Diagnosis
from flowjax_lite.distributions import Flow


def evaluate(
    directory: str | Path,
    *,
    source: str | None = None,
    out: Path | None = None,
    overwrite: bool = False,
) -> np.ndarray:
    """Evaluate the flow of a run and print a table.

    Args:
        directory: The run directory.
        source: A named data set or a file, every row of which is evaluated; by default the test
            split of the run's own data.
        out: Where to write one log-likelihood per row, as `.npy` or `.csv`; for a file, in the
            order of its rows.
        overwrite: Whether `out` may be replaced.

    Returns:
        The log-likelihoods in nats, `(n,)`.

    Raises:
        ValueError: The run, the data or the output do not fit; nothing was written.
    """
    if out is not None:
        rows.check_out(out, overwrite=overwrite)
    flow, data = rows_of_a_run(directory, source)
    log_prob = batched.log_prob(flow, data.test.x, data.test.condition)
    print(_table(data, log_prob))
    if out is not None:
        rows.write(out, log_prob[:, None], columns=["log_prob"])
        print(f"\nWrote {out}")
    return log_prob


def diagnose(directory: str | Path, *, source: str | None = None, num: int = 1000) -> Diagnosis:
    """Print what cannot be trusted of the numbers of a run's flow.

    Args:
        directory: The run directory.
        source: As for `evaluate`.
        num: The most rows that are looked at, from the first on.

    Returns:
        What was printed.

    Raises:
        ValueError: The run or the data do not fit.
    """
    if num < 1:
        raise CommandError(f"--num is {num}; expected at least 1")
    flow, data = rows_of_a_run(directory, source)
    looked_at = rows.head(data.test, num)
    diagnosis = fl.diagnose(flow, looked_at.x, looked_at.condition)
    print(f"{data.name}\n{diagnosis}")
    return diagnosis


def rows_of_a_run(directory: str | Path, source: str | None) -> tuple[Flow, Dataset]:
    """Return the flow of a run, and a data set whose test split holds the rows asked for."""
    config, flow = run.read(directory)
    data = _data(config, run.read_summary(directory), source)
    if data.dim != flow.event_shape[0]:
        raise CommandError(
            f"the data ({data.name}) have {data.dim} columns; the flow of {directory} expects "
            f"{flow.event_shape[0]}"
        )
    build.check_logit(data, config.data)
    return flow, data


def _data(config: Config, summary: dict[str, Any], source: str | None) -> Dataset:
    """Return a data set whose test split holds the rows to evaluate."""
    if source is None:
        data = load_data(config.data)
        return dataclasses.replace(data, name=f"{data.name}, test")
    if Path(source).is_file() or Path(source).suffix:
        return _file(config, summary, source)
    own = config.data
    kept = own if source in fl.data.TOYS else DataConfig(source, own.data_dir, own.seed)
    data = load_data(dataclasses.replace(kept, source=source, checks=own.checks, logit=own.logit))
    every = join(data.train, data.validation, data.test)
    return dataclasses.replace(data, name=f"{data.name}, all", test=every)


def _file(config: Config, summary: dict[str, Any], path: str) -> Dataset:
    columns, given = summary["columns"], summary["condition_columns"]
    table = rows.read(path, columns=[*columns, *given], array=config.data.array)
    values = table.values
    if table.image_shape is not None and values.dtype == np.uint8:
        values = fl.data.dequantize(values, 256, seed=config.data.seed)
    values = values.astype(np.float32)
    x, condition = values[:, : len(columns)], values[:, len(columns) :]
    every = Split(x, condition if given else None)
    return Dataset(
        Path(path).name,
        train=every,
        validation=every,
        test=every,
        columns=tuple(columns),
        condition_columns=tuple(given),
        num_levels=summary["num_levels"],
    )


def _table(data: Dataset, log_prob: np.ndarray) -> str:
    mean, error = float(log_prob.mean()), report.standard_error(log_prob)
    cells = {
        "data": data.name,
        "rows": f"{len(log_prob):,}",
        "log-likelihood (nats)": f"{report.number(mean)} ± {report.number(error)}",
    }
    if data.num_levels is not None:
        cells["bits/dim"] = report.number(float(data.bits_per_dim(mean)), digits=3)
    return report.markdown(list(cells), [list(cells.values())])
