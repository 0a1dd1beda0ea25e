from pathlib import Path

import numpy as np
import pytest

from flowjax_lite.data import DataWarning, load


@pytest.fixture
def csv_file(tmp_path: Path) -> Path:
    """A table of noise whose last column numbers the rows."""
    rng = np.random.default_rng(0)
    values = np.column_stack([rng.standard_normal((50, 3)), np.arange(50)])
    path = tmp_path / "table.csv"
    np.savetxt(path, values, delimiter=",", header="a,b,c,row", comments="")
    return path


def test_a_file(csv_file: Path) -> None:
    """Would catch wrong sizes and lost names."""
    data = load(csv_file, validation=5, test=0.2)
    assert [len(part) for part in (data.train, data.validation, data.test)] == [35, 5, 10]
    assert (data.name, data.columns) == ("table", ("a", "b", "c", "row"))
    assert data.train.x.dtype == np.float32
    assert data.train.condition is None


def test_columns_and_conditions(csv_file: Path) -> None:
    """Would catch conditions that stay in x, or that come from other rows."""
    whole = load(csv_file)
    rest = load(str(csv_file), condition_columns=["row", "b"])
    assert (rest.columns, rest.condition_columns) == (("a", "c"), ("row", "b"))
    np.testing.assert_array_equal(rest.test.x, whole.test.x[:, [0, 2]])
    np.testing.assert_array_equal(rest.test.condition, whole.test.x[:, [3, 1]])
    chosen = load(csv_file, columns=["c"], condition_columns=["a"])
    np.testing.assert_array_equal(chosen.test.x, whole.test.x[:, [2]])
    np.testing.assert_array_equal(chosen.test.condition, whole.test.x[:, [0]])


def test_wrong_columns(csv_file: Path) -> None:
    """Would catch a column that is data and condition at once, and mistyped names."""
    with pytest.raises(ValueError, match=r"asked for a both as data and as condition"):
        load(csv_file, columns=["a", "b"], condition_columns=["a"])
    with pytest.raises(ValueError, match=r"takes every column"):
        load(csv_file, condition_columns=["a", "b", "c", "row"])
    with pytest.raises(ValueError, match=r"table.csv: has no column 'rwo'. Did you mean row\?"):
        load(csv_file, condition_columns=["rwo"])


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        (np.arange(40).reshape(20, 2), TypeError, "discrete data has no density"),
        (np.full((20, 2), 1e300) * [[1, np.nan]], ValueError, "40 NaN or infinite cells"),
        (np.ones((20, 2)), ValueError, r"2 columns \('x0', 'x1'\) with the same value"),
        (1e9 + np.random.default_rng(0).random((20, 2)), ValueError, "the same value in every"),
    ],
)
def test_unfit_data(tmp_path: Path, values: np.ndarray, error: type, message: str) -> None:
    """Would catch data that no density fits, also where float32 alone makes them so."""
    np.save(tmp_path / "a.npy", values)
    with pytest.raises(error, match=message):
        load(tmp_path / "a.npy")


def test_checks_are_a_choice(tmp_path: Path) -> None:
    """Would catch a policy that does not arrive, for files and for benchmarks."""
    x = np.random.default_rng(0).standard_normal((20, 2))
    x[7, 1] = np.inf
    np.save(tmp_path / "a.npy", x)
    with pytest.warns(DataWarning, match=r"a.npy has 1 NaN .*row 7 .*column 'x1'"):
        load(tmp_path / "a.npy", checks="warn")
    assert len(load(tmp_path / "a.npy", checks="off").train) == 16
    rows = {"train_0": np.arange(15), "test_0": np.arange(15, 20)}
    (tmp_path / "uci").mkdir()
    np.savez(tmp_path / "uci" / "bad.npz", x=x, y=x[:, 0], **rows)
    with pytest.raises(ValueError, match=r"the condition of uci/bad \(.* rows\) has 1 NaN"):
        load("uci/bad", data_dir=tmp_path)
    load("uci/bad", data_dir=tmp_path, checks="off")


def test_whole_numbers_may_be_conditions(tmp_path: Path) -> None:
    """Would catch labels being refused as conditions, and NaN being let through there."""
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    x = np.random.default_rng(0).standard_normal(20)
    parquet.write_table(pa.table({"x": x, "label": np.arange(20) % 2}), tmp_path / "a.parquet")
    data = load(tmp_path / "a.parquet", condition_columns=["label"])
    assert set(data.train.condition[:, 0]) == {0.0, 1.0}
    parquet.write_table(pa.table({"x": x, "label": [None, *range(19)]}), tmp_path / "b.parquet")
    with pytest.raises(ValueError, match=r"the condition of .*1 NaN .*column 'label'"):
        load(tmp_path / "b.parquet", condition_columns=["label"])


