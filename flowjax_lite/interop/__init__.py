"""Thin adapters to other libraries, each of which is imported where its adapter is used."""

import importlib
from typing import TYPE_CHECKING, Any

from flowjax_lite.core.extra import import_extra
from flowjax_lite.interop.from_distrax import FromDistrax, FromDistraxBijector
from flowjax_lite.interop.inference_data import to_arviz

if TYPE_CHECKING:
    from flowjax_lite.interop.scikit_learn import FlowClassifier, FlowDensity, FlowOutlierDetector
    from flowjax_lite.interop.to_distrax import ToDistrax, ToDistraxBijector
    from flowjax_lite.interop.to_numpyro import (
        AutoFlow,
        ToNumpyro,
        ToNumpyroTransform,
        flow_param,
    )

__all__ = [
    "AutoFlow",
    "FlowClassifier",
    "FlowDensity",
    "FlowOutlierDetector",
    "FromDistrax",
    "FromDistraxBijector",
    "ToDistrax",
    "ToDistraxBijector",
    "ToNumpyro",
    "ToNumpyroTransform",
    "flow_param",
    "to_arviz",
]

# What is made of another library's classes: the library, and the module that imports it when one
# of these names is asked for.
_DERIVED = {
    "AutoFlow": ("numpyro", "to_numpyro"),
    "FlowClassifier": ("sklearn", "scikit_learn"),
    "FlowDensity": ("sklearn", "scikit_learn"),
    "FlowOutlierDetector": ("sklearn", "scikit_learn"),
    "ToDistrax": ("distrax", "to_distrax"),
    "ToDistraxBijector": ("distrax", "to_distrax"),
    "ToNumpyro": ("numpyro", "to_numpyro"),
    "ToNumpyroTransform": ("numpyro", "to_numpyro"),
    "flow_param": ("numpyro", "to_numpyro"),
}


def __getattr__(name: str) -> Any:
    if name not in _DERIVED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    library, module = _DERIVED[name]
    import_extra(library, "interop")
    return getattr(importlib.import_module(f"{__name__}.{module}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
