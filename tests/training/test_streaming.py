"""Data larger than memory: every row once an epoch, and all that `fit` promises of arrays."""

import shutil
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from battery.measure import randomised
from flax import nnx
from helpers.interrupted import last, settings, tiny

import flowjax_lite as fl
from flowjax_lite.core.mesh import Placement
from flowjax_lite.data import DataWarning, Stream, stream
from flowjax_lite.training.epoch import Plan, Span, advance
from flowjax_lite.training.rows import Blocks
from flowjax_lite.training.sources import Streamed, Window, order_key

KEY = jax.random.key(0)
CONDITIONED = {"columns": ["x0", "x1"], "condition_columns": ["x2"]}


def rows(count: int = 1000, dim: int = 2) -> np.ndarray:
    """Correlated, shifted rows."""
    z = np.random.default_rng(0).standard_normal((count, dim))
    return (z @ (np.eye(dim) + 0.5) + 1.0).astype(np.float32)


def saved(path: Path, values: np.ndarray, **options: Any) -> Stream:
    """A stream of a file with these rows, of windows that hold a part of them."""
    np.save(path / "x.npy", values)
    return stream(path / "x.npy", **{"buffer": 300} | options)


def feed_of(data: Stream, **options: Any) -> Streamed:
    """What `fit` opens; for a flow of three numbers."""
    flow = fl.flows.nice(dim=3, num_layers=2, hidden=(4,), rngs=nnx.Rngs(0))
    common = {"validation": 0.1, "key": KEY, "checks": "off", "progress": False}
    blocks = Blocks(flow, data, None, None, **common | options)
    return Streamed(blocks, batch_size=64, placement=Placement())


def taken(feed: Streamed, epoch: int) -> np.ndarray:
    """The places of the rows that an epoch trains on, in their order, batch after batch."""
    batches = []
    for step in range(feed.num_steps):
        number, batch = divmod(step, feed.batches)
        window = feed.window(epoch, number)
        order = window.order(order_key(KEY, epoch, number * feed.batches))
        rows = window.rows_of(order, jnp.asarray(batch))
        batches.append(np.asarray(rows.positions)[np.asarray(rows.weights) > 0].astype(int))
    assert max(map(len, batches)) <= 64
    return np.concatenate(batches)


def test_two_windows_are_read_ahead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Catches a device that waits for each window, and memory that fills with those to come."""
    loaded, load = [], Streamed._load

    def note(feed: Streamed, epoch: int, number: int) -> Window:
        loaded.append((epoch, number))
        return load(feed, epoch, number)

    monkeypatch.setattr(Streamed, "_load", note)
    feed = feed_of(saved(tmp_path, rows(1000, 3)))
    for at, count in (((0, 0), 3), ((0, 1), 4), ((0, 1), 4), ((0, 2), 5), ((4, 2), 8)):
        feed.window(*at)
        feed._reader.submit(int).result()  # by then all that was asked for is there
        assert len(loaded) == count
    assert loaded == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (4, 2), (5, 0), (5, 1)]
    feed.close()


class Noted:
    """A truth value that tells when it is looked at."""

    def __init__(self, value: jax.Array, events: list[str], name: str) -> None:
        self._value, self._events, self._name = value, events, name

    def __bool__(self) -> bool:
        self._events.append(self._name)
        return bool(self._value)


def test_the_device_has_the_next_window_while_one_is_awaited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Catches a device without work while the host looks at what it did, and a queue that grows."""
    events = list[str]()

    def noted(state: Any, plan: Plan, epoch: int, span: Span, window: Window) -> Any:
        number = span.first // 5
        events.append(f"give {number}")
        state, outcome = advance(state, plan, epoch, span, window)
        stuck = Noted(outcome.stuck, events, f"await {number}")
        return state, outcome._replace(stuck=stuck)

    monkeypatch.setattr("flowjax_lite.training.loop.advance", noted)
    data = saved(tmp_path, rows())
    fl.fit(tiny(), data, key=KEY, max_epochs=1, batch_size=64, progress=False)
    assert events == ["give 0", "give 1", "await 0", "give 2", "await 1", "await 2"]


