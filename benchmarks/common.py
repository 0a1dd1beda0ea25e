"""What the benchmarks share: tables, and the machine they ran on."""

import os
import platform
from importlib.metadata import version

import jax

PACKAGES = ("jax", "jaxlib", "flax", "optax", "distrax", "numpy")


def markdown_table(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table, the first column to the left and the others to the right."""
    rule = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, rule, *rows])


def environment(packages: tuple[str, ...] = PACKAGES) -> str:
    """One line on the machine and the versions of packages."""
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    device = jax.devices()[0]
    return (
        f"Measured on {os.cpu_count()} cores ({platform.machine()}, {platform.system()}), device "
        f"{device.device_kind}, Python {platform.python_version()}, {versions}."
    )
