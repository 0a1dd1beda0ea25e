"""Coupling against autoregressive flows on digits, a UCI set and BSDS300, with `compare`.

    python benchmarks/coupling_vs_autoregressive.py digits
    python benchmarks/coupling_vs_autoregressive.py uci bsds300 --data-dir DIRECTORY
    python benchmarks/coupling_vs_autoregressive.py bsds300_1m --data-dir DIRECTORY --flows maf

Every flow is trained into a directory of its own below --out; one that is there already is
kept, so a long benchmark can be continued and its flows can be trained apart. The table and the
picture of each set are written to --results from all flows that are there.
"""

import argparse
from pathlib import Path

from trained import rows_in, train_missing, write

from flowjax_lite.cli.config import Config

COUPLING, AUTOREGRESSIVE = ("realnvp", "nsf_coupling"), ("maf", "nsf_autoregressive", "iaf")
FLOWS = COUPLING + AUTOREGRESSIVE


def _epochs(number: int) -> dict[str, int]:
    """So many epochs, whatever the validation says."""
    return {"max_epochs": number, "patience": number}


def digits(family: str, data_dir: str | None) -> Config:
    """8 × 8 digits: few rows, so small networks and copies with fresh noise."""
    hidden = (64, 64) if "nsf" in family else (128,)
    layers = 8 if family in COUPLING else 5
    epochs = 6 if "nsf" in family or family == "iaf" else 8
    return Config(
        name=family,
        data={"source": "digits", "logit": 0.05, "noise_copies": 20},
        flow={"family": family, "num_layers": layers, "hidden": hidden, "activation": "tanh"},
        training={"learning_rate": 1e-3, "batch_size": 200, **_epochs(epochs)},
    )


def uci(family: str, data_dir: str | None) -> Config:
    """p(y | x) of the power plant: one target given four features."""
    return Config(
        name=family,
        data={"source": "uci/power-plant", "data_dir": data_dir},
        flow={"family": family, "num_layers": 4, "hidden": (64, 64)},
        training={"learning_rate": 2e-3, "batch_size": 256, **_epochs(40)},
    )


def bsds300(family: str, data_dir: str | None) -> Config:
    """63 pixels of natural image patches, rebuilt by the published protocol."""
    layers, hidden, epochs = {
        "realnvp": (10, (256, 256), 20),
        "nsf_coupling": (8, (128, 128), 32),
        "maf": (5, (512, 512), 22),
        "nsf_autoregressive": (5, (128, 128), 14),
        "iaf": (5, (128, 128), 12),
    }[family]
    return Config(
        name=family,
        data={"source": "bsds300", "data_dir": data_dir},
        flow={"family": family, "num_layers": layers, "hidden": hidden},
        training={"learning_rate": 1e-3, "batch_size": 256, **_epochs(epochs)},
    )


def bsds300_1m(family: str, data_dir: str | None) -> Config:
    """The same protocol with a million training patches, which asks for larger networks."""
    layers, hidden, epochs = {
        "realnvp": (10, (512, 512), 26),
        "nsf_coupling": (8, (256, 256), 10),
        "maf": (5, (512, 512), 26),
        "nsf_autoregressive": (5, (256, 256), 20),
        "iaf": (5, (512, 512), 26),
    }[family]
    return Config(
        name=family,
        data={"source": "bsds300", "data_dir": data_dir and str(Path(data_dir) / "bsds300_1m")},
        flow={"family": family, "num_layers": layers, "hidden": hidden},
        training={"learning_rate": 1e-3, "batch_size": 512, **_epochs(epochs)},
    )


SETS = {"digits": digits, "uci": uci, "bsds300": bsds300, "bsds300_1m": bsds300_1m}
TITLES = {
    "digits": "digits, 8 × 8",
    "uci": "UCI power plant, p(y | x)",
    "bsds300": "BSDS300, rebuilt",
    "bsds300_1m": "BSDS300, rebuilt, a million training patches",
}


def main() -> None:
    """Train what is missing and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sets", nargs="+", choices=SETS)
    parser.add_argument("--flows", nargs="*", choices=FLOWS, default=FLOWS)
    parser.add_argument("--data-dir", help="where uci/, bsds300/ and bsds300_1m/ lie")
    parser.add_argument("--out", type=Path, default=Path("runs/coupling_vs_autoregressive"))
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results")
    arguments = parser.parse_args()
    for name in arguments.sets:
        directory = arguments.out / name
        configs = [SETS[name](family, arguments.data_dir) for family in arguments.flows]
        train_missing(configs, directory)
        stem = arguments.results / f"coupling_vs_autoregressive_{name}"
        write(rows_in(directory, [*FLOWS, "flowjax_maf"]), stem, title=TITLES[name])


if __name__ == "__main__":
    main()
