"""Measure one framework in a process of its own, which `continuous_speed.py` starts."""

import argparse
import importlib
import json
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from timing import interleaved

from ode.case import CASES, Case, Peer


def measure(make: type[Peer], case: Case, repeats: int) -> dict[str, object]:
    """All numbers of one equation; times in milliseconds."""
    peer = make(case)
    result: dict[str, object] = {
        "values": np.asarray(peer.log_prob(), float).tolist(),
        "evaluations": peer.evaluations(),
    }
    return result | interleaved(peer.calls(), repeats, peer.wait)


def main() -> None:
    """Measure, and write one JSON file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("module")
    parser.add_argument("peer")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    make: type[Peer] = getattr(importlib.import_module(arguments.module), arguments.peer)
    result = {}
    for name, case in CASES.items():
        result[name] = measure(make, case, arguments.repeats)
        print(f"{arguments.peer}: {name} measured", flush=True)
    arguments.out.write_text(json.dumps(result))


if __name__ == "__main__":
    main()