def test_a_stuck_run_goes_back_before_the_end_of_its_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Catches a run that goes through the rest of an epoch before it goes back."""
    asked, window = [], Streamed.window

    def noted(feed: Streamed, epoch: int, number: int) -> Window:
        asked.append((epoch, number))
        return window(feed, epoch, number)

    def not_finite(flow: fl.Flow, *batch: Any) -> jax.Array:
        return flow.log_prob(np.zeros(2)) * np.nan

    monkeypatch.setattr(Streamed, "window", noted)
    data = saved(tmp_path, rows(), buffer=100)  # nine windows of two steps
    with pytest.raises(fl.DivergedError, match="10 steps in a row"):
        fl.fit(tiny(), data, key=KEY, loss=not_finite, batch_size=64, progress=False)
    assert asked[:7] == [(0, 0), (0, 1), (0, 2), (0, 3), (0, 4), (0, 5), (0, 5)]


def test_every_row_comes_once_an_epoch(tmp_path: Path):
    """Catches rows lost or doubled at the ends of blocks and windows, and held-out rows trained on.

    Also an order that is that of the file, or the same in every epoch.
    """
    x = rows(1000, 3)
    feed = feed_of(saved(tmp_path, x))
    assert (feed.num_windows, feed.batches) == (3, 5)
    orders = [taken(feed, epoch) for epoch in (0, 1)]
    held_out = [int(np.flatnonzero((row == x).all(axis=1))[0]) for row in feed.validation.x]
    for order in orders:
        assert sorted([*order, *held_out]) == list(range(1000))
    assert np.mean(np.diff(orders[0]) > 0) < 0.6
    assert np.mean(orders[0] == orders[1]) < 0.05
    window = feed.window(1, 2)
    there = np.asarray(window.rows.weights) > 0
    in_window = sorted(map(tuple, np.asarray(window.rows.x)[there]))
    assert in_window == sorted(map(tuple, x[orders[1][600:]]))
    feed.close()


def test_rows_of_a_large_block_are_mixed(tmp_path: Path):
    """Catches windows of neighbouring rows, where a block has more rows than a window."""
    one_block = stream(list(rows(1000, 3)), buffer=64 * 1000)
    assert len(one_block.sizes) == 1
    object.__setattr__(one_block, "buffer", 100)
    order = taken(feed_of(one_block, validation=None), 0)
    assert len(set(order)) == 1000
    assert np.ptp(order[:100]) > 900


def test_losses_are_weighted_means_over_all_rows(tmp_path: Path):
    """Catches padding that counts, and rows whose conditions or weights are those of others."""
    x, weights = rows(1001, 3), np.random.default_rng(1).uniform(size=1001)
    flow = fl.flows.realnvp(dim=2, condition_dim=1, num_layers=2, hidden=(8,), rngs=nnx.Rngs(0))
    flow = randomised(flow, scale=0.5)
    common = {"key": KEY, "batch_size": 64, "max_epochs": 1, "progress": False}
    common |= {"optimizer": optax.set_to_zero(), "validation": (x[:50, :2], x[:50, 2:])}
    history = fl.fit(flow, saved(tmp_path, x, **CONDITIONED), weights=weights, **common).history
    loss = -np.asarray(flow.log_prob(x[:, :2], x[:, 2:]))
    assert history["train"][0] == pytest.approx(np.average(loss, weights=weights), rel=1e-5)
    assert history["validation"][0] == pytest.approx(loss[:50].mean(), rel=1e-5)
    moved = np.average(loss, weights=np.roll(weights, 1))  # the twin
    assert history["train"][0] != pytest.approx(moved, rel=1e-3)


def test_memory_mapped_arrays_train(tmp_path: Path):
    """Catches an array that is read into memory, or refused, as it is not a plain one."""
    saved(tmp_path, rows())
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    common = {"key": KEY, "batch_size": 64, "learning_rate": 1e-2, "max_epochs": 10}
    history = fl.fit(tiny(), mapped, progress=False, **common).history
    assert history["validation"][-1] < history["validation"][0] - 0.2


def test_the_precision_is_that_of_the_caller(tmp_path: Path):
    """Catches rows that the background reads in another precision than the run's."""
    with jax.enable_x64(True):
        x = rows(1000, 3).astype(np.float64) + 1e-9
        feed = feed_of(saved(tmp_path, x))
        window = feed.window(0, 0).rows.x
        feed.close()
        assert window.dtype == np.float64
        common = {"key": KEY, "batch_size": 64, "max_epochs": 1, "progress": False}
        flow = fl.flows.nice(dim=3, num_layers=2, hidden=(4,), rngs=nnx.Rngs(0))
        fl.fit(flow, saved(tmp_path, x), **common)
    there = set(map(tuple, x))
    assert all(tuple(row) in there for row in np.asarray(window[0])[:100])


