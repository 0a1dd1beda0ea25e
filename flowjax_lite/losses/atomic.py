"""The loss of sequential posterior estimation: which of several parameters made the data."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import Array

from flowjax_lite.core.checks import check_positive_int
from flowjax_lite.distributions import AbstractBase, Density
from flowjax_lite.distributions.density import as_density
from flowjax_lite.distributions.flow import Flow
from flowjax_lite.distributions.statistics import replace_weightless
from flowjax_lite.losses.likelihood import Loss, weighted_mean


def atomic_loss(prior: Density | AbstractBase, *, num_atoms: int = 10) -> Loss:
    """Posterior estimation from parameters of any proposal, by a choice among atoms.

        -log [r(θ_i, x_i) / Σ_j r(θ_j, x_i)],  r = q(θ | x) / p(θ)

    The atoms are the row's own theta and those of other rows of the batch. The proposal cancels,
    so theta may be drawn anew in each round, such as from the last round's posterior. On rows
    held out the atoms are the next rows, without noise.

    The loss is blind to a factor of q that does not depend on theta where the proposals are: q
    is right in the region where there are simulations and unknown elsewhere, where it may leak.
    A `data_map` keeps it within a box; `inference.truncated_prior` avoids the question, and is the
    better first choice.

    APT, or SNPE-C: Greenberg, Nonnenmacher and Macke, 2019, arXiv:1905.07488, equation 6.

    Args:
        prior: of theta, in the units of theta, as the density of the flow is.
        num_atoms: number of terms of the sum, at least 2; fewer where a batch has fewer rows.

    Returns:
        A loss for `fit(flow, theta, condition=x, loss=...)`. Losses of the same prior object are
        equal, so nothing compiles twice.

    Raises:
        TypeError: the prior is none, or num_atoms is not a whole number.
        ValueError: the prior takes a condition, or there are fewer than 2 atoms.

    Example:
        >>> import flowjax_lite as fl
        >>> loss = fl.losses.atomic_loss(fl.distributions.Uniform(2), num_atoms=10)
    """
    as_density(prior)
    return _Atomic(prior, check_positive_int(num_atoms, "num_atoms", minimum=2))


@dataclass(frozen=True)
class _Atomic:
    prior: Density | AbstractBase
    num_atoms: int

    def __call__(
        self,
        flow: Flow,
        x: Array,
        condition: Array | None = None,
        weights: Array | None = None,
        key: Array | None = None,
    ) -> Array:
        if condition is None:
            raise TypeError("condition is missing; the atomic loss is of theta given x")
        if weights is not None:
            x, condition = replace_weightless(weights, x, condition)
        rows, num = len(x), min(self.num_atoms, len(x))
        if num < 2:
            raise ValueError("the batch has one row; expected two at least: raise batch_size")
        others = jnp.arange(1, rows)
        if key is not None:
            others = jax.random.permutation(key, others)
        # Row i has the atoms i, i + others[0], i + others[1], ...
        offsets = jnp.concatenate([jnp.zeros(1, others.dtype), others[: num - 1]])
        index = (jnp.arange(rows)[None] + offsets[:, None]) % rows
        log_prior = as_density(self.prior).log_prob(x)
        log_ratio = flow.log_prob(x[index], condition) - log_prior[index]
        if weights is not None:  # rows that are not there are no atoms
            log_ratio = jnp.where((weights[index] > 0).at[0].set(True), log_ratio, -jnp.inf)
        losses = jax.nn.logsumexp(log_ratio, axis=0) - log_ratio[0]
        return weighted_mean(losses, weights)
