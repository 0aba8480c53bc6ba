"""Count what a reader must learn: `python tests/count_concepts.py`.

Prints a Markdown table: registered models and encoders, inputs and heads; classes whose body is only a tag; the code
that a Transformer's forward pass calls; the modules that `models/transformer.py` imports; the calls and files from the
command line to the first update; the share of imports; and file names that occur more than once. Lines, their length
and complexity are counted by `tests/code_size.py`; `tests/trace_models.py` lists the traced functions.
"""

import ast
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from inspect import CO_OPTIMIZED
from pathlib import Path
from types import FrameType
from typing import Any

from code_size import code_line_numbers
from trace_models import MODELS, trace

import seqlab
from seqlab.models.config import ModelConfig
from seqlab.registry import Parts

PACKAGE = Path(seqlab.__file__).parent
INPUTS_AND_HEADS = ("frame_input", "token_input", "vector_input", "label_head", "output_head")
"""Modules of `models/` with an input or a head."""
COUNTED_ROOMS = ("models", "nn", "training")


def code_files(folder: Path = PACKAGE) -> list[Path]:
    """List the Python files of a folder."""
    return sorted(folder.rglob("*.py"))


def is_only_a_tag(node: ast.ClassDef) -> bool:
    """Return whether a class only sets a tag and class variables, besides docstrings."""
    has_tag = False
    for statement in node.body:
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
            continue
        if not isinstance(statement, ast.AnnAssign):
            return False
        annotation = ast.unparse(statement.annotation)
        has_tag |= annotation.startswith("Literal[")
        if not annotation.startswith(("Literal[", "ClassVar[")):
            return False
    return has_tag


def tag_classes() -> Iterator[str]:
    """Yield the names of the classes whose body is only a tag."""
    for path in code_files():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ClassDef) and is_only_a_tag(node):
                yield node.name


def imported_modules(path: Path) -> set[str]:
    """Return the names of the modules of the package, and their members, that a file imports anywhere."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("seqlab"):
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names if alias.name.startswith("seqlab")}
    return names


def import_closure(path: Path) -> set[Path]:
    """Return a file and the files that it imports, directly or not, lazy imports included."""
    closure, waiting = set(), [path]
    while waiting:
        path = waiting.pop()
        if path in closure:
            continue
        closure.add(path)
        for name in imported_modules(path):
            module = PACKAGE.parent.joinpath(*name.split("."))
            waiting += [each for each in (module.with_suffix(".py"), module / "__init__.py") if each.is_file()]
    return closure


class FirstUpdate(Exception):
    """The first update begins."""


def path_to_first_update() -> tuple[int, set[str]]:
    """Train by the command line up to the first update; return the depth of calls and the files that ran."""
    import seqlab.training.update
    from seqlab.cli.main import main

    files: set[str] = set()
    depth = 0

    def record(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal depth
        is_function = frame.f_code.co_flags & CO_OPTIMIZED  # not the body of a module or a class
        if event != "call" or not is_function or not frame.f_code.co_filename.startswith(str(PACKAGE)):
            return
        files.add(frame.f_code.co_filename)
        if frame.f_code is seqlab.training.update.start_update.__code__:
            calls: FrameType | None = frame
            while calls is not None:
                depth += calls.f_code.co_filename.startswith(str(PACKAGE)) and calls.f_code.co_name != "<module>"
                calls = calls.f_back
            raise FirstUpdate

    with tempfile.TemporaryDirectory() as folder:
        arguments = ["train", "number_words", "--run_dir", f"{folder}/run", "--quiet", "--data.prefetch_steps", "0"]
        sys.setprofile(record)
        try:
            main(arguments)
        except FirstUpdate:
            pass
        finally:
            sys.setprofile(None)
    return depth, files


def import_share() -> float:
    """Return the share of the code lines that are imports."""
    imports = lines = 0
    for path in code_files():
        text = path.read_text("utf-8")
        tree = ast.parse(text)
        code = code_line_numbers(text, tree)
        lines += len(code)
        nodes = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
        imports += len({n for node in nodes for n in range(node.lineno, (node.end_lineno or 0) + 1)} & code)
    return imports / lines


def code_lines(paths: list[Path] | set[Path]) -> int:
    """Count the lines of code of files."""
    texts = [path.read_text("utf-8") for path in paths]
    return sum(len(code_line_numbers(text, ast.parse(text))) for text in texts)


def config_members() -> list[str]:
    """List the public members that the base class of model configs defines."""
    return [name for name in (*vars(ModelConfig), *ModelConfig.__annotations__) if not name.startswith("_")]


def counts() -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield what is counted, and a function that counts it."""
    models, encoders = len(Parts("model")), len(Parts("encoder"))
    total = models + encoders + len(INPUTS_AND_HEADS)
    yield "models; with encoders, inputs and heads", lambda: f"{models}; {total}"
    yield "classes whose body is only a tag", lambda: len(list(tag_classes()))
    traced = trace(MODELS["Transformer"])
    yield "a Transformer's forward pass: files; lines of functions", lambda: f"{len(traced.files)}; {traced.lines}"
    closure = import_closure(PACKAGE / "models" / "transformer.py")
    all_lines = sum(len(path.read_text("utf-8").splitlines()) for path in closure)
    yield "import closure of `models/transformer.py`: files; lines", lambda: f"{len(closure)}; {all_lines:,}"
    depth, files = path_to_first_update()
    yield "from `main` to the first update: nested calls; files", lambda: f"{depth}; {len(files)}"
    names = Counter(path.name for path in code_files() if path.name != "__init__.py")
    repeated = sum(count > 1 for count in names.values())
    yield "imports' share of the lines; file names used more than once", lambda: f"{import_share():.1%}; {repeated}"
    rooms = [path for room in COUNTED_ROOMS for path in code_files(PACKAGE / room)]
    yield f"lines of code of {', '.join(COUNTED_ROOMS)}", lambda: f"{code_lines(rooms):,}"
    yield "members of `ModelConfig`", lambda: len(set(config_members()))


def main() -> None:
    """Print the table."""
    print("| counted | now |\n|---|---|")
    for name, count in counts():
        print(f"| {name} | {count()} |")


if __name__ == "__main__":
    main()
