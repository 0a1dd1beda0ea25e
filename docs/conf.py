"""The documentation site: pages of this folder, the API from docstrings, results of benchmarks."""

import importlib
import re
import sys
from pathlib import Path
from typing import Any

import nbformat
from jupyter_cache import get_cache

import flowjax_lite

HERE = Path(__file__).parent
REPOSITORY = HERE.parent
sys.path.append(str(HERE / "extensions"))

project = "flowjax_lite"
author = "the authors of flowjax_lite"
copyright = "the authors of flowjax_lite, Apache-2.0"
version = release = flowjax_lite.__version__

extensions = [
    "mathml",
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "flowjax_lite"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_math_renderer = "mathml"
html_show_sourcelink = False

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
# The cache is that of `run_notebooks.py`, which runs notebooks side by side; here they would run
# one after the other.
nb_execution_mode = "cache"
nb_execution_timeout = 600
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_merge_streams = True  # lines that are printed one after the other are one block
nb_output_stderr = "warn"  # a warning in a notebook is one of the site

autosummary_generate = False
autodoc_member_order = "bysource"
autodoc_class_signature = "separated"
autodoc_typehints = "none"  # the signature of a flow has thirty of them; the text says them
autodoc_default_options = {
    # What scikit-learn adds to its estimators.
    "exclude-members": "set_fit_request, set_score_request, set_predict_request, "
    "set_partial_fit_request",
}
default_role = "py:obj"  # what stands in backticks is a link where it names something public
add_module_names = False
napoleon_numpy_docstring = False
napoleon_use_ivar = True
# As text: "(..., dim), in nats: more" names no type before its colon.
napoleon_custom_sections = ["Returns"]

# The rooms of the package, what a reader looks for first at the top.
ROOMS = (
    "flows",
    "distributions",
    "bijectors",
    "transformers",
    "conditioners",
    "continuous",
    "losses",
    "training",
    "io",
    "inference",
    "diagnostics",
    "data",
    "interop",
    "plot",
    "baselines",
)


def write_api() -> None:
    """One page for each room with a line for every public name, which has a page of its own."""
    modules = {room: importlib.import_module(f"flowjax_lite.{room}") for room in ROOMS}
    pages, described, rooms = {}, {}, {}
    for room, module in modules.items():
        names = [name for name in module.__all__ if _is_documented(module, name)]
        rooms |= {id(getattr(module, name)): (room, name) for name in names}
        pages[f"{room}.md"] = _page(f"fl.{room}", module, sorted(names))
        described |= {f"{module.__name__}.{name}.rst": _described(module, name) for name in names}
    # What `import flowjax_lite as fl` shows by itself lies in a room, with few exceptions.
    top = [name for name in flowjax_lite.__all__ if _is_documented(flowjax_lite, name)]
    own = [name for name in top if id(getattr(flowjax_lite, name)) not in rooms]
    links = ["", "From the rooms, for short:", ""]
    for name in top:
        if name not in own:
            room, there = rooms[id(getattr(flowjax_lite, name))]
            links.append(f"- {{py:obj}}`fl.{name} <flowjax_lite.{room}.{there}>`")
    pages["top.md"] = _page("fl", flowjax_lite, own) + "\n".join([*links, ""])
    described |= {f"flowjax_lite.{name}.rst": _described(flowjax_lite, name) for name in own}
    for folder, texts in ((HERE / "api", pages), (HERE / "api" / "names", described)):
        _fill(folder, {name: text.encode() for name, text in texts.items()})


def _fill(folder: Path, files: dict[str, bytes]) -> None:
    """Let a folder hold these files. One that is as it was keeps its date: it is not read again."""
    folder.mkdir(exist_ok=True)
    for path in folder.iterdir():
        if path.is_file() and path.name not in files:
            path.unlink()
    for name, content in files.items():
        path = folder / name
        if not path.exists() or path.read_bytes() != content:
            path.write_bytes(content)


def _page(title: str, module: Any, names: list[str]) -> str:
    lines = [
        f"# `{title}`",
        "",
        (module.__doc__ or "").strip(),
        "",
        "```{eval-rst}",
        f".. currentmodule:: {module.__name__}",
        "",
        ".. autosummary::",
        "",
        *(f"   {name}" for name in names),
        "```",
        "",
    ]
    return "\n".join(lines)


def _described(module: Any, name: str) -> str:
    """The page of a name, which the sidebar leaves out: hundreds of names would be on each page."""
    room = module.__name__.removeprefix("flowjax_lite.")
    title, page = ("fl", "top") if module is flowjax_lite else (f"fl.{room}", room)
    value = getattr(module, name)
    is_type, is_alias = isinstance(value, type), hasattr(value, "__origin__")
    kind = "class" if is_type else "data" if is_alias else "function"
    lines = [
        ":orphan:",
        "",
        name,
        "=" * len(name),
        "",
        f"Of :doc:`{title} </api/{page}>`.",
        "",
        f".. currentmodule:: {module.__name__}",
        "",
        f".. auto{kind}:: {name}",
        *["   :members:", "   :show-inheritance:"] * is_type,
        "",
    ]
    return "\n".join(lines)


def _is_documented(module: object, name: str) -> bool:
    """Whether a public name is a class or a function; rooms and tables are described by pages."""
    return callable(getattr(module, name))


def copy_results() -> None:
    """The tables and pictures of the benchmarks, which link to each other."""
    results = (REPOSITORY / "benchmarks" / "results").iterdir()
    kept = {path.name: path.read_bytes() for path in results if path.suffix in (".md", ".png")}
    _fill(HERE / "results", kept)


def add_download(app: Any, docname: str, source: list[str]) -> None:
    """Give each notebook a link to itself, as it ran here."""
    if docname.startswith("notebooks/"):
        source[0] += f"\n\n{_download(docname)}\n"


def complete_notebooks(app: Any, env: Any) -> None:
    """Give the notebooks to download what their cells gave, where that came from the cache.

    The link, which says nothing within them, is taken away.
    """
    build = Path(app.outdir).parent
    cache = get_cache(build / ".jupyter_cache")
    for docname in env.found_docs:
        if docname.startswith("notebooks/"):
            path = build / "jupyter_execute" / f"{docname}.ipynb"
            _, notebook = cache.merge_match_into_notebook(nbformat.read(path, as_version=4))
            last = notebook.cells[-1]
            last.source = last.source.removesuffix(_download(docname)).rstrip()
            if not last.source:
                notebook.cells.pop()
            nbformat.write(notebook, path)


def _download(docname: str) -> str:
    name = docname.removeprefix("notebooks/")
    return f"{{nb-download}}`Download this notebook <{name}.ipynb>`"


_SECTION = re.compile(r"[A-Z]\w+:$")
_MARKUP = re.compile(r"(`[^`]*`)|([*|_]+)")


def as_restructured(
    app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]
) -> None:
    """Let docstrings, which are plain text with names in backticks, mean what they look like.

    Formulas, which are indented, become blocks of code, and no star or bar is markup.
    """
    written: list[str] = []
    in_text, in_formula = True, False
    for line in lines:
        in_text = in_text and not _SECTION.match(line)
        is_indented = line.startswith("    ") and in_text
        if is_indented and not in_formula:
            written += ["::", ""]
        in_formula = is_indented or (in_formula and not line.strip())
        is_code = is_indented or line.lstrip().startswith((">>>", "..."))
        written.append(line if is_code else _MARKUP.sub(_escaped, line))
    lines[:] = written


def _escaped(match: re.Match[str]) -> str:
    return match[1] or "".join(f"\\{character}" for character in match[2])


def setup(app: Any) -> None:
    """Connect the changes of sources; that of docstrings before napoleon, which reads sections."""
    app.connect("source-read", add_download)
    app.connect("env-updated", complete_notebooks)
    app.connect("autodoc-process-docstring", as_restructured, priority=100)


write_api()
copy_results()
