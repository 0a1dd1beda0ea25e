"""The checks that data must pass before a density is fitted to them."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from flowjax_lite.core.checks import check_choice, listed
from flowjax_lite.data.arrays import as_rows, column_names
from flowjax_lite.data.quality.findings import Finding, findings
from flowjax_lite.data.quality.survey import Survey

CHECKS = ("error", "warn", "off")


class DataWarning(UserWarning):
    """Data to which a density can be fitted, but that deserve a look."""


def check_data(
    x: Any,
    *,
    name: str = "data",
    dtype: DTypeLike | None = None,
    allow_degenerate: bool = False,
    whole_numbers: bool = False,
    columns: Sequence[str] | None = None,
    unit_scale: bool = False,
    checks: str = "error",
) -> np.ndarray:
    """Check that a density can be fitted to an array, and say what to mend where not.

    Args:
        x: Data, `(n, d)` or `(n, *event_shape)`, of a float type: an array, a frame of pandas or
            polars, a tensor of PyTorch, or nested lists.
        name: What messages call the array.
        dtype: Precision that the flow will see, checked in place of the array's own; None
            keeps that.
        allow_degenerate: Look for NaN, infinite and far cells alone. Rows in a plane let the
            likelihood of training rows grow without bound, and do no harm in conditions and
            validation rows.
        whole_numbers: Cast whole numbers and flags to floats, as in conditions, which need no
            density.
        columns: Names of the d columns for messages; by default those of a frame, or numbers
            from 0. A frame must have these, in this order.
        unit_scale: Also warn of columns far from unit scale, for flows without a `data_map`.
        checks: "error" raises where no density fits and warns of what deserves a look, "warn"
            warns of both, "off" looks at the type and shape alone.

    Returns:
        The array, of x's shape.

    Raises:
        TypeError: Complex, integer, bool or other values that are not floats.
        ValueError: Wrong rank, no rows or columns, masked cells; under "error" also NaN or
            infinite cells, no more rows than columns, constant columns, or columns that others
            determine.
    """
    check_choice(checks, CHECKS, "checks")
    names = column_names(x)
    if columns and names and tuple(columns) != names:
        raise ValueError(
            f"{name} has the columns {listed(names, most=10)}; expected "
            f"{listed(columns, most=10)}, in this order: frame[[...]] arranges them"
        )
    array = as_rows(x, name=name, dtype=dtype, whole_numbers=whole_numbers)
    if checks != "off":
        survey = Survey()
        survey.add(array)
        problems = findings(
            survey,
            name=name,
            columns=columns or names,
            allow_degenerate=allow_degenerate,
            unit_scale=unit_scale,
        )
        enforce(problems, checks=checks)
    return array


def enforce(problems: Sequence[Finding], *, checks: str = "error") -> None:
    """Raise or warn, as a policy says.

    Args:
        problems: Findings; where one raises, its message is joined by those of all others.
        checks: The policy, as for `check_data`.

    Raises:
        ValueError: The policy is "error" and a finding is serious, or there is no such policy.
    """
    check_choice(checks, CHECKS, "checks")
    if checks == "error" and any(finding.serious for finding in problems):
        raise ValueError(" ".join(finding.message for finding in problems))
    if checks != "off":
        for finding in problems:
            warnings.warn(finding.message, DataWarning, stacklevel=3)
