"""Formulas as MathML, which browsers draw by themselves: no script, and nothing to download."""

from typing import Any

from docutils import nodes
from latex2mathml.converter import convert


def _visit(translator: Any, node: Any, display: str) -> None:
    translator.body.append(convert(node.astext(), display=display))
    raise nodes.SkipNode


def setup(app: Any) -> dict[str, Any]:
    """Register the renderer, which `html_math_renderer` names."""
    app.add_html_math_renderer(
        "mathml",
        (lambda translator, node: _visit(translator, node, "inline"), None),
        (lambda translator, node: _visit(translator, node, "block"), None),
    )
    return {"parallel_read_safe": True}
