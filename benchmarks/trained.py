"""What the benchmarks that train flows share: a directory for each flow, tables and pictures."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from flowjax_lite.cli.commands.compare import ROWS, Row, compare, picture, table
from flowjax_lite.cli.config import Config
from flowjax_lite.cli.report import Score


def train_missing(configs: Iterable[Config], directory: Path) -> None:
    """Train each config into a directory named after it, unless that is there already."""
    for config in configs:
        if not (directory / config.name / ROWS).exists():
            compare((config,), out=str(directory / config.name))


def rows_in(directory: Path, names: Iterable[str]) -> list[Row]:
    """All flows trained so far, in the order of the names, then the baselines once."""
    flows, baselines = [], {}
    for name in names:
        path = directory / name / ROWS
        for line in path.read_text().splitlines() if path.exists() else []:
            fields = json.loads(line)
            score = Score(**fields.pop("score"))
            curve = tuple(map(tuple, fields.pop("curve")))
            row = Row(score, curve=curve, **fields)
            if row.epochs is None:
                baselines[score.name] = row
            else:
                flows.append(row)
    return [*flows, *baselines.values()]


def write(rows: Sequence[Row], stem: Path, *, title: str, text: str = "") -> None:
    """Write the table to stem.md and the picture to stem.png."""
    stem.parent.mkdir(exist_ok=True)
    stem.with_suffix(".md").write_text(f"# {title}\n\n{text}{table(rows)}")
    picture(rows, title=title).savefig(stem.with_suffix(".png"), dpi=150)
