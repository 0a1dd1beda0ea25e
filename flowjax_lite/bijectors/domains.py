"""The map from real numbers to the domain of each column of a table."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from flowjax_lite.bijectors.elementwise import AbstractElementwise
from flowjax_lite.core.checks import suggest
from flowjax_lite.numerics.scalar import sigmoid_log_derivative, softplus_inverse, wrap_angle

_WORDS = ("real", "positive", "interval", "circular", "integer")
_EXPECTED = "'real', 'positive', 'interval(a, b)', 'circular', 'integer' or 'integer(a, b)'"
_FAR = 1e9  # its square is finite in float32, and dwarfs one in float64


class Domain(NamedTuple):
    """What a column may hold.

    Attributes:
        word: "real", "positive", "interval", "circular" or "integer".
        low: lower end, not part of it; -inf where there is none.
        high: upper end, not part of it; inf where there is none.
        centre: of a circle, the angle that is projected to 0.
    """

    word: str
    low: float = -math.inf
    high: float = math.inf
    centre: float = 0.0

    @property
    def map(self) -> str:
        """Which map it has: the domain's word, or for whole numbers what their ends ask for."""
        if self.word != "integer" or self.low == -math.inf:
            return self.word
        return "counts" if self.high == math.inf else "interval"


def read_domains(columns: Sequence[str]) -> list[Domain]:
    """Understand the words for the domains of columns.

    Args:
        columns: for each column "real", "positive", "interval(a, b)", "circular",
            "circular(centre)", "integer" or "integer(a, b)".

    Returns:
        A domain for each column.

    Raises:
        TypeError: columns is one text, or an entry is none.
        ValueError: columns is empty, a word is unknown, or an interval is empty.
    """
    if isinstance(columns, str):
        raise TypeError(f"columns is {columns!r}; expected a sequence, such as ({columns!r},)")
    if not columns:
        raise ValueError(f"columns is empty; expected for each column {_EXPECTED}")
    return [_read_domain(column, f"columns[{i}]") for i, column in enumerate(columns)]


def _read_domain(text: str, name: str) -> Domain:
    if not isinstance(text, str):
        raise TypeError(f"{name} is {text!r}; expected {_EXPECTED}")
    word = text.partition("(")[0].strip()
    if word not in _WORDS:
        raise ValueError(f"{name} is {text!r}; expected {_EXPECTED}.{suggest(word, _WORDS)}")
    if word == "circular":
        return _read_circle(text, name)
    if word == "interval" or (word == "integer" and text != word):
        return _read_ends(text, name)
    if text != word:
        raise ValueError(f"{name} is {text!r}; expected {word!r} alone")
    return Domain(word, 0.0) if word == "positive" else Domain(word)


def _read_ends(text: str, name: str) -> Domain:
    ends = re.fullmatch(r"(interval|integer)\(([^,]+),([^,]+)\)", text)
    try:
        low, high = map(float, ends.groups()[1:] if ends else ())
    except ValueError:
        example = "integer(1, inf)" if text.startswith("integer") else "interval(0, 1)"
        raise ValueError(f"{name} is {text!r}; expected two numbers: {example!r}") from None
    if text.startswith("interval"):
        if not -math.inf < low < high < math.inf:
            raise ValueError(f"{name} is {text!r}; expected finite ends, the lower one first")
        return Domain("interval", low, high)
    if not (low.is_integer() and low < high and (high.is_integer() or high == math.inf)):
        raise ValueError(
            f"{name} is {text!r}; expected the lowest and the highest whole number, which may be "
            "inf: 'integer(1, inf)'"
        )
    return Domain("integer", low, high + 1)  # with noise, the highest number ends before the next


def _read_circle(text: str, name: str) -> Domain:
    centre = re.fullmatch(r"circular(?:\(([^,]+)\))?", text)
    try:
        angle = float(centre[1] or 0.0) if centre else math.nan
    except ValueError:
        angle = math.nan
    if not -math.pi <= angle <= math.pi:
        raise ValueError(
            f"{name} is {text!r}; expected 'circular', or with the angle at the centre of the "
            "projection, from -pi to pi: 'circular(1.5)'"
        )
    return Domain("circular", centre=angle)


