"""`flowjax-lite diagnose`: what cannot be trusted of the numbers of a run's flow."""

import flowjax_lite as fl
from flowjax_lite.cli.errors import CommandError
from flowjax_lite.cli.run.source import rows_of_a_run
from flowjax_lite.diagnostics import Diagnosis


def diagnose(run: str, *, data: str | None = None, num: int = 1000) -> Diagnosis:
    """Print what cannot be trusted of the numbers of a run's flow.

    Args:
        run: The run directory.
        data: A named data set or a file; by default the test split of the run's own data.
        num: The most rows that are looked at, from the first on.

    Returns:
        What was printed.

    Raises:
        ValueError: The run or the data do not fit.
    """
    if num < 1:
        raise CommandError(f"--num is {num}; expected at least 1")
    flow, dataset = rows_of_a_run(run, data)
    examined = dataset.test[:num]
    diagnosis = fl.diagnose(flow, examined.x, examined.condition)
    print(f"{dataset.name}\n{diagnosis}")
    return diagnosis
