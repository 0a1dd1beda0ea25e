import builtins
from pathlib import Path

import numpy as np
import pytest

from flowjax_lite.cli import plots
from flowjax_lite.cli.errors import CommandError
from flowjax_lite.cli.report import ComparisonRow, Score

RNG = np.random.default_rng(0)
HISTORY = {"train": (3.0, 2.0, 1.0), "validation": (3.5, 2.5, 2.6), "seconds": (5.0, 5.5, 6.0)}


def _rows() -> list[ComparisonRow]:
    scores = [Score(name, "", 10, 1.0, v, v, 0.1) for name, v in (("flow", 2.0), ("Gaussian", 1.0))]
    return [ComparisonRow(scores[0], curve=((1.0, 0.5), (2.0, 2.0))), ComparisonRow(scores[1])]


FIGURES = {
    "images": lambda: plots.image_samples(
        RNG.uniform(size=(5, 6)), RNG.normal(size=(5, 6)), image_shape=(2, 3), title="t"
    ),
    "one column": lambda: plots.pairs(
        RNG.normal(size=(9, 1)), RNG.normal(size=(9, 1)), columns=["a"], title="t"
    ),
    "eight columns": lambda: plots.pairs(
        RNG.normal(size=(9, 8)), RNG.normal(size=(9, 8)), columns=list("abcdefgh"), title="t"
    ),
    "training": lambda: plots.training(HISTORY, best_epoch=1, title="t"),
    "one epoch": lambda: plots.training(
        {key: values[:1] for key, values in HISTORY.items()}, best_epoch=0, title="t"
    ),
    "density": lambda: plots.density(
        RNG.normal(size=(4, 5)),
        RNG.normal(size=(9, 2)),
        extent=(-1, 1, -2, 2),
        columns=("a", "b"),
        title="t",
    ),
    "comparison": lambda: plots.comparison(_rows(), title="t"),
    "comparison without curves": lambda: plots.comparison(_rows()[1:], title="t"),
}


@pytest.mark.parametrize("name", FIGURES)
def test_figures_are_drawn_without_pyplot(tmp_path: Path, name: str) -> None:
    """Would catch a figure that fails on few rows or columns, or that warns about its layout."""
    figure = FIGURES[name]()
    plots.save(figure, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")
    assert figure.get_suptitle().startswith("t")
    labels = [axes.get_xlabel() for axes in figure.axes]
    assert any(labels) is (name != "images")


def test_images_keep_their_place() -> None:
    """Would catch images that are transposed or laid out over each other."""
    images = np.arange(12.0).reshape(2, 6) / 12
    canvas = plots._grid(images, (2, 3))
    np.testing.assert_array_equal(canvas[1:3, 1:4], images[0].reshape(2, 3))
    np.testing.assert_array_equal(canvas[1:3, 5:8], images[1].reshape(2, 3))


def test_training_draws_likelihoods_not_losses() -> None:
    """Would catch a picture with the sign of the loss, or with the wrong epoch marked."""
    axes = plots.training(HISTORY, best_epoch=1, title="t").axes[0]
    train, validation, best = axes.get_lines()
    assert train.get_ydata().tolist() == [-3.0, -2.0, -1.0]
    assert validation.get_xdata().tolist() == [1, 2, 3]
    assert (best.get_xdata().item(), best.get_ydata().item()) == (2, -2.5)


def test_density_is_not_its_logarithm() -> None:
    """Would catch log-densities drawn under the label of a density."""
    log_prob = np.log(np.array([[0.25, 0.5], [1.0, 2.0]]))
    figure = plots.density(
        log_prob, np.zeros((1, 2)), extent=(0, 1, 0, 1), columns=("a", "b"), title="t"
    )
    picture = figure.axes[1].get_images()[0]
    np.testing.assert_allclose(picture.get_array(), [[0.25, 0.5], [1.0, 2.0]])
    assert picture.origin == "lower"


def test_missing_matplotlib_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Would catch a bare ImportError that does not say what to install."""
    real = builtins.__import__

    def without(name: str, *args, **kwargs):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(CommandError, match=r'pip install "flowjax-lite\[cli\]"'):
        plots.require_matplotlib()
