"""How messages put things."""

from collections.abc import Iterable


def listed(items: Iterable[object], *, most: int = 5, separator: str = ", ") -> str:
    """The first items, with dots in place of the others."""
    words = [str(item) for item in items]
    return separator.join([*words[:most], *["..."] * (len(words) > most)])
