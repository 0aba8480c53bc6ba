"""What a run folder needs before its first step, and which folders may become one."""

import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import seqlab
from seqlab.data.prepare import training_lines
from seqlab.durable import write_json
from seqlab.runs.config import Config
from seqlab.runs.folder import FORMAT_VERSION, RunFolder
from seqlab.runs.load import read_config
from seqlab.text import tokenizer_sha256, train_tokenizer
from seqlab.training.machine import fingerprint
from seqlab.training.resume import differing_fields
from seqlab.training.state import TrainingRun

TOKENIZER_FOLDERS = ("tokenizer", "src_tokenizer", "tgt_tokenizer")
SET_UP_NAMES = {
    *("config.yaml", "config.yaml.tmp", "run.json.tmp", "metrics.jsonl", "cache", "cache.tmp", "data"),
    *TOKENIZER_FOLDERS,
}
"""What a run that was ended before its first step leaves in its folder; `data` is what a recipe generates."""
TRAINED_NAMES = {"run.json", "checkpoints", "failures"}
FREE_MODEL_FIELDS = {"model.dropout", "model.attention_dropout", "model.activation_dropout"}
"""Fields of the model that may differ from those of the run that training starts from."""


def refuse_foreign_folder(folder: RunFolder, allowed: set[str] = SET_UP_NAMES) -> None:
    """Raise ValueError, having touched nothing, where a folder holds more than a run leaves in it."""
    if not folder.path.exists():
        return
    if not folder.path.is_dir():
        raise ValueError(f"`run_dir` {folder.path} is a file: choose another name.")
    foreign = sorted(entry.name for entry in folder.path.iterdir() if entry.name not in allowed)
    if foreign:
        hint = ", or begin anew with `--overwrite`" if set(foreign) <= TRAINED_NAMES else ""
        raise ValueError(
            f"`run_dir` {folder.path} is not a run folder, but holds {', '.join(foreign[:3])}: choose another{hint}."
        )


def check_folder(folder: RunFolder, overwrite: bool) -> None:
    """Raise ValueError, having touched nothing, where a folder can neither be continued nor become a run."""
    if not folder.exists():
        refuse_foreign_folder(folder, SET_UP_NAMES | TRAINED_NAMES if overwrite else SET_UP_NAMES)


def remove_run(folder: RunFolder) -> None:
    """Remove a run from its folder, but not the data that a recipe wrote there."""
    refuse_foreign_folder(folder, SET_UP_NAMES | TRAINED_NAMES)
    # run.json goes first: what is left without it, should this be interrupted, is no run.
    _remove(folder, ["run.json", *sorted(TRAINED_NAMES | SET_UP_NAMES - {"data"})])


def begin_folder(config: Config, folder: RunFolder) -> None:
    """Make the folder of a new run, with its tokenizers; leftovers of a set-up that was interrupted are replaced."""
    refuse_foreign_folder(folder)
    folder.path.mkdir(parents=True, exist_ok=True)
    _remove(folder, ["metrics.jsonl", *TOKENIZER_FOLDERS])
    _make_tokenizers(config, folder)


def check_origin(config: Config, origin: RunFolder, folder: RunFolder) -> None:
    """Raise ValueError where the run that training starts from has another model or another kind of tokenizer."""
    if origin.path.resolve() == folder.path.resolve():
        raise ValueError(f"`init_from` and `run_dir` are both {folder.path}: choose another `run_dir`.")
    if not origin.path.is_dir():
        raise FileNotFoundError(f"There is no run folder {origin.path} (`init_from`).")
    origin.read_description()
    changes = differing_fields(read_config(origin), config)
    fixed = ("model.", "data.tokenizer.", "data.joint_vocabulary")
    listed = "; ".join(
        f"`{key}` is {new!r}, but {old!r} in {origin.path}"
        for key, (old, new) in changes.items()
        if key.startswith(fixed) and key not in FREE_MODEL_FIELDS
    )
    if listed:
        raise ValueError(
            f"With `init_from` the model and the vocabulary are those of its run: {listed}. Give the same "
            f"values, or begin from its own config, {origin.config_file}."
        )


def describe(run: TrainingRun, command: Sequence[str]) -> None:
    """Write run.json: its presence says that the run was begun, with config, tokenizers and data in place."""
    description: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "seqlab_version": seqlab.__version__,
        "command": list(command),
        "seed": run.config.seed,
        "data_sha256": list(run.data.content_hashes.values()),
        "data": run.data.report.to_json(),
        "tokenizer_sha256": {side: tokenizer_sha256(run.folder.tokenizer(side)) for side in ("src", "tgt")},
        "machine": asdict(fingerprint(run.machine)),
        "parameters": sum(p.numel() for p in run.model.parameters()),
    }
    write_json(run.folder.description_file, description)


def _make_tokenizers(config: Config, folder: RunFolder) -> None:
    """Train the tokenizers from the raw text, or take over those of the run that this one starts from."""
    if config.init_from is not None:
        for name in TOKENIZER_FOLDERS:
            if (Path(config.init_from) / name).is_dir():
                shutil.copytree(Path(config.init_from) / name, folder.path / name)
        return
    tokenizer = config.data.tokenizer
    if config.data.joint_vocabulary:
        train_tokenizer(tokenizer, training_lines(config.data)).save(folder.path / "tokenizer")
        return
    train_tokenizer(tokenizer, training_lines(config.data, "src")).save(folder.path / "src_tokenizer")
    train_tokenizer(tokenizer, training_lines(config.data, "tgt")).save(folder.path / "tgt_tokenizer")


def _remove(folder: RunFolder, names: Sequence[str]) -> None:
    for name in names:
        path = folder.path / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
