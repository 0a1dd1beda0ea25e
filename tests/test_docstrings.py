"""The examples of docstrings run as they stand."""

import doctest
import importlib
import importlib.util
import pkgutil
from pathlib import Path

import jax
import pytest

import flowjax_lite


def modules_with_examples() -> list[str]:
    """The modules whose docstrings have examples, found in their text: importing them is slow."""
    packages = pkgutil.walk_packages(flowjax_lite.__path__, "flowjax_lite.")
    specs = [importlib.util.find_spec(module.name) for module in packages]
    return [
        spec.name
        for spec in specs
        if spec is not None
        and spec.origin
        and ">>> " in Path(spec.origin).read_text(encoding="utf-8")
    ]


@pytest.mark.parametrize("name", modules_with_examples())
def test_examples_run(name: str):
    """Catches an example that lacks an import, warns, or shows what is no longer so."""
    module = importlib.import_module(name)
    with jax.numpy_rank_promotion("allow"):  # as users have it
        failed, tried = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert tried > 0
    assert failed == 0


def test_a_wrong_example_fails():
    """The twin: catches a runner that lets everything pass."""
    parser = doctest.DocTestParser()
    example = parser.get_doctest(">>> 1 + 1\n3\n", {}, "wrong", None, None)
    assert doctest.DocTestRunner(verbose=False).run(example, out=lambda _: None).failed == 1
