"""Attacks by unusual values of each option of each command, and of each field of a config."""

import random
from collections.abc import Iterator, Sequence

from attack.damage import DIGITS, NESTING_LEVELS
from attack.files import Finding
from attack.trial import run
from attack.workspace import Workspace

VALUES = (
    *("", " ", "-1", "0", "1", "0.5", "-0.5", "1e308", "-1e308", "1e30", "1e-320", "nan", "inf", "-inf", "1_0", "١"),
    *("1000000", "2147483648", "4294967297", "18446744073709551616", DIGITS, "0x10", "1e", "true", "null", "~", "abc"),
    *(
        "[",
        "[]",
        "[a, b]",
        "[{a: b}]",
        "[" * NESTING_LEVELS,
        "[[1]]",
        "{a: b}",
        "x" * 5000,
        "/dev/null",
        "/nonexistent/file",
    ),
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
TRANSLATOR, PAIRS = "runs/transformer", ("--src", "corpora/test_numbers.en", "--tgt", "corpora/test_numbers.de")
LINES = ("--input", "corpora/test_numbers.en")
WORKING_ARGUMENTS: dict[str, Sequence[str]] = {
    "translate": (TRANSLATOR, *LINES),
    "transcribe": ("runs/gru_recogniser", "--input", "corpora/test.jsonl#audio"),
    "label": ("runs/gru_labeller", "--input", "corpora/test_lines.txt"),
    "predict": ("runs/mlp", "--input", "corpora/table.csv"),
    "generate": ("runs/gru_lm", "--prompt", "drei", "--max_length", "8"),
    "score": (TRANSLATOR, *PAIRS),
    "distill": (TRANSLATOR, "--src", "corpora/test_numbers.en", "--out", "distilled", "--overwrite"),
    "evaluate": ("corpora/test_numbers.de", "--ref", "corpora/test_numbers.de"),
    "perplexity": ("runs/gru_lm", "corpora/test_numbers.de"),
    "calibration": (TRANSLATOR, *PAIRS),
    "exposure": (TRANSLATOR, *PAIRS),
    "search-errors": (TRANSLATOR, *PAIRS, "--beam_sizes", "1", "2"),
    "loss-surface": ("runs/mlp", "--rows", "8", "--points", "3"),
    "plot": ("corpora/test_lines.txt", "--out", "plot.png"),
    "export": ("runs/ngram_lm", "--format", "arpa", "--out", "exported", "--overwrite"),
    "import": ("corpora/lm.arpa", "--run_dir", "runs/imported", "--overwrite"),
    "info": (TRANSLATOR,),
    "recipes": (),
    "corpora": (),
    "inspect-data": ("--data.train_src", "corpora/numbers.en", "--data.train_tgt", "corpora/numbers.de"),
    "lr-find": ("--data.train_src", "corpora/numbers.en", "--data.train_tgt", "corpora/numbers.de"),
}
"""Command -> arguments for which it succeeds."""


def list_options(command: str) -> list[str]:
    """List the options of a command."""
    from seqlab.cli.main import find_command

    return [name for name in find_command(command).make_parser().option_names if name.startswith("--")]


def try_options(workspace: Workspace, rng: random.Random, count: int) -> Iterator[Finding]:
    """Add an option with a random value to a working command."""
    pairs = [(command, option) for command in WORKING_ARGUMENTS for option in list_options(command)]
    for number in range(count):
        command, option = pairs[number] if count >= len(pairs) > number else rng.choice(pairs)
        value = rng.choice(VALUES)
        argv = [command, *WORKING_ARGUMENTS[command], option, value]
        yield format_command(argv), run(argv, folder=workspace.folder).fault


TRAINING_ARGUMENTS: dict[str, Sequence[str]] = {
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
"""Task -> arguments that name a corpus to train on."""


def try_fields(workspace: Workspace, rng: random.Random, count: int) -> Iterator[Finding]:
    """Set a field of a config to a random value, and train for two steps."""
    from seqlab.registry import Parts
    from seqlab.runs.config import Config
    from seqlab.runs.fields import list_fields

    all_fields = list(list_fields(Config))
    tasks = Parts("task", "kind")
    for _ in range(count):
        task = rng.choice(list(TRAINING_ARGUMENTS))
        kind = tasks[task].kind
        fields = [each for each in all_fields if each.family in ("", task) or fits_task(each.key, each.family, kind)]
        field, value = rng.choice(fields), rng.choice(VALUES)
        section = field.key.rpartition(".")[0]
        argv = ["train", *TRAINING_ARGUMENTS[task], "--run_dir", "runs/fuzzed", "--overwrite"]
        argv += ["--training.max_steps", "2", "--threads", "1"]
        if field.family and section != "data":
            argv += [f"--{section}.family", field.family]
        argv += [f"--{field.key}", value]
        yield format_command(argv), run(argv, folder=workspace.folder).fault


def fits_task(key: str, family: str, task: str) -> bool:
    """Return whether a field outside `data` is valid with a task; fields of a model are valid only with its task."""
    from seqlab.registry import Parts

    return not key.startswith("data.") and getattr(Parts("model").get(family), "task", task) == task


def format_command(argv: Sequence[str]) -> str:
    """Join the words of a command, with long values truncated."""
    return " ".join(repr(each[:40]) if len(each) > 40 or not each.strip() else each for each in argv)
