"""Isolation of registered parts: no other file checks for a part's class or name, or has a flag for it.

A part (a model, objective, search and so on) is defined in the file of its entry in `seqlab.built_in`; a task is
defined in the folder of that file. `ALLOWED` lists the exceptions with their reasons.
"""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import seqlab
from seqlab.built_in import BUILT_IN
from seqlab.registry import Parts

PACKAGE = Path(seqlab.__file__).parent
KINDS = ("model", "objective", "optimizer", "schedule", "search", "task", "tokenizer", "exporter", "engine")
KINDS_WITH_UNIQUE_NAMES = ("model", "objective", "task")
"""Names of other kinds are ambiguous: `linear`, for example, is a schedule and also a type of layer."""
CONFIG_NAMES = ("config", "model", "data", "objective", "tokenizer", "model_config", "data_config")
"""Names of variables and attributes that hold a config, a section of it or a model."""
EXPORTER = "an exporter writes the weights of one architecture"
COLUMN = "a column of the predictions of `--folds`, not the task of that name"
ALLOWED: dict[tuple[str, str], str] = {
    ("export/arpa.py", "if not isinstance(loaded.model, NgramModel):"): EXPORTER,
    (
        "export/convert.py",
        'assert isinstance(loaded.model, Transformer), "`refuse_unsupported_models` allows only Transformers"',
    ): EXPORTER,
    ("export/convert.py", "if not isinstance(model, TransformerConfig):"): EXPORTER,
    (
        "data/recordings.py",
        'return {"audio": self.audio, "columns": self.columns, "prediction": prediction, "target": target}',
    ): COLUMN,
    ("tasks/labelling/task.py", 'yield {"src": line, "prediction": prediction, "target": target}'): COLUMN,
    ("tasks/translation/task.py", 'yield {"src": src, "prediction": translation.text, "target": tgt}'): COLUMN,
    (
        "tasks/translation/task.py",
        'yield {"src": src, "prediction": translation.text, "target": tgt, "pieces": pieces}',
    ): COLUMN,
    (
        "tasks/prediction/task.py",
        'yield {"example": data.locate(row), "prediction": prediction, "target": reference}',
    ): (COLUMN),
    ("tasks/language_modelling/task.py", 'yield {"prediction": sample.text}'): COLUMN,
    (
        "recipes/distilled.py",
        "assert isinstance(config.data, TranslationConfig)",
    ): "a recipe that changes the config of another recipe, which trains a translator",
}
"""(file, line of code) -> reason for the exception."""


def last_name(node: ast.expr) -> str:
    """Return `c` of an expression `a.b.c`, and "" for other expressions than names and attributes."""
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def part_file(target: str) -> Path:
    """Return the file of a part from its entry `module:attribute`."""
    return PACKAGE.parent / Path(*target.partition(":")[0].split(".")).with_suffix(".py")


@cache
def class_locations() -> dict[str, Path]:
    """Map each class of a part's file or a task's folder, except protocols, to that file or folder."""
    found: dict[str, Path] = {}
    for kind in KINDS:
        for target, _ in BUILT_IN[kind].values():
            path = part_file(target)
            location = path.parent if kind == "task" else path
            for file in location.rglob("*.py") if location.is_dir() else [path]:
                for node in ast.parse(file.read_text("utf-8")).body:
                    if isinstance(node, ast.ClassDef) and "Protocol" not in map(last_name, node.bases):
                        found[node.name] = location
    return found


PART_FILES = {
    name: part_file(target) for kind in KINDS_WITH_UNIQUE_NAMES for name, (target, _) in BUILT_IN[kind].items()
}
"""Name of a part -> its file."""


def is_foreign_class(file: Path, name: str) -> bool:
    """Return whether a name is that of a part's class that is defined outside a file and its folder."""
    location = class_locations().get(name)
    return location is not None and file != location and location not in file.parents


