"""The plan of the house, enforced: which room may import from which, and what each must say."""

import ast
import importlib
import inspect
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from types import ModuleType

import pytest

PACKAGE = Path(__file__).parents[1] / "flowjax_lite"

# A room imports only from rooms before it.
ROOMS = (
    "core",
    "numerics",
    "transformers",
    "conditioners",
    "bijectors",
    "continuous",
    "distributions",
    "flows",
    "io",
    "losses",
    "diagnostics",
    "data",
    "training",
    "inference",
    "interop",
    "plot",
    "baselines",
    "cli",
)
# What the order alone would allow, or cannot know.
FORBIDDEN = {
    "numerics": {"flax"},
    "losses": {"flowjax_lite.flows"},
    "diagnostics": {"flowjax_lite.flows"},
    "data": {"flowjax_lite.flows"},
    "training": {"flowjax_lite.flows"},
}
# Imported inside the function that needs them, except on the command line, and in modules of
# `interop` that no module imports at the top: `interop` does, when their classes are asked for.
OPTIONAL = {
    "arviz",
    "blackjax",
    "diffrax",
    "distrax",
    "matplotlib",
    "numpyro",
    "pandas",
    "polars",
    "pyarrow",
    "sklearn",
    "tensorboardX",
    "yaml",
}

Edge = tuple[str, int, str, bool]  # importing module, line, imported name, at the top of the file


def _modules(package: Path) -> dict[str, Path]:
    """Map each dotted module name to its file; a directory is named by its `__init__.py`."""
    modules = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        modules[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return modules


def _statements(node: ast.AST, at_top: bool = True) -> Iterator[tuple[ast.AST, bool]]:
    """Walk the tree, telling what runs on import from what does not."""
    for child in ast.iter_child_nodes(node):
        inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) or (
            isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
        )
        yield child, at_top
        yield from _statements(child, at_top and not inside)


