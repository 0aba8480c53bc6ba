"""From a config to a trained run folder: set up or resume, then fit."""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from seqlab.base.world import World, join_world
from seqlab.data.column import Column
from seqlab.data.input_hashes import hash_inputs
from seqlab.data.survey import OnProgress
from seqlab.models.interfaces import CorpusReader
from seqlab.optim import Parameters
from seqlab.optim.averaging import MovingAverage
from seqlab.optim.muon import hidden_matrices
from seqlab.runs.checkpoint import checkpoint_steps, remove_leftovers
from seqlab.runs.codecs import load_codecs
from seqlab.runs.config import Config, write_config
from seqlab.runs.folder import RUN_ID, RunFolder, default_run_dir
from seqlab.runs.load import read_config
from seqlab.training.accumulator import Accumulator
from seqlab.training.device_context import DeviceContext, set_up
from seqlab.training.full_disk import full_disk_explained
from seqlab.training.held_folder import HeldFolder, hold_folder
from seqlab.training.loggers import check_loggers, open_loggers
from seqlab.training.loop import fit
from seqlab.training.metrics_logger import MetricsLogger
from seqlab.training.progress_bar import corpus_bar
from seqlab.training.requirements import check_model
from seqlab.training.resume import Changes, check_content, check_resumable, differing_fields, resume, with_limits_of
from seqlab.training.run_setup import (
    begin_folder,
    check_folder,
    continue_description,
    describe,
    refuse_unnamed_job,
    restart_count,
    set_aside,
    settled,
    was_restarted,
    without_trace,
)
from seqlab.training.state import TrainingRun
from seqlab.training.warm_start import check_origin, start_from
from seqlab.training.word_vectors import check_vectors, start_from_vectors, vector_columns

logger = logging.getLogger(__name__)

