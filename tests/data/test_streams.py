"""Streams: every kind of source gives its rows, a block at a time, or says what is wrong."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import grain
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import ArrayLike

from flowjax_lite.data import Stream, stream

ROWS = np.random.default_rng(0).standard_normal((1000, 3)).astype(np.float32)
BUFFER = 256


def npy(path: Path, values: ArrayLike = ROWS) -> Path:
    """A file of numpy."""
    np.save(path / "x.npy", values)
    return path / "x.npy"


def parquet(path: Path, values: np.ndarray = ROWS, name: str = "x.parquet") -> Path:
    """A parquet file with row groups of 90 rows."""
    table = pa.table({f"x{i}": column for i, column in enumerate(values.T)})
    pq.write_table(table, path / name, row_group_size=90)
    return path / name


def parquet_files(path: Path) -> list[Path]:
    """Two files."""
    return [parquet(path, part, f"{i}.parquet") for i, part in enumerate(np.split(ROWS, [310]))]


def sliced_map(path: Path) -> np.ndarray:
    """A part of a memory-mapped array, which begins elsewhere than the file."""
    padded = np.concatenate([np.zeros((7, 4), np.float32), np.pad(ROWS, ((0, 0), (1, 0)))])
    return np.load(npy(path, padded), mmap_mode="r")[7:, 1:]


def array_records(path: Path) -> Any:
    """Grain's own format, whose records are bytes, mapped to rows."""
    from array_record.python import array_record_module

    writer = array_record_module.ArrayRecordWriter(str(path / "x.array_record"), "group_size:1")
    for row in ROWS:
        writer.write(row.tobytes())
    writer.close()
    source = grain.sources.ArrayRecordDataSource(str(path / "x.array_record"))
    return grain.MapDataset.source(source).map(lambda record: np.frombuffer(record, np.float32))


SOURCES: dict[str, Callable[[Path], Any]] = {
    "npy": npy,
    "parquet": parquet,
    "parquet files": parquet_files,
    "map": lambda path: np.load(npy(path), mmap_mode="r"),
    "sliced map": sliced_map,
    "items": lambda path: list(ROWS),
    "grain": lambda path: grain.MapDataset.source(ROWS),
    "array records": array_records,
    "batches": lambda path: np.split(ROWS, range(40, 1000, 40)),
    "grain batches": lambda path: grain.MapDataset.source(ROWS).batch(3),
}


def everything(rows: Stream) -> np.ndarray:
    """All rows of x, block after block."""
    return np.concatenate([rows.read(block).x for block in range(len(rows.sizes))])


@pytest.mark.parametrize("kind", SOURCES)
def test_blocks_hold_all_rows_in_order(kind: str, tmp_path: Path) -> None:
    """Would catch rows lost, doubled or moved where blocks, files or row groups meet."""
    rows = stream(SOURCES[kind](tmp_path), buffer=BUFFER)
    assert len(rows) == 1000
    assert len(rows.sizes) > 10
    np.testing.assert_array_equal(everything(rows), ROWS)
    chosen = stream(SOURCES[kind](tmp_path), columns=["x2"], condition_columns=["x1", "x0"])
    split = chosen.read(0)
    np.testing.assert_array_equal(split.x, ROWS[: len(split), [2]])
    np.testing.assert_array_equal(split.condition, ROWS[: len(split), [1, 0]])


def test_pairs_are_rows_and_conditions() -> None:
    """Would catch a condition that is taken for data."""
    rows = stream([(row[:1], row[1:]) for row in ROWS])
    assert (rows.columns, rows.condition_columns) == (("x0",), ("c0", "c1"))
    np.testing.assert_array_equal(rows.read(0).x, ROWS[:1000, :1])
    np.testing.assert_array_equal(rows.read(0).condition, ROWS[:1000, 1:])


def test_pairs_of_batches_are_rows_and_conditions() -> None:
    """Would catch conditions that lie below the rows and not beside them."""
    rows = stream([(part[:, :1], part[:, 1:]) for part in np.split(ROWS, 10)], buffer=6400)
    assert rows.condition_shape == (2,) and len(rows.sizes) == 10
    np.testing.assert_array_equal(rows.read(3).condition, ROWS[300:400, 1:])


IMAGES = ROWS.reshape(50, 4, 5, 3)
IMAGE_SOURCES: dict[str, Callable[[Path], Any]] = {
    "npy": lambda path: npy(path, IMAGES),
    "map": lambda path: np.load(npy(path, IMAGES), mmap_mode="r"),
    "items": lambda path: list(IMAGES),
    "batches": lambda path: np.split(IMAGES, [20, 40]),
    "with labels": lambda path: [
        (part, np.full(10, part[0, 0, 0, 0])) for part in np.split(IMAGES, 5)
    ],
}


