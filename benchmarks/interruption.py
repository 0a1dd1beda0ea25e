"""What checkpoints cost, and whether they survive kills and damage.

    python benchmarks/interruption.py
    python benchmarks/interruption.py --kills 10

A process that trains is killed by SIGKILL at random instants and started again until it is done;
then its last checkpoint is compared with that of a run that nobody killed: parameters, optimizer,
history and best model. As often as asked, run after run. Then one bit of a checkpoint is flipped,
or one of its files cut off, and the run is asked to go on from there; as often as asked.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from common import environment
from flax import nnx

import flowjax_lite as fl

SMALL = {"dim": 2, "num_layers": 2, "hidden": (24, 24)}
EVERY = 100
LARGE = {"dim": 63, "num_layers": 5, "hidden": (512, 512)}
TEXT = """\
`kills`: how often the process of a run of 108 small steps, each of them saved, was ended by
SIGKILL, at instants spread evenly over the time of a whole run; `during a save`: how many of the
kills left a save that was not complete; `runs`: how many runs came to their end in between;
`equal`: how many of those ended with the checkpoint of the run that was not killed.

`flips`: how often one bit of one file of a checkpoint was flipped, or the file cut off, files
chosen by their size; `found`: how often the run refused to go on from it; `harmless`: how often it
returned the bits of the whole run; `wrong`: how often it returned others.

`cost`: the time of 400 steps of a MAF, 63 dimensions, 5 layers of (512, 512), batches of 512, of
which every {every}th is saved in the background, {megabytes:.0f} MB, over that of the same steps
without; medians of {repeats}, in turn. The last save, for which the run waits, is part of it. By
default every 1000th step is saved."""


def train(directory: Path) -> fl.FitResult:
    """A small run, or what is left of it."""
    jax.config.update("jax_compilation_cache_dir", str(directory.parent / "cache"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    x = fl.data.toy("moons", num=500).train.x
    return fl.fit(
        fl.flows.maf(**SMALL, rngs=nnx.Rngs(0)),
        x,
        key=jax.random.key(0),
        batch_size=10,
        max_epochs=3,
        checkpoint=fl.Checkpoint(directory, every=1, resume=True),
        progress=False,
    )


def steps(directory: Path) -> int:
    """The step of the newest checkpoint."""
    return max(int(path.name) for path in directory.iterdir() if path.name.isdigit())


def last(directory: Path) -> dict[str, Any]:
    """All that the newest checkpoint says, but for the time of day."""
    place = directory / str(steps(directory)) / "manifest/metadata"
    manifest: dict[str, Any] = json.loads(place.read_text())
    del manifest["sha256"]
    for epoch in manifest["record"]["epochs"]:
        del epoch["seconds"]
    return manifest


def interrupt(kills: int, directory: Path) -> dict[str, int]:
    """Kill and start again."""

    def start(run: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, __file__, "--train", str(directory / run)]
        return subprocess.Popen(command, stderr=subprocess.DEVNULL)

    assert start("compiles").wait() == 0
    begin = time.perf_counter()
    assert start("whole").wait() == 0
    seconds = time.perf_counter() - begin
    rng, counts = np.random.default_rng(0), {"kills": 0, "during a save": 0, "runs": 0, "equal": 0}
    while counts["kills"] < kills:
        run = directory / f"run {counts['runs']}"
        process = start(run.name)
        try:
            assert process.wait(rng.uniform(0, seconds)) == 0
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            counts["kills"] += 1
            counts["during a save"] += any(run.glob("*tmp*"))
        else:
            counts["runs"] += 1
            counts["equal"] += last(run) == last(directory / "whole")
    return counts


def damage(flips: int, directory: Path) -> dict[str, int]:
    """Damage checkpoints, and go on from them."""
    counts, rng = {"flips": 0, "found": 0, "harmless": 0, "wrong": 0}, np.random.default_rng(0)
    (newest,) = (p for p in (directory / "whole").iterdir() if p.name == str(steps(p.parent)))
    shutil.copytree(newest, directory / "sound" / newest.name)
    expected = jax.tree.leaves(train(directory / "sound").flow)
    for _ in range(flips):
        copy = Path(shutil.copytree(directory / "sound", directory / "damaged"))
        files = [path for path in copy.rglob("*") if path.is_file() and path.stat().st_size]
        sizes = np.array([path.stat().st_size for path in files])
        path = files[rng.choice(len(files), p=sizes / sizes.sum())]
        content = bytearray(path.read_bytes())
        place = int(rng.integers(len(content)))
        if rng.random() < 0.8:
            content[place] ^= 1 << int(rng.integers(8))
        else:
            del content[place:]
        path.write_bytes(content)
        counts["flips"] += 1
        try:
            leaves = jax.tree.leaves(train(copy).flow)
        except ValueError:
            counts["found"] += 1
        else:
            same = all(map(np.array_equal, leaves, expected))
            counts["harmless" if same else "wrong"] += 1
        shutil.rmtree(copy)
    return counts


def cost(repeats: int, directory: Path) -> float:
    """The time with checkpoints over that without."""
    x = np.random.default_rng(0).standard_normal((20 * 512, 63)).astype(np.float32)
    times: dict[bool, list[float]] = {False: [], True: []}
    for repeat in range(repeats + 1):
        for saved in times:
            place = fl.Checkpoint(directory / f"cost {repeat}", every=EVERY) if saved else None
            flow = fl.flows.maf(**LARGE, rngs=nnx.Rngs(0))
            begin = time.perf_counter()
            fl.fit(
                flow,
                x,
                key=jax.random.key(0),
                batch_size=512,
                max_epochs=20,
                validation=None,
                checkpoint=place,
                progress=False,
            )
            times[saved].append(time.perf_counter() - begin)
    with_saves, without = (float(np.median(times[saved][1:])) for saved in (True, False))
    return with_saves / without


def megabytes() -> float:
    """Of one save of the larger run: parameters, the best ones, and two moments of Adam."""
    params = nnx.state(fl.flows.maf(**LARGE, rngs=nnx.Rngs(0)), nnx.Param)
    return 4 * 4 * sum(leaf.size for leaf in jax.tree.leaves(params)) / 1e6


def main() -> None:
    """Measure, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--train", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--flips", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results")
    arguments = parser.parse_args()
    if arguments.train:
        train(arguments.train)
        return
    with tempfile.TemporaryDirectory() as temporary:
        ratio = cost(arguments.repeats, Path(temporary))
        counts = interrupt(arguments.kills, Path(temporary))
        counts |= damage(arguments.flips, Path(temporary))
    numbers = {**counts, "cost": f"{ratio:.3f}"}
    rule = ["---:"] * len(numbers)
    lines = [" | ".join(map(str, line)) for line in (numbers, rule, numbers.values())]
    table = "\n".join(f"| {line} |" for line in lines)
    text = TEXT.format(repeats=arguments.repeats, every=EVERY, megabytes=megabytes())
    versions = environment(("jax", "jaxlib", "flax", "orbax-checkpoint"))
    path = arguments.results / "interruption.md"
    path.write_text(f"# Interrupted runs\n\n{text}\n\n{table}\n\n{versions}\n")
    print(table)


if __name__ == "__main__":
    main()
