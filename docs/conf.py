"""The documentation site: pages of this folder, the API from docstrings, results of benchmarks."""

import importlib
import shutil
from pathlib import Path

import flowjax_lite

HERE = Path(__file__).parent
REPOSITORY = HERE.parent

project = "flowjax_lite"
author = "the authors of flowjax_lite"
copyright = "the authors of flowjax_lite, Apache-2.0"
version = release = flowjax_lite.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.intersphinx",
    "sphinx_copybutton",
]
exclude_patterns = ["_build", "names/*.rst.tmp"]
html_theme = "furo"
html_title = "flowjax_lite"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False

myst_enable_extensions = ["dollarmath", "colon_fence", "attrs_block"]
myst_heading_anchors = 3
nb_execution_mode = "cache"
nb_execution_timeout = 600
nb_execution_raise_on_error = True
nb_execution_show_tb = True

autosummary_generate = True
autosummary_ignore_module_all = False
autosummary_imported_members = True
autodoc_member_order = "bysource"
autodoc_class_signature = "separated"
autodoc_typehints = "none"  # the signature of a flow has thirty of them; the text says them
add_module_names = False
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
intersphinx_mapping: dict[str, tuple[str, None]] = {}  # nothing is downloaded at build time
templates_path = ["_templates"]
copybutton_exclude = ".linenos, .gp, .go"

# The rooms of the package, in their order; the first one is what `import flowjax_lite as fl` shows.
ROOMS = (
    "flows",
    "distributions",
    "bijectors",
    "transformers",
    "conditioners",
    "continuous",
    "losses",
    "training",
    "inference",
    "diagnostics",
    "data",
    "interop",
    "plot",
    "baselines",
)


def write_api() -> None:
    """One page for each room with a line for every public name, which has a page of its own."""
    folder = HERE / "api"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for room in ("", *ROOMS):
        name = f"flowjax_lite.{room}" if room else "flowjax_lite"
        module = importlib.import_module(name)
        names = [each for each in module.__all__ if _is_documented(module, each)]
        title = f"fl.{room}" if room else "fl"
        lines = [
            f"# `{title}`",
            "",
            (module.__doc__ or "").strip(),
            "",
            "```{eval-rst}",
            f".. currentmodule:: {name}",
            "",
            ".. autosummary::",
            "   :toctree: names",
            "   :template: object.rst",
            "",
            *(f"   {each}" for each in sorted(names)),
            "```",
            "",
        ]
        (folder / f"{room or 'top'}.md").write_text("\n".join(lines), encoding="utf-8")


def _is_documented(module: object, name: str) -> bool:
    """Whether a public name is a class or a function; rooms and tables are described by pages."""
    return callable(getattr(module, name))


def copy_results() -> None:
    """The tables and pictures of the benchmarks, which link to each other."""
    folder = HERE / "results"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for path in sorted((REPOSITORY / "benchmarks" / "results").iterdir()):
        if path.suffix in (".md", ".png"):
            shutil.copy(path, folder / path.name)


write_api()
copy_results()
