import re
import time

import numpy as np
import pandas as pd
import polars as pl
import pytest

from flowjax_lite.data import DataWarning, check_data


@pytest.fixture
def x() -> np.ndarray:
    """Good data."""
    return np.random.default_rng(0).standard_normal((20, 4))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_good_data_come_back_unchanged(x: np.ndarray, dtype) -> None:
    """Would catch a check that casts, copies values wrongly or refuses good data."""
    checked = check_data(x.astype(dtype))
    assert checked.dtype == dtype
    np.testing.assert_array_equal(checked, x.astype(dtype))
    assert check_data(x.tolist()).dtype == np.float64


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.arange(6).reshape(3, 2), r"data has type int64; discrete.*fl.data.dequantize.*astype"),
        (np.zeros((3, 2), np.uint8), r"type uint8; discrete"),
        (np.zeros((3, 2), complex), r"type complex128; expected real floats.*imaginary"),
        (np.zeros((3, 2), bool), r"type bool; expected real floats.*flag"),
        (np.array([[1.0, None]]), r"type object; expected real floats.*astype"),
        (np.array([["1.0", "a"]]), r"expected real floats"),
        ("rows.csv", r"data is the path 'rows.csv'; expected rows. fl.data.load reads"),
    ],
)
def test_wrong_types(bad: np.ndarray, message: str) -> None:
    """Would catch discrete or complex data being fitted as if they were continuous."""
    with pytest.raises(TypeError, match=message):
        check_data(bad)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.zeros(3), r"shape \(3,\); expected \(n, d\).*x\[:, None\]"),
        (np.zeros((0, 2, 2)), r"data is empty: it has shape \(0, 2, 2\)"),
        (np.zeros((0, 2)), r"data is empty: it has shape \(0, 2\)"),
        (np.zeros((2, 0)), r"data is empty: it has shape \(2, 0\)"),
        ([[1.0, 2.0], [3.0]], r"cannot be made into an array"),
    ],
)
def test_wrong_shapes(bad, message: str) -> None:
    """Would catch a flat array read as one event, and empty data."""
    with pytest.raises(ValueError, match=message):
        check_data(bad)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_cells_that_are_not_finite(x: np.ndarray, value: float) -> None:
    """Would catch one NaN, which poisons all parameters, and a message that does not find it."""
    x[7, 2] = x[9, 0] = value
    with pytest.raises(
        ValueError, match=re.escape(f"2 NaN or infinite cells, the first ({value}) in row 7")
    ):
        check_data(x)
    with pytest.raises(ValueError, match="column 'c'"):
        check_data(x, columns=["a", "b", "c", "d"])


def test_constant_columns(x: np.ndarray) -> None:
    """Would catch a column without spread, whose likelihood has no upper bound."""
    x[:, 1] = 3.0
    with pytest.raises(ValueError, match=r"1 column \(1\) with the same value.*Drop it"):
        check_data(x)
    x[:, 3] = 3.0
    with pytest.raises(ValueError, match=r"2 columns \(1, 3\)"):
        check_data(x)


def test_degenerate_columns_on_request(x: np.ndarray) -> None:
    """Would catch a feature refused for what is fatal in the data alone, or a NaN let through."""
    x[:, 1] = 3.0
    x[:, 3] = x[:, 2]
    check_data(x, allow_degenerate=True)
    x[4, 0] = np.nan
    with pytest.raises(ValueError, match="row 4"):
        check_data(x, allow_degenerate=True)


def test_the_precision_of_the_flow_is_what_counts(x: np.ndarray) -> None:
    """Would catch cells that overflow, and columns that become constant, when they are cast."""
    assert check_data(x.astype(np.float64), dtype=np.float32).dtype == np.float32
    x = x.astype(np.float64)
    x[3, 1] = 1e39
    with pytest.warns(DataWarning, match=r"1e\+39 in row 3, column 1"):
        check_data(x)
    with pytest.raises(ValueError, match=r"row 3 .*3.4e38 is infinite in float32"):
        check_data(x, dtype=np.float32)
    x[:, 1] = 1e9 + np.random.default_rng(1).random(len(x))
    check_data(x)
    with pytest.raises(ValueError, match=r"1 column \(1\) with the same value"):
        check_data(x, dtype=np.float32)


