from pathlib import Path

import pytest

from flowjax_lite.cli.config import yaml_file


def _read(tmp_path: Path, text: str) -> tuple[dict, dict[str, str]]:
    path = tmp_path / "file.yaml"
    path.write_text(text)
    return yaml_file.read(path)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3),
        ("-1E5", -1e5),
        ("1.", 1.0),
        (".5", 0.5),
        ("12", 12),
        ("-0", 0),
        ("true", True),
        ("false", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("no", "no"),
        ("on", "on"),
        ("True", "True"),
        ("1_000", "1_000"),
        ("0x1f", "0x1f"),
        ("12:30:00", "12:30:00"),
        ("2024-01-01", "2024-01-01"),
        ("'1e-3'", "1e-3"),
        ('"010"', "010"),
        ("[1, a, 2.5]", (1, "a", 2.5)),
    ],
)
def test_plain_scalars_mean_what_they_look_like(tmp_path: Path, text: str, value: object) -> None:
    """Would catch YAML 1.1: 1e-3 as text, `no` as False, 12:30:00 as a number of seconds."""
    got = _read(tmp_path, f"key: {text}\n")[0]["key"]
    assert got == value
    assert type(got) is type(value)


def test_keys_know_their_lines(tmp_path: Path) -> None:
    """Would catch lines counted from zero, or an error that points at a later value."""
    _, places = _read(tmp_path, "# comment\na: 1\nb:\n  c: 2\n  d:\n    - 3\n")
    file = tmp_path / "file.yaml"
    lines = {"": 2, "a": 2, "b": 3, "b.c": 4, "b.d": 5}
    assert places == {key: f"{file}:{line}" for key, line in lines.items()}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", r"file.yaml:3: duplicate key 'a', first given on line 1"),
        ("b:\n  c: 1\n  c: 2\n", r"file.yaml:3: duplicate key 'c', first given on line 2"),
        ("a: 010\n", r"file.yaml:1: 010 has a leading zero: write 10, or '010'"),
        ("a: 1\nb: [1, 2\n", r"file.yaml:3: not valid YAML"),
        ("\ta: 1\n", r"file.yaml:1: not valid YAML"),
        ("a: !!python/object:os.system x\n", r"file.yaml:1: the tag .* is not supported"),
        ("a: 1\nb: !!str 2\n", r"file.yaml:2: the tag .* is not supported"),
        ("a: 1\nb: ! 2\n", r"file.yaml:2: the tag '!' is not supported"),
        ("a: &x {u: 1}\nb: *x\n", r"file.yaml:1: anchors and aliases are not supported"),
        ("a: &x [*x]\n", r"file.yaml:1: anchors and aliases are not supported"),
        ("a: 1\nb: *x\n", r"file.yaml:2: anchors and aliases are not supported"),
        ("a: 1\nb: [[[[1]]]]\n", r"file.yaml:2: nested more than 4 levels deep"),
        ("a: 1\n? [[[[1]]]]\n: 2\n", r"file.yaml:2: nested more than 4 levels deep"),
        ("a: 9223372036854775808\n", r"file.yaml:1: 9223372036854775808 is beyond 64 bits"),
        ("a: -" + 5000 * "9", r"file.yaml:1: -9{29} is beyond 64 bits"),
        ('a: "\\e[2J"\n', r"file.yaml:1: .* holds a control character"),
        ('a: "\\uD800"\n', r"file.yaml:1: .* holds a control character"),
        ('"\\0": 1\n', r"file.yaml:1: .* holds a control character"),
        ('a: "\\UFFFFFFFF"\n', r"file.yaml: not valid YAML"),
        ("a: 1\n" + 2**20 * "#", r"file.yaml: .* is larger than 1048576 bytes"),
        ("1: 2\n", r"file.yaml:1: expected a name as the key, got 1"),
        ("a: 1\n---\nb: 2\n", r"file.yaml:2: not valid YAML"),
        ("- 1\n", r"file.yaml: expected lines such as 'key: value'"),
        ("", r"file.yaml: expected lines such as 'key: value'"),
        ("a: \0", r"file.yaml: not valid YAML"),
    ],
)
def test_errors_name_file_and_line(tmp_path: Path, text: str, message: str) -> None:
    """Would catch a duplicate key that silently wins, and a parser's error without a place."""
    with pytest.raises(ValueError, match=message):
        _read(tmp_path, text)


def test_unreadable_files(tmp_path: Path) -> None:
    """Would catch a traceback for a path that is not there, a folder, or bytes that are no text."""
    with pytest.raises(ValueError, match=r"none.yaml: no such file"):
        yaml_file.read(tmp_path / "none.yaml")
    with pytest.raises(ValueError, match="cannot be read as text"):
        yaml_file.read(tmp_path)
    (tmp_path / "bytes.yaml").write_bytes(b"a: \xff\xfe")
    with pytest.raises(ValueError, match=r"bytes.yaml: cannot be read as text"):
        yaml_file.read(tmp_path / "bytes.yaml")


def test_dump_is_read_back_exactly(tmp_path: Path) -> None:
    """Would catch text written without quotes that comes back as a number, and lost digits."""
    values = {
        "floats": (1e-5, 1e22, 0.1, 2.0),
        "ints": (0, -3),
        "none": None,
        "bools": (True, False),
        "texts": ("no", "1e-3", "010", "true", "null", "", "- a", "x: y", "a # b", "ü", "a\nb"),
        "section": {"empty": ()},
    }
    assert _read(tmp_path, yaml_file.dump(values))[0] == values
