"""A few lines, or a small table in a notebook, about something that a user holds."""

import html
import textwrap
from collections.abc import Sequence

_WIDTH, _MAX_LINES = 88, 6  # of the text of one value


def as_text(title: str, rows: Sequence[tuple[str, object]]) -> str:
    """Lines of names and values under a title, for `__repr__`.

    Args:
        title: what it is.
        rows: names and values, each printed by `str`; long ones go on in the next lines.
    """
    width = max((len(name) for name, _ in rows), default=0)
    lines = [
        textwrap.fill(
            str(value),
            _WIDTH,
            initial_indent=f"  {name:<{width}}  ",
            subsequent_indent=" " * (width + 4),
            break_long_words=False,
            break_on_hyphens=False,
            max_lines=_MAX_LINES,
            placeholder=" ...",
        )
        for name, value in rows
    ]
    return "\n".join([title, *lines])


def as_html(title: str, rows: Sequence[tuple[str, object]]) -> str:
    """The same as a table, for `_repr_html_`; nothing in it is taken for HTML."""
    cells = "".join(
        f'<tr><th style="text-align:left">{html.escape(name)}</th>'
        f'<td style="text-align:left">{html.escape(str(value))}</td></tr>'
        for name, value in rows
    )
    return f"<table><caption>{html.escape(title)}</caption>{cells}</table>"
