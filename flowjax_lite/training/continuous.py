"""Losses of continuous flows: likelihood with penalties on the way, and flow matching."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from flowjax_lite.bijectors import AbstractBijector, Invert, unrolled
from flowjax_lite.bijectors.batch import holds
from flowjax_lite.bijectors.compose import condition_of
from flowjax_lite.continuous import ContinuousFlow, transport
from flowjax_lite.distributions import Flow
from flowjax_lite.numerics.shapes import check_choice
from flowjax_lite.training.losses import negative_log_likelihood, weighted_mean
from flowjax_lite.training.step import Loss

COUPLINGS = ("independent", "optimal_transport")
