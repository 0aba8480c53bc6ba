"""Set-up of a run folder before the first step: checks, codecs, run.json, and overwriting an older run."""

import logging
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import seqlab
from seqlab.base.atomic_io import folder_lock
from seqlab.base.reading_notes import READING_VERSION
from seqlab.base.world import World, usable_cores
from seqlab.data.input_hashes import hash_inputs
from seqlab.data.survey import PreparationProgress
from seqlab.data.workspace import INPUT_ERRORS
from seqlab.plugins import describe_plugins
from seqlab.runs.checkpoint import hash_format_1_states
from seqlab.runs.codecs import codec_parts, codec_sha256, spelling_sha256
from seqlab.runs.config import Config, config_text, parts_of
from seqlab.runs.folder import FORMAT_1_STATES, PLUGINS, RUN_FORMAT_VERSION, RUN_ID, RunFolder
from seqlab.runs.load import read_config
from seqlab.training.device_context import CORES, FAIR_THREADS, fingerprint
from seqlab.training.state import TrainingRun
from seqlab.training.vector_initialization import vector_columns

logger = logging.getLogger(__name__)

CODEC_FOLDERS = ("tokenizer", "src_tokenizer", "tgt_tokenizer", "src_codec", "tgt_codec", "spelling")
SETUP_FILES = {
    *(f"config.yaml{ending}" for ending in ("", ".tmp", ".new", ".new.tmp")),
    *("run.json.tmp", "metrics.jsonl", "logs", "cache", "cache.tmp", "data", "data.tmp"),
    *("overwritten", *CODEC_FOLDERS),
}
"""Files and folders that an interrupted set-up may leave in the run folder; a recipe generates `data`."""
TRAINING_FILES = {"run.json", "checkpoints", "failures", "export"}
"""Files and folders that exist only after a complete set-up."""
TORCHRUN_ID, TORCHRUN_VARIABLE = "torchrun_id", "TORCHELASTIC_RUN_ID"
"""Key of run.json for the id of the torchrun job that started the run (null without torchrun), and the environment
variable with this id."""
UNNAMED_JOB_ID = "none"
"""Id that torchrun gives to each job without a name."""


def refuse_foreign_folder(folder: RunFolder, allowed: set[str] = SETUP_FILES) -> None:
    """Raise ValueError, without changing anything, if a folder contains files that do not belong to a run."""
    if not folder.path.exists():
        return
    if not folder.path.is_dir():
        raise ValueError(f"`run_dir` {folder.path} is a file: choose another name.")
    foreign = sorted(entry.name for entry in folder.path.iterdir() if entry.name not in allowed)
    if foreign:
        if folder.exists():
            raise ValueError(
                f"`run_dir` {folder.path} contains {', '.join(foreign[:3])}, which does not belong to a run: move it "
                "away, or choose another folder."
            )
        hint = ", or start again with `--overwrite`" if set(foreign) <= TRAINING_FILES else ""
        raise ValueError(
            f"`run_dir` {folder.path} is not a run folder, but contains {', '.join(foreign[:3])}: choose another{hint}."
        )


@contextmanager
def remove_if_rejected(folder: RunFolder) -> Iterator[None]:
    """Remove the files of a new run if an error about invalid input is raised within this context.

    After other errors or a kill the files stay, so that the same command can continue.
    """
    missing = [path for path in (folder.path, *folder.path.parents) if not path.exists()]
    before = set() if missing or not folder.path.is_dir() else {path.name for path in folder.path.iterdir()}
    try:
        yield
    except INPUT_ERRORS:
        if folder.path.is_dir() and not folder.exists():
            with suppress(BlockingIOError), folder_lock(folder.path, wait=False):  # another process may use it
                _remove(folder, sorted(SETUP_FILES - before))  # only files of a set-up
                if missing:
                    with suppress(OSError):
                        folder.path.rmdir()
        for parent in missing[1:]:
            with suppress(OSError):  # it is not empty
                parent.rmdir()
        raise


def must_overwrite(folder: RunFolder, restarts: int) -> bool:
    """Return whether a command with `--overwrite` replaces a folder: it has files of a training of another job.

    Raises:
        ValueError: the folder contains files that do not belong to a run.
    """
    if was_restarted(folder, restarts):
        return False
    refuse_foreign_folder(folder, SETUP_FILES | TRAINING_FILES)
    return any((folder.path / name).exists() for name in TRAINING_FILES)


def refuse_foreign_data(old: RunFolder, new: RunFolder) -> None:
    """Raise ValueError if an overwritten run has data files that the recipe has not generated again."""
    if not (old.data.is_dir() and new.data.is_dir()):
        return  # a run without new data keeps the old ones
    foreign = sorted({path.name for path in old.data.iterdir()} - {path.name for path in new.data.iterdir()})
    if foreign:
        raise ValueError(
            f"{old.data} contains {', '.join(foreign[:3])}, which the recipe does not write and `--overwrite` would "
            "delete: move it elsewhere, or choose another `--run_dir`."
        )


def restart_count(world: World) -> int:
    """Return the number of restarts of these ranks by torchrun after a failure: the maximum over the machines."""
    return int(world.max(int(os.environ.get("TORCHELASTIC_RESTART_COUNT", 0))))


