"""JSON from strangers."""

import pytest

from flowjax_lite.core import strict_json


def test_json_is_read():
    """Catches values that strictness changes."""
    text = '{"a": [1, -2.5, null, true], "b": {"a": "é"}}'
    assert strict_json.loads(text) == {"a": [1, -2.5, None, True], "b": {"a": "é"}}
    assert strict_json.loads(text.encode()) == strict_json.loads(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1, "a": 2}', "the key 'a' is given twice"),
        ('[{"b": {"a": 1, "a": 1}}]', "the key 'a' is given twice"),
        ("[NaN]", "NaN is no JSON"),
        ('{"a": -Infinity}', "-Infinity is no JSON"),
        ("{", "Expecting"),
        (b"\xff\xfe\xfa", "decode"),
        (5000 * "9", "limit"),
    ],
)
def test_other_text_is_refused(text: str | bytes, message: str):
    """Catches a second value that silently wins, and numbers that no comparison finds."""
    with pytest.raises(ValueError, match=message):
        strict_json.loads(text)
