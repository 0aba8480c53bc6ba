"""Commands with a run pass the version of its reading to each function that reads a table, a column or a list."""

import ast
from collections.abc import Iterator
from inspect import signature
from pathlib import Path

import seqlab
from seqlab.base.raw_lines import LineLimit
from seqlab.data.columns import parse_column
from seqlab.data.corpus import Corpus
from seqlab.data.manifests import open_manifest
from seqlab.data.tables import read_rows, read_table
from seqlab.inference.files import all_lines, all_locations, open_input, read_parallel
from seqlab.inference.recording_lists import open_recording_list
from seqlab.tasks.transcription.commands import ScoreOptions, _read_pairs

PACKAGE = Path(seqlab.__file__).parent
READERS = {
    reader.__name__: list(signature(reader).parameters).index("reading")
    for reader in (
        *(parse_column, open_manifest, read_rows, read_table, all_lines, all_locations, open_input, read_parallel),
        *(open_recording_list, Corpus.from_specs),
    )
}
"""Name of each reader -> position of its argument `reading`."""
WITHOUT_RUN = {
    "cli/evaluate.py": ["read_parallel", *["all_locations"] * 4],
    "cli/completion.py": ["read_table"],  # of the recipes
    "cli/recipes.py": ["read_table"],
    "tasks/labelling/task.py": ["parse_column"],  # prepares training data, as the next two
    "tasks/language_modelling/text_profile.py": ["from_specs"],
    "tasks/language_modelling/zero_config.py": ["parse_column"],
}
"""Module -> calls that need no version."""


def calls_without_version(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            has_version = "reading" in {each.arg for each in node.keywords}
            if name in READERS and not has_version and len(node.args) <= READERS[name]:
                yield name


def test_all_commands_with_a_run_read_files_by_its_version() -> None:
    found = {
        file.relative_to(PACKAGE).as_posix(): calls
        for room in ("cli", "diagnosis", "export", "inference", "reports", "serve", "tasks")
        for file in sorted((PACKAGE / room).rglob("*.py"))
        if (calls := list(calls_without_version(file)))
    }
    assert found == WITHOUT_RUN


def test_notes_name_the_version_that_changed_the_reading() -> None:
    """Not the current one, which moves: a later version would refuse to resume the runs of this one."""
    constants = [
        (file.name, ast.unparse(node.value))
        for file in sorted(PACKAGE.rglob("*.py"))
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.keyword) and node.arg == "since"
    ]
    assert [each for each in constants if "READ_AS_MEANT" in each[1]]
    assert not [each for each in constants if "READING_VERSION" in each[1].replace("FIRST_READING_VERSION", "")]


def test_texts_of_recordings_are_read_by_the_version_of_the_run(tmp_path: Path) -> None:
    (tmp_path / "t.tsv").write_text('id\ttext\n1\t"a b"\n')
    (tmp_path / "list.txt").write_text("a.wav\n")
    options = ScoreOptions(runs=["run"], tgt=[f"{tmp_path}/t.tsv#text"])
    for reading, text in ((1, '"a b"'), (2, "a b")):
        [block] = _read_pairs(options, f"{tmp_path}/list.txt", LineLimit(None), reading)
        assert block.targets == [(text,)]
