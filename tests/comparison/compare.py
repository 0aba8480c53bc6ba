"""Comparison of the working folders of two versions: run folders, and the output of commands."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from comparison.plan import HALF, OLD, step_name
from comparison.settings import RENAMED_KEYS, RENAMED_VALUES, Case, flatten, resolve_names
from safetensors.torch import load_file

from seqlab.runs.migrate import current_objective_weight_name, current_weight_name, migrate

NEW_KEYS: dict[str, object] = {
    "training.valid_search.algorithm": None,
    **{"model.embedding_size": None, "model.embedding_dropout": 0.0, "model.spelling_dropout": 0.3},
    **{"model.depth": 1, "model.frame_norm": "none", "model.frame_dropout": 0.0, "model.frame_size": None},
    **{"model.patch_size": 1, "model.pooling": None},
    **{"model.encoder.last_size": None, "model.encoder.residual": False, "model.encoder.bidirectional": True},
    **{"model.encoder.input_dropout": None, "model.encoder.output_dropout": 0.0, "model.encoder.weight_dropout": 0.0},
    **{
        "model.encoder.attention_window": None,
        "model.encoder.max_length": 512,
        "model.encoder.activation_dropout": 0.0,
    },
}
"""Keys that only the newer version has, with the values that give the behavior of the older one."""
TENSOR_FILES = ("model", "averaged", "state")
TIME_FIELDS = ("minutes", "seconds", "per_second", "time")
"""Substrings of the names of fields in metrics.jsonl that hold times or speeds."""
CONTEXT_CHARACTERS = 60
"""Number of characters shown before and after the first difference."""
EQUAL, DIFFERENT, FAILED = "equal", "different", "failed"


@dataclass(frozen=True)
class Finding:
    """Result of one comparison of a case: equal, different or failed, with the first difference."""

    case: str
    compared: str
    outcome: str
    difference: str = ""


class Comparison:
    """Comparison of the working folders of both versions, given the exit status of each step."""

    def __init__(self, before: Path, after: Path, statuses: Mapping[str, Mapping[str, int]]) -> None:
        self.before, self.after, self.statuses = before, after, statuses

    def findings(self, case: Case) -> Iterator[Finding]:
        """Compare all runs, outputs and files of a case; steps that failed in either version are not compared."""
        for run in case.runs:
            if (yield from self._succeeded(case, f"train_{run}")):
                yield from self._runs(case, run, run, "")
        for name in case.commands:
            if (yield from self._succeeded(case, name)):
                yield self._outputs(case, name, name)
        yield from self._files(case)
        if not case.is_resumed:
            return
        if (yield from self._succeeded(case, f"train_{HALF}", is_stopped=True)):
            yield from self._runs(case, "run", HALF, "resumed ")
        for name in case.commands:
            after = f"{OLD}_{name}"
            if (yield from self._succeeded(case, after, sides=("after",))):
                yield self._outputs(case, name, after)

    def _succeeded(
        self, case: Case, step: str, sides: tuple[str, ...] = ("before", "after"), is_stopped: bool = False
    ) -> Iterator[Finding]:
        """Yield a finding for each version in which a step failed; return whether none did."""
        has_succeeded = True
        for side in sides:
            status = self.statuses[side].get(step_name(case, step))
            if status == (143 if is_stopped and side == "before" else 0):
                continue
            has_succeeded = False
            errors = (self.before if side == "before" else self.after) / "out" / f"{step_name(case, step)}.stderr"
            last = errors.read_text("utf-8").strip().splitlines()[-1:] if errors.is_file() else ["it has not started"]
            yield Finding(case.name, step, FAILED, f"{side}, status {status}: {' '.join(last)}")
        return has_succeeded

    def _runs(self, case: Case, before: str, after: str, prefix: str) -> Iterator[Finding]:
        """Compare two run folders."""
        pairs = ((self.before, before), (self.after, after))
        old, new = (work / resolve_names(f"%{run}", case.name) for work, run in pairs)
        run = prefix or ("" if before == "run" else f"{before} ")
        for name, difference in (
            ("checkpoints", _first_difference(_checkpoint_names(old), _checkpoint_names(new))),
            *((f"{each} tensors", _tensor_difference(old, new, each)) for each in TENSOR_FILES),
            ("metrics", _first_difference(metrics_of(old), metrics_of(new))),
            ("config", _config_difference(config_of(old), config_of(new))),
            ("tokenizers", _first_difference(_tokenizer_files(old), _tokenizer_files(new))),
        ):
            yield _finding(case, f"{run}{name}", difference)

    def _outputs(self, case: Case, before: str, after: str) -> Finding:
        """Compare what two commands printed to standard output, byte for byte."""
        pairs = ((self.before, before), (self.after, after))
        old, new = ((work / "out" / f"{step_name(case, name)}.stdout").read_bytes() for work, name in pairs)
        problem = "" if old else "it printed nothing"
        return _finding(case, after, problem or _first_difference(old.splitlines(), new.splitlines()))

    def _files(self, case: Case) -> Iterator[Finding]:
        """Compare the files that commands wrote."""
        old, new = _files_of(self.before / "files" / case.name), _files_of(self.after / "files" / case.name)
        if old or new:
            yield _finding(case, "files", _first_difference(old, new))


def _finding(case: Case, compared: str, difference: str) -> Finding:
    return Finding(case.name, compared, DIFFERENT if difference else EQUAL, difference)


def _first_difference(old: Any, new: Any) -> str:
    """Describe the first difference of two nested values; return an empty string if they are equal."""
    if old == new and type(old) is type(new):
        return ""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in [*old, *new]:
            if key not in old or key not in new:
                return f"{key}: only {'after' if key not in old else 'before'}"
            if inner := _first_difference(old[key], new[key]):
                return f"{key}: {inner}"
    if isinstance(old, list) and isinstance(new, list):
        for index, (first, second) in enumerate(zip(old, new, strict=False), start=1):
            if inner := _first_difference(first, second):
                return f"{index}: {inner}"
        return f"{len(old)} before, {len(new)} after"
    first, second = (each.decode(errors="replace") if isinstance(each, bytes) else str(each) for each in (old, new))
    pairs = enumerate(zip(first, second, strict=False))
    position = next((index for index, (a, b) in pairs if a != b), min(len(first), len(second)))
    return f"{_excerpt(first, position)} before, {_excerpt(second, position)} after"


def _excerpt(text: str, position: int) -> str:
    """Return the characters of a text around a position."""
    start, end = max(0, position - CONTEXT_CHARACTERS), position + CONTEXT_CHARACTERS
    return f"{'...' if start else ''}{text[start:end]}{'...' if end < len(text) else ''}"


def _checkpoint_names(run: Path) -> list[str]:
    return sorted(path.name for path in (run / "checkpoints").iterdir())


def _tensor_difference(old: Path, new: Path, stem: str) -> str:
    """Compare one file of the last checkpoint, bit for bit; weights have their current names."""
    paths = [run / "checkpoints" / _checkpoint_names(run)[-1] / f"{stem}.safetensors" for run in (old, new)]
    before, after = (load_file(path) if path.is_file() else {} for path in paths)
    family = str(config_of(new).get("model.family"))
    before = {_current_name(family, name): value for name, value in before.items()}
    for name in sorted(before.keys() & after.keys()):
        first, second = before[name], after[name]
        if (first.dtype, first.shape) != (second.dtype, second.shape):
            return f"{name}: {first.dtype} {tuple(first.shape)} before, {second.dtype} {tuple(second.shape)} after"
        if not torch.equal(first.reshape(-1).view(torch.uint8), second.reshape(-1).view(torch.uint8)):
            return f"{name}: differs by up to {(first.double() - second.double()).abs().max():.3g}"
    return _first_difference(dict.fromkeys(before), dict.fromkeys(after))


def _current_name(family: str, name: str) -> str:
    """Return the current name of a weight of the model, or of a network of the objective."""
    kind, _, rest = name.partition(".")
    if kind == "objective":
        return f"objective.{current_objective_weight_name(family, rest)}"
    return current_weight_name(family, name)


def metrics_of(run: Path) -> list[dict[str, Any]]:
    """Read the training and validation lines of metrics.jsonl, without times and speeds."""
    lines = map(json.loads, (run / "metrics.jsonl").read_text("utf-8").splitlines())
    selected = (line for line in lines if line["kind"] in ("train", "valid"))
    return [
        {name: value for name, value in line.items() if not any(t in name for t in TIME_FIELDS)} for line in selected
    ]


def config_of(run: Path) -> dict[str, Any]:
    """Read config.yaml with dotted keys; sections and keys of older versions have their current names."""
    return dict(flatten(migrate(yaml.safe_load((run / "config.yaml").read_text("utf-8")))))


def _config_difference(old: dict[str, Any], new: dict[str, Any]) -> str:
    """Compare two configs after translating names of the older version that the newer version has renamed."""
    translated: dict[str, Any] = {key: value for key, value in NEW_KEYS.items() if key in new}
    if new.get("model.encoder.family") in ("mlp", "linear"):  # null means the dropout between layers
        translated["model.encoder.input_dropout"] = 0.0
    for key, value in old.items():
        name = RENAMED_KEYS.get(key, key)
        name = name if name in new else key
        renamed = RENAMED_VALUES.get(key, {}).get(value) if isinstance(value, str) else None
        translated[name] = renamed if renamed is not None and new.get(name) == renamed else value
    return _first_difference(translated, new)


def _tokenizer_files(run: Path) -> dict[str, bytes]:
    return {
        f"{folder.name}/{name}": content
        for folder in sorted(run.glob("*tokenizer*"))
        for name, content in _files_of(folder).items()
    }


def _files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
