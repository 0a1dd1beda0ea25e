"""`flowjax-lite init`: a starter config for a file or a named data set."""

from pathlib import Path
from typing import Any, Literal

import flowjax_lite as fl
from flowjax_lite.cli.config import yaml_file
from flowjax_lite.cli.config.schema import Config
from flowjax_lite.cli.run.directory import check_target
from flowjax_lite.core.files import writing_whole

_MAX_LISTED = 50  # columns


def init(
    source: str,
    *,
    family: str = "nsf_coupling",
    schema: Literal["auto"] | None = None,
    missing: Literal["error", "drop"] = "error",
    out: str | Path | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a starter config for a file or a named data set.

    Args:
        source: A file or a named data set.
        family: The flow, see `flowjax-lite list`.
        schema: As data.schema of the config: auto takes words, blanks and whole numbers.
        missing: As data.missing: drop leaves out rows without a value.
        out: The config to write; by default it has the name of the source.
        overwrite: Replace the config if it exists.

    Returns:
        The path of the config.

    Raises:
        ValueError: The data cannot be read or no density fits them, the family is unknown, or the
            file exists; nothing was written.
    """
    name = Path(source).stem
    out = Path(out or f"{name}.yaml")
    check_target(out, overwrite=overwrite, is_file=True)
    Config(name, data={"source": source}, flow={"family": family})  # or say what is wrong
    dataset = fl.data.load(source, schema=schema, missing=missing)
    rows = len(dataset.train)
    data: dict[str, Any] = {"source": source}
    if schema is not None:
        data |= {"schema": schema, "missing": missing}
    if Path(source).is_file() and dataset.image_shape is None and dataset.dim <= _MAX_LISTED:
        data["columns"] = list(dataset.columns)
        if dataset.condition_schema is not None:
            data["condition_columns"] = list(dataset.condition_schema.kinds)
    if dataset.num_levels is not None and family not in fl.flows.IMAGES:
        data["logit"] = 0.05
    training = {"learning_rate": 1e-3, "max_epochs": 100, "patience": 20}
    sections = {"data": data, "flow": {"family": family}, "training": training}
    text = yaml_file.dump({"name": name, **sections})
    header = (
        f"# {dataset.name}: {rows} training rows of {dataset.dim} columns.\n"
        f"# Train it with `flowjax-lite fit {out}`; `flowjax-lite fit --help` explains all keys,\n"
        f"# `flowjax-lite list {family}` those of the flow. Columns that are known beforehand go\n"
        "# into data.condition_columns.\n"
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    with writing_whole(out) as file:
        file.write((header + text).encode())
    print(f"Wrote {out}; train it with: flowjax-lite fit {out}")
    return out
