"""How the benchmarks take time."""

import statistics
import time
from collections.abc import Callable

# Milliseconds from which a call needs no warm-up each time, and from which one call is enough.
SLOW, VERY_SLOW = 1e3, 1e4


def interleaved(
    functions: dict[str, Callable[[], object]], repeats: int, wait: Callable[[object], object]
) -> dict[str, float]:
    """Median milliseconds of each function, runs interleaved.

    Each timed call follows one of the same function, as in a loop: after another function it
    would also pay for memory that the allocator had given back. Slow functions, which would
    not notice, are warmed up once; very slow ones are timed once.

    Args:
        functions: what to time.
        repeats: number of timed calls of each.
        wait: takes what a function returned, and returns when it has been computed.
    """
    times: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(repeats):
        for name, function in functions.items():
            last = times[name][-1] if times[name] else 0.0
            if last > VERY_SLOW:
                continue
            if last < SLOW:
                wait(function())
            times[name].append(milliseconds(function, wait))
    return {name: statistics.median(values) for name, values in times.items()}


def milliseconds(function: Callable[[], object], wait: Callable[[object], object]) -> float:
    """Time of one call."""
    start = time.perf_counter()
    wait(function())
    return 1e3 * (time.perf_counter() - start)
