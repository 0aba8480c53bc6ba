"""Count lines of code, their mean length and the complexity of functions: `python tests/code_size.py [FOLDER]`.

A line of code has a token that is no comment and no docstring; each line of a longer string counts unless it is blank.
A docstring is any statement that is only a string, so the description below an attribute is one too. The length of a
line is its number of characters without the white space around it; a comment after the code is part of it. Complexity
is McCabe's (1976), with one more path for each boolean operand after the first. A function inside another one is
counted on its own; a lambda belongs to the function around it.

`--by_room` adds a row for each folder of the package.
"""

import argparse
import ast
import io
import tokenize
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

LONG_FUNCTION = 40
"""Lines from `def` to the last statement, docstring included, without decorators."""
LONG_FILE = 400
"""All lines of a file."""
LAYOUT = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENCODING,
    tokenize.ENDMARKER,
}
BRANCHES = (ast.If, ast.IfExp, ast.For, ast.AsyncFor, ast.While, ast.ExceptHandler, ast.match_case)
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass
class Size:
    """The figures of one file or of several together."""

    files: int = 0
    all_lines: int = 0
    code_lines: int = 0
    code_characters: int = 0
    complexities: list[int] = field(default_factory=list)
    most_complex: str = ""
    long_functions: list[str] = field(default_factory=list)
    long_files: list[str] = field(default_factory=list)


def measure_file(path: Path) -> Size:
    """Measure one file of Python code."""
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    lines = text.splitlines()
    code = code_line_numbers(text, tree)
    functions = [node for node in ast.walk(tree) if isinstance(node, Function)]
    complexities = [complexity(function) for function in functions]
    most_complex = ""
    if functions:
        highest = max(complexities)
        most_complex = _location(path, functions[complexities.index(highest)])
    return Size(
        files=1,
        all_lines=len(lines),
        code_lines=len(code),
        code_characters=sum(len(lines[number - 1].strip()) for number in code),
        complexities=complexities,
        most_complex=most_complex,
        long_functions=[_location(path, each) for each in functions if _length(each) > LONG_FUNCTION],
        long_files=[str(path)] if len(lines) > LONG_FILE else [],
    )


def code_line_numbers(text: str, tree: ast.Module) -> set[int]:
    """Return the numbers of the lines, from 1, that hold code."""
    docstring_lines = set(_docstring_lines(tree))
    lines = text.splitlines()
    found: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        is_docstring = token.type == tokenize.STRING and token.start[0] in docstring_lines
        if token.type not in LAYOUT and not is_docstring:
            found.update(range(token.start[0], token.end[0] + 1))
    return {number for number in found if number <= len(lines) and lines[number - 1].strip()}


def _docstring_lines(tree: ast.Module) -> Iterator[int]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield from range(node.lineno, (node.end_lineno or node.lineno) + 1)


def complexity(function: Function) -> int:
    """Count the independent paths through a function without those of functions and classes inside it."""
    return 1 + sum(_branches(node) for node in _own_nodes(function))


def _branches(node: ast.AST) -> int:
    if isinstance(node, BRANCHES):
        return 1
    if isinstance(node, ast.BoolOp):
        return len(node.values) - 1
    if isinstance(node, ast.comprehension):
        return len(node.ifs)
    return 0


def _own_nodes(function: Function) -> Iterator[ast.AST]:
    waiting: list[ast.AST] = list(function.body)
    while waiting:
        node = waiting.pop()
        yield node
        waiting += [child for child in ast.iter_child_nodes(node) if not isinstance(child, Function | ast.ClassDef)]


def _length(function: Function) -> int:
    return (function.end_lineno or function.lineno) - function.lineno + 1


def _location(path: Path, function: Function) -> str:
    return f"{path}:{function.lineno} {function.name}"


def add_up(sizes: Iterable[Size]) -> Size:
    """Combine the figures of several files."""
    total = Size()
    for size in sizes:
        if size.complexities and max(size.complexities) > max(total.complexities, default=0):
            total.most_complex = size.most_complex
        total.files += size.files
        total.all_lines += size.all_lines
        total.code_lines += size.code_lines
        total.code_characters += size.code_characters
        total.complexities += size.complexities
        total.long_functions += size.long_functions
        total.long_files += size.long_files
    return total


def print_table(rows: Sequence[tuple[str, Size]]) -> None:
    """Print one Markdown row for each name."""
    print("| folder | files | all lines | lines of code | mean length | functions | mean complexity | highest |")
    print("|---|---|---|---|---|---|---|---|")
    for name, size in rows:
        length = size.code_characters / max(size.code_lines, 1)
        mean, highest = (fmean(size.complexities), max(size.complexities)) if size.complexities else (0.0, 0)
        counts = f"{size.files} | {size.all_lines:,} | {size.code_lines:,} | {length:.2f} | {len(size.complexities):,}"
        print(f"| {name} | {counts} | {mean:.3f} | {highest} |")


def main() -> None:
    """Measure a package and print its table and what is too long."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    package = Path(__file__).resolve().parents[1] / "seqlab"
    parser.add_argument("package", nargs="?", type=Path, default=package, metavar="PACKAGE_FOLDER")
    parser.add_argument("--by_room", action="store_true", help="a row for each folder of the package as well")
    arguments = parser.parse_args()
    rooms: dict[str, list[Size]] = {}
    for path in sorted(arguments.package.rglob("*.py")):
        parts = path.relative_to(arguments.package).parts
        rooms.setdefault(f"{parts[0]}/" if len(parts) > 1 else "(no folder)", []).append(measure_file(path))
    if not rooms:
        parser.error(f"there is no Python file in `{arguments.package}`.")
    totals = {name: add_up(sizes) for name, sizes in sorted(rooms.items())}
    total = add_up(totals.values())
    print_table([*(totals.items() if arguments.by_room else ()), ("total", total)])
    print(f"\nmost complex: {total.most_complex}")
    for title, found in (
        (f"functions over {LONG_FUNCTION} lines", total.long_functions),
        (f"files over {LONG_FILE} lines", total.long_files),
    ):
        print("\n".join([f"{title}: {len(found)}", *(f"  {each}" for each in found)]))


if __name__ == "__main__":
    main()
