"""From a config to a trained run folder: set up or resume, then fit."""

import logging
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch

import seqlab
from seqlab.data.prepare import PreparedData, prepare, training_lines
from seqlab.data.rows import write_json
from seqlab.objectives import OBJECTIVES
from seqlab.optim.averaging import MovingAverage
from seqlab.optim.optimizers import build_optimizer
from seqlab.runs.build import build_model
from seqlab.runs.config import Config, write_config
from seqlab.runs.folder import FORMAT_VERSION, RunFolder
from seqlab.runs.load import load_run, load_tokenizers
from seqlab.text import Tokenizer, train_tokenizer
from seqlab.training.journal import Journal
from seqlab.training.loop import fit
from seqlab.training.machine import Machine, fingerprint, set_up
from seqlab.training.resume import check_resumable, resume
from seqlab.training.state import TrainingRun
from seqlab.training.step import trained_parameters

logger = logging.getLogger(__name__)


def train(config: Config, run_dir: str | Path, *, overwrite: bool = False, command: Sequence[str] = ()) -> Path:
    """Train what a config describes into a run folder; on an existing run folder of the same config, continue.

    Returns the run folder. `command` is noted in run.json.

    Raises:
        ValueError: bad data or config, or a run folder whose config differs in a field that must not change.
        OSError: a file is missing, the disk is full.
        Interrupted: SIGTERM or Ctrl-C, after a checkpoint.
        FailedStep: a gradient was not finite.
    """
    folder = RunFolder(Path(run_dir))
    if overwrite:
        _remove_run(folder)
    machine = set_up(config.training)
    resuming = folder.exists()
    changes = check_resumable(folder, config) if resuming else {}
    if not resuming:
        _refuse_foreign_folder(folder)
        folder.path.mkdir(parents=True, exist_ok=True)
        _make_tokenizers(config, folder)
    src_tokenizer, tgt_tokenizer = load_tokenizers(folder)
    data = prepare(config.data, src_tokenizer, tgt_tokenizer, folder.cache)
    for line in data.report.lines():
        logger.info("%s", line)
    run = _assemble(config, folder, machine, src_tokenizer, tgt_tokenizer, data)
    if resuming:
        resume(run, changes)
    else:
        _describe(run, command)
    write_config(config, folder.config_file)
    try:
        fit(run)
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        raise MemoryError(
            f"Memory ran out in step {run.progress.step}: lower `data.micro_batch_tokens` "
            f"(now {config.data.micro_batch_tokens}), which does not change the result of a step, or the model's size."
        ) from error
    finally:
        run.journal.close()
    return folder.path


def _assemble(
    config: Config,
    folder: RunFolder,
    machine: Machine,
    src_tokenizer: Tokenizer,
    tgt_tokenizer: Tokenizer,
    data: PreparedData,
) -> TrainingRun:
    torch.manual_seed(config.seed)
    model = build_model(config.model, src_tokenizer, tgt_tokenizer)
    if config.init_from is not None:
        model.load_state_dict(load_run(config.init_from).model.state_dict())
    model.to(machine.device)
    objective = OBJECTIVES[type(config.objective)](config.objective)
    optimizer = build_optimizer(config.optim.optimizer, trained_parameters(model, objective))
    journal = Journal(folder.metrics_file, folder.metrics_file.stat().st_size if folder.metrics_file.exists() else 0)
    run = TrainingRun(config, folder, machine, src_tokenizer, tgt_tokenizer, data, model, objective, optimizer, journal)
    if config.optim.ema_decay:
        run.moving_average = MovingAverage(run.weights(), config.optim.ema_decay)
    logger.info(
        "%s parameters, %s, %s", f"{sum(p.numel() for p in model.parameters()):,}", machine.device, machine.dtype
    )
    return run


def _make_tokenizers(config: Config, folder: RunFolder) -> None:
    """Train the tokenizers from the raw text, or take over those of the run that this one starts from."""
    if config.init_from is not None:
        origin = RunFolder(Path(config.init_from))
        origin.read_description()
        for name in TOKENIZER_FOLDERS:
            if (origin.path / name).is_dir():
                shutil.copytree(origin.path / name, folder.path / name, dirs_exist_ok=True)
        return
    tokenizer = config.data.tokenizer
    if config.data.joint_vocabulary:
        train_tokenizer(tokenizer, training_lines(config.data)).save(folder.path / "tokenizer")
        return
    train_tokenizer(tokenizer, training_lines(config.data, "src")).save(folder.path / "src_tokenizer")
    train_tokenizer(tokenizer, training_lines(config.data, "tgt")).save(folder.path / "tgt_tokenizer")


def _describe(run: TrainingRun, command: Sequence[str]) -> None:
    """Write run.json: its presence says that the run was begun, with tokenizers and data in place."""
    description = {
        "format_version": FORMAT_VERSION,
        "seqlab_version": seqlab.__version__,
        "command": list(command),
        "seed": run.config.seed,
        "data_sha256": list(run.data.content_hashes.values()),
        "data": run.data.report.to_json(),
        "machine": asdict(fingerprint(run.machine)),
        "parameters": sum(p.numel() for p in run.model.parameters()),
    }
    write_json(run.folder.description_file, description)


TOKENIZER_FOLDERS = ("tokenizer", "src_tokenizer", "tgt_tokenizer")
OWN_NAMES = {
    *("config.yaml", "run.json", "metrics.jsonl", "checkpoints", "failures", "cache", "cache.tmp"),
    *TOKENIZER_FOLDERS,
}
"""What training writes into a run folder; a recipe may add `data`."""


def _refuse_foreign_folder(folder: RunFolder) -> None:
    if not folder.path.exists():
        return
    if not folder.path.is_dir():
        raise ValueError(f"`run_dir` {folder.path} is a file: choose another name.")
    foreign = sorted(entry.name for entry in folder.path.iterdir() if entry.name not in OWN_NAMES | {"data"})
    if foreign:
        raise ValueError(
            f"`run_dir` {folder.path} is not a run folder, but holds {', '.join(foreign[:3])}: choose an empty one."
        )


def _remove_run(folder: RunFolder) -> None:
    if not folder.path.exists():
        return
    _refuse_foreign_folder(folder)
    for name in OWN_NAMES:
        path = folder.path / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _is_out_of_memory(error: BaseException) -> bool:
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)
