"""Training on data that stay on the disk, beside the same rows in memory: speed, and memory.

    python benchmarks/streaming.py
    python benchmarks/streaming.py --rows 400000 --repeats 1

Each run is a process of its own, which trains for some epochs and tells how long they took and how
much memory it held at most. The files lie in a temporary directory, which `--directory` moves to
another disk.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grain
import jax
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from common import environment, markdown_table
from flax import nnx

import flowjax_lite as fl

DIM, CHUNK = 63, 2**16
MIB = round(65536 * DIM * 4 / 2**20)  # of a window
HEADER = ["rows", "flow", "source", "GiB", "training s", "÷ memory", "check s", "most memory, GiB"]
TEXT = f"""\
RealNVP, {DIM} dimensions, with 5 layers of (64, 64) and batches of 512, or 1 layer of (16,) and
batches of 2048. `one core`: a flow that costs next to nothing, and a loop over one number for each
batch of 512, so that the other cores are left to the reader, as a GPU leaves them.

{{epochs}} epochs of rows in float32. Each run is a process of its own; `training s` for an epoch,
median of those after the first and then of {{repeats}} runs, in turn. `check s`: from the start of
`fit` to that of training, in which the data are looked at once; compilation is not in it. `most
memory`: the resident memory of the process, at most, less what it had when `fit` began; for the
array in memory that includes neither the array itself nor what reading it took. A window is 65,536
rows, {MIB} MiB, and the one that trains, the next and two more are there at a time. The files had
been written just before, so that the disk's cache held some of them. `grain`: with so many rows in
each item; an item takes Grain some 15 µs, whatever it holds."""

Training = tuple[fl.Flow, dict[str, Any]]  # and what `fit` is given


class Batches:
    """A source as Grain has them, each of whose items is so many rows."""

    def __init__(self, path: Path, rows: int) -> None:
        self._values, self._rows = np.load(path, mmap_mode="r"), rows

    def __len__(self) -> int:
        return -(-len(self._values) // self._rows)

    def __getitem__(self, i: int) -> np.ndarray:
        return np.array(self._values[i * self._rows : (i + 1) * self._rows])


def open_grain(path: Path, rows: int) -> fl.data.Stream:
    """Grain's data set of such a source."""
    return fl.data.stream(grain.MapDataset.source(Batches(path / "x.npy", rows)))


def realnvp(num_layers: int, hidden: tuple[int, ...], batch_size: int) -> Training:
    """A flow as people train it."""
    flow = fl.flows.realnvp(dim=DIM, num_layers=num_layers, hidden=hidden, rngs=nnx.Rngs(0))
    return flow, {"batch_size": batch_size}


def one_core() -> Training:
    """Work that only one core can do, as each number of it follows from the one before."""

    def loss(flow: fl.Flow, x: jax.Array, *rest: Any) -> jax.Array:
        work = jax.lax.fori_loop(0, 60_000, lambda _, number: 0.999 * number, x[0, 0])
        return fl.negative_log_likelihood(flow, x, *rest) + 0.0 * jax.lax.stop_gradient(work)

    flow = fl.Flow(fl.distributions.StandardNormal(DIM), fl.bijectors.Shift(DIM))
    return flow, {"batch_size": 512, "loss": loss}


FLOWS: dict[str, Callable[[], Training]] = {
    "5 layers": lambda: realnvp(5, (64, 64), 512),
    "1 layer": lambda: realnvp(1, (16,), 2048),
    "one core": one_core,
}
SOURCES: dict[str, Callable[[Path], Any]] = {
    "memory": lambda path: np.load(path / "x.npy"),
    "npy": lambda path: fl.data.stream(path / "x.npy"),
    "map": lambda path: np.load(path / "x.npy", mmap_mode="r"),
    "parquet": lambda path: fl.data.stream(path / "x.parquet"),
    "grain, 1000 rows": lambda path: open_grain(path, 1000),
    "grain, 1 row": lambda path: open_grain(path, 1),
}


