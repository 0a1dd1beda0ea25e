"""Named flows, small."""

from functools import partial
from typing import Any

from battery.registry.bijectors import Flat
from battery.registry.conditioners import SQUARED
from battery.registry.continuous import SHARP
from battery.registry.item import CIRCLE, HIDDEN, REAL, SMOOTH, Domain, Item
from flax import nnx

from flowjax_lite.distributions import Flow, StandardNormal
from flowjax_lite.flows import IMAGES, NAMED, autoregressive, coupling
from flowjax_lite.transformers import CubicSpline, SinhArcsinh

# What keeps a flow small, beside the settings that all flows take.
SMALL: dict[str, dict[str, Any]] = {
    "bnaf": {"hidden": (2,)},
    "flowpp": {"num_components": 2},
    "gaussianization": {"num_components": 3},
    "nsf_coupling": {"num_bins": 2, "bound": 2.0},
    "nsf_autoregressive": {"num_bins": 2, "bound": 2.0},
    "sos": {"num_polynomials": 2, "degree": 2, "half_width": 2.0},
    "bernstein": {"degree": 3, "bound": 2.0},
    "naf": {"num_units": 2, "num_sigmoid_layers": 1},
    "unaf": {"integrand_hidden": (2,), "bound": 2.0, "num_nodes": 8},
    "circular_nsf": {"num_bins": 2},
    "ffjord": SHARP,
    "rnode": SHARP,
    "cnf": SHARP | {"num_frequencies": 1},
}
# Their layers have a network only where there is a condition.
AMORTIZED = ("planar", "radial", "sylvester", "gaussianization")
# Where the entries live, if not among all real numbers with a base of one's choice.
ELSEWHERE: dict[str, Domain] = {"circular_nsf": CIRCLE}
# What the tests that give normal latents, or a base, take; the others have tests of their own.
ON_REALS = tuple(name for name in NAMED if name not in ELSEWHERE)


def network(name: str, **settings: Any) -> dict[str, Any]:
    """Settings of the networks of a flow without a condition; none where it has no network."""
    return {} if name in AMORTIZED else settings


def flow(rngs: nnx.Rngs, name: str, dim: int, condition_dim: int | None = None) -> Flow:
    """A small flow of that architecture."""
    networks = {"hidden": HIDDEN, "activation": SMOOTH}
    if condition_dim is None:
        networks = network(name, **networks)
    settings = {"num_layers": 2} | networks | SMALL.get(name, {})
    return NAMED[name](dim=dim, condition_dim=condition_dim, rngs=rngs, **settings)


_SIZES: dict[str, Any] = {"num_layers": 2, "hidden": HIDDEN, "activation": SMOOTH}
# The factories that take a transformer, in settings that no named flow has.
GENERIC = {"coupling": coupling, "autoregressive": autoregressive}
FLOWS: dict[str, Item] = {
    "coupling(3)": Item(
        lambda rngs: coupling(
            CubicSpline(num_bins=3, bound=2.0), dim=3, order="reverse", **_SIZES, rngs=rngs
        ),
        dtypes=("float64",),
        second_order=False,
    ),
    "autoregressive(3)|condition": Item(
        lambda rngs: autoregressive(
            SinhArcsinh(), dim=3, condition_dim=2, invert=True, linear=True, **_SIZES, rngs=rngs
        ),
        dtypes=("float64",),
        second_order=False,
    ),
}
for _name in NAMED:
    _domain = ELSEWHERE.get(_name, REAL)
    _item = partial(Item, latent=_domain, data=_domain)
    # Second derivatives and runs without `jit` are tried on all layers, and on flows of each kind.
    _typical = _name in ("maf", "nsf_coupling")
    FLOWS |= {
        f"{_name}(4)|condition": _item(
            partial(flow, name=_name, dim=4, condition_dim=2),
            dtypes=("float64",),
            second_order=_typical,
        ),
    }
    # Solvers take long to compile: in float32 one of these is tried, beside `CONTINUOUS`.
    if _name not in ("ffjord", "cnf"):
        FLOWS[f"{_name}(3)"] = _item(
            partial(flow, name=_name, dim=3), dtypes=("float32",), eager=_typical
        )
    if _typical:
        FLOWS[f"{_name}(1)"] = _item(
            partial(flow, name=_name, dim=1), dtypes=("float64",), second_order=False
        )


ATTENTION = ("tarflow", "jet")


def image_flow(rngs: nnx.Rngs, name: str, condition_dim: int | None = None) -> Flow:
    """A small flow of images, as one of vectors."""
    settings: dict[str, Any] = {"num_scales": 2, "num_layers": 1, "channels": 2}
    if name == "flowpp_image":
        settings |= {"num_components": 2, "num_blocks": 1}
    if name in ATTENTION:
        settings = {"num_layers": 2, "width": 4, "num_attentions": 1, "num_heads": 2}
        settings |= {"patch_size": 2}
    flow = IMAGES[name](
        image_shape=(4, 4, 1),
        condition_dim=condition_dim,
        num_levels=2,
        logit=None,
        rngs=rngs,
        **settings,
    )
    return Flow(StandardNormal(16), Flat(flow.bijector))


for _name in IMAGES:
    _domain = SQUARED if _name in ("flowpp_image", *ATTENTION) else REAL  # they have layer norms
    FLOWS |= {
        f"{_name}(4, 4, 1)|condition": Item(
            partial(image_flow, name=_name, condition_dim=2),
            latent=_domain,
            data=_domain,
            # Maps of 16 numbers with random weights, linear ones and steep mixtures among them, one
            # after the other.
            tolerance=100.0,
            dtypes=("float64",),
            second_order=False,
        ),
    }
