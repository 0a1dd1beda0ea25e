"""`flowjax-lite evaluate`: the log-likelihood of data under a run's flow."""

from pathlib import Path

import numpy as np
from scipy.stats import rankdata

from flowjax_lite.cli.report import rows
from flowjax_lite.cli.report import score as report
from flowjax_lite.cli.run import batched
from flowjax_lite.cli.run.source import rows_of_a_run
from flowjax_lite.data import Dataset

_NUM_NAMED = 5  # of the least likely rows


def evaluate(
    run: str, *, data: str | None = None, out: Path | None = None, overwrite: bool = False
) -> np.ndarray:
    """Print the log-likelihood of data under the flow of a run.

    Args:
        run: The run directory.
        data: A named data set or a file, every row of which is evaluated; by default the test
            split of the run's own data.
        out: Where to write a table, .npy or .csv: for each row its number, its log-likelihood, and
            its rank, 1 for the least likely; for a file, in the order of its rows.
        overwrite: Replace the table if it exists.

    Returns:
        The log-likelihoods in nats, `(n,)`.

    Raises:
        ValueError: The run, the data or the output do not fit; nothing was written.
    """
    if out is not None:
        rows.check_out(out, overwrite=overwrite)
    flow, dataset = rows_of_a_run(run, data)
    log_prob = batched.log_prob(flow, dataset.test.x, dataset.test.condition)
    print(_table(dataset, log_prob))
    rank = rankdata(log_prob, method="min")
    lowest = np.argsort(log_prob)[:_NUM_NAMED]
    named = ", ".join(f"{row} ({report.number(log_prob[row])})" for row in lowest)
    print(f"\nLeast likely rows, counted from 0: {named}")
    if out is not None:
        table = np.stack([np.arange(len(log_prob)), log_prob, rank], axis=1)
        rows.write(out, table, columns=["row", "log_prob", "rank"])
        print(f"\nWrote {out}")
    return log_prob


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
