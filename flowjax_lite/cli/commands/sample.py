"""`flowjax-lite sample`: draw from a trained flow."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

import numpy as np

from flowjax_lite.cli.errors import CommandError
from flowjax_lite.cli.report import rows
from flowjax_lite.cli.run import batched
from flowjax_lite.cli.run import directory as runs

PURPOSE = "draw from a run's flow"


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of the command to its parser."""
    parser.add_argument("run", metavar="RUN", help="a run directory")
    parser.add_argument("--num", type=int, required=True, help="samples, for each condition if any")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help=".npy or .csv")
    parser.add_argument("--condition", type=Path, metavar="FILE", help="conditions, one per row")
    parser.add_argument("--seed", type=int, default=0, help="default: 0")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier result")


def run(arguments: Namespace) -> np.ndarray:
    """Run the command."""
    return sample(
        arguments.run,
        num=arguments.num,
        out=arguments.out,
        condition=arguments.condition,
        seed=arguments.seed,
        overwrite=arguments.overwrite,
    )


def sample(
    directory: str | Path,
    *,
    num: int,
    out: Path,
    condition: Path | None = None,
    seed: int = 0,
    overwrite: bool = False,
) -> np.ndarray:
    """Draw samples from the flow of a run and write them to a file.

    Args:
        directory: The run directory.
        num: The number of samples, for each condition where there are any.
        out: The file to write, `.npy` or `.csv`.
        condition: A file of conditions, one per row, for a conditional flow.
        seed: The seed.
        overwrite: Whether `out` may be replaced.

    Returns:
        The samples, `(num, d)`, or `(n * num, d)` for n conditions: those of the first condition
        come first.

    Raises:
        ValueError: An argument does not fit the run; nothing was written.
    """
    rows.check_out(out, overwrite=overwrite)
    if num < 1:
        raise CommandError(f"--num is {num}: give at least 1")
    _, flow = runs.read(directory)
    summary = runs.read_summary(directory)
    columns = summary["condition_columns"]
    if columns and condition is None:
        raise CommandError(
            f"the flow of {directory} is conditional: give --condition FILE with the "
            f"column{'s' if len(columns) > 1 else ''} {', '.join(columns)}"
        )
    if condition is not None and not columns:
        raise CommandError(f"the flow of {directory} takes no condition: leave --condition out")
    given = None
    if condition is not None:
        given = rows.read(condition, columns=columns).values.astype(np.float32)
    samples = batched.sample(flow, num, seed=seed, condition=given)
    rows.write(out, samples, columns=summary["columns"])
    print(f"Wrote {len(samples):,} samples of {samples.shape[1]} columns to {out}")
    return samples
