"""Data for flows: reading files, named sets, random splits, and the checks that data must pass.

`load` is the one door: a name, a path or a frame in, a `Dataset` of three splits out. scikit-learn
and pyarrow are imported only by the functions that need them.
"""

from flowjax_lite.data.dataset import Dataset, Split, join, split, split_sizes
from flowjax_lite.data.domains import (
    dequantize,
    dequantize_integers,
    domain_map,
    quantize,
    quantize_integers,
)
from flowjax_lite.data.loading import load
from flowjax_lite.data.named.benchmarks import bsds300, uci
from flowjax_lite.data.named.embedded import breast_cancer, digits, iris, wine
from flowjax_lite.data.named.toys import TOYS, toy
from flowjax_lite.data.quality.checks import CHECKS, DataWarning, check_data, enforce
from flowjax_lite.data.quality.findings import Finding, findings
from flowjax_lite.data.quality.survey import Survey
from flowjax_lite.data.read.files import read_table
from flowjax_lite.data.read.table import Table
from flowjax_lite.data.schema import Schema, infer_schema
from flowjax_lite.data.streams import Stream, stream

__all__ = [
    "CHECKS",
    "TOYS",
    "DataWarning",
    "Dataset",
    "Finding",
    "Schema",
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
    "infer_schema",
    "iris",
    "join",
    "load",
    "quantize",
    "quantize_integers",
    "read_table",
    "split",
    "split_sizes",
    "stream",
    "toy",
    "uci",
    "wine",
]
