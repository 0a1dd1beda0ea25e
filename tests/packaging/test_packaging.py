"""What the files around the package say of it agrees with the package."""

import re
import sys
import tomllib
from pathlib import Path

import flowjax_lite as fl

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_versions_agree() -> None:
    """Would catch a release that a citation gives another version."""
    cited = re.search(r"^version: (.*)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)
    assert cited is not None
    assert cited[1] == fl.__version__


def test_package_data_is_in_the_wheel() -> None:
    """Would catch types and configs that a checkout has and an installed package has not."""
    package = Path(fl.__file__).parent
    patterns = PROJECT["tool"]["setuptools"]["package-data"]["flowjax_lite"]
    shipped = {path for pattern in patterns for path in package.glob(pattern)}
    others = {path for path in package.rglob("*") if path.is_file() and path.suffix != ".pyc"}
    others |= set((package / "configs").iterdir())
    assert {path for path in others if path.suffix != ".py"} == shipped


def test_dependencies_are_imported() -> None:
    """Would catch a package that users must install and that nothing imports."""
    modules = {"orbax-checkpoint": "orbax", "jaxlib": "jax"}
    text = "\n".join(path.read_text() for path in Path(fl.__file__).parent.rglob("*.py"))
    for requirement in PROJECT["project"]["dependencies"]:
        name = re.match(r"[a-z-]+", requirement)[0]
        module = modules.get(name, name.replace("-", "_"))
        assert re.search(rf"^\s*(import|from) {module}\b", text, re.MULTILINE), name


def test_this_python_is_named() -> None:
    """Would catch classifiers that leave out a version of Python which the tests run on."""
    version = f"Programming Language :: Python :: 3.{sys.version_info.minor}"
    assert version in PROJECT["project"]["classifiers"]
