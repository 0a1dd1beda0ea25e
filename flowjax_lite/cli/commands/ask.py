"""`flowjax-lite evaluate`, `diagnose` and `sample`: what a trained flow is asked."""

import dataclasses
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

import flowjax_lite as fl
from flowjax_lite.cli.report import markdown, number, standard_error
from flowjax_lite.cli.run import directory, experiment, output
from flowjax_lite.cli.run.directory import Run
from flowjax_lite.core.files import writing_whole
from flowjax_lite.data import Dataset, DataWarning, Schema, Split, join
from flowjax_lite.data.labels import LABEL, read_labels
from flowjax_lite.diagnostics import Diagnosis

TABLES = (".npy", ".csv")
SAMPLES = (*TABLES, ".png")
_NUM_NAMED = 5  # of the least likely rows


def evaluate(
    run: str | Path,
    *,
    data: str | None = None,
    labels: str | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
) -> np.ndarray:
    """Print the log-likelihood of data under the flow of a run.

    Args:
        run: The run directory.
        data: A named data set or a file, every row of which is evaluated; by default the test
            split of the run's own data.
        labels: The classes of the rows of a file, as `data.labels` of a config.
        out: Where to write a table, .npy or .csv: for each row its number, its log-likelihood, and
            its rank, 1 for the least likely; for a file, in the order of its rows.
        overwrite: Replace the table if it exists.

    Returns:
        The log-likelihoods in nats, `(n,)`.

    Raises:
        ValueError: The run, the data or the output do not fit; nothing was written.
    """
    if out is not None:
        _check_out(out, TABLES, overwrite=overwrite)
    trained = directory.read(run)
    dataset = _data(trained, data, labels)
    log_prob = experiment.log_prob(trained.flow, dataset.test)
    mean = float(log_prob.mean())
    cells = {
        "data": dataset.name,
        "rows": f"{len(log_prob):,}",
        "log-likelihood (nats)": f"{number(mean)} ± {number(standard_error(log_prob))}",
    }
    if dataset.num_levels is not None:
        cells["bits/dim"] = number(float(dataset.bits_per_dim(mean)), digits=3)
    lowest = np.argsort(log_prob)[:_NUM_NAMED]
    named = ", ".join(f"{row} ({number(log_prob[row])})" for row in lowest)
    print(f"{markdown([cells])}\nLeast likely rows, counted from 0: {named}")
    if out is not None:
        rank = 1 + np.searchsorted(np.sort(log_prob), log_prob)  # equal rows have equal ranks
        table = np.stack([np.arange(len(log_prob)), log_prob, rank], axis=1)
        _write(out, table, columns=["row", "log_prob", "rank"])
        print(f"\nWrote {out}")
    return log_prob


def diagnose(
    run: str | Path, *, data: str | None = None, labels: str | None = None, num: int = 1000
) -> Diagnosis:
    """Print what cannot be trusted of the numbers of a run's flow.

    Args:
        run: The run directory.
        data: A named data set or a file; by default the test split of the run's own data.
        labels: The classes of the rows of a file, as `data.labels` of a config.
        num: The most rows that are looked at, from the first on.

    Returns:
        What was printed.

    Raises:
        ValueError: The run or the data do not fit.
    """
    if num < 1:
        raise ValueError(f"--num is {num}; expected at least 1")
    trained = directory.read(run)
    dataset = _data(trained, data, labels)
    flow, examined, _ = experiment.density(trained.flow, dataset.test[:num])
    diagnosis = fl.diagnose(flow, examined.x, examined.condition)
    print(f"{dataset.name}\n{diagnosis}")
    return diagnosis


def sample(
    run: str | Path,
    *,
    num: int,
    out: str | Path,
    condition: str | Path | None = None,
    seed: int = 0,
    overwrite: bool = False,
) -> np.ndarray:
    """Draw samples from the flow of a run and write them to a file.

    Args:
        run: The run directory.
        num: The number of samples, for each condition where there are any.
        out: The file to write, .npy or .csv, or of images .png, a picture of all of them.
        condition: A file of conditions, one per row, for a conditional flow.
        seed: The seed.
        overwrite: Replace the file if it exists.

    Returns:
        The samples, `(num, d)`, or `(n * num, d)` for n conditions: those of the first condition
        come first. Of a flow of images whole levels, `(num, height, width, channels)`.

    Raises:
        ValueError: An argument does not fit the run; nothing was written.
    """
    _check_out(out, SAMPLES, overwrite=overwrite)
    if num < 1:
        raise ValueError(f"--num is {num}: give at least 1")
    trained = directory.read(run)
    told = trained.summary
    suffix = Path(out).suffix
    if suffix == ".png" and told.image_shape is None:
        raise ValueError(f"{out}: samples of {run} are no images: give a name in .npy or .csv")
    if suffix == ".csv" and not told.columns:
        raise ValueError(f"{out}: samples of {run} have no columns: give a name in .npy or .png")
    given = None
    if condition is None and told.condition_columns:
        columns = tuple(told.condition_schema or told.condition_columns)
        raise ValueError(
            f"the flow of {run} is conditional: give --condition FILE with the "
            f"column{'s' if len(columns) > 1 else ''} {', '.join(columns)}"
        )
    if condition is not None:
        if not told.condition_columns:
            raise ValueError(f"the flow of {run} takes no condition: leave --condition out")
        given = _read(condition, told.condition_columns, told.condition_schema)
    samples = experiment.sample(trained.flow, num, seed=seed, condition=given)
    if told.schema is not None:  # whole numbers are whole again
        samples = np.column_stack(list(Schema(told.schema).to_table(samples).values()))
    if suffix == ".png":
        assert told.image_shape is not None, "checked above"
        images = output.as_images(trained.flow, samples, told.image_shape)
        with _writing(out) as file:
            fl.plot.images({"samples": images}).savefig(file, format="png", dpi=output.DPI)
    else:
        _write(out, samples, columns=told.columns)
    size = " × ".join(map(str, samples.shape[1:]))
    print(f"Wrote {len(samples):,} samples of {size} numbers to {out}")
    return samples


