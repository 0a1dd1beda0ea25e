"""No flow: the matrix products of the network alone."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from ode.case import BATCH, Case, Peer, weights
from ode.with_flowjax_lite import FlowjaxLite


class Products(Peer):
    """As many evaluations as flowjax_lite takes, one after the other, and nothing twice."""

    def __init__(self, case: Case) -> None:
        self.count = round(FlowjaxLite(case).evaluations())
        self.kernels = [jnp.asarray(kernel) for kernel, _ in weights(case)]
        in_dim = len(self.kernels[0])
        self.features = in_dim - case.dim
        # A row and one probe for a step; a row and all directions for an exact trace.
        self.one, self.all = (jnp.ones((BATCH * (1 + n), in_dim)) for n in (1, case.dim))
        self._log_prob = jax.jit(lambda kernels, rows: self.forward(kernels, rows)[0])
        self._step = jax.jit(self.both)

    def log_prob(self) -> np.ndarray:
        return np.full(BATCH, np.nan)

    def evaluations(self) -> float:
        return self.count

    def calls(self) -> dict[str, Callable[[], object]]:
        return {
            "log_prob": lambda: self._log_prob(self.kernels, self.all),
            "step": lambda: self._step(self.kernels, self.one),
        }

    def forward(self, kernels: list[Array], rows: Array) -> tuple[Array, list[Array]]:
        """All evaluations: the last result, and what entered each layer of each."""

        def evaluate(rows: Array, _: None) -> tuple[Array, list[Array]]:
            inputs, out = [], rows
            for kernel in kernels:
                inputs.append(out)
                out = jnp.matmul(out, kernel, precision="highest")
            return jnp.concatenate([rows[:, : self.features], out], axis=1), inputs

        return lax.scan(evaluate, rows, None, length=self.count)

    def both(self, kernels: list[Array], rows: Array) -> tuple[Array, list[Array]]:
        """All evaluations and, back through them, gradients of rows and weights."""
        last, inputs = self.forward(kernels, rows)

        def back(carry: tuple, inputs: list[Array]) -> tuple[tuple, None]:
            slope, sums = carry
            added = []
            for kernel, given, total in zip(kernels[::-1], inputs[::-1], sums, strict=True):
                added.append(total + jnp.matmul(given.T, slope, precision="highest"))
                slope = jnp.matmul(slope, kernel.T, precision="highest")
            return (slope[:, self.features :], added), None

        start = last[:, self.features :], [jnp.zeros_like(kernel) for kernel in kernels[::-1]]
        return lax.scan(back, start, inputs, reverse=True)[0]

    @staticmethod
    def wait(result: object) -> None:
        jax.block_until_ready(result)
