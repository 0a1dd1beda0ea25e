"""The errors that the command line reports in one line instead of a traceback."""

import difflib
from collections.abc import Iterable


class CommandError(ValueError):
    """Something that the user can put right: reported as one message, exit status 2."""


class FieldError(ValueError):
    """A field holds a value that it cannot take.

    Args:
        field: The name of the field.
        message: What was expected and what came.
    """

    def __init__(self, field: str, message: str):
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """Return ` (did you mean 'x'?)` for the closest choice, or nothing if none is close."""
    close = difflib.get_close_matches(word, list(choices), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
