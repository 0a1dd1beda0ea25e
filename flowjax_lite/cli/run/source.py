"""The flow of a run, and the rows that a command is asked to look at."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np

import flowjax_lite as fl
from flowjax_lite.cli.config import Config, DataConfig
from flowjax_lite.cli.errors import CommandError
from flowjax_lite.cli.report import rows
from flowjax_lite.cli.run import build
from flowjax_lite.cli.run import directory as run
from flowjax_lite.cli.run.experiment import load_data
from flowjax_lite.data import Dataset, Split, join
from flowjax_lite.distributions import Flow


def rows_of_a_run(directory: str | Path, source: str | None) -> tuple[Flow, Dataset]:
    """Return the flow of a run, and a data set whose test split holds the rows asked for."""
    config, flow = run.read(directory)
    data = _data(config, run.read_summary(directory), source)
    if data.event_shape != flow.event_shape:
        raise CommandError(
            f"the data ({data.name}) have {data.dim} columns; the flow of {directory} expects "
            f"{math.prod(flow.event_shape)}"
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
    schema, of_condition = run.schema_of(summary), run.schema_of(summary, "condition_schema")
    if schema is not None:
        x = schema.to_array(path, seed=config.data.seed)
        every = Split(x, None if of_condition is None else of_condition.to_array(path))
    else:
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
