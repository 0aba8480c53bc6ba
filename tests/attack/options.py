"""Impossible values of each option of each command, and of each field of a config."""

import random
from collections.abc import Iterator, Sequence

from attack.damage import DIGITS, NESTED
from attack.files import Finding
from attack.trial import run
from attack.workspace import Workspace

VALUES = (
    *("", " ", "-1", "0", "1", "0.5", "-0.5", "1e308", "-1e308", "1e30", "1e-320", "nan", "inf", "-inf", "1_0", "١"),
    *("1000000", "2147483648", "4294967297", "18446744073709551616", DIGITS, "0x10", "1e", "true", "null", "~", "abc"),
    *("[", "[]", "[a, b]", "[{a: b}]", "[" * NESTED, "[[1]]", "{a: b}", "x" * 5000, "/dev/null", "/nonexistent/file"),
    *(
        "corpora",
        ".",
        "..",
        "runs",
        "corpora/numbers.en#0",
        "hub:x:y#z",
        "-",
        "\ud8ff".encode("utf-8", "replace").decode(),
    ),
)
RUN, PAIRS = "runs/transformer", ("--src", "corpora/test_numbers.en", "--tgt", "corpora/test_numbers.de")
LINES = ("--input", "corpora/test_numbers.en")
BASES: dict[str, Sequence[str]] = {
    "translate": (RUN, *LINES),
    "transcribe": ("runs/gru_recogniser", "--input", "corpora/test.jsonl#audio"),
    "label": ("runs/gru_labeller", "--input", "corpora/test_lines.txt"),
    "predict": ("runs/mlp", "--input", "corpora/table.csv"),
    "generate": ("runs/gru_lm", "--prompt", "drei", "--max_length", "8"),
    "score": (RUN, *PAIRS),
    "distill": (RUN, "--src", "corpora/test_numbers.en", "--out", "distilled", "--overwrite"),
    "evaluate": ("corpora/test_numbers.de", "--ref", "corpora/test_numbers.de"),
    "perplexity": ("runs/gru_lm", "corpora/test_numbers.de"),
    "calibration": (RUN, *PAIRS),
    "exposure": (RUN, *PAIRS),
    "search-errors": (RUN, *PAIRS, "--beam_sizes", "1", "2"),
    "plot": ("corpora/test_lines.txt", "--out", "plot.png"),
    "export": ("runs/ngram_lm", "--format", "arpa", "--out", "exported", "--overwrite"),
    "import": ("corpora/lm.arpa", "--run_dir", "runs/imported", "--overwrite"),
    "info": (RUN,),
    "recipes": (),
    "lr-find": ("--data.train_src", "corpora/numbers.en", "--data.train_tgt", "corpora/numbers.de"),
}
"""Command -> arguments with which it works."""


def options_of(command: str) -> list[str]:
    """List the options of a command."""
    from seqlab.cli.main import find_command

    return [name for name in find_command(command).make_parser().takes if name.startswith("--")]


def options(workspace: Workspace, rng: random.Random, count: int) -> Iterator[Finding]:
    """Give an option of a command a value that is drawn."""
    pairs = [(command, option) for command in BASES for option in options_of(command)]
    for number in range(count):
        command, option = pairs[number] if count >= len(pairs) > number else rng.choice(pairs)
        value = rng.choice(VALUES)
        argv = [command, *BASES[command], option, value]
        yield shown(argv), run(argv, folder=workspace.folder).fault


TRAININGS: dict[str, Sequence[str]] = {
    "translation": ("--data.train_src", "corpora/numbers.en", "--data.train_tgt", "corpora/numbers.de"),
    "labelling": (
        *("--data.kind", "labelling", "--data.train_src", "corpora/lines.txt"),
        *("--data.train_tgt", "corpora/labels.txt"),
    ),
    "language_modelling": ("--data.train", "corpora/numbers.de"),
    "prediction": ("--data.kind", "prediction", "--data.train", "corpora/table.csv", "--data.target", "kind"),
    "transcription": ("--data.kind", "transcription", "--data.train", "corpora/train.jsonl"),
    "recording_labels": ("--data.kind", "recording_labels", "--data.train", "corpora/train.jsonl"),
}
"""Task -> a corpus to train on."""


def fields(workspace: Workspace, rng: random.Random, count: int) -> Iterator[Finding]:
    """Give a field of a config a value that is drawn, and train for two steps."""
    from seqlab.registry import Parts
    from seqlab.runs.config import Config
    from seqlab.runs.fields import list_fields

    found = list(list_fields(Config))
    tasks = Parts("task", "kind")
    for _ in range(count):
        task = rng.choice(list(TRAININGS))
        mine = [each for each in found if each.family in ("", task) or fits(each.key, each.family, tasks[task].kind)]
        field, value = rng.choice(mine), rng.choice(VALUES)
        section = field.key.rpartition(".")[0]
        argv = ["train", *TRAININGS[task], "--run_dir", "runs/fuzzed", "--overwrite"]
        argv += ["--training.max_steps", "2", "--threads", "1"]
        if field.family and section != "data":
            argv += [f"--{section}.family", field.family]
        argv += [f"--{field.key}", value]
        yield shown(argv), run(argv, folder=workspace.folder).fault


def fits(key: str, family: str, task: str) -> bool:
    """Tell whether a field of a family can be given beside a task: of models those that the task trains."""
    from seqlab.registry import Parts

    return not key.startswith("data.") and getattr(Parts("model").get(family), "task", task) == task


def shown(argv: Sequence[str]) -> str:
    """Write a command with long values cut."""
    return " ".join(repr(each[:40]) if len(each) > 40 or not each.strip() else each for each in argv)
