"""The Python of the README runs, also in its table of first tasks, and that of the guides."""

import re
from pathlib import Path

import jax
import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
GUIDES = sorted((ROOT / "docs" / "guides").glob("*.md"))
MOST_LINES = 5  # of a first task


def first_tasks() -> dict[str, list[str]]:
    """The lines to type for each task of the table."""
    table = README.split("## The first hour")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (.+?) \| (`.+`) \|$", table, re.MULTILINE)
    return {task: re.findall(r"`(.+?)`(?:<br>|$)", code) for task, code in rows}


def blocks_of(text: str) -> list[str]:
    """The Python of a page."""
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


def run(blocks: list[str], page: str) -> dict[str, object]:
    """The names that hold something after the blocks of a page."""
    names: dict[str, object] = {}
    with jax.numpy_rank_promotion("allow"):  # as users have it, and numpyro
        for block in blocks:
            exec(compile(block, page, "exec"), names)
    return names


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A place for what the pages write."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TQDM_DISABLE", "1")


@pytest.mark.smoke
def test_readme_code_runs(tmp_path: Path):
    """Catches an example that a change of the interface left behind."""
    rows = [f"{20 + 7 * i % 50},{('Rome', 'Oslo')[i % 2]},{1000 + i * i % 97}.5" for i in range(60)]
    Path("people.csv").write_text("\n".join(["age,city,pay", *rows]))
    first, *blocks = blocks_of(README)
    names = run([first, *map("\n".join, first_tasks().values()), *blocks], "README.md")
    assert names["log_p"].shape == (8000,)
    assert names["samples"].shape == (5, 10, 2)
    assert set(names["sampled"]) == {"age", "pay"}
    assert (tmp_path / "maf.safetensors").exists()


def test_first_tasks_are_short():
    """Catches a first task that a newcomer would have to study, or one that the table lost."""
    tasks = first_tasks()
    assert len(tasks) == 10
    assert max(map(len, tasks.values())) <= MOST_LINES


@pytest.mark.parametrize("page", GUIDES, ids=lambda path: path.stem)
def test_code_of_a_guide_runs(page: Path):
    """Catches a guide that a change of the interface left behind: each stands by itself."""
    text = page.read_text(encoding="utf-8")
    blocks = blocks_of(text)
    assert blocks or "```sh" in text, "a guide without code"
    run(blocks, page.name)
