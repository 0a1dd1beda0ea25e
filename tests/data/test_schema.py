"""Tables of numbers and words: what columns hold, as numbers for a flow, and back."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from flowjax_lite.data import DataWarning, Schema, infer_schema, load, read_table

NUM = 60
RNG = np.random.default_rng(0)
TABLE = {
    "height": RNG.normal(170.0, 9.0, NUM).round(3),
    "children": RNG.poisson(2.0, NUM),
    "city": RNG.choice(["Rome", "Oslo", "Lima"], NUM),
    "member": RNG.random(NUM) < 0.4,
}
KINDS = {
    "height": "real",
    "children": "integer",
    "city": ("Lima", "Oslo", "Rome"),
    "member": ("False", "True"),
}


def csv(path: Path, table: dict[str, Any] = TABLE) -> Path:
    """A csv file of a table."""
    rows = zip(*table.values(), strict=True)
    lines = [",".join(table), *(",".join(map(str, row)) for row in rows)]
    (path / "people.csv").write_text("\n".join(lines))
    return path / "people.csv"


def parquet(path: Path) -> Path:
    """A parquet file of the table, its words as a dictionary."""
    pa = pytest.importorskip("pyarrow")
    columns = TABLE | {"city": pa.array(TABLE["city"].tolist()).dictionary_encode()}
    pytest.importorskip("pyarrow.parquet").write_table(pa.table(columns), path / "people.parquet")
    return path / "people.parquet"


KINDS_OF_TABLE: dict[str, Callable[[Path], Any]] = {
    "pandas": lambda path: pd.DataFrame(TABLE).astype({"city": "category"}),
    "polars": lambda path: pl.DataFrame(TABLE),
    "dict": lambda path: TABLE,
    "csv": csv,
    "parquet": parquet,
}


@pytest.mark.parametrize("kind", KINDS_OF_TABLE)
def test_a_table_comes_back(kind: str, tmp_path: Path) -> None:
    """Catches values in other columns, words of other rows, and integers that stay floats."""
    table = KINDS_OF_TABLE[kind](tmp_path)
    schema = infer_schema(table)
    assert schema.kinds == KINDS
    x = schema.to_array(table, seed=0)
    assert (x.shape, x.dtype) == ((NUM, schema.dim), np.float32)
    assert schema.columns[1:4] == ("children", "city=Lima", "city=Oslo")
    assert np.all(x[:, 1] != TABLE["children"])  # noise was added
    np.testing.assert_array_equal(x[:, 4], TABLE["city"] == "Rome")
    again = schema.to_table(x)
    assert type(again) is (type(table) if kind in ("pandas", "polars") else dict)
    np.testing.assert_allclose(np.asarray(again["height"]), TABLE["height"], rtol=1e-6)
    for name in ("children", "city"):
        np.testing.assert_array_equal(np.asarray(again[name]), TABLE[name])
    assert np.asarray(again["children"]).dtype == np.int64
    np.testing.assert_array_equal(np.asarray(again["member"]) == "True", TABLE["member"])


def test_a_schema_goes_through_a_file() -> None:
    """Catches a schema that a run cannot write down and read again."""
    schema = Schema(KINDS)
    again = Schema(json.loads(json.dumps(dict(schema.kinds))))
    assert again == schema
    assert "city: one of Lima, Oslo, Rome" in repr(schema)


@pytest.mark.parametrize(
    ("kinds", "error", "message"),
    [
        ({"a": "positiv"}, ValueError, "'positiv'; expected .*Did you mean positive"),
        ({"a": 3}, TypeError, "'int' object is not iterable"),
    ],
)
def test_kinds_that_are_none(kinds: Any, error: type, message: str) -> None:
    """Catches a word for a kind that is guessed at."""
    with pytest.raises(error, match=message):
        Schema(kinds)


@pytest.mark.parametrize("kind", [[1, 2], [1.0, 2.0], ["1", "2"]])
@pytest.mark.parametrize("dtype", [np.int64, np.float64, object])
def test_classes_that_are_numbers(kind: Any, dtype: type) -> None:
    """Catches 1 and 1.0 taken for two classes, and numbers among words that lose their point."""
    cells = (
        np.array([2, 1], dtype)
        if dtype is not object
        else np.array([str(kind[1]), str(kind[0])], object)
    )
    np.testing.assert_array_equal(Schema({"a": kind}).to_array({"a": cells}), [[0, 1], [1, 0]])
    mixed = {"a": np.array([1.0, "b", 1.0], object)}
    np.testing.assert_array_equal(infer_schema(mixed).to_array(mixed)[:, 0], [1, 0, 1])


def test_rows_that_do_not_fit_are_named() -> None:
    """Catches a new word taken for none of the known ones, which is a condition of zeros."""
    schema = Schema(KINDS)
    with pytest.raises(ValueError, match=r"no column 'city'. Did you mean cityy\? It has"):
        schema.to_array(renamed())
    with pytest.raises(ValueError, match=r"'city' holds 'Paris' in row 3 .*one of Lima, Oslo"):
        schema.to_array(TABLE | {"city": np.where(np.arange(NUM) == 3, "Paris", TABLE["city"])})
    gaps = np.where(np.arange(NUM) > 57, np.nan, TABLE["height"])
    with pytest.raises(ValueError, match=r"2 of 60 rows .* \('height': 2\), the first row 58"):
        schema.to_array(TABLE | {"height": gaps})
    with pytest.raises(ValueError, match=r"'children' holds '\w+'; expected numbers"):
        schema.to_array(TABLE | {"children": TABLE["city"]})
    with pytest.raises(ValueError, match=r"x has shape \(2, 3\); expected \(n, 7\)"):
        schema.to_table(np.zeros((2, 3)))


def renamed() -> dict[str, Any]:
    """The table with a mistyped name."""
    return {("cityy" if name == "city" else name): column for name, column in TABLE.items()}


def test_useless_columns_are_left_out_by_name() -> None:
    """Catches names and dates taken for categories, and a column that numbers the rows."""
    table = TABLE | {
        "Unnamed: 0": np.arange(NUM),
        "name": np.array([f"person {i}" for i in range(NUM)]),
        "born": np.full(NUM, "2000-01-01", "datetime64[D]"),
    }
    with pytest.warns(DataWarning) as caught:
        schema = infer_schema(table)
    assert schema.kinds == KINDS
    message = str(caught[0].message)
    assert "'Unnamed: 0' (numbers the rows), 'name' (holds 60 different words), 'born'" in message


def test_words_become_the_condition_or_are_left_out(tmp_path: Path) -> None:
    """Catches words that go missing without a word, and conditions of other rows."""
    path = csv(tmp_path)
    message = r"csv: words become the condition: 'city', 'member'"
    with pytest.warns(DataWarning, match=message) as caught:
        data = load(path, schema="auto")
    assert caught[0].filename == __file__  # and not a file of the package
    assert (data.columns, data.condition_columns[2:4]) == (
        ("height", "children"),
        ("city=Rome", "member=False"),
    )
    for row, given in zip(data.test.x, data.test.condition, strict=True):
        (i,) = np.flatnonzero(np.isclose(TABLE["height"], row[0], rtol=1e-7, atol=1e-4))
        assert TABLE["children"][i] == np.floor(row[1])
        assert given[["Lima", "Oslo", "Rome"].index(TABLE["city"][i])] == 1
    table = data.to_table(data.test.x)
    assert set(table) == {"height", "children"} and table["children"].dtype == np.int64
    assert set(data.condition_schema.to_table(data.test.condition)["city"]) <= set(TABLE["city"])
    with pytest.warns(DataWarning, match=r"left out: 'member' \(holds words, which"):
        data = load(path, schema="auto", condition_columns=["city"])
    assert data.condition_columns == ("city=Lima", "city=Oslo", "city=Rome")
    data = load(path, schema="auto", columns=["height"])
    assert data.train.condition is None
    with pytest.raises(ValueError, match="'city' holds words, which have no density"):
        load(path, schema="auto", columns=["height", "city"])


@pytest.mark.parametrize("blank", ["", "NA", " nan ", "?"])
def test_missing_values_are_named_with_two_ways_out(tmp_path: Path, blank: str) -> None:
    """Catches blanks that become numbers, a column of numbers that a blank turns to words."""
    table = {name: column.astype(object) for name, column in TABLE.items() if name != "member"}
    table["height"][[3, 9]] = table["city"][9] = table["children"][5] = blank
    path, options = csv(tmp_path, table), {"schema": "auto", "condition_columns": ["city"]}
    message = (
        r"3 of 60 rows without a value \('height': 2, 'children': 1, 'city': 1\), the first row 3"
    )
    with pytest.raises(ValueError, match=message):
        load(path, **options)
    data = load(path, missing="drop", **options)
    assert sum(map(len, (data.train, data.validation, data.test))) == 57
    data = load(path, schema="auto", columns=["children"], missing="drop")
    assert sum(map(len, (data.train, data.validation, data.test))) == 59


def test_a_typing_mistake_among_numbers_is_told(tmp_path: Path) -> None:
    """Catches a column of numbers taken for words because of one cell."""
    table = TABLE | {"height": np.where(np.arange(NUM) == 7, "1.7O", TABLE["height"].astype(str))}
    with pytest.raises(ValueError, match=r"people.csv: line 9, column 'height' holds '1.7O' among"):
        load(csv(tmp_path, table), schema="auto")
    with pytest.raises(ValueError, match=r"schema='auto' takes words"):
        read_table(csv(tmp_path))


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_frames_and_arrays_are_loaded(frame: Callable, tmp_path: Path) -> None:
    """Catches names that are lost on the way, and samples that come back as bare numbers."""
    x = RNG.standard_normal((40, 3))
    columns = dict(zip("abc", x.T, strict=True)) | {"city": ["Rome", "Oslo"] * 20}
    data = load(frame(columns), columns=["c", "a"], condition_columns=["b"], test=5)
    assert (data.name, data.columns, data.condition_columns) == ("data", ("c", "a"), ("b",))
    samples = data.to_table(data.test.x)
    assert isinstance(samples, frame) and list(samples.columns) == ["c", "a"]
    np.testing.assert_array_equal(load(x, test=5).test.x[:, [2, 0]], data.test.x)
    with pytest.raises(ValueError, match="data: has no column 'd'"):
        load(frame(columns), columns=["d"])
    with pytest.raises(TypeError, match="data has column 'city'"):
        load(frame(columns))
    with pytest.raises(ValueError, match="array is 'x', which has no effect on data"):
        load(x, array="x")
    with pytest.raises(
        ValueError, match=r"array is 'x', which has no effect on .*without a schema"
    ):
        load(csv(tmp_path), array="x", schema="auto")
    with pytest.raises(ValueError, match="missing is 'drop', which has no effect without schema"):
        load(x, missing="drop")


def test_a_column_that_is_not_there_is_told():
    """Catches a bare KeyError where a name is mistyped."""
    schema = infer_schema({"age": np.array([1, 3, 2]), "pay": np.array([1.5, 2.5, 0.5])})
    assert schema.select(["pay"]).columns == ("pay",)
    with pytest.raises(ValueError, match=r"no column 'agee'\. Did you mean age\?"):
        schema.select(["agee"])
