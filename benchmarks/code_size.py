"""How much code each room of the package holds, one or more versions side by side.

A line counts if it holds code: not if it is blank, a comment, or part of a docstring.

    python benchmarks/code_size.py                   # this checkout
    python benchmarks/code_size.py 95597b1 .         # a revision of git, and a directory
    python benchmarks/code_size.py --room cli        # the files of one room

Where a room did not exist, what it holds now stood elsewhere: before there was a room `core`, most
of it stood in `numerics`, `losses` and `io` in `training` and `flows`.
"""

import argparse
import ast
import io
import subprocess
import tarfile
import tokenize
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path, PurePath

PACKAGE = "flowjax_lite"
ROOT = Path(__file__).parents[1]
# The rooms of the mathematics; all others are the shell around it.
MATHEMATICS = (
    "numerics",
    "transformers",
    "conditioners",
    "bijectors",
    "continuous",
    "distributions",
)
NO_CODE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}


def lines_of_code(source: str) -> int:
    """Count the lines of a module that hold code."""
    code: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in NO_CODE:
            code.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        if isinstance(node, documented) and ast.get_docstring(node, clean=False) is not None:
            code.difference_update(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    return len(code)


def sources(version: str) -> Iterator[tuple[PurePath, str]]:
    """Yield path inside the package, and text, of each module of a directory or a revision."""
    if Path(version).is_dir():
        package = Path(version) / PACKAGE
        for path in package.rglob("*.py"):
            yield path.relative_to(package), path.read_text(encoding="utf-8")
        return
    archive = subprocess.run(
        ["git", "archive", version, PACKAGE], cwd=ROOT, check=True, stdout=subprocess.PIPE
    )
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tar:
        for member in tar.getmembers():
            if member.isfile() and member.name.endswith(".py"):
                text = tar.extractfile(member).read().decode()
                yield PurePath(member.name).relative_to(PACKAGE), text


def count(version: str, place: Callable[[PurePath], str | None]) -> Counter[str]:
    """Add up the lines of one version by the place of each module; None leaves a module out."""
    lines: Counter[str] = Counter()
    for path, source in sources(version):
        name = place(path)
        if name is not None:
            lines[name] += lines_of_code(source)
    return lines


def table(heads: list[str], rows: list[list[object]]) -> str:
    """Lay out a table in Markdown."""
    cells = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    return "\n".join("| " + " | ".join(map(str, row)) + " |" for row in cells)


def main() -> None:
    """Print a table of the versions that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "versions", nargs="*", default=[str(ROOT)], help="directories or revisions of git"
    )
    parser.add_argument("--room", help="list the files of this room instead of all rooms")
    arguments = parser.parse_args()
    heads = [PurePath(version).name or "." for version in arguments.versions]

    def room(path: PurePath) -> str:
        return path.parts[0] if len(path.parts) > 1 else "(package)"

    def file(path: PurePath) -> str | None:
        return "/".join(path.parts[1:]) if room(path) == arguments.room else None

    counts = [count(version, file if arguments.room else room) for version in arguments.versions]
    names = sorted(set().union(*counts))
    shell = [name for name in names if name not in MATHEMATICS]
    if arguments.room:
        groups = [names]
    else:
        groups = [[name for name in names if name in MATHEMATICS], shell]
    rows = []
    for title, group in zip(("the mathematics", "the shell"), groups, strict=False):
        rows += [[f"`{name}`", *(lines[name] for lines in counts)] for name in group]
        if not arguments.room:
            rows.append([f"**{title}**", *(sum(c[name] for name in group) for c in counts)])
    rows.append(["**all**", *(lines.total() for lines in counts)])
    print(table(["room" if not arguments.room else arguments.room, *heads], rows))


if __name__ == "__main__":
    main()
