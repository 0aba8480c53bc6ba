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
from seqlab.base.parsing import read_json, validate_type
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
    *("replaced", "replaced.tmp", *CODEC_FOLDERS),
}
"""Files and folders that an interrupted set-up may leave in the run folder; a recipe generates `data`."""
TRAINING_FILES = {"run.json", "checkpoints", "failures", "export"}
"""Files and folders that exist only after a complete set-up."""
RUN_FILES = [
    "run.json",
    *sorted((TRAINING_FILES | SETUP_FILES) - {"run.json", "data", "data.tmp", "replaced", "replaced.tmp"}),
]
"""Files and folders of a run, without the data of its recipe. run.json is moved first, since it marks a run folder."""
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


def check_run_folder(folder: RunFolder, overwrite: bool) -> None:
    """Raise ValueError, without changing anything, if a folder is not a run and cannot become one."""
    if not folder.exists():
        refuse_foreign_folder(folder, SETUP_FILES | TRAINING_FILES if overwrite else SETUP_FILES)


@contextmanager
def remove_if_rejected(folder: RunFolder) -> Iterator[None]:
    """Remove the files of a new run if an error about invalid input is raised within this context.

    After other errors or a kill the files stay, so that the same command can continue.
    """
    missing = [path for path in (folder.path, *folder.path.parents) if not path.exists()]
    try:
        yield
    except INPUT_ERRORS:
        if missing and folder.path.is_dir() and not folder.exists():
            with suppress(BlockingIOError), folder_lock(folder.path, wait=False):  # another process may use it
                _remove(folder, sorted(SETUP_FILES))  # only files of a set-up
                with suppress(OSError):
                    folder.path.rmdir()
        for parent in missing[1:]:
            with suppress(OSError):  # it is not empty
                parent.rmdir()
        raise


def set_aside_old_run(folder: RunFolder) -> None:
    """Begin an overwrite: move the files of the old run into a subfolder, for `finish_overwrite`.

    The data stay in place until a recipe generates new data.
    """
    refuse_foreign_folder(folder, SETUP_FILES | TRAINING_FILES)
    folder.path.mkdir(parents=True, exist_ok=True)
    moving = folder.moving
    moving.mkdir()
    _move(folder.path, moving, RUN_FILES)
    moving.rename(folder.replaced)


def finish_overwrite(folder: RunFolder) -> None:
    """Finish an overwrite: delete the old run if the new one is set up, otherwise restore the old run.

    If this function or `set_aside_old_run` is interrupted, another call completes the work.
    """
    replaced, moving = folder.replaced, folder.moving
    if replaced.is_dir():
        if folder.exists():
            shutil.rmtree(replaced)
        else:
            _remove(folder, RUN_FILES)
            replaced.rename(moving)
    if folder.path.is_dir():
        _remove(folder, ["data.tmp"])
    if moving.is_dir():
        old_data = moving / folder.data.name
        if old_data.is_dir():  # a recipe generated new data; an empty folder means there was none
            _remove_generated(folder, old_data)
            old_data.rename(folder.data)
            with suppress(OSError):
                folder.data.rmdir()
        old_data.with_suffix(".json").unlink(missing_ok=True)
        _move(moving, folder.path, RUN_FILES[::-1])
        moving.rmdir()


def _remove_generated(folder: RunFolder, old_data: Path) -> None:
    """Remove the files that a recipe generated; move all others into the folder of the old data."""
    if folder.data.is_dir():
        generated = validate_type(read_json(old_data.with_suffix(".json")), list[str])
        for path in folder.data.iterdir():
            if path.name not in generated:
                path.rename(old_data / path.name)
    _remove(folder, [folder.data.name])


def recover_overwritten_run(folder: RunFolder) -> None:
    """Restore a run if its overwrite was killed before the new run was set up, unless a process uses the folder."""
    if not folder.exists() and (folder.replaced.is_dir() or folder.moving.is_dir()):
        with suppress(BlockingIOError), folder_lock(folder.path, wait=False):
            finish_overwrite(folder)


@contextmanager
def finishing_overwrite(folder: RunFolder) -> Iterator[None]:
    """Finish an overwrite before this context, and again after it, also after an exception."""
    try:
        finish_overwrite(folder)
        yield
    finally:
        finish_overwrite(folder)


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


def _move(source: Path, target: Path, names: Sequence[str]) -> None:
    for name in names:
        if (source / name).exists():
            (source / name).rename(target / name)


def _remove(folder: RunFolder, names: Sequence[str]) -> None:
    for name in names:
        path = folder.path / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