@pytest.mark.parametrize("order", ["C", "F"])
def test_duplicated_columns(x: np.ndarray, order: str) -> None:
    """Would catch exact copies, whatever the memory layout, and a message that names one only."""
    x[:, 3] = x[:, 1]
    with pytest.raises(ValueError, match=r"1 duplicated column \('d' = 'b'\).*Keep one"):
        check_data(np.array(x, order=order), columns=["a", "b", "c", "d"])


def test_duplicates_up_to_the_sign_of_zero() -> None:
    """Would catch a comparison of bytes, for which 0.0 and -0.0 differ."""
    with pytest.raises(ValueError, match=r"1 = 0"):
        check_data(np.array([[0.0, -0.0], [1.0, 1.0], [-0.0, 0.0]]))


def test_nearly_equal_columns_pass(x: np.ndarray) -> None:
    """Would catch columns with equal extremes or sums being taken for copies."""
    x[:, 0] = np.arange(20.0)
    x[:, 1] = np.roll(x[:, 0], 7)
    check_data(x)


def test_large_data_take_little_time() -> None:
    """Would catch a loop over cells or pairs of columns; other processes do not count."""
    x = np.random.default_rng(0).standard_normal((60000, 64), np.float32)
    start = time.thread_time()
    check_data(x)
    assert time.thread_time() - start < 2


def test_policies(x: np.ndarray) -> None:
    """Catches a policy that stops what it should tell, tells what it should not, or is no policy.

    Also catches an error that keeps the rest of what was found for the next try.
    """
    x[7, 2] = np.nan
    x[8, 1] = 1e6
    with pytest.raises(ValueError, match=r"(?s)row 7 .*1e\+06 in row 8"):
        check_data(x)
    with pytest.warns(DataWarning) as caught:
        assert check_data(x, checks="warn") is x
    assert [str(w.message).split(" far")[0] for w in caught][1] == "data has 1 cell"
    assert len(caught) == 2
    assert check_data(x, checks="off") is x
    for policy in ("error", "warn", "off"):
        with pytest.raises(TypeError, match="discrete"):
            check_data(np.ones((3, 2), int), checks=policy)
        with pytest.raises(ValueError, match="shape"):
            check_data(np.ones(3), checks=policy)
    with pytest.raises(ValueError, match="checks is 'raise'; expected one of 'error', 'warn'"):
        check_data(x, checks="raise")


FRAMES = {"pandas": pd.DataFrame, "polars": pl.DataFrame}


class Tensor:
    """What is used of a tensor of PyTorch; only a detached one on the CPU becomes an array."""

    def __init__(self, values: np.ndarray, ready: int = 0) -> None:
        self.values, self.ready = values, ready

    def detach(self) -> "Tensor":
        return Tensor(self.values, self.ready + 1)

    cpu = detach

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        assert self.ready == 2, "Can't call numpy() on Tensor that requires grad"
        return self.values


def test_tensors_become_arrays(x: np.ndarray) -> None:
    """Catches a tensor that requires gradients, or lies on a GPU, refused."""
    np.testing.assert_array_equal(check_data(Tensor(x)), x)