def _imports(package: Path) -> list[Edge]:
    """List every import in the package, also those inside functions and type-checking blocks."""
    modules = _modules(package)
    edges = []
    for module, path in modules.items():
        for node, at_top in _statements(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                source = node.module or ""
                if node.level:
                    parents = path.relative_to(package.parent).parts[: -node.level]
                    source = ".".join((*parents, *filter(None, [node.module])))
                names = [f"{source}.{alias.name}" for alias in node.names]
                # What is not a module is a name inside one.
                names = [
                    name if name in modules or not source.startswith(package.name) else source
                    for name in names
                ]
            else:
                continue
            edges += [(module, node.lineno, name, at_top) for name in names]
    return edges


def _room(module: str) -> str:
    """Name the room of a module of the package; empty for the package itself."""
    return (module.split(".") + [""])[1]


def _is_within(name: str, parents: set[str]) -> bool:
    return any(name == parent or name.startswith(parent + ".") for parent in parents)


def _problems(package: Path) -> list[str]:
    """Say everything about the package's imports that is against the plan."""
    problems = []
    graph: dict[str, set[str]] = {}
    edges = _imports(package)
    eager = {name for _, _, name, at_top in edges if at_top}
    for module, line, name, at_top in edges:
        where, room = f"{module}, line {line}", _room(module)
        optional = name.split(".")[0] in OPTIONAL
        may_import = room == "cli" or (room == "interop" and module not in eager)
        if optional and at_top and not may_import:
            problems.append(f"{where}: imports {name} at the top; import it where it is used")
        if _is_within(name, FORBIDDEN.get(room, set())):
            problems.append(f"{where}: {room} must not know {name}")
        if not _is_within(name, {package.name}):
            continue
        graph.setdefault(module, set()).add(name)
        target = _room(name)
        if room in ("", "__main__"):  # the package itself opens every room but the last
            if room == "" and target == "cli":
                problems.append(f"{where}: the package must not import the command line")
        elif room not in ROOMS:
            problems.append(f"{where}: {room} is no room of the plan")
        elif target == "":
            if room != "cli":
                problems.append(f"{where}: imports the whole package; name the room it needs")
        elif target not in ROOMS:
            problems.append(f"{where}: imports {name}, which is in no room of the plan")
        elif ROOMS.index(target) > ROOMS.index(room):
            problems.append(f"{where}: {room} imports {name}, from a room further down")
        elif room == target == "interop" and module != f"{package.name}.interop":
            problems.append(f"{where}: an adapter imports another, {name}")
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        problems.append("imports in a circle: " + " -> ".join(reversed(error.args[1])))
    return problems


def test_imports_follow_the_plan() -> None:
    """Would catch an import from a room further down, a circle, or an eager optional import."""
    assert _modules(PACKAGE), "no modules found: this test looks in the wrong place"
    problems = _problems(PACKAGE)
    assert not problems, "\n" + "\n".join(problems)


@pytest.mark.parametrize(
    ("file", "line", "complaint"),
    [
        ("numerics/root.py", "from flowjax_lite.bijectors import Chain", "further down"),
        ("numerics/root.py", "from ..bijectors import Chain", "further down"),
        ("bijectors/planar.py", "from flowjax_lite import flows", "further down"),
        ("bijectors/planar.py", "def f():\n    from flowjax_lite.flows import maf", "further down"),
        ("flows/maf.py", "from flowjax_lite.training.fit import fit", "further down"),
        ("numerics/root.py", "from flax import nnx", "must not know"),
        ("training/fit.py", "from flowjax_lite.flows import maf", "must not know"),
        ("data/toy.py", "import flowjax_lite.flows.maf", "must not know"),
        ("training/fit.py", "import flowjax_lite as fl", "whole package"),
        ("training/fit.py", "import matplotlib.pyplot as plt", "where it is used"),
        ("interop/eager.py", "import numpyro", "where it is used"),
        ("interop/numpyro.py", "from flowjax_lite.interop.blackjax import a", "another"),
        ("shed/tools.py", "from flowjax_lite.numerics import root", "no room"),
        ("__init__.py", "from flowjax_lite.cli import main", "the command line"),
        ("bijectors/base.py", "from flowjax_lite.bijectors import Chain", "in a circle"),
    ],
)
def test_wrong_import_is_caught(tmp_path: Path, file: str, line: str, complaint: str) -> None:
    """The twin: would catch a check that has gone blind."""
    package = tmp_path / "flowjax_lite"
    right = {
        "__init__.py": "from flowjax_lite import flows, training",
        "numerics/__init__.py": "from flowjax_lite.numerics.root import monotone_root",
        "numerics/root.py": "import jax",
        "bijectors/__init__.py": "from flowjax_lite.bijectors.base import Chain",
        "bijectors/base.py": "from flax import nnx\nfrom flowjax_lite.numerics import root",
        "flows/__init__.py": "from flowjax_lite.flows.maf import maf",
        "flows/maf.py": "from flowjax_lite.bijectors import Chain",
        "interop/__init__.py": "from flowjax_lite.interop.eager import a",
        "interop/blackjax.py": "import blackjax\nfrom flowjax_lite.flows import maf",
        "interop/eager.py": "def a():\n    import numpyro",
        "training/__init__.py": "def plot():\n    import matplotlib",
        "cli/main.py": "import yaml\nimport flowjax_lite as fl",
    }
    for name, text in right.items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(text)
    assert not _problems(package)

    (package / file).parent.mkdir(exist_ok=True)
    (package / file).write_text(line)
    assert any(complaint in problem for problem in _problems(package))


def test_tests_mirror_the_rooms() -> None:
    """Would catch tests of a room that moved, left where nobody looks for them."""
    others = {"battery", "helpers", "packaging"}
    tests = {path.parents[0] for path in Path(__file__).parent.rglob("test_*.py")}
    folders = {path.relative_to(Path(__file__).parent).as_posix() for path in tests} - {"."}
    unknown = {folder for folder in folders - others if not (PACKAGE / folder).is_dir()}
    assert not unknown, f"no folder of the package has the name of {sorted(unknown)}"
    untested = {room for room in ROOMS if (PACKAGE / room).is_dir()} - {
        folder.split("/")[0] for folder in folders
    }
    assert not untested, f"no tests of {sorted(untested)}"


def _shadowed(room: ModuleType) -> list[str]:
    """List the modules of a room that have the name of something public in it."""
    modules = {path.stem for path in Path(room.__path__[0]).iterdir()}
    return sorted(modules & set(room.__all__))


def test_no_module_has_the_name_of_a_factory() -> None:
    """Would catch `flows/maf.py` beside `flows.maf`, which documentation tools confuse."""
    assert _shadowed(importlib.import_module("flowjax_lite.flows")) == []


def test_module_with_the_name_of_a_factory_is_caught(tmp_path: Path) -> None:
    """The twin: would catch a check that has gone blind."""
    (tmp_path / "maf.py").touch()
    room = ModuleType("room")
    room.__path__, room.__all__ = [str(tmp_path)], ["iaf", "maf"]
    assert _shadowed(room) == ["maf"]


def _undocumented(module: ModuleType) -> list[str]:
    """List the public names of a module that have no docstring of their own."""
    missing = []
    for name in module.__all__:
        item = getattr(module, name)
        if not (inspect.isclass(item) or inspect.isroutine(item) or inspect.ismodule(item)):
            continue  # constants and aliases are explained by a comment
        text = item.__doc__ or ""
        # A dataclass without a docstring gets its signature as one.
        if not text.strip() or text.startswith(f"{name}("):
            missing.append(name)
    return missing


@pytest.mark.parametrize("room", [room for room in ROOMS if (PACKAGE / room).is_dir()])
def test_public_names_are_documented(room: str) -> None:
    """Would catch a room without a list of its public names, or one of them without words."""
    module = importlib.import_module(f"flowjax_lite.{room}")
    assert module.__doc__, f"{room} does not say what it holds"
    if room != "cli":  # commands are its surface, not names
        assert module.__all__, f"{room} has no __all__"
        assert not _undocumented(module), f"{room}: no docstring on {_undocumented(module)}"


def test_missing_docstring_is_caught() -> None:
    """The twin: would catch a check that takes an inherited or generated docstring for one."""
    module = ModuleType("stub")
    exec(
        "from dataclasses import dataclass\n"
        "__all__ = ['Base', 'Child', 'Data', 'function', 'NUMBER']\n"
        "class Base:\n    'Words.'\n"
        "class Child(Base): ...\n"
        "@dataclass\nclass Data:\n    x: int\n"
        "def function(): ...\n"
        "NUMBER = 1\n",
        module.__dict__,
    )
    assert _undocumented(module) == ["Child", "Data", "function"]
