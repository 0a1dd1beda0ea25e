"""Pictures: that they draw what they say, in the place and with the sign that they say."""

import sys
import warnings
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import flowjax_lite as fl
from flowjax_lite import plot
from flowjax_lite.plot.curves import since_compilation
from flowjax_lite.plot.detection import roc
from flowjax_lite.plot.points import _grid

RNG = np.random.default_rng(0)
HISTORY = {"train": (3.0, 2.0, 1.0), "validation": (3.5, 2.5, 2.6), "seconds": (5.0, 5.5, 6.0)}
TEST = {"flow": (2.0, 0.1), "far": (-900.0, 0.1), "Gaussian": (1.0, 0.1)}
CURVES = {"flow": ((1.0, 2.0), (0.5, 2.0)), "far": ((1.0, 2.0), (-900.0, -900.0))}


def _result(history: dict = HISTORY, best_epoch: int = 1) -> fl.FitResult:
    return fl.FitResult(_plane(), history, best_epoch)


def _plane(condition_dim: int | None = None) -> fl.Flow:
    return fl.flows.realnvp(
        dim=2, condition_dim=condition_dim, num_layers=1, hidden=(4,), rngs=nnx.Rngs(0)
    )


def _normal(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


def _ranks(columns: int) -> fl.diagnostics.Ranks:
    return fl.diagnostics.Ranks(RNG.integers(0, 20, (300, columns)), 19)


FIGURES = {
    "grey images": lambda: plot.images(
        {"real": RNG.uniform(size=(5, 2, 3)), "samples": _normal(5, 2, 3)}, title="t"
    ),
    "colour images": lambda: plot.images({"samples": RNG.uniform(size=(5, 2, 3, 3))}, title="t"),
    "one column": lambda: plot.pairs(_normal(9, 1), _normal(9, 1), columns=["a"], title="t"),
    "eight columns": lambda: plot.pairs(_normal(9, 8), _normal(7, 8), title="t"),
    "a constant column": lambda: plot.pairs(np.ones((9, 2)), _normal(9, 2), title="t"),
    "training": lambda: plot.training(_result(), title="t"),
    "one epoch": lambda: plot.training(
        _result({key: values[:1] for key, values in HISTORY.items()}, best_epoch=0), title="t"
    ),
    "no good epoch": lambda: plot.training(_result(best_epoch=-1), loss="matching", title="t"),
    "density": lambda: plot.density(_plane(), _normal(9, 2), columns=("a", "b"), title="t"),
    "conditional density": lambda: plot.density(
        _plane(1), _normal(9, 2), condition=np.zeros(1), title="t"
    ),
    "anomalies": lambda: plot.anomalies(
        {"flow": _normal(9), "other": np.ones(9)}, np.arange(9) > 5, title="t"
    ),
    "infinite scores": lambda: plot.anomalies({"flow": np.full(2, np.inf)}, [0, 1], title="t"),
    "comparison": lambda: plot.comparison(TEST, curves=CURVES, levels={"Gaussian": 1}, title="t"),
    "ranks": lambda: plot.ranks(_ranks(7), title="t"),
    "ranks with names": lambda: plot.ranks(_ranks(1), columns=["a"], title="t"),
    "coverage": lambda: plot.coverage(_ranks(1), title="t"),
    "coverages": lambda: plot.coverage({"wide": _ranks(1), "narrow": _ranks(1)}, title="t"),
    "comparison without curves": lambda: plot.comparison({"Gaussian": (1.0, 0.1)}, title="t"),
}


@pytest.mark.parametrize("name", FIGURES)
def test_figures_are_drawn_without_pyplot(tmp_path: Path, name: str) -> None:
    """Would catch a figure that fails on few rows or columns, or that warns about its layout."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = FIGURES[name]()
        figure.savefig(tmp_path / "figure.png")
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")
    assert figure.get_suptitle().startswith("t")
    labels = [axes.get_xlabel() for axes in figure.axes]
    assert any(labels) is ("images" not in name)


def test_images_keep_their_place() -> None:
    """Would catch images that are transposed or laid out over each other, or empty rows."""
    images = np.arange(12.0).reshape(2, 2, 3) / 12
    canvas = _grid(images, "images")
    assert canvas.shape == (4, 9)
    np.testing.assert_array_equal(canvas[1:3, 1:4], images[0])
    np.testing.assert_array_equal(canvas[1:3, 5:8], images[1])
    colours = RNG.uniform(size=(1, 2, 3, 3))
    np.testing.assert_array_equal(_grid(colours, "images")[1:3, 1:4], colours[0])


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: plot.images({"a": np.ones((3, 4))}), "'a' has shape"),
        (lambda: plot.images({"a": np.ones((3, 4, 5, 2))}), "1 or 3 channels"),
        (lambda: plot.images({"a": np.ones((0, 4, 5))}), "'a' has shape"),
        (lambda: plot.pairs(np.ones((3, 4, 4)), np.ones((3, 4, 4))), "draw .* with plot.images"),
        (lambda: plot.pairs(np.ones((3, 4)), np.ones((3, 2))), "samples .3, 2.; expected"),
        (lambda: plot.density(_plane(), np.ones((3, 3))), r"x has shape \(3, 3\)"),
        (lambda: plot.comparison(TEST, levels={"KDE": 1.0}), "KDE: in curves or levels"),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_words(draw, message: str) -> None:
    """Would catch an error out of matplotlib that names no argument, or a wrong picture."""
    with pytest.raises(ValueError, match=message):
        draw()


def test_training_draws_likelihoods_not_losses() -> None:
    """Would catch a picture with the sign of the loss, or with the wrong epoch marked."""
    axes = plot.training(_result()).axes[0]
    train, validation, best = axes.get_lines()
    assert train.get_ydata().tolist() == [-3.0, -2.0, -1.0]
    assert validation.get_xdata().tolist() == [1, 2, 3]
    assert (best.get_xdata().item(), best.get_ydata().item()) == (2, -2.5)


def test_seconds_start_after_compilation() -> None:
    """Would catch curves that begin far right of zero, where only compilation was slow."""
    moved, compilation = since_compilation(np.array([5.0, 5.5, 6.0]))
    assert (moved.tolist(), compilation) == ([0.5, 1.0, 1.5], 4.5)
    assert since_compilation(np.array([5.0]))[0].tolist() == [5.0]
    assert since_compilation(np.array([0.1, 1.0]))[0].tolist() == [0.1, 1.0]
    axes = plot.training(_result()).axes[1]
    assert axes.get_lines()[0].get_xdata().tolist() == [0.5, 1.0, 1.5]
    assert "4.5 s" in axes.get_xlabel() and axes.get_xlim()[0] == 0
    lines = plot.comparison(TEST, curves=CURVES).axes[0].get_lines()
    assert lines[0].get_xdata().tolist() == [1.0, 2.0]


def test_density_is_not_its_logarithm() -> None:
    """Would catch log-densities drawn under the label of a density, or axes that are swapped."""
    bijector = fl.bijectors.Standardize(2, loc=np.array([1.0, 0.0]), scale=np.array([1.0, 0.3]))
    flow = fl.Flow(fl.distributions.StandardNormal(2), bijector)
    figure = plot.density(flow, np.array([[0.0, -1.0], [2.0, 1.0]]))
    picture = figure.axes[1].get_images()[0]
    assert picture.origin == "lower"
    left, right, bottom, top = picture.get_extent()
    x = np.linspace(left, right, 200)[150]
    y = np.linspace(bottom, top, 200)[30]
    expected = np.exp(flow.log_prob(jnp.array([x, y])))
    assert picture.get_array()[30, 150] == pytest.approx(float(expected), rel=1e-4)


def test_missing_matplotlib_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Would catch a bare ImportError that does not say what to install."""
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r'pip install "flowjax-lite\[plot\]"'):
        plot.pairs(np.ones((3, 2)), np.ones((3, 2)))