@pytest.mark.parametrize("kind", FRAMES)
def test_columns_of_frames_reach_the_messages(x: np.ndarray, kind: str) -> None:
    """Catches columns by number where they have names, and columns of several types refused."""
    columns = dict(zip(["age", "height", "income", "debt"], x.T, strict=True))
    frame = FRAMES[kind](columns)
    np.testing.assert_array_equal(check_data(frame), x)
    columns["age"] = np.full(20, 7)
    with pytest.raises(ValueError, match=r"1 column \('age'\) with the same value"):
        check_data(FRAMES[kind](columns))
    columns["age"] = np.arange(20) % 4
    with pytest.warns(DataWarning, match=r"1 column \('age'\) with whole numbers"):
        check_data(FRAMES[kind](columns))
    columns["age"] = ["young", "old"] * 10
    with pytest.raises(TypeError, match=r"column 'age' of type .*infer_schema"):
        check_data(FRAMES[kind](columns))
    one = check_data(FRAMES[kind](columns)["income"], name="condition", allow_degenerate=True)
    np.testing.assert_array_equal(one, x[:, [2]])


@pytest.mark.parametrize("kind", FRAMES)
def test_missing_numbers_of_frames_are_found(kind: str) -> None:
    """Catches whole numbers with a gap, which frames hold as objects, and which row it is."""
    with pytest.raises(ValueError, match=r"1 NaN .* row 1 .*column 'a'"):
        check_data(FRAMES[kind]({"a": [1, None, 3], "b": [0.1, 0.4, 0.2]}))


def test_frames_of_other_columns_are_refused(x: np.ndarray) -> None:
    """Catches validation rows whose columns stand in another order than those of the data."""
    frame = pd.DataFrame(x, columns=["a", "b", "c", "d"])
    check_data(frame, columns=["a", "b", "c", "d"])
    with pytest.raises(ValueError, match=r"has the columns b, a, c, d; expected a, b, c, d, in"):
        check_data(frame[["b", "a", "c", "d"]], columns=["a", "b", "c", "d"])


class Labelled:
    """A labelled array of two axes, as those of xarray."""

    def __init__(self, values: np.ndarray) -> None:
        self.values, self.shape, self.name = values, values.shape, "field"

    def to_numpy(self) -> np.ndarray:
        return self.values

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        return self.values


def test_labelled_arrays_keep_their_shape(x: np.ndarray) -> None:
    """Catches an array with a name taken for one column."""
    np.testing.assert_array_equal(check_data(Labelled(x)), x)


def test_columns_that_make_no_table_are_refused(x: np.ndarray) -> None:
    """Catches a column that hides another of the same name, and columns of other lengths."""
    for other in (x[:-1, 1], x[:, 1:3]):
        with pytest.raises(ValueError, match=r"column 'b' has shape .*expected \(n,\), and the"):
            check_data({"a": x[:, 0], "b": other})
    with pytest.raises(ValueError, match="several columns 'a'"):
        check_data(pd.DataFrame(x, columns=["a", "b", "a", "c"]))


def test_masked_cells_are_refused(x: np.ndarray) -> None:
    """Catches a mask that is dropped, so that what it hides is trained on."""
    masked = np.ma.masked_array(x, mask=x > 1)
    with pytest.raises(ValueError, match=r"data is a masked array with \d+ masked cells.*Drop"):
        check_data(masked)
    rows = ~np.ma.getmaskarray(masked).any(axis=1)
    assert len(check_data(masked[rows].data)) == rows.sum()
    with pytest.raises(ValueError, match="data is a masked array"):
        check_data(list(masked))
    with pytest.raises(ValueError, match="column 'b' is a masked array"):
        check_data({"a": x[:, 0], "b": masked[:, 0]})
    assert type(check_data(np.ma.masked_array(x))) is np.ndarray  # hides nothing


def test_whole_numbers_are_conditions(x: np.ndarray) -> None:
    """Catches labels and flags refused where no density is asked of them."""
    for labels in (np.arange(20)[:, None] % 3, np.arange(20)[:, None] > 5):
        given = check_data(labels, dtype=np.float32, allow_degenerate=True, whole_numbers=True)
        assert given.dtype == np.float32
        np.testing.assert_array_equal(given, labels)
        with pytest.raises(TypeError, match="has no density"):
            check_data(labels)
