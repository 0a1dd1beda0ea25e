"""Data for flows: reading files, named sets, random splits, and the checks that data must pass.

`load` is the one door: a name or a path in, a `Dataset` of three splits out. scikit-learn and
pyarrow are imported only by the functions that need them.
"""

from flowjax_lite.data.benchmarks import bsds300, uci
from flowjax_lite.data.checks import DataWarning, check_data, enforce
from flowjax_lite.data.dataset import Dataset, Split
from flowjax_lite.data.dequantize import dequantize
from flowjax_lite.data.embedded import breast_cancer, digits, iris, wine
from flowjax_lite.data.files import read_table
from flowjax_lite.data.findings import Finding, findings
from flowjax_lite.data.schema import dequantize_integers, domain_map, quantize_integers
from flowjax_lite.data.sources import load
from flowjax_lite.data.splits import split, split_sizes
from flowjax_lite.data.stream import Stream, stream
from flowjax_lite.data.survey import Survey
from flowjax_lite.data.table import Table
from flowjax_lite.data.toy import TOYS, toy

__all__ = [
    "TOYS",
    "DataWarning",
    "Dataset",
    "Finding",
    "Split",
    "Stream",
    "Survey",
    "Table",
    "breast_cancer",
    "bsds300",
    "check_data",
    "dequantize",
    "dequantize_integers",
    "digits",
    "domain_map",
    "enforce",
    "findings",
    "iris",
    "load",
    "quantize_integers",
    "read_table",
    "split",
    "split_sizes",
    "stream",
    "toy",
    "uci",
    "wine",
]
