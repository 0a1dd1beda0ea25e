"""What all densities to learn on have in common."""

from abc import ABC, abstractmethod
from typing import Any

from jax import Array

from flowjax_lite.core.checks import as_key, check_event, check_positive_int


class AbstractTarget(ABC):
    """A density without its normalising constant; called like a function, it is a log target.

    `target(x)` is the log-density of one event (dim,), a scalar in nats; map batches by
    `jax.vmap`. Equal targets are equal, so that losses on them compile once.
    """

    @property
    @abstractmethod
    def dim(self) -> int:
        """Length of an event."""

    @property
    def log_normalizer(self) -> float | None:
        """log ∫ exp(target(x)) dx; None where it is not known."""
        return None

    def __call__(self, x: Array) -> Array:
        """The log-density of one event.

        Args:
            x: (dim,).

        Raises:
            ValueError: x has another shape.
        """
        return self._log_density(check_event(x, (self.dim,), "x"))

    def sample(self, key: Array | int, num: int) -> Array:
        """Exact independent samples.

        Args:
            key: a random key, or a seed.
            num: number of samples.

        Returns:
            (num, dim).

        Raises:
            NotImplementedError: there is no way to draw exact samples.
        """
        return self._sample(as_key(key), check_positive_int(num, "num"))

    @abstractmethod
    def _log_density(self, x: Array) -> Array:
        """The log-density of one event of the right shape."""

    def _sample(self, key: Array, num: int) -> Array:
        raise NotImplementedError(
            f"{type(self).__name__} has no exact samples: draw approximate ones by a flow that has "
            f"learned it, with inference.importance_sample, or by a sampler"
        )


def set_fields(instance: Any, **values: Any) -> None:
    """Set fields of a frozen dataclass while it is built."""
    for name, value in values.items():
        object.__setattr__(instance, name, value)
