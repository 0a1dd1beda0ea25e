"""Measure one framework in a process of its own, which `peers.py` starts."""

import argparse
import importlib
import json
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
from frameworks import base
from frameworks.base import CASES, Case, Peer
from timing import interleaved, milliseconds

# Module and class of each framework.
FRAMEWORKS = {
    "flowjax_lite": ("frameworks.with_flowjax_lite", "FlowjaxLite"),
    "flowjax": ("frameworks.with_flowjax", "Flowjax"),
    "distrax": ("frameworks.with_distrax", "Distrax"),
    "zuko": ("frameworks.with_zuko", "Zuko"),
    "nflows": ("frameworks.with_nflows", "Nflows"),
    "normflows": ("frameworks.with_normflows", "Normflows"),
}
# Dimensions to measure everything in, and sampling alone.
DIMS, SAMPLING_DIM = (63, 8), 256


def rows(count: int, dim: int) -> np.ndarray:
    """The data of all frameworks."""
    return np.random.default_rng(0).standard_normal((count, dim), np.float32)


def measure(make: type[Peer], case: Case, dim: int, repeats: int) -> dict[str, float]:
    """All numbers of one flow; times in milliseconds."""
    peer, x = make(case, dim), rows(base.BATCH, dim)
    calls = peer.calls(x)
    first_step = milliseconds(calls["step"], peer.wait)
    if peer.compiled:
        calls |= _floor_calls(case, dim, x)
    times = interleaved(calls, repeats, peer.wait)
    if peer.compiled:
        times["compile"] = first_step - times["step"]
    return times | {"parameters": peer.num_parameters, "error": peer.rounding_error(x)}


def _floor_calls(case: Case, dim: int, x: np.ndarray) -> dict[str, Callable[[], object]]:
    # Imported here, so that the processes of torch stay free of jax.
    from floor import floor_calls
    from frameworks.with_flowjax_lite import make_flow

    return floor_calls(make_flow(case, dim), x)


def measure_sampling(make: type[Peer], case: Case, dim: int, repeats: int) -> dict[str, float]:
    """Milliseconds of sampling alone."""
    peer = make(case, dim)
    sample = peer.calls(rows(base.BATCH, dim))["sample"]
    return interleaved({"sample": sample}, repeats, peer.wait)


def measure_fit(make: type[Peer]) -> list[dict[str, float]]:
    """Seconds and compilations of two trainings, each of a fresh flow."""
    x = rows(base.FIT_ROWS, base.FIT_DIM)
    results = []
    for _ in range(2):
        peer = make(base.FIT_CASE, base.FIT_DIM)
        compilations, start = make.compilations(), time.perf_counter()
        peer.fit(x)
        results.append(
            {
                "seconds": time.perf_counter() - start,
                "compilations": make.compilations() - compilations,
            }
        )
    return results


def main() -> None:
    """Measure, and write one JSON file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("framework", choices=FRAMEWORKS)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    module, name = FRAMEWORKS[arguments.framework]
    make: type[Peer] = getattr(importlib.import_module(module), name)
    result = {
        "name": make.name,
        "difference": make.difference,
        "compiled": make.compiled,
        "versions": {package: version(package) for package in make.packages},
        "fit": measure_fit(make),  # first, when the process has compiled nothing else yet
        "cases": {},
    }
    for key in arguments.cases:
        case, numbers = CASES[key], {}
        for dim in DIMS:
            numbers[dim] = measure(make, case, dim, arguments.repeats)
        numbers[SAMPLING_DIM] = measure_sampling(make, case, SAMPLING_DIM, arguments.repeats)
        result["cases"][key] = numbers
        print(f"{make.name}: {case} measured", flush=True)
    arguments.out.write_text(json.dumps(result))


if __name__ == "__main__":
    main()
