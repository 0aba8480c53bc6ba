"""Lists of commands for each version, as `driver.py` runs them."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from comparison.corpora import write_corpora
from comparison.decoding import decoding
from comparison.families import families, variants
from comparison.options import objectives, optimisation, starts, texts, tokenizers, validations, zero_config
from comparison.settings import TRAINING, Case, Run, placed

Step = dict[str, Any]
HALF, OLD = "half", "old"
"""Folders of a run that the older version began, and of one that it ended, where the newer one uses them."""
WITHOUT_DEVICE = ("evaluate", "export", "import")
"""Commands that compute nothing with a model."""
HALF_STEPS, FIRST_SAVE = TRAINING["max_steps"] // 2, TRAINING["save_every"]


def all_cases() -> list[Case]:
    """Return every case, those first that most others depend on being right."""
    training = (objectives, optimisation, tokenizers, starts, validations, texts, zero_config)
    parts = (families, variants, *training, decoding)
    cases = [case for part in parts for case in part()]
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
                text = yaml.safe_dump(placed(run, case.name), sort_keys=False)
                (work / config_file(case, name)).write_text(text, "utf-8")


def write_plan(path: Path, cases: Sequence[Case], older: Path | None) -> None:
    """Write the steps of all cases; `older` is the working folder of the older version, None to make its own plan."""
    steps = [step for case in cases for step in _steps(case, older)]
    path.write_text(json.dumps(steps), "utf-8")


def config_file(case: Case, run: str) -> str:
    """Name the config file of a run, relative to a working folder."""
    return f"configs/{case.name}_{run}.yaml"


def step_name(case: Case, name: str) -> str:
    """Name a step, and the files with its output."""
    return f"{case.name}.{name}"


def _steps(case: Case, older: Path | None) -> Iterator[Step]:
    for name, run in case.runs.items():
        yield {"name": step_name(case, f"train_{name}"), "argv": _train(case, name, run, name)}
    for name, words in case.commands.items():
        yield {"name": step_name(case, name), "argv": _use(case, words)}
    if not case.is_resumed:
        return
    half: Step = {"name": step_name(case, f"train_{HALF}"), "argv": _train(case, "run", case.runs["run"], HALF)}
    half_dir = placed(f"@{HALF}", case.name)
    if older is not None:
        yield {**half, "copy": [str(older / half_dir), half_dir]}
        yield from _use_old(case, older)
    elif case.is_stopped:
        yield {**half, "stop_at": f"{half_dir}/checkpoints/step_{FIRST_SAVE:08d}"}
    else:
        yield {**half, "argv": [*half["argv"], "--training.max_steps", str(HALF_STEPS)]}


def _use_old(case: Case, older: Path) -> Iterator[Step]:
    """Use the run that the older version trained."""
    copied = False
    for name, words in case.commands.items():
        argv = _use(case, [f"@{OLD}" if word == "@run" else word for word in words])
        copy = {} if copied else {"copy": [str(older / placed("@run", case.name)), placed(f"@{OLD}", case.name)]}
        yield {"name": step_name(case, f"{OLD}_{name}"), "argv": argv, **copy}
        copied = True


def _train(case: Case, name: str, run: Run, folder: str) -> list[str]:
    """Make the command that trains a run, in a folder that may have another name."""
    words = [config_file(case, name)] if isinstance(run, dict) else [*run, "--threads", "1"]
    return ["train", *words, "--run_dir", placed(f"@{folder}", case.name)]


def _use(case: Case, words: Sequence[str]) -> list[str]:
    """Make a command that uses runs, on one thread of the CPU."""
    argv: list[str] = placed(words, case.name)
    if argv[0] in WITHOUT_DEVICE:
        return argv
    precision = [] if "--precision" in argv else ["--precision", "fp32"]
    return [*argv, "--device", "cpu", "--threads", "1", *precision]
