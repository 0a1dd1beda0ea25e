"""`flowjax-lite sample`: draw from a trained flow."""

from pathlib import Path

import numpy as np

from flowjax_lite.cli.errors import CommandError
from flowjax_lite.cli.report import rows
from flowjax_lite.cli.run import batched
from flowjax_lite.cli.run import directory as runs


def sample(
    run: str,
    *,
    num: int,
    out: Path,
    condition: Path | None = None,
    seed: int = 0,
    overwrite: bool = False,
) -> np.ndarray:
    """Draw samples from the flow of a run and write them to a file.

    Args:
        run: The run directory.
        num: The number of samples, for each condition where there are any.
        out: The file to write, .npy or .csv.
        condition: A file of conditions, one per row, for a conditional flow.
        seed: The seed.
        overwrite: Replace the file if it exists.

    Returns:
        The samples, `(num, d)`, or `(n * num, d)` for n conditions: those of the first condition
        come first.

    Raises:
        ValueError: An argument does not fit the run; nothing was written.
    """
    rows.check_out(out, overwrite=overwrite)
    if num < 1:
        raise CommandError(f"--num is {num}: give at least 1")
    _, flow = runs.read(run)
    summary = runs.read_summary(run)
    schema, of_condition = runs.schema_of(summary), runs.schema_of(summary, "condition_schema")
    columns = summary["condition_columns"] if of_condition is None else list(of_condition.kinds)
    if columns and condition is None:
        raise CommandError(
            f"the flow of {run} is conditional: give --condition FILE with the "
            f"column{'s' if len(columns) > 1 else ''} {', '.join(columns)}"
        )
    if condition is not None and not columns:
        raise CommandError(f"the flow of {run} takes no condition: leave --condition out")
    given = None
    if of_condition is not None:
        given = of_condition.to_array(condition)
    elif condition is not None:
        given = rows.read(condition, columns=columns).values.astype(np.float32)
    samples = batched.sample(flow, num, seed=seed, condition=given)
    if schema is not None:  # whole numbers are whole again
        samples = np.column_stack(list(schema.to_table(samples).values()))
    rows.write(out, samples, columns=summary["columns"])
    print(f"Wrote {len(samples):,} samples of {samples.shape[1]} columns to {out}")
    return samples
