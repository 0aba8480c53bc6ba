"""Parts own themselves: outside of its own file, nothing checks the class or name of a part or has a flag for it.

The own file of a part is that of its entry in `seqlab.built_in`; that of a task is its folder. `ALLOWED` lists the
exceptions with their reasons.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import seqlab
from seqlab.built_in import BUILT_IN
from seqlab.registry import Parts

PACKAGE = Path(seqlab.__file__).parent
KINDS = ("model", "objective", "optimizer", "schedule", "search", "task", "tokenizer", "exporter", "engine")
NAMED_KINDS = ("model", "objective", "task")
"""Kinds with unambiguous names: `linear`, for example, is also a schedule."""
SECTIONS = ("config", "model", "data", "objective", "tokenizer", "model_config", "data_config")
"""Names at the end of expressions that are configs, their sections or models."""
EXPORTER = "an exporter writes the weights of one architecture"
COLUMN = "a column of the answers of `--folds`, not the task of that name"
ALLOWED: dict[tuple[str, str], str] = {
    ("export/arpa.py", "if not isinstance(member.model, NgramModel):"): EXPORTER,
    (
        "export/convert.py",
        'assert isinstance(member.model, Transformer), "`refuse_other_families` is called before"',
    ): EXPORTER,
    ("export/convert.py", "if not isinstance(model, TransformerConfig):"): EXPORTER,
    (
        "data/recordings.py",
        'return {"audio": self.audio, "columns": self.columns, "prediction": prediction, "target": target}',
    ): COLUMN,
    ("tasks/labelling/task.py", 'yield {"src": line, "prediction": prediction, "target": target}'): COLUMN,
    ("tasks/translation/task.py", 'yield {"src": src, "prediction": translation.text, "target": tgt}'): COLUMN,
    (
        "recipes/distilled.py",
        "assert isinstance(config.data, TranslationConfig)",
    ): "a recipe changes the config of another one, which translates",
}
"""(file, line of code) -> reason of the exception."""


def last_name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def own_locations() -> dict[str, Path]:
    """Map each class of a part's file or a task's folder, except protocols, to that file or folder."""
    found: dict[str, Path] = {}
    for kind in KINDS:
        for target, _ in BUILT_IN[kind].values():
            path = PACKAGE.parent / Path(*target.partition(":")[0].split(".")).with_suffix(".py")
            location = path.parent if kind == "task" else path
            for file in location.rglob("*.py") if location.is_dir() else [path]:
                for node in ast.parse(file.read_text("utf-8")).body:
                    if isinstance(node, ast.ClassDef) and "Protocol" not in map(last_name, node.bases):
                        found[node.name] = location
    return found


OWN_LOCATIONS = own_locations()
NAMES = {
    name: PACKAGE.parent / Path(*target.partition(":")[0].split(".")).with_suffix(".py")
    for kind in NAMED_KINDS
    for name, (target, _) in BUILT_IN[kind].items()
}


def is_own(file: Path, location: Path) -> bool:
    return file == location or location in file.parents


def is_task_of(file: Path, name: str) -> bool:
    """Return whether a file is the part's own, or in the folder of the task of this name."""
    return file == NAMES[name] or (name in BUILT_IN["task"] and NAMES[name].parent in file.parents)


def checks_for_parts(file: Path) -> Iterator[tuple[int, str]]:
    """Yield the line numbers of a file that check for a part, with a description of the check."""
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            if node.func.id in ("isinstance", "issubclass"):
                for each in ast.walk(node.args[1]):
                    if (
                        isinstance(each, ast.Name)
                        and each.id in OWN_LOCATIONS
                        and not is_own(file, OWN_LOCATIONS[each.id])
                    ):
                        yield node.lineno, f"class {each.id}"
            is_named = len(node.args) > 1 and isinstance(node.args[1], ast.Constant)
            if node.func.id in ("getattr", "hasattr") and is_named and last_name(node.args[0]) in SECTIONS:
                yield node.lineno, f"attribute of {ast.unparse(node.args[0])}"
        if isinstance(node, ast.Compare):
            yield from names_in(file, [node.left, *node.comparators])
        if isinstance(node, ast.match_case):
            yield from names_in(
                file, [each.value for each in ast.walk(node.pattern) if isinstance(each, ast.MatchValue)]
            )
        if isinstance(node, ast.Dict):
            keys = [key for key in node.keys if key is not None]
            yield from names_in(file, keys)
            for key in keys:
                if isinstance(key, ast.Name) and key.id in OWN_LOCATIONS and not is_own(file, OWN_LOCATIONS[key.id]):
                    yield key.lineno, f"dict by class {key.id}"


def names_in(file: Path, expressions: list[ast.expr]) -> Iterator[tuple[int, str]]:
    for each in expressions:
        for node in ast.walk(each):
            if isinstance(node, ast.Constant) and node.value in NAMES and not is_task_of(file, str(node.value)):
                yield node.lineno, f"name {node.value}"


def test_nothing_checks_for_a_part() -> None:
    found = []
    for file in sorted(PACKAGE.rglob("*.py")):
        if file.name in ("built_in.py", "migrate.py") or {"corpora", "nn"} & {*file.relative_to(PACKAGE).parts}:
            continue  # nn: `lstm` is a layer there
        lines = file.read_text("utf-8").splitlines()
        for number, check in checks_for_parts(file):
            location = str(file.relative_to(PACKAGE)), lines[number - 1].strip()
            if location not in ALLOWED:
                found.append(f"{location[0]}:{number}: {check}: {location[1]}")
    assert found == []


def test_the_exceptions_still_exist() -> None:
    for file, line in ALLOWED:
        assert line in [each.strip() for each in (PACKAGE / file).read_text("utf-8").splitlines()]


@pytest.mark.parametrize("kind", ["model", "objective", "task"])
def test_no_flag_is_set_by_one_family_alone(kind: str) -> None:
    parts = list(Parts(kind).values())
    base = next(each for each in parts[0].__mro__ if "part_kind" in each.__dict__)
    flags = [name for name, value in vars(base).items() if isinstance(value, bool)]
    for flag in flags:
        owners = {next(each for each in part.__mro__ if flag in vars(each)).__module__ for part in parts}
        assert len(owners - {base.__module__}) != 1, flag


def test_this_test_finds_such_checks(tmp_path: Path) -> None:
    file = tmp_path / "some.py"
    file.write_text(
        "a = isinstance(x, TransformerConfig | LstmConfig)\nb = config.data.kind == 'translation'\n"
        "c = getattr(config.model, 'copying', False)\nd = {NgramModel: 1}\n"
        "e = {'lstm': 2}\nf = x in ('ctc', 'r_drop')\n"
    )
    asked = [check.split()[0] for _, check in sorted(checks_for_parts(file))]
    assert asked == ["class", "class", "name", "attribute", "dict", "name", "name", "name"]
