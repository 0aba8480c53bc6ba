"""Plans of commands for each version, which `driver.py` runs."""

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from comparison.decoding import decoding
from comparison.families import rows
from comparison.options import models, objectives, optimization, tokenizers, validations, warm_starts, zero_config
from comparison.settings import RENAMED_KEYS, RENAMED_VALUES, Case, Run, flatten, resolve_names
from contracts.corpora import write_corpora
from contracts.row import Settings, set_field

Step = dict[str, Any]
HALF, OLD = "half", "old"
"""Folders of runs of the older version that the newer one uses: one to resume, and a finished one."""
WITHOUT_DEVICE = ("evaluate", "export", "import")
"""Commands without the options `--device` and `--precision`."""


def all_cases() -> list[Case]:
    """Return all cases; those of the table come first."""
    options = (models, objectives, optimization, tokenizers, warm_starts, validations, zero_config)
    groups = (rows, *options, decoding)
    cases = [case for group in groups for case in group()]
    assert len({case.name for case in cases}) == len(cases)
    return cases


def prepare(work: Path, cases: Sequence[Case], is_older: bool) -> None:
    """Write the corpora and the config files of one version into its working folder."""
    write_corpora(work / "corpora")
    (work / "configs").mkdir()
    for case in cases:
        (work / "files" / case.name).mkdir(parents=True)
        for name, run in case.runs.items():
            if isinstance(run, Mapping):
                config = resolve_names(with_older_names(run) if is_older else run, case.name)
                (work / config_file(case, name)).write_text(yaml.safe_dump(config, sort_keys=False), "utf-8")


def with_older_names(config: Settings) -> Settings:
    """Replace renamed keys and values of a config by those of the older version."""
    older_keys = {new: old for old, new in RENAMED_KEYS.items()}
    older: dict[str, Any] = {}
    for name, value in flatten(config):
        key = older_keys.get(name, name)
        values = {new: old for old, new in RENAMED_VALUES.get(key, {}).items()}
        set_field(older, key, values.get(value, value) if isinstance(value, str) else value)
    return older


def write_plan(path: Path, cases: Sequence[Case], older: Path | None) -> None:
    """Write the steps of all cases; `older` is the working folder of the older version, or None for its plan."""
    steps = [step for case in cases for step in _steps(case, older)]
    path.write_text(json.dumps(steps), "utf-8")


def config_file(case: Case, run: str) -> str:
    """Return the path of a run's config file, relative to the working folder."""
    return f"configs/{case.name}_{run}.yaml"


def step_name(case: Case, name: str) -> str:
    """Return the name of a step, which is also the stem of its output files."""
    return f"{case.name}.{name}"


def _steps(case: Case, older: Path | None) -> Iterator[Step]:
    for name, run in case.runs.items():
        yield {"name": step_name(case, f"train_{name}"), "argv": _train(case, name, run, name)}
    for name, line in case.commands.items():
        yield {"name": step_name(case, name), "argv": _use(case, shlex.split(line))}
    if not case.is_resumed:
        return
    half: Step = {"name": step_name(case, f"train_{HALF}"), "argv": _train(case, "run", case.runs["run"], HALF)}
    half_dir = resolve_names(f"%{HALF}", case.name)
    if older is not None:
        yield {**half, "copy": [str(older / half_dir), half_dir]}
        yield from _use_finished_run(case, older)
    else:
        first_save = case.runs["run"]["training"]["save_every"]
        yield {**half, "stop_at": f"{half_dir}/checkpoints/step_{first_save:08d}"}


def _use_finished_run(case: Case, older: Path) -> Iterator[Step]:
    """Run the commands of a case on the run that the older version trained."""
    copy = {"copy": [str(older / resolve_names("%run", case.name)), resolve_names(f"%{OLD}", case.name)]}
    for name, line in case.commands.items():
        argv = _use(case, [f"%{OLD}" if word == "%run" else word for word in shlex.split(line)])
        yield {"name": step_name(case, f"{OLD}_{name}"), "argv": argv, **copy}
        copy = {}


def _train(case: Case, name: str, run: Run, folder: str) -> list[str]:
    """Return the command that trains a run in a folder of this name."""
    words = [config_file(case, name)] if isinstance(run, Mapping) else [*shlex.split(run), "--threads", "1"]
    argv: list[str] = resolve_names(["train", *words, "--run_dir", f"%{folder}"], case.name)
    return argv


def _use(case: Case, words: Sequence[str]) -> list[str]:
    """Return a command that uses runs, on one CPU thread."""
    argv: list[str] = resolve_names(words, case.name)
    if argv[0] in WITHOUT_DEVICE:
        return argv
    precision = [] if "--precision" in argv else ["--precision", "fp32"]
    return [*argv, "--device", "cpu", "--threads", "1", *precision]