def was_restarted(folder: RunFolder, restarts: int) -> bool:
    """Return whether torchrun restarted the job that started the run; `--overwrite` then resumes the run."""
    job = os.environ.get(TORCHRUN_VARIABLE, UNNAMED_JOB_ID)
    if restarts == 0 or job == UNNAMED_JOB_ID or not folder.exists():
        return False
    return folder.read_description().get(TORCHRUN_ID) == job


def refuse_unnamed_torchrun_job() -> None:
    """Raise ValueError if torchrun may restart a job without a name, which `was_restarted` cannot recognize."""
    may_restart = int(os.environ.get("TORCHELASTIC_MAX_RESTARTS", 0)) > 0
    if may_restart and os.environ.get(TORCHRUN_VARIABLE, UNNAMED_JOB_ID) == UNNAMED_JOB_ID:
        raise ValueError(
            "`--overwrite` and torchrun's `--max_restarts` need a named job, since each restart would otherwise "
            "overwrite the run: give torchrun `--rdzv_id NAME`, with a different name for each job."
        )


def create_run_folder(config: Config, folder: RunFolder, on_progress: PreparationProgress) -> None:
    """Create the folder of a new run with its codecs; replace files of an interrupted set-up."""
    refuse_foreign_folder(folder)
    folder.path.mkdir(parents=True, exist_ok=True)
    _remove(folder, ["metrics.jsonl", "logs", *CODEC_FOLDERS])
    _write_codecs(config, folder, on_progress)


def write_run_json(run: TrainingRun, command: Sequence[str], start: dict[str, Any]) -> None:
    """Write run.json of a new run, as the last file of the set-up: config, codecs and data are complete.

    `start` contains the entries about the initial weights.
    """
    folder = run.locked_folder.root
    vectors = hash_inputs(vector_columns(run.config), folder.cache)
    description: dict[str, Any] = {
        RUN_ID: secrets.token_hex(16),
        "seqlab_version": seqlab.__version__,
        "command": list(command),
        "seed": run.config.seed,
        "data_sha256": list((run.data.content_hashes | vectors).values()),
        "reading": READING_VERSION,
        "data": {name: run.locked_folder.with_user_path(value) for name, value in run.data.report.to_json().items()},
        **run.task.describe(run.data),
        **_hash_codecs(folder),
        "machine": asdict(fingerprint(run.device_context)),
        CORES: usable_cores(),
        FAIR_THREADS: run.device_context.fair_threads,
        TORCHRUN_ID: os.environ.get(TORCHRUN_VARIABLE),
        PLUGINS: describe_plugins([*parts_of(run.config), *codec_parts(folder)]),
        "parameters": sum(p.numel() for p in run.model.parameters()),
        **start,
    }
    folder.write_description(description)


def update_run_json(run: TrainingRun) -> None:
    """Write config.yaml and run.json of a resumed run, in the current format, if they have changed."""
    folder, text = run.locked_folder.root, config_text(run.config)
    before = folder.read_description()
    description = dict(before)
    if description["format_version"] != RUN_FORMAT_VERSION:
        new_entries = {RUN_ID: secrets.token_hex(16), FORMAT_1_STATES: hash_format_1_states(folder)}
        description |= new_entries | _hash_codecs(folder)
    if description != before or folder.read_config_text() != text:
        folder.replace_config(text, description)
    folder.new_config_file.unlink(missing_ok=True)  # left by an interrupted change


def _hash_codecs(folder: RunFolder) -> dict[str, Any]:
    """Return the SHA-256 of the codecs and of the spelling model."""
    return {
        "tokenizer_sha256": {side: codec_sha256(folder.codec(side)) for side in ("src", "tgt")},
        "spelling_sha256": spelling_sha256(folder.spelling),
    }


def _write_codecs(config: Config, folder: RunFolder, on_progress: PreparationProgress) -> None:
    """Train or fit the codecs on the raw data, or copy those of the `init_from` run."""
    task = config.data.task
    if config.init_from is None:
        _warn_of_small_vocabularies(task.write_codecs(config, folder, on_progress), config)
    else:
        old = read_config(RunFolder(Path(config.init_from))).data
        copies_all = config.init_parts == "all"
        excluded = [] if copies_all else set(old.tokenizer_folders) - set(config.data.reused_tokenizers(old))
        for name in CODEC_FOLDERS:
            if name not in excluded and (Path(config.init_from) / name).is_dir():
                shutil.copytree(Path(config.init_from) / name, folder.path / name)
    task.complete_codecs(config, folder, on_progress)


def _warn_of_small_vocabularies(sizes: dict[str, int], config: Config) -> None:
    """Warn of vocabularies that are smaller than the config requests; `sizes` by folder."""
    for name, vocab_size in sizes.items():
        wanted = config.data.requested_sizes().get(name)
        if wanted is not None and vocab_size < wanted:
            logger.warning(
                "%s: the text supports a vocabulary of %d, fewer than the `vocab_size` of %d.", name, vocab_size, wanted
            )


def _remove(folder: RunFolder, names: Sequence[str]) -> None:
    for name in names:
        path = folder.path / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