def write_files(path: Path, num_rows: int) -> None:
    """The same rows in both formats: a Gaussian whose columns are related."""
    random = np.random.default_rng(0)
    mixing = np.eye(DIM, dtype=np.float32) + random.standard_normal((DIM, DIM)).astype("f") / 8
    names = [f"x{i}" for i in range(DIM)]
    schema = pa.schema([(name, pa.float32()) for name in names])
    npy = np.lib.format.open_memmap(path / "x.npy", "w+", np.float32, (num_rows, DIM))
    with pq.ParquetWriter(path / "x.parquet", schema) as parquet:
        for start in range(0, num_rows, CHUNK):
            count = min(CHUNK, num_rows - start)
            rows = random.standard_normal((count, DIM), np.float32) @ mixing
            npy[start : start + count] = rows
            parquet.write_table(pa.table(list(rows.T), schema=schema), row_group_size=CHUNK)


def train(path: Path, flow_name: str, source: str, epochs: int) -> dict[str, float]:
    """One run, in this process."""
    flow, settings = FLOWS[flow_name]()
    settings |= {"key": jax.random.key(0), "progress": False}
    few = fl.data.stream(path / "x.npy").sample(10 * settings["batch_size"]).x
    fl.fit(flow, few, max_epochs=1, **settings)  # takes what any first use takes
    data = SOURCES[source](path)
    before = resident()
    start = time.perf_counter()
    history = fl.fit(flow, data, max_epochs=epochs, validation=0.01, **settings).history
    total = time.perf_counter() - start
    return {
        "epoch": float(np.median(np.diff(history["seconds"]))),
        "check": total - history["seconds"][-1],
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20 - before,
    }


def resident() -> float:
    """The memory that this process holds now, in GiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**30


def measure(
    path: Path, num_rows: int, flow_name: str, sources: list[str], *, epochs: int, repeats: int
) -> list[list[str]]:
    """The lines of the table for one number of rows and one flow."""
    found: dict[str, list[dict[str, float]]] = {source: [] for source in sources}
    for _ in range(repeats):
        for source, runs in found.items():
            command = [sys.executable, __file__, "--train", source, "--directory", str(path)]
            command += ["--epochs", str(epochs), "--flows", flow_name]
            runs.append(json.loads(subprocess.run(command, check=True, stdout=-1).stdout))
            print(f"{num_rows:,} rows, {flow_name}, {source}: {runs[-1]}", flush=True)
    middle = {
        source: {name: statistics.median(run[name] for run in runs) for name in runs[0]}
        for source, runs in found.items()
    }
    size = num_rows * DIM * 4 / 2**30
    return [
        [
            f"{num_rows:,}",
            flow_name,
            source,
            f"{size:.2f}",
            f"{run['epoch']:.2f}",
            f"{run['epoch'] / middle['memory']['epoch']:.2f}",
            f"{run['check']:.1f}",
            f"{run['memory']:.2f}",
        ]
        for source, run in middle.items()
    ]


def main() -> None:
    """Measure, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--train", choices=SOURCES, help=argparse.SUPPRESS)
    parser.add_argument("--rows", type=int, nargs="+", default=[250_000, 1_000_000])
    parser.add_argument("--flows", choices=FLOWS, nargs="+", default=list(FLOWS))
    parser.add_argument("--sources", choices=SOURCES, nargs="+", default=list(SOURCES))
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--directory", type=Path, help="where the files are written")
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results")
    arguments = parser.parse_args()
    if arguments.train:
        (flow_name,) = arguments.flows
        run = train(arguments.directory, flow_name, arguments.train, arguments.epochs)
        print(json.dumps(run))
        return
    lines = []
    for num_rows in arguments.rows:
        with tempfile.TemporaryDirectory(dir=arguments.directory) as temporary:
            path = Path(temporary)
            write_files(path, num_rows)
            times = {"epochs": arguments.epochs, "repeats": arguments.repeats}
            for flow_name in arguments.flows:
                lines += measure(path, num_rows, flow_name, arguments.sources, **times)
    table = markdown_table(HEADER, lines)
    text = TEXT.format(epochs=arguments.epochs, repeats=arguments.repeats)
    versions = environment(("jax", "jaxlib", "flax", "numpy", "pyarrow", "grain"))
    path = arguments.results / "streaming.md"
    path.write_text(f"# Data larger than memory\n\n{text}\n\n{table}\n\n{versions}\n")
    print(table)


if __name__ == "__main__":
    main()
