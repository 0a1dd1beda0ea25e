"""What training comes to: likelihoods on the way, and at the end beside those of others."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from flowjax_lite.plot.style import BLUE, GREY, PALETTE, RED, new_figure
from flowjax_lite.training import FitResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Of the densities without a curve, all of which are grey.
_DASHES = (":", "--", "-.", (0, (5, 1, 1, 1, 1, 1)))


def training(
    result: FitResult[Any], *, loss: str | None = None, title: str | None = None
) -> "Figure":
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
    _focus(by_epoch, np.concatenate(list(curves.values())))
    drawn = "mean log-likelihood (nats)" if loss is None else f"negative loss ({loss})"
    by_epoch.set(xlabel="epoch", ylabel=drawn)
    by_epoch.xaxis.get_major_locator().set_params(integer=True)
    before = f", {compilation:.1f} s" if compilation else ""
    by_second.set(xlabel=f"seconds of training, after compilation{before}", xlim=(0, None))
    figure.legend(
        *by_epoch.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False
    )
    return figure


def comparison(
    test: Mapping[str, tuple[float, float]],
    *,
    curves: Mapping[str, Sequence[Sequence[float]]] | None = None,
    levels: Mapping[str, float] | None = None,
    title: str | None = None,
) -> "Figure":
    """Draw validation likelihood against seconds, and test likelihoods with their errors.

    Args:
        test: For each density, its name, and the mean and standard error of its log-likelihood of
            the test rows.
        curves: For those that were trained, a pair: the seconds since the start of training after
            each epoch, and the validation log-likelihood then. They are drawn from the end of
            compilation on.
        levels: For the others, their validation log-likelihood, drawn as a line.
        title: The title.

    Returns:
        The figure.

    Raises:
        ValueError: curves or levels name a density that test does not.
    """
    curves, levels = curves or {}, levels or {}
    if unknown := [name for name in (*curves, *levels) if name not in test]:
        raise ValueError(f"{', '.join(unknown)}: in curves or levels, but not in test")
    figure = new_figure((12, 0.35 * len(test) + 3.8), title)
    lines, dots = figure.subplots(1, 2, width_ratios=(1.2, 1))
    trained = [name for name in test if name in curves]
    colours = {name: PALETTE[i % len(PALETTE)] for i, name in enumerate(trained)}
    for name in trained:
        seconds, values = (np.asarray(each) for each in curves[name])
        lines.plot(since_compilation(seconds)[0], values, color=colours[name], label=name)
    for i, (name, value) in enumerate(levels.items()):
        dashes = _DASHES[i % len(_DASHES)]
        lines.axhline(value, color=GREY, linestyle=dashes, linewidth=1.3, label=name)
    drawn = [np.asarray(values) for _, values in curves.values()] + [np.array([*levels.values()])]
    _focus(lines, np.concatenate(drawn))
    lines.set(
        xlabel="seconds of training, after compilation",
        ylabel="validation log-likelihood (nats)",
        xlim=(0, None),
    )
    lines.grid(alpha=0.3)
    if lines.get_legend_handles_labels()[0]:
        lines.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, frameon=False)
    places = np.arange(len(test))[::-1]
    edge = _edge(np.array([mean for mean, _ in test.values()]))
    for at, (name, (mean, error)) in zip(places, test.items(), strict=True):
        colour = colours.get(name, GREY)
        if mean < edge:  # an arrow: the others would be one point beside it
            dots.plot(edge, at, "<", color=colour)
        else:
            dots.errorbar(mean, at, xerr=error, fmt="o", color=colour, capsize=3)
        dots.annotate(
            f"{mean:.2f}",
            (max(mean, edge), at),
            xytext=(0, 7),
            textcoords="offset points",
            ha="center",
            color=colour,
        )
    dots.set_yticks(places, list(test))
    dots.set(xlabel="test log-likelihood (nats) ± standard error", ylim=(-0.6, len(test) - 0.3))
    dots.margins(x=0.12)  # room for the numbers
    dots.grid(axis="x", alpha=0.3)
    return figure


def _edge(values: np.ndarray) -> float:
    """Return where to cut off values that lie far below the better three quarters."""
    low, high = np.quantile(values, 0.25), np.max(values)
    return float(low - 5 * (high - low))


def _focus(axes: "Axes", values: np.ndarray) -> None:
    """Cut off the first steep epochs, which would flatten the rest of the curves."""
    if not values.size:
        return
    low, high = np.quantile(values, 0.05), np.max(values)
    if np.isfinite([low, high]).all() and high > low:
        axes.set_ylim(low - 0.3 * (high - low), high + 0.1 * (high - low))


def since_compilation(seconds: np.ndarray) -> tuple[np.ndarray, float]:
    """Move seconds so that the first epoch took as long as the others do.

    Args:
        seconds: (epochs,), since the start of training.

    Returns:
        The moved seconds, and how long the first epoch took beyond that, most of it compilation.
    """
    if len(seconds) < 2:
        return seconds, 0.0
    compilation = max(0.0, float(seconds[0] - np.median(np.diff(seconds))))
    return seconds - compilation, compilation
