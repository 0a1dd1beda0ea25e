"""The README's Python runs as it stands, in its blocks and in the table of first tasks."""

import re
from pathlib import Path

import jax
import pytest

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
MOST_LINES = 5  # of a first task


def first_tasks() -> dict[str, list[str]]:
    """The lines to type for each task of the table."""
    table = README.split("## The first hour")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (.+?) \| (`.+`) \|$", table, re.MULTILINE)
    return {task: re.findall(r"`(.+?)`(?:<br>|$)", code) for task, code in rows}


@pytest.mark.smoke
def test_readme_code_runs(tmp_path, monkeypatch):
    """Catches an example that a change of the interface left behind."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TQDM_DISABLE", "1")
    rows = [f"{20 + 7 * i % 50},{('Rome', 'Oslo')[i % 2]},{1000 + i * i % 97}.5" for i in range(60)]
    Path("people.csv").write_text("\n".join(["age,city,pay", *rows]))
    first, *blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(blocks) >= 4
    names: dict[str, object] = {}
    with jax.numpy_rank_promotion("allow"):  # as users have it, and numpyro
        for block in [first, *map("\n".join, first_tasks().values()), *blocks]:
            exec(compile(block, "README.md", "exec"), names)
    assert names["log_p"].shape == (8000,)
    assert names["samples"].shape == (5, 10, 2)
    assert set(names["sampled"]) == {"age", "pay"}
    assert (tmp_path / "maf.safetensors").exists()


def test_first_tasks_are_short():
    """Catches a first task that a newcomer would have to study, or one that the table lost."""
    tasks = first_tasks()
    assert len(tasks) == 10
    assert max(map(len, tasks.values())) <= MOST_LINES
