"""What a run shows on its way, and what remains of one that is stopped by hand."""

import os
import signal
from collections.abc import Iterator

import jax
import numpy as np
import pytest
from flax import nnx

import flowjax_lite as fl
from flowjax_lite.training import Progress

COMMON = {"key": 0, "batch_size": 64, "max_epochs": 6, "learning_rate": 1e-2}


def rows() -> np.ndarray:
    """Correlated, shifted rows."""
    z = np.random.default_rng(0).standard_normal((200, 2))
    return (z @ [[1.0, 0.9], [0.0, 0.4]] + 1.0).astype(np.float32)


def tiny(seed: int = 0) -> fl.Flow:
    """A flow that trains in no time."""
    return fl.flows.realnvp(dim=2, num_layers=2, hidden=(8,), rngs=nnx.Rngs(seed))


@pytest.fixture
def heard() -> Iterator[None]:
    """Ctrl-C arrives, also where the tests run in the background of a shell, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def interrupt_after(epochs: int):
    """A callback that does what Ctrl-C does."""

    def callback(progress: Progress) -> None:
        if progress.epoch == epochs - 1:
            os.kill(os.getpid(), signal.SIGINT)

    return callback


def test_an_interrupt_returns_the_best_model(heard: None):
    """Catches an hour of training that is lost by Ctrl-C, or a model whose buffers are gone."""
    with pytest.warns(RuntimeWarning, match="interrupted after 3 epochs; .* of epoch 2"):
        result = fl.fit(tiny(), rows(), callbacks=[interrupt_after(3)], progress=False, **COMMON)
    assert result.interrupted
    assert len(result.history["train"]) == 3
    x = rows()
    held_out = np.random.default_rng(
        np.asarray(jax.random.key_data(jax.random.key(0)))
    ).permutation(200)[:20]
    expected = result.history["validation"][result.best_epoch]
    assert -float(result.flow.log_prob(x[held_out]).mean()) == pytest.approx(expected, rel=1e-5)
    whole = fl.fit(tiny(), rows(), progress=False, **COMMON)
    assert not whole.interrupted
    assert whole.history["validation"][:3] == result.history["validation"]


def test_an_interrupt_before_there_is_a_model_is_one():
    """Catches an untrained model that is returned as the best."""

    def loss(flow, x, condition=None, weights=None, key=None):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fl.fit(tiny(), rows(), loss=loss, progress=False, **COMMON)


def test_an_interrupted_ensemble_returns_the_best_of_each(monkeypatch: pytest.MonkeyPatch):
    """Catches members that are lost, or that are not those of their best epochs."""
    flows = [tiny(0), tiny(1)]
    whole = fl.fit_ensemble(flows, rows(), progress=False, **COMMON)
    show = fl.training.bar.Bar.show

    def interrupted(bar, epoch, values):
        show(bar, epoch, values)
        if epoch == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr("flowjax_lite.training.bar.Bar.show", interrupted)
    with pytest.warns(RuntimeWarning, match="interrupted after 3 epochs"):
        result = fl.fit_ensemble(flows, rows(), progress=False, **COMMON)
    assert len(result.mixture) == 2
    for one, other in zip(result.members, whole.members, strict=True):
        assert one.interrupted
        assert one.history["validation"] == other.history["validation"][:3]


def test_callbacks_may_keep_their_models():
    """Catches models whose buffers the next step takes away."""
    kept = list[Progress]()
    result = fl.fit(tiny(), rows(), callbacks=[kept.append], progress=False, **COMMON)
    values = [float(progress.flow.log_prob(rows()).mean()) for progress in kept]
    assert len(set(values)) == 6
    best = [float(progress.best.log_prob(rows()).mean()) for progress in kept]
    assert best[-1] == float(result.flow.log_prob(rows()).mean())


def test_a_log_has_lines(capsys: pytest.CaptureFixture[str]):
    """Catches a bar drawn again and again into a file, and a log that grows with every epoch."""
    fl.fit(tiny(), rows(), **COMMON)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("epoch 1 of 6: train ")
    assert lines[1].startswith("epoch 6 of 6: train ")
    fl.fit(tiny(), rows(), progress=False, **COMMON)
    assert not capsys.readouterr().err


def test_a_terminal_has_a_bar(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    """Catches a time left that is told from compilation."""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    fl.fit(tiny(), rows(), **COMMON)
    states = [state for state in capsys.readouterr().err.split("\r") if state.strip()]
    assert states[0] == "compiling ..."
    assert not any("compiling" in state for state in states[1:])
    assert "6/6" in states[-1]
    assert "validation=" in states[-1]


def test_a_result_is_a_few_lines():
    """Catches a repr of thousands of numbers."""
    result = fl.fit(tiny(), rows(), progress=False, **COMMON)
    text = repr(result)
    assert len(text.splitlines()) <= 5
    assert f"best epoch  {result.best_epoch}, with train " in text
    assert f"{result.history['validation'][result.best_epoch]:.4f}" in text
    assert f"{result.best_epoch}, with train" in result._repr_html_()