def test_areas_under_the_curve_are_those_of_scikit_learn() -> None:
    """Would catch equal scores that are reported one by one, and axes that change places."""
    from sklearn.metrics import roc_auc_score

    scores, truth = RNG.integers(0, 5, size=40).astype(float), RNG.uniform(size=40) < 0.3
    false, true = roc(scores, truth)
    assert (false[0], true[0], false[-1], true[-1]) == (0, 0, 1, 1)
    np.testing.assert_allclose(np.trapezoid(true, false), roc_auc_score(truth, scores))
    (_, curves) = plot.anomalies({"flow": scores}, truth).axes
    assert f"{roc_auc_score(truth, scores):.3f}" in curves.get_legend().get_texts()[0].get_text()


def test_scores_that_cannot_be_ranked_are_refused() -> None:
    """Would catch an area of NaN, or of scores of other rows."""
    with pytest.raises(ValueError, match="1 NaN"):
        plot.anomalies({"flow": [np.nan, 1.0]}, [0, 1])
    with pytest.raises(ValueError, match=r"have shape \(3,\)"):
        plot.anomalies({"flow": np.ones(3)}, [0, 1])
    with pytest.raises(ValueError, match="0 anomalies"):
        plot.anomalies({"flow": np.ones(2)}, [0, 0])
    with pytest.raises(ValueError, match="scores is empty"):
        plot.anomalies({}, [0, 1])


def test_risk_coverage_draws_every_curve() -> None:
    """Catches a curve that is left out, or axes that are exchanged."""
    curve = fl.inference.risk_coverage([0.9, 0.8, 0.3, 0.6], [True, False, False, True])
    (axes,) = plot.risk_coverage({"one": curve, "two": curve}).axes
    assert len(axes.lines) == 2
    np.testing.assert_allclose(axes.lines[0].get_xydata(), np.stack([*curve[:2]], axis=1))