def defines_part(file: Path, name: str) -> bool:
    """Return whether a file is the part's file, or in the folder of the task of this name."""
    own_file = PART_FILES[name]
    return file == own_file or (name in BUILT_IN["task"] and own_file.parent in file.parents)


def find_checks(file: Path) -> Iterator[tuple[int, str]]:
    """Yield the line numbers of a file that check for a part, with a description of the check."""
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            if node.func.id in ("isinstance", "issubclass"):
                for each in ast.walk(node.args[1]):
                    if isinstance(each, ast.Name) and is_foreign_class(file, each.id):
                        yield node.lineno, f"class {each.id}"
            has_literal_name = len(node.args) > 1 and isinstance(node.args[1], ast.Constant)
            if node.func.id in ("getattr", "hasattr") and has_literal_name and last_name(node.args[0]) in CONFIG_NAMES:
                yield node.lineno, f"attribute of {ast.unparse(node.args[0])}"
        if isinstance(node, ast.Compare):
            yield from find_part_names(file, [node.left, *node.comparators])
        if isinstance(node, ast.match_case):
            yield from find_part_names(
                file, [each.value for each in ast.walk(node.pattern) if isinstance(each, ast.MatchValue)]
            )
        if isinstance(node, ast.Dict):
            keys = [key for key in node.keys if key is not None]
            yield from find_part_names(file, keys)
            for key in keys:
                if isinstance(key, ast.Name) and is_foreign_class(file, key.id):
                    yield key.lineno, f"dict by class {key.id}"


def find_part_names(file: Path, expressions: list[ast.expr]) -> Iterator[tuple[int, str]]:
    """Yield the names of parts of other files that occur as literals in expressions."""
    for each in expressions:
        for node in ast.walk(each):
            if not isinstance(node, ast.Constant) or node.value not in PART_FILES:
                continue
            if not defines_part(file, str(node.value)):
                yield node.lineno, f"name {node.value}"


def test_other_files_do_not_check_for_parts() -> None:
    found = []
    for file in sorted(PACKAGE.rglob("*.py")):
        if file.name in ("built_in.py", "migrate.py") or {"corpora", "nn"} & {*file.relative_to(PACKAGE).parts}:
            continue  # in nn, `lstm` is a layer
        lines = file.read_text("utf-8").splitlines()
        for number, check in find_checks(file):
            location = str(file.relative_to(PACKAGE)), lines[number - 1].strip()
            if location not in ALLOWED:
                found.append(f"{location[0]}:{number}: {check}: {location[1]}")
    assert found == []


def test_allowed_exceptions_exist() -> None:
    for file, line in ALLOWED:
        assert line in [each.strip() for each in (PACKAGE / file).read_text("utf-8").splitlines()]


@pytest.mark.parametrize("kind", ["model", "objective", "task"])
def test_flags_of_base_classes_are_set_by_several_families(kind: str) -> None:
    """A flag that only one family sets would be a check for this family."""
    parts = list(Parts(kind).values())
    base = next(each for each in parts[0].__mro__ if "part_kind" in each.__dict__)
    flags = [name for name, value in vars(base).items() if isinstance(value, bool)]
    for flag in flags:
        modules = {next(each for each in part.__mro__ if flag in vars(each)).__module__ for part in parts}
        assert len(modules - {base.__module__}) != 1, flag


def test_find_checks_detects_all_types_of_checks(tmp_path: Path) -> None:
    file = tmp_path / "some.py"
    file.write_text(
        "a = isinstance(x, TransformerConfig | RecurrentConfig)\nb = config.data.kind == 'translation'\n"
        "c = getattr(config.model, 'copying', False)\nd = {NgramModel: 1}\n"
        "e = {'lstm': 2}\nf = x in ('ctc', 'r_drop')\n"
    )
    types_of_checks = [check.split()[0] for _, check in sorted(find_checks(file))]
    assert types_of_checks == ["class", "class", "name", "attribute", "dict", "name", "name", "name"]