def test_a_run_goes_on_in_the_middle_of_an_epoch(tmp_path: Path):
    """Catches windows that depend on where the run began, and another stream taken for the same."""
    data = saved(tmp_path, settings(Path())["data"], buffer=32)
    whole, run = tmp_path / "whole", tmp_path / "run"
    fl.fit(tiny(), **settings(whole, data=data))
    fl.fit(tiny(), **settings(run, data=data, every=7))
    assert last(run) == last(whole)
    step, _ = last(whole)
    for later in (step - 1, step):
        shutil.rmtree(whole / str(later))
    shutil.copytree(whole, tmp_path / "copy")
    fl.fit(tiny(), **settings(whole, data=data))
    assert last(run) == last(whole)
    for other, name in (({"buffer": 64}, "windows"), ({"columns": ["x1", "x0"]}, "data")):
        changed = stream(tmp_path / "x.npy", **{"buffer": 32} | other)
        with pytest.raises(ValueError, match=f"is of another run: its {name} was"):
            fl.fit(tiny(), **settings(tmp_path / "copy", data=changed))


def test_bad_cells_are_found_at_the_door(tmp_path: Path):
    """Catches a stream that is checked less than an array."""
    x = rows()
    x[777, 1] = np.nan
    common = {"key": KEY, "batch_size": 64, "max_epochs": 1, "progress": False}
    with pytest.raises(ValueError, match=r"x.npy has 1 NaN .* in row 777 .*, column 'x1'"):
        fl.fit(tiny(), saved(tmp_path, x), **common)
    with (
        pytest.warns(DataWarning, match="row 777"),
        pytest.warns(RuntimeWarning, match=r"of its \d+ rows is not finite: 777$"),
    ):
        fl.fit(tiny(), saved(tmp_path, x), checks="warn", validation=rows()[:50], **common)
    x = rows(1000, 3)
    x[5, 2] = np.inf
    flow = fl.flows.nice(dim=2, condition_dim=1, num_layers=2, hidden=(4,), rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match=r"the condition of .*x.npy has 1 .*row 5 .*'x2'"):
        fl.fit(flow, saved(tmp_path, x, **CONDITIONED), **common)


WRONG: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "dim": ({}, {}, r"x.npy has shape \(1000, 3\); this flow expects \(rows, 2\)"),
    "condition": (CONDITIONED, {}, "condition"),
    "beside": (
        {"columns": ["x0", "x1"]},
        {"condition": np.ones((1000, 1), np.float32)},
        "name their columns: data.stream",
    ),
    "weights": ({"columns": ["x0", "x1"]}, {"weights": np.ones(999)}, "weights has 999 rows"),
    "fraction": ({"columns": ["x0", "x1"]}, {"validation": 1e-6}, "leaves 0 to validate on"),
    "whole numbers": ({"columns": ["x0", "x1"]}, {"whole": True}, "dequantize_integers"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_does_not_fit_is_told(kind: str, tmp_path: Path):
    """Catches mistakes that are found only in the middle of an epoch."""
    opened, options, message = WRONG[kind]
    options = {"key": KEY, "batch_size": 64, "progress": False} | options
    x = rows(1000, 3)
    x = (10 * x).astype(int) if options.pop("whole", False) else x
    with pytest.raises((ValueError, TypeError), match=message):
        fl.fit(tiny(), saved(tmp_path, x, **opened), **options)


def test_a_fraction_too_large_for_memory_is_told():
    """Catches a default that fills the memory with rows that are never trained on."""

    class Endless:
        def __len__(self) -> int:
            return 10**10

        def __getitem__(self, i: int) -> np.ndarray:
            return np.zeros(2, np.float32)

    with pytest.raises(ValueError, match=r"holds out 1000000000 rows .* pass a smaller fraction"):
        fl.fit(tiny(), stream(Endless(), buffer=2**34), key=KEY)


def test_a_file_that_changes_on_the_way_ends_the_run(tmp_path: Path):
    """Catches an error lost in the background, and a run that waits for ever."""
    data = saved(tmp_path, rows())
    content = (tmp_path / "x.npy").read_bytes()

    def cut_short(progress: fl.training.Progress) -> None:
        (tmp_path / "x.npy").write_bytes(content[:2000])

    with pytest.raises(ValueError, match=r"x\.npy: has become shorter since it was opened"):
        fl.fit(tiny(), data, key=KEY, batch_size=64, progress=False, callbacks=[cut_short])
