"""Likelihoods during training."""

from typing import TYPE_CHECKING

import numpy as np

from flowjax_lite.plot.style import BLUE, GREY, RED, focus, new_figure, since_compilation
from flowjax_lite.training import FitResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def training(result: FitResult, *, loss: str | None = None, title: str | None = None) -> "Figure":
    """Draw training and validation log-likelihood against epochs and against seconds.

    Args:
        result: What `fit` returned.
        loss: The name of the loss, if it is no negative log-likelihood; its negative is drawn.
        title: The title.

    Returns:
        The figure. Its seconds start after compilation, whose time the axis tells.
    """
    history, best = result.history, result.best_epoch
    figure = new_figure((10, 4.2), title)
    by_epoch, by_second = figure.subplots(1, 2, sharey=True, gridspec_kw={"wspace": 0.06})
    epochs = np.arange(1, len(history["train"]) + 1)
    seconds, compilation = since_compilation(np.asarray(history["seconds"]))
    curves = {name: -np.asarray(history[name]) for name in ("train", "validation")}
    for axes, at in ((by_epoch, epochs), (by_second, seconds)):
        axes.spines[["top", "right"]].set_visible(False)
        for (name, values), colour in zip(curves.items(), (GREY, BLUE), strict=True):
            axes.plot(at, values, color=colour, label=name, marker="." if len(at) < 30 else None)
        if best >= 0:
            label = f"best epoch, {epochs[best]}"
            axes.plot(at[best], curves["validation"][best], "o", color=RED, label=label)
        axes.grid(alpha=0.3)
    focus(by_epoch, np.concatenate(list(curves.values())))
    drawn = "mean log-likelihood (nats)" if loss is None else f"negative loss ({loss})"
    by_epoch.set(xlabel="epoch", ylabel=drawn)
    by_epoch.xaxis.get_major_locator().set_params(integer=True)
    before = f", {compilation:.1f} s" if compilation else ""
    by_second.set(xlabel=f"seconds of training, after compilation{before}", xlim=(0, None))
    figure.legend(
        *by_epoch.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False
    )
    return figure
