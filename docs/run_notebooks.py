"""Run the notebooks whose code has changed, some at a time; the site takes what they gave.

python docs/run_notebooks.py docs/_build/.jupyter_cache --workers 2
"""

import argparse
import functools
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from pathlib import Path

from jupyter_cache import get_cache
from jupyter_cache.executors import load_executor

# Notebooks compile more than they compute: without these emitters it takes two thirds of the time,
# and the programs are as fast. Later versions of jaxlib have no such option.
if version("jaxlib").startswith("0.10."):
    os.environ.setdefault("XLA_FLAGS", "--xla_cpu_use_fusion_emitters=false")
# A second thread of linear algebra would wait for the core that another notebook uses: a sample of
# a spline flow then takes twice as long.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

NOTEBOOKS = Path(__file__).parent.resolve() / "notebooks"
LONGEST = 600  # seconds for a cell


def run(uri: str, cache_path: Path) -> str | None:
    """Run a notebook of the cache, unless it holds one with the same code; return what failed."""
    cache = get_cache(cache_path)
    executor = load_executor("local-serial", cache)
    result = executor.run_and_cache(filter_uris=[uri], timeout=LONGEST)
    if not result.excepted and not result.errored:
        return None
    return f"{uri}\n{cache.get_project_record(uri).traceback}"


def main() -> None:
    """Run them all, and say which failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cache", type=Path)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    cache = get_cache(arguments.cache)
    uris = [str(path) for path in sorted(NOTEBOOKS.glob("*.md"))]
    for uri in uris:
        cache.add_nb_to_project(uri, read_data={"name": "myst_nb_md", "type": "plugin"})
    with ProcessPoolExecutor(arguments.workers) as pool:
        run_one = functools.partial(run, cache_path=arguments.cache)
        failed = [failure for failure in pool.map(run_one, uris) if failure]
    if failed:
        sys.exit("\n".join(failed))


if __name__ == "__main__":
    main()