OUT_OF_MEMORY = ("can't allocate memory", "CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
"""In messages of errors that have no type of their own: of the CPU's allocator, of page-locked memory, of cuBLAS."""


Recipe = Callable[[Path], Config]
"""Makes the config of a run folder, and may write data into it."""


def train(
    config: Config | Recipe,
    run_dir: str | Path | None = None,
    *,
    overwrite: bool = False,
    command: Sequence[str] = (),
) -> Path:
    """Train what a config describes into a run folder; on an existing run folder of the same config, continue.

    Args:
        config: the config, or a recipe that makes it: a function of the run folder, into which it may write data.
        run_dir: the run folder; by default `runs/SRC-TGT` by the names of the corpus, or `runs/RECIPE`.
        overwrite: begin anew where there is a run already, with data that the recipe writes anew. The old run is
            deleted when the new one has begun, and stays as it is where the new one is refused.
        command: noted in run.json.

    Returns the run folder.

    Raises:
        ValueError: bad data or config, or a run folder whose config differs in a field that must not change.
        OSError: a file is missing, the disk is full.
        Interrupted: SIGTERM or Ctrl-C, after a checkpoint.
        FailedStep: a gradient was not finite.
        LostRank: another of the processes that torchrun started has ended.
        LostFolder: the run folder was moved or deleted meanwhile; where it still exists, with a checkpoint.
    """
    if not (isinstance(config, Config) or callable(config)):
        raise ValueError(
            f"`config` must be a `Config` or a recipe, but is {config!r} instead: `config_from_yaml` reads a file, and "
            "`seqlab.recipes` has the recipes."
        )
    folder = RunFolder(run_dir or _default_run_dir(config))
    with (
        join_world() as world,
        full_disk_explained(folder),
        world.enter_on_main(without_trace(folder)),
        hold_folder(folder, world) as held,
        held.explained(),
    ):
        with world.enter_on_main(settled(held.root)):
            run = set_up_run(config, held, overwrite, command, world)
        with closing(run.journal):
            _fit(run)
            world.call_on_main(held.refuse_lost)
    return folder.path


def _default_run_dir(config_or_recipe: Config | Recipe) -> Path:
    """Name the run folder by the corpus or the recipe; raises ValueError for a recipe without a name."""
    if isinstance(config_or_recipe, Config):
        return default_run_dir(*config_or_recipe.data.names())
    name = getattr(config_or_recipe, "__name__", "")
    if not name.isidentifier():
        raise ValueError("`run_dir` must be given where `config` is a function without a name.")
    return Path("runs") / name


def set_up_run(
    config_or_recipe: Config | Recipe, held: HeldFolder, overwrite: bool, command: Sequence[str], world: World
) -> TrainingRun:
    """Make a new run, or continue one; what is there is overwritten only when the new run has begun.

    The main rank writes what the others read.
    """
    folder = held.root
    if overwrite:
        refuse_unnamed_job()
    restarts = restart_count(world)
    config = world.call_on_main(
        lambda: _prepared_config(config_or_recipe, held, overwrite and not was_restarted(folder, restarts))
    )
    machine = set_up(config.training, world, folder.read_description() if folder.exists() else None)
    with corpus_bar(world.is_main) as on_progress:
        changes = world.call_on_main(lambda: _open_folder(config, folder, on_progress))
        codecs = load_codecs(folder)
        with world.main_first():
            told = on_progress if world.is_main else None
            data = config.data.task.prepare(config, codecs, folder.cache, told)
    if config.training.max_epochs is not None:
        config = _with_steps_of_epochs(config, codecs, data, world)
        if changes is not None:
            changes = world.call_on_main(lambda: differing_fields(read_config(folder), config))
    for line in data.report.lines():
        logger.info("%s", held.named(line))
    run, start = _assemble(config, held, machine, codecs, data)
    if changes is not None:
        resume(run, changes)
        world.call_on_main(lambda: continue_description(run))
    else:
        world.call_on_main(lambda: write_config(config, folder.config_file))
        world.call_on_main(lambda: describe(run, command, start))
    held.bind(world.call_on_main(lambda: folder.read_description_entry(RUN_ID)))
    world.call_on_main(lambda: _start_loggers(run))
    return run


def _with_steps_of_epochs(config: Config, codecs: tuple[Any, Any], data: Any, world: World) -> Config:
    """Replace `max_epochs` by the `max_steps` of so many passes, judged by the share of a pass that the first step is.

    That is exact where a pass is one chunk, and within a few percent where it is several.
    """
    training = config.training
    assert training.max_epochs is not None
    steps: int | None = None  # a model that is counted reads its corpus once
    if not config.model.is_count_based:
        first = next(config.data.task.steps(data, config, codecs, world, None))
        steps = max(1, round(training.max_epochs / first.epoch))
        logger.info("%g epochs are %s steps", training.max_epochs, f"{steps:,}")
    return replace(config, training=replace(training, max_steps=steps, max_epochs=None))


def _start_loggers(run: TrainingRun) -> None:
    names, root = run.config.training.logger, run.held.root
    run.journal.pass_on(open_loggers(names, root.logs, root.read_metrics() if names else ()))


def _prepared_config(config_or_recipe: Config | Recipe, held: HeldFolder, overwrite: bool) -> Config:
    """Set the run that is overwritten aside, then let a recipe write its data and return the config."""
    folder = held.root
    check_folder(folder, overwrite)
    if overwrite:
        set_aside(folder)
    # a recipe's config names the data by the path that the user knows
    config = config_or_recipe if isinstance(config_or_recipe, Config) else config_or_recipe(held.folder.path)
    check_loggers(config.training.logger)
    return with_limits_of(folder, config) if folder.exists() else config


def _open_folder(config: Config, folder: RunFolder, on_progress: OnProgress) -> Changes | None:
    """Make the folder of a new run, or give the fields in which the run that is there is continued differently."""
    changes = None
    if folder.exists():
        changes = check_resumable(folder, config)
        specs: list[str | Column] = [*config.data.input_specs(), *vector_columns(config)]
        check_content(folder, hash_inputs(specs, folder.cache))
    elif config.init_from is not None:
        check_origin(config, RunFolder(Path(config.init_from)), folder)
    check_vectors(config)
    if changes is None:
        begin_folder(config, folder, on_progress)
    remove_leftovers(folder.checkpoints)
    return changes


def _fit(run: TrainingRun) -> None:
    if run.config.model.is_count_based:
        with _memory_explained(lambda: "while counting", run.config.model.memory_advice):
            fit(run)
        return
    with _memory_explained(lambda: f"in step {run.progress.step + 1}", run.config.data.memory_advice):
        fit(run)


@contextmanager
def _memory_explained(when: Callable[[], str], advice: str) -> Iterator[None]:
    """Raise a MemoryError that says what to change where memory runs out, that of a device too."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        raise MemoryError(f"Memory ran out {when()}: {advice}.") from error


def _assemble(
    config: Config,
    held: HeldFolder,
    machine: DeviceContext,
    codecs: tuple[Any, Any],
    data: Any,
) -> tuple[TrainingRun, dict[str, Any]]:
    """Build everything that training works on; return it with what run.json notes of where its weights start."""
    folder = held.root
    torch.manual_seed(config.seed)
    model = config.model.resolve(config.data).build(*codecs)
    check_model(model, config, config.data.task)
    frozen, start = _start_weights(model, config, codecs, data, is_new=not checkpoint_steps(folder.checkpoints))
    objective = config.objective.build()
    with _memory_explained(lambda: "as the model was moved to the device", "choose a smaller model"):
        accumulator = Accumulator(model, objective, machine, config.seed, frozen)
        for parameter in accumulator.parameters:  # as after any update, so that a resumed run does not differ in it
            parameter.grad = torch.zeros_like(parameter)
    optimizer = config.optim.optimizer.build(
        Parameters(accumulator.parameters, accumulator.partly_frozen, hidden_matrices(model))
    )
    journal = MetricsLogger(folder.metrics_file if machine.world.is_main else Path(os.devnull))
    task = config.data.task
    run = TrainingRun(config, held, machine, codecs, task, data, model, objective, accumulator, optimizer, journal)
    if config.optim.ema_decay:
        run.moving_average = MovingAverage(run.weights(), config.optim.ema_decay)
    size = f"{sum(p.numel() for p in model.parameters()):,} parameters"
    ranks = (
        "" if machine.world.is_single_process else f", {machine.world.world_size} ranks ({config.training.parallel})"
    )
    logger.info("%s, %s, %s%s", size, machine.device, machine.dtype, ranks)
    return run, start


def _start_weights(
    model: Any, config: Config, codecs: tuple[Any, Any], data: Any, *, is_new: bool
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Let weights start from counts, another run or word vectors; return the rows that are frozen, and what is noted.

    The weights of a run that is not new are in its checkpoint, but which rows are frozen only the vectors tell.
    """
    takes_all = config.init_from is not None and config.init_parts == "all"
    if is_new and isinstance(model, CorpusReader) and not takes_all:
        for line in model.read_corpus(data.train.src.values, data.train.src.offsets):
            logger.info("%s", line)
    if config.init_from is not None:
        return {}, {"init_from": start_from(model, config)} if is_new else {}
    if config.data.vector_files() and (is_new or config.optim.frozen_vectors):
        start = start_from_vectors(model, config, codecs, data)
        return start.frozen, {"vectors": start.notes}
    return {}, {}


def _is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return any(text in str(error) for text in OUT_OF_MEMORY)