class Domains(AbstractElementwise):
    """Real numbers to the domain of each column: real, positive, an interval, a circle.

    - `"real"`: the identity.
    - `"positive"`: the exponential, so that quantities that spread over many powers of ten get
      an ordinary shape, and another unit of measurement is only another shift.
    - `"interval(a, b)"`: the logistic function, scaled to (a, b).
    - `"circular"`: the angle 2 · arctan(x) in (-π, π), a stereographic projection of the circle
      (Gemici, Rezende and Mohamed, 2016, arXiv:1611.02304). Other angles are brought there by
      whole turns first. No finite x reaches π, and next to it densities are almost zero:
      `"circular(c)"` projects from the point opposite to the angle c instead, which belongs where
      no data lie. Its angles are in [-π, π), too. `data.domain_map` chooses c from data.
    - `"integer"`: the identity, for whole numbers with noise in [0, 1) added; see
      `data.dequantize_integers`. `"integer(a, b)"`, from a to b, both included, has the map of an
      interval. `"integer(a, inf)"`, for counts, has a softplus moved to a, which is straight but
      for the first few.
    """

    def __init__(self, columns: Sequence[str]) -> None:
        """Choose a map for each column.

        Args:
            columns: the words above, one for each column.

        Raises:
            TypeError: columns is one text, or an entry is none.
            ValueError: columns is empty, a word is unknown, or an interval is empty.
        """
        super().__init__(len(read_domains(columns)))
        self.columns = tuple(columns)

    @property
    def image(self) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[override]
        _, low, high, _ = zip(*read_domains(self.columns), strict=True)
        return np.array(low), np.array(high)

    def _forward(self, x: Array) -> tuple[Array, Array]:
        maps = {
            "positive": _exp,
            "interval": _to_interval,
            "circular": _to_angle,
            "counts": _to_counts,
        }
        y, log_derivative = self._apply(x, maps)
        return self._turned(y, 1.0), log_derivative

    def _inverse(self, y: Array) -> tuple[Array, Array]:
        maps = {
            "positive": _log,
            "interval": _from_interval,
            "circular": _from_angle,
            "counts": _from_counts,
        }
        return self._apply(self._turned(y, -1.0), maps)

    def _turned(self, y: Array, sign: float) -> Array:
        """Turn circles around another centre than 0; others keep all digits next to π."""
        centres = np.array([domain.centre for domain in read_domains(self.columns)], y.dtype)
        at = np.flatnonzero(centres)
        return y.at[at].set(wrap_angle(wrap_angle(y[at]) + sign * centres[at]))

    def _apply(self, value: Array, maps: Mapping[str, "_Map"]) -> tuple[Array, Array]:
        domains = read_domains(self.columns)
        _, low, high, _ = zip(*domains, strict=True)
        result, log_derivative = value, jnp.zeros_like(value)
        for word, function in maps.items():
            at = np.flatnonzero([domain.map == word for domain in domains])
            ends = (np.asarray(end, value.dtype)[at] for end in (low, high))
            part, log_part = function(value[at], *ends)
            result = result.at[at].set(part)
            log_derivative = log_derivative.at[at].set(log_part)
        return result, log_derivative


# From values and the ends of their domains to images and log-derivatives.
_Map = Callable[[Array, np.ndarray, np.ndarray], tuple[Array, Array]]


def _exp(x: Array, low: np.ndarray, high: np.ndarray) -> tuple[Array, Array]:
    return jnp.exp(x), x


def _log(y: Array, low: np.ndarray, high: np.ndarray) -> tuple[Array, Array]:
    return jnp.log(y), -jnp.log(y)


def _to_counts(x: Array, low: np.ndarray, high: np.ndarray) -> tuple[Array, Array]:
    return jax.nn.softplus(x) + low, -jax.nn.softplus(-x)


def _from_counts(y: Array, low: np.ndarray, high: np.ndarray) -> tuple[Array, Array]:
    x = softplus_inverse(y - low)
    return x, jax.nn.softplus(-x)


def _to_interval(x: Array, low: np.ndarray, high: np.ndarray) -> tuple[Array, Array]:
    # From the nearer end, so that none is coarser than the other.
    left, right = ((high - low) * jax.nn.sigmoid(sign * x) for sign in (1, -1))
    y = jnp.where(x < 0, low + left, high - right)
    return y, np.log(high - low) + sigmoid_log_derivative(x)


def _from_interval(y: Array, low: np.ndarray, high: np.ndarray) -> tuple[Array, Array]:
    log_left, log_right = jnp.log(y - low), jnp.log(high - y)
    return log_left - log_right, np.log(high - low) - log_left - log_right


def _to_angle(x: Array, low: np.ndarray, high: np.ndarray) -> tuple[Array, Array]:
    return 2 * jnp.arctan(x), math.log(2) - _log1p_square(x)


def _from_angle(y: Array, low: np.ndarray, high: np.ndarray) -> tuple[Array, Array]:
    x = jnp.tan(0.5 * wrap_angle(y))
    return x, _log1p_square(x) - math.log(2)


def _log1p_square(x: Array) -> Array:
    """log(1 + x²), also where the square overflows."""
    far = jnp.abs(x) > _FAR
    near = jnp.log1p(jnp.where(far, 0.0, x) ** 2)
    return jnp.where(far, 2 * jnp.log(jnp.where(far, jnp.abs(x), 1.0)), near)
