"""Plans of commands for each version, which `driver.py` runs."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from comparison.corpora import write_corpora
from comparison.decoding import decoding
from comparison.families import families, variants
from comparison.options import objectives, optimization, texts, tokenizers, validations, warm_starts, zero_config
from comparison.settings import TRAINING, Case, Run, resolve_names

Step = dict[str, Any]
HALF, OLD = "half", "old"
"""Folders of runs of the older version that the newer one uses: one to resume, and a finished one."""
WITHOUT_DEVICE = ("evaluate", "export", "import")
"""Commands without the options `--device` and `--precision`."""
HALF_STEPS, FIRST_SAVE = TRAINING["max_steps"] // 2, TRAINING["save_every"]


def all_cases() -> list[Case]:
    """Return all cases; those of model families come first."""
    training = (objectives, optimization, tokenizers, warm_starts, validations, texts, zero_config)
    groups = (families, variants, *training, decoding)
    cases = [case for group in groups for case in group()]
    assert len({case.name for case in cases}) == len(cases)
    return cases


def prepare(work: Path, cases: Sequence[Case]) -> None:
    """Write the corpora and the config files of one version into its working folder."""
    write_corpora(work / "corpora")
    (work / "configs").mkdir()
    for case in cases:
        (work / "files" / case.name).mkdir(parents=True)
        for name, run in case.runs.items():
            if isinstance(run, dict):
                text = yaml.safe_dump(resolve_names(run, case.name), sort_keys=False)
                (work / config_file(case, name)).write_text(text, "utf-8")


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
    for name, words in case.commands.items():
        yield {"name": step_name(case, name), "argv": _use(case, words)}
    if not case.is_resumed:
        return
    half: Step = {"name": step_name(case, f"train_{HALF}"), "argv": _train(case, "run", case.runs["run"], HALF)}
    half_dir = resolve_names(f"@{HALF}", case.name)
    if older is not None:
        yield {**half, "copy": [str(older / half_dir), half_dir]}
        yield from _use_finished_run(case, older)
    elif case.is_stopped:
        yield {**half, "stop_at": f"{half_dir}/checkpoints/step_{FIRST_SAVE:08d}"}
    else:
        yield {**half, "argv": [*half["argv"], "--training.max_steps", str(HALF_STEPS)]}


def _use_finished_run(case: Case, older: Path) -> Iterator[Step]:
    """Run the commands of a case on the run that the older version trained."""
    is_copied = False
    for name, words in case.commands.items():
        argv = _use(case, [f"@{OLD}" if word == "@run" else word for word in words])
        copy = (
            {}
            if is_copied
            else {"copy": [str(older / resolve_names("@run", case.name)), resolve_names(f"@{OLD}", case.name)]}
        )
        yield {"name": step_name(case, f"{OLD}_{name}"), "argv": argv, **copy}
        is_copied = True


def _train(case: Case, name: str, run: Run, folder: str) -> list[str]:
    """Return the command that trains a run in a folder of this name."""
    words = [config_file(case, name)] if isinstance(run, dict) else [*run, "--threads", "1"]
    return ["train", *words, "--run_dir", resolve_names(f"@{folder}", case.name)]


def _use(case: Case, words: Sequence[str]) -> list[str]:
    """Return a command that uses runs, on one CPU thread."""
    argv: list[str] = resolve_names(words, case.name)
    if argv[0] in WITHOUT_DEVICE:
        return argv
    precision = [] if "--precision" in argv else ["--precision", "fp32"]
    return [*argv, "--device", "cpu", "--threads", "1", *precision]
