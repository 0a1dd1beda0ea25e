"""Reading files of numbers, none of which is trusted."""

from flowjax_lite.data.read.files import read_columns, read_table
from flowjax_lite.data.read.table import Table

__all__ = ["Table", "read_columns", "read_table"]
