"""The README's Python runs as it stands."""

import re
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"


@pytest.mark.smoke
def test_readme_code_runs(tmp_path, monkeypatch):
    """Catches an example that a change of the interface left behind."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TQDM_DISABLE", "1")
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) >= 4
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, str(README), "exec"), names)
    assert names["log_p"].shape == (8000,)
    assert names["samples"].shape == (5, 10, 2)
    assert (tmp_path / "maf.safetensors").exists()