@pytest.mark.parametrize("kind", IMAGE_SOURCES)
def test_images_keep_their_shape(kind: str, tmp_path: Path) -> None:
    """Would catch pixels out of place, images taken for batches of rows, and lost labels."""
    rows = stream(IMAGE_SOURCES[kind](tmp_path), buffer=64 * 10)
    assert (len(rows), rows.event_shape, rows.columns) == (50, (4, 5, 3), ())
    np.testing.assert_array_equal(everything(rows), IMAGES)
    assert rows.sample(7).x.shape == (7, 4, 5, 3)
    if kind == "with labels":
        assert rows.condition_shape == (1,)
        np.testing.assert_array_equal(rows.read(0).condition[:10], np.full((10, 1), ROWS[0, 0]))
    with pytest.raises(ValueError, match=r"events of shape \(4, 5, 3\); leave columns out"):
        stream(IMAGE_SOURCES[kind](tmp_path), columns=["x0"])


def test_a_smaller_batch_before_the_last_is_told() -> None:
    """Would catch rows that are counted and not there."""
    rows = stream(np.split(ROWS, [100, 150]), buffer=6400)
    with pytest.raises(ValueError, match=r"from 1 of the source hold 50 rows, .* promises 100"):
        everything(rows)


def test_a_copy_on_write_map_keeps_its_changes(tmp_path: Path) -> None:
    """Would catch pages given back that hold what no file holds."""
    mapped = np.load(npy(tmp_path), mmap_mode="c")
    mapped[3] = 5.0
    np.testing.assert_array_equal(everything(stream(mapped))[3], [5.0] * 3)


def test_a_sample_is_from_all_over(tmp_path: Path) -> None:
    """Would catch rows drawn twice, the first rows alone, and an order that is that of the file."""
    rows = stream(parquet(tmp_path), buffer=BUFFER)
    sample = rows.sample(300, seed=1).x
    places = [int(np.flatnonzero((row == ROWS).all(axis=1))[0]) for row in sample]
    assert len(set(places)) == 300
    assert min(places) < 90 and max(places) > 910
    assert np.mean(np.diff(places) > 0) < 0.6
    assert not np.array_equal(sample, rows.sample(300, seed=2).x)
    assert sorted(map(tuple, rows.sample(1000).x)) == sorted(map(tuple, ROWS))
    with pytest.raises(ValueError, match=r"num is 1001, and .* has 1000 rows"):
        rows.sample(1001)


WRONG: dict[str, tuple[Callable[[Path], Any], str]] = {
    "number": (lambda path: 3, "expected a path, a list of paths, an array, or"),
    "missing": (lambda path: path / "y.npy", "there is no such file"),
    "csv": (lambda path: Path(__file__), r"'.py' cannot be read a block at a time. Convert"),
    "columns first": (lambda path: npy(path, np.asfortranarray(ROWS)), "Fortran order"),
    "a frame": (lambda path: pd.DataFrame(ROWS), "frames go to fit as they are"),
    "no rows": (lambda path: npy(path, ROWS[:0]), "holds no rows"),
    "objects": (lambda path: grain.MapDataset.source(["a", "b"]), "first item .* map the source"),
    "items of five axes": (
        lambda path: list(ROWS.reshape(10, 1, 1, 10, 10, 3)),
        "float32 of shape",
    ),
    "images and labels of others": (
        lambda path: [(ROWS.reshape(10, 10, 10, 3), np.zeros(9))],
        r"of shape \(10, 10, 10, 3\) and \(9,\)",
    ),
    "a first batch without rows": (lambda path: [ROWS[:0], ROWS], r"of shape \(0, 3\)"),
    "a condition for a batch": (
        lambda path: [(part, np.zeros(2)) for part in np.split(ROWS, 10)],
        r"of shape \(100, 3\) and \(2,\)",
    ),
    "nothing": (lambda path: [], "is empty"),
    "flat": (lambda path: ROWS[:, 0], r"shape \(1000,\); expected \(n, d\)"),
    "two tables": (
        lambda path: [parquet(path), parquet(path, ROWS[:, :2], "y.parquet")],
        "differ: file 1 .* columns x0, x1, and the first one .* columns x0, x1, x2",
    ),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_no_stream_of_rows_is_told(kind: str, tmp_path: Path) -> None:
    """Would catch an error from deep inside, or in the middle of training."""
    make, message = WRONG[kind]
    with pytest.raises((ValueError, TypeError, FileNotFoundError), match=message):
        stream(make(tmp_path))


def test_damaged_files_are_told(tmp_path: Path) -> None:
    """Would catch rows made of what lies after the end, and a parser's own error."""
    for path in (npy(tmp_path), parquet(tmp_path)):
        content = path.read_bytes()
        path.write_bytes(content[:-500])
        with pytest.raises(ValueError, match=r"x\.(npy|parquet): is (damaged|cut short)"):
            stream(path)
        path.write_bytes(content)
        rows = stream(path, buffer=BUFFER)
        path.write_bytes(content[: len(content) // 2])
        with pytest.raises(ValueError, match=r"x\.(npy|parquet): .*([Ww]rite it)"):
            everything(rows)


def test_unknown_columns_are_told(tmp_path: Path) -> None:
    """Would catch a column that is silently left out."""
    with pytest.raises(ValueError, match="has no column 'x9'"):
        stream(npy(tmp_path), columns=["x9"])
    with pytest.raises(ValueError, match="both as data and as condition"):
        stream(npy(tmp_path), columns=["x0"], condition_columns=["x0"])
    with pytest.raises(ValueError, match="buffer"):
        stream(npy(tmp_path), buffer=0)