def _data(run: Run, source: str | None, labels: str | None) -> Dataset:
    """Return a data set whose test split holds the rows that a run is asked about."""
    section, told = run.config.data, run.summary
    of_file = source is not None and (Path(source).is_file() or bool(Path(source).suffix))
    if labels is not None and not (of_file and section["labels"] is not None):
        raise ValueError(
            "--labels is for the rows of a file, --data FILE, and a run with data.labels: leave it "
            "out"
        )
    if source is None:
        data = experiment.load_data(section)
        data = dataclasses.replace(data, name=f"{data.name}, test")
    elif of_file:
        given, seed = None, section["seed"]
        array = section["array"] if Path(source).suffix == ".npz" else None
        levels = told.num_levels
        x = _read(source, told.columns, told.schema, array=array, seed=seed, num_levels=levels)
        if section["labels"] is not None:
            given = _read_labels(run, source, labels)
        elif told.condition_columns:
            given = _read(source, told.condition_columns, told.condition_schema, array=array)
        every = Split(x, given)
        name = Path(source).name
        data = Dataset(name, every, every, every, told.columns, num_levels=levels)
    else:
        few = ("data_dir", "seed", "labels", "checks", "logit")
        kept = section if source in fl.data.TOYS else few
        data = experiment.load_data({name: section[name] for name in kept} | {"source": source})
        every = join(data.train, data.validation, data.test)
        data = dataclasses.replace(data, name=f"{data.name}, all", test=every)
    if data.dim != math.prod(run.flow.event_shape):
        raise ValueError(
            f"the data ({data.name}) have {data.dim} columns; the flow of {run.directory} expects "
            f"{math.prod(run.flow.event_shape)}"
        )
    experiment.check_logit(data, section["logit"])
    return data


def _read_labels(run: Run, source: str, labels: str | None) -> np.ndarray:
    """Return the classes of the rows of a file as conditions of a run's flow."""
    if labels is None and Path(source).suffix == ".npz":
        labels = run.config.data["labels"]  # the name of an array, which other files have, too
    if labels is None:
        raise ValueError(
            f"the flow of {run.directory} is given classes: name those of {source} by --labels"
        )
    assert run.summary.condition_schema is not None, "written with data.labels"
    schema = Schema(run.summary.condition_schema)
    return schema.to_array({LABEL: read_labels(labels, source)})


def _read(
    path: str | Path,
    columns: Sequence[str],
    kinds: Mapping[str, Any] | None,
    *,
    array: str | None = None,
    seed: int | None = None,
    num_levels: int | None = None,
) -> np.ndarray:
    """Read columns of a file, all of them finite numbers.

    Args:
        path: The file.
        columns: The columns, by the names that the flow was trained with.
        kinds: Those of the schema of then, where one was inferred.
        array: The array of an `.npz` file.
        seed: Of the noise of whole numbers; None adds none.
        num_levels: Number of levels of images, which get noise where they are whole numbers.

    Returns:
        `(n, d)`, float32.
    """
    if kinds is not None:
        return Schema(kinds).to_array(path, seed=seed)
    table = fl.data.read_table(path, columns=columns or None, array=array)
    values = table.values
    if seed is not None and num_levels is not None and values.dtype.kind in "iu":
        values = fl.data.dequantize(values, num_levels, seed=seed)
    with warnings.catch_warnings(action="ignore", category=DataWarning):  # nothing is fitted
        return fl.data.check_data(
            values,
            name=str(path),
            dtype=np.float32,
            allow_degenerate=True,
            whole_numbers=True,
            columns=table.columns,
        )


def _check_out(path: str | Path, suffixes: Sequence[str], *, overwrite: bool) -> None:
    """Check that a file of some kind can be written to a path."""
    path = Path(path)
    if path.suffix not in suffixes:
        raise ValueError(f"{path} ends in {path.suffix!r}: give a name in {' or '.join(suffixes)}")
    directory.check_target(path, overwrite=overwrite, is_file=True)


@contextmanager
def _writing(path: str | Path) -> Iterator[IO[bytes]]:
    """Open a file that is written whole or not, in a directory that is made where it is missing."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with writing_whole(Path(path)) as file:
        yield file


def _write(path: str | Path, values: np.ndarray, *, columns: Sequence[str]) -> None:
    """Write rows as `.npy`, or as `.csv` with a line of column names."""
    with _writing(path) as file:
        if Path(path).suffix == ".npy":
            np.save(file, values)
        else:
            quoted = ['"' + column.replace('"', '""') + '"' for column in columns]
            header = ",".join(quoted)
            table = values.reshape(len(values), -1)
            np.savetxt(file, table, delimiter=",", fmt="%.9g", header=header, comments="")