def test_byte_images_are_dequantised(tmp_path: Path) -> None:
    """Would catch grey levels fitted as if they were continuous."""
    images = np.random.default_rng(0).integers(256, size=(20, 2, 3), dtype=np.uint8)
    header = bytes([0, 0, 8, 3]) + b"".join(n.to_bytes(4, "big") for n in images.shape)
    (tmp_path / "a.idx").write_bytes(header + images.tobytes())
    data = load(tmp_path / "a.idx", validation=1, test=1)
    assert (data.image_shape, data.num_levels, data.dim) == ((2, 3), 256, 6)
    levels = np.floor(np.concatenate([data.train.x, data.validation.x, data.test.x]) * 256)
    np.testing.assert_array_equal(np.sort(levels.ravel()), np.sort(images.ravel()))
    with pytest.raises(TypeError, match="discrete"):  # no image without the first pixel
        load(tmp_path / "a.idx", condition_columns=["x0"])


def test_images_of_an_npy_file(tmp_path: Path) -> None:
    """Would catch images flattened, bytes taken for continuous numbers, and lost axes."""
    images = np.random.default_rng(0).integers(256, size=(40, 4, 5, 3), dtype=np.uint8)
    np.save(tmp_path / "bytes.npy", images)
    data = load(tmp_path / "bytes.npy", validation=5, test=5)
    assert (data.event_shape, data.dim, data.num_levels) == ((4, 5, 3), 60, 256)
    assert (data.columns, data.train.x.shape) == ((), (30, 4, 5, 3))
    levels = np.floor(np.concatenate([data.train.x, data.validation.x, data.test.x]) * 256)
    np.testing.assert_array_equal(np.sort(levels, axis=0), np.sort(images, axis=0))
    np.save(tmp_path / "floats.npy", data.train.x)
    assert load(tmp_path / "floats.npy", validation=2, test=2).num_levels is None
    with pytest.raises(ValueError, match="without columns to choose"):
        load(tmp_path / "floats.npy", columns=["x0"])
    with pytest.raises(ValueError, match=r"floats.npy: has no column 'x0'. It has none"):
        load(tmp_path / "floats.npy", condition_columns=["x0"])


def test_names() -> None:
    """Would catch a name that leads to another loader, and options that do not arrive."""
    data = load("rings", num=60, seed=3, validation=10, test=10)
    assert (data.name, len(data.train)) == ("rings", 40)
    assert not np.array_equal(data.train.x, load("rings", num=60, validation=10, test=10).train.x)
    pytest.importorskip("sklearn")
    assert load("digits").num_levels == 17
    assert load("iris").dim == 4


def test_benchmarks_need_a_folder(tmp_path: Path) -> None:
    """Would catch None being taken for a folder."""
    for name in ("bsds300", "uci/yacht"):
        with pytest.raises(ValueError, match=rf"{name} is read from files: give data_dir"):
            load(name)
        with pytest.raises(FileNotFoundError):
            load(name, data_dir=tmp_path)


def test_options_that_a_name_does_not_take() -> None:
    """Would catch a choice of columns that is dropped without a word."""
    for name, option in (
        ("moons", {"columns": ["x0"]}),
        ("moons", {"condition_columns": ["x0"]}),
        ("moons", {"array": "x"}),
        ("moons", {"noise_copies": 2}),
        ("moons", {"data_dir": "."}),
        ("digits", {"num": 100}),
        ("iris", {"validation": 0.2}),
        ("bsds300", {"test": 5}),
        ("a.csv", {"num": 100}),
    ):
        (word,) = option
        with pytest.raises(ValueError, match=rf"{word} is .*, which has no effect on {name}"):
            load(name, **option)


def test_unknown_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Would catch a mistyped name reported as a missing file, and the other way round."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"Unknown data source 'mons'. Did you mean moons\?"):
        load("mons")
    np.save("train.npy", np.zeros((3, 2)))
    with pytest.raises(FileNotFoundError, match=r"Did you mean train.npy\?"):
        load("trainn.npy")
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        load("none/train")
