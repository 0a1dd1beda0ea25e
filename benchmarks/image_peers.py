"""Our Glow beside that of normflows: one architecture, one machine, calls by turns.

python benchmarks/image_peers.py
python benchmarks/image_peers.py --batch 8 --repeats 2 --out image_peers.md

Both have two scales of eight steps, each a normalisation, a linear map of channels by triangular
factors, and a coupling whose network has convolutions of 3 × 3, 1 × 1 and 3 × 3. The optimizer is
Adam. normflows runs eagerly, as in its documentation.
"""

import argparse
from pathlib import Path

import normflows as nf
import numpy as np
from common import PACKAGES, environment, markdown_table
from flax import nnx
from frameworks import in_jax
from frameworks.with_flowjax_lite import FlowjaxLite
from frameworks.with_normflows import Normflows
from timing import interleaved
from torch import Tensor

import flowjax_lite as fl

SIDE, SCALES, STEPS, CHANNELS = 28, 2, 8, 64
CALLS = ("log_prob", "step", "sample")
TEXT = f"""\
# Glow beside a peer

Images of {SIDE} × {SIDE} × 1, {SCALES} scales of {STEPS} steps, networks of {CHANNELS} channels,
batches of {{batch}}, float32; milliseconds, medians of {{repeats}} calls by turns. A step is one of
Adam, whole. `÷ ours` divides by the time of flowjax_lite: above 1, flowjax_lite is faster.

What a scale leaves behind is normal given what goes on in flowjax_lite, as published, by one more
convolution; in normflows it has learned means and scales of its own, which are the rest of its
parameters."""


class Ours(FlowjaxLite):
    """Glow, its normalisations set from a batch of (rows, height, width, 1)."""

    def __init__(self, x: np.ndarray) -> None:
        options = {"num_scales": SCALES, "num_layers": STEPS, "channels": CHANNELS}
        flow = fl.flows.glow(image_shape=(SIDE, SIDE, 1), **options, rngs=nnx.Rngs(0))
        self.flow = fl.initialize(flow, x)
        self.num_parameters = in_jax.count(nnx.state(self.flow, nnx.Param))


class Theirs(Normflows):
    """The same from the latent to the data; its first batch sets the normalisations."""

    @staticmethod
    def make_flow(case: None, dim: int) -> nf.MultiscaleFlow:
        flows, bases = [], []
        for scale in reversed(range(SCALES)):  # the last scale first
            depth, side = 4 * 2**scale, dim // 2 ** (scale + 1)
            blocks = [nf.flows.GlowBlock(depth, CHANNELS) for _ in range(STEPS)]
            flows.append([*blocks, nf.flows.Squeeze()])
            kept = depth if scale == SCALES - 1 else depth // 2
            bases.append(nf.distributions.DiagGaussian((kept, side, side)))
        merges = [nf.flows.Merge() for _ in range(SCALES - 1)]
        logit = nf.transforms.Logit(alpha=0.01)
        return nf.MultiscaleFlow(bases, flows, merges, transform=logit, class_cond=False)

    @staticmethod
    def log_prob(flow: nf.MultiscaleFlow, x: Tensor) -> Tensor:
        return flow.log_prob(x, None)


def main() -> None:
    """Measure, print, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=7)
    default = Path(__file__).parent / "results" / "image_peers.md"
    parser.add_argument("--out", type=Path, default=default)
    arguments = parser.parse_args()
    size = (arguments.batch, SIDE, SIDE, 1)
    x = np.random.default_rng(0).uniform(0, 256, size).astype(np.float32)
    peers = {Ours(x): x, Theirs(None, SIDE): x.reshape(-1, 1, SIDE, SIDE) / 256}
    calls = {
        (peer.name, call): lambda peer=peer, f=f: peer.wait(f())
        for peer, batch in peers.items()
        for call, f in peer.calls(batch).items()
    }
    times = interleaved(calls, arguments.repeats, lambda result: result)
    rows = []
    for peer in peers:
        cells = [peer.name, f"{peer.num_parameters:,}"]
        for call in CALLS:
            ratio = times[peer.name, call] / times[Ours.name, call]
            cells += [f"{times[peer.name, call]:.0f}", f"{ratio:.2f}"]
        rows.append(cells)
    header = ["", "parameters"]
    for call in CALLS:
        header += [call, "÷ ours"]
    parts = [
        TEXT.format(batch=arguments.batch, repeats=arguments.repeats),
        markdown_table(header, rows),
        environment((*PACKAGES, "torch", "normflows")),
    ]
    print(*parts[1:], sep="\n\n")
    arguments.out.write_text("\n\n".join(parts) + "\n")


if __name__ == "__main__":
    main()
