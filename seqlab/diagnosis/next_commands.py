"""Ready commands for the next thing to try after a finding."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from shlex import join
from types import MappingProxyType

from seqlab.diagnosis.changes import (
    Change,
    another_seed,
    larger,
    more_regularized,
    random_validation_rows,
    with_clipping,
    with_lr,
)
from seqlab.diagnosis.experiments import Experiments
from seqlab.diagnosis.finding import Finding, LeftOut
from seqlab.runs.config import Config, to_dict
from seqlab.runs.flat_config import flatten
from seqlab.runs.folder import PLUGINS
from seqlab.runs.overrides import as_overrides

CHECK_MINUTES = 3
NextCommand = Callable[[Experiments, str], str]
"""Function that returns the command for a run and a cause."""


def with_command(lab: Experiments, finding: Finding) -> Finding:
    """Return a finding with a command, which for many causes depends on the cause only."""
    return (
        finding
        if finding.command
        else replace(finding, command=NEXT.get(finding.cause, check_again)(lab, finding.cause))
    )


def retrain_command(lab: Experiments, change: Change) -> str:
    """Return the command that trains the run anew with a changed config."""
    folder, config = lab.bench.folder, lab.bench.config
    again = [str(folder.config_file), "--run_dir", str(_new(folder.path))]
    arguments = again if lab.shortened is None else [*lab.shortened]
    for name, values in changed_options(config, change(config)).items():
        _remove_option(arguments, f"--{name}")
        arguments += [f"--{name}", *values]
    return _command(lab, "train", arguments)


def changed_options(before: Config, after: Config) -> dict[str, list[str]]:
    """Return the values of the options that turn one config into another one."""
    old, new = flatten(to_dict(before)), flatten(to_dict(after))
    changed = {name for name, value in new.items() if name not in old or old[name] != value}
    reset = {name.removesuffix(".family") for name in changed if name.endswith(".family")}  # to its defaults
    chosen = {name: value for name, value in new.items() if name in changed or name.rpartition(".")[0] in reset}
    return {name: [texts] if isinstance(texts, str) else [*texts] or ["[]"] for name, texts in as_overrides(chosen)}


def _remove_option(arguments: list[str], option: str) -> None:
    """Remove an option with its values from a list of arguments."""
    if option in arguments:
        start = arguments.index(option)
        values = (
            number for number, argument in enumerate(arguments[start + 1 :], start + 1) if argument.startswith("--")
        )
        del arguments[start : next(values, len(arguments))]


def inspect_command(*kinds: str, drop: bool = False) -> NextCommand:
    """Return the function of the command that lists rows of some kinds, or writes the data without them.

    Without kinds, it lists those of all kinds and, of a run, the rows with the highest out-of-fold losses.
    """

    def command(lab: Experiments, cause: str) -> str:
        if not _can_be_inspected(lab):
            return check_again(lab, cause)
        drop_options = ["--drop", f"{lab.bench.folder.path.name}-rest"] if drop and _can_be_dropped(lab) else []
        kind_options = ["--kinds", *kinds] if kinds else []
        return _command(lab, "inspect-data", [*_target(lab), *kind_options, *drop_options])

    return command


def _can_be_inspected(lab: Experiments) -> bool:
    """Return whether `inspect-data` compares the rows: not recordings with transcripts, nor a continuous text."""
    is_transcribed = lab.rows.target_kind == "tokens" and not lab.rows.are_ids
    return not (is_transcribed or lab.bench.config.data.is_continuous)


def _can_be_dropped(lab: Experiments) -> bool:
    """Return whether the rows are lines of texts or of a table."""
    return lab.rows.are_ids or hasattr(lab.bench.codecs[0], "is_category")


def inspect_writing(lab: Experiments, cause: str) -> str:
    """Return the command that lists unusual characters of texts; other data is written anew by hand, and checked."""
    kinds = inspect_command("encoding", "mojibake", "character", "language")
    return (kinds if lab.rows.are_ids else check_again)(lab, cause)


def retrain_with(change: Change) -> NextCommand:
    """Return the function of the command that trains anew with a changed config.

    Where the change has no effect on the config, it is the command that checks again after a change by hand.
    """

    def command(lab: Experiments, cause: str) -> str:
        try:
            is_changed = change(lab.bench.config) != lab.bench.config
        except LeftOut:
            is_changed = False
        return retrain_command(lab, change) if is_changed else check_again(lab, cause)

    return command


def check_again(lab: Experiments, cause: str) -> str:
    """Return the command that trains anew, after the code was changed, and fails if it has the same fault."""
    target = lab.shortened if lab.shortened is not None else [str(lab.bench.folder.config_file)]
    return _command(lab, "diagnose", [*target, "--minutes", str(CHECK_MINUTES), "--fail-on", cause])


def _target(lab: Experiments) -> list[str]:
    """Return the arguments that name the run, or the config that was trained for a part of its steps."""
    return [str(lab.bench.folder.path)] if lab.shortened is None else [*lab.shortened]


def _command(lab: Experiments, name: str, arguments: list[str]) -> str:
    """Return a command of seqlab, with the plugins that the run needs."""
    notes = lab.bench.folder.read_description().get(PLUGINS) or []
    plugins = [item for plugin in dict.fromkeys(note["plugin"] for note in notes) for item in ("--plugin", plugin)]
    return join(["seqlab", name, *arguments, *plugins])


def _new(path: Path) -> Path:
    """Return the path of a run that does not exist: with the number 2 at its end, or the next free one."""
    number = 2
    while (new := path.with_name(f"{path.name}-{number}")).exists():
        number += 1
    return new


NEXT: Mapping[str, NextCommand] = MappingProxyType(
    {
        "shuffled_labels": inspect_command("shift", "label_noise"),
        "label_noise": inspect_command("label_noise", "label_conflict", drop=True),
        "shifted_pairs": inspect_command("shift"),
        "swapped_sides": inspect_command("swapped", "language"),
        "leakage": inspect_command("leak", "near_leak", drop=True),
        "duplicates": inspect_command("duplicate", "near_duplicate", drop=True),
        "mismatch": retrain_with(random_validation_rows),
        "other_reading": inspect_writing,
        "too_little_data": retrain_with(more_regularized),
        "exploding_gradient": retrain_with(with_clipping),
        "saddle_point": retrain_with(another_seed),
        "model_too_small": retrain_with(larger),
        "dead_units": retrain_with(with_lr(1 / 3)),
    }
)
"""Cause -> command for it; after other causes, the code is changed by hand and checked again."""
