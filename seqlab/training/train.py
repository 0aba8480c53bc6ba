"""Training in a run folder: set up or resume the run, then fit the model."""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from seqlab.base.reading_notes import HasReadingNotes, ReadingNotes
from seqlab.base.world import World, join_world
from seqlab.data.column import Column
from seqlab.data.input_hashes import hash_inputs
from seqlab.data.survey import PreparationProgress
from seqlab.objectives import ModelFactory
from seqlab.optim import Parameters
from seqlab.optim.averaging import MovingAverage
from seqlab.optim.muon import hidden_matrices
from seqlab.runs.checkpoint import checkpoint_steps, remove_leftovers
from seqlab.runs.codecs import load_codecs_for
from seqlab.runs.config import Config, from_dict, to_dict, write_config
from seqlab.runs.flat_config import Changes, differing_fields
from seqlab.runs.folder import RUN_ID, RunFolder, default_run_dir
from seqlab.runs.load import read_config
from seqlab.training.accumulator import Accumulator
from seqlab.training.device_context import DeviceContext, set_up
from seqlab.training.locked_folder import LockedRunFolder, explain_full_disk, lock_run_folder
from seqlab.training.loggers import check_loggers, open_loggers
from seqlab.training.loop import fit
from seqlab.training.metrics_logger import MetricsLogger
from seqlab.training.progress_bar import corpus_bar
from seqlab.training.resume import (
    check_content,
    check_resumable,
    keep_older_defaults,
    refuse_changed_reading,
    resume,
)
from seqlab.training.run_setup import (
    create_run_folder,
    must_overwrite,
    refuse_foreign_data,
    refuse_foreign_folder,
    refuse_unnamed_torchrun_job,
    remove_if_rejected,
    restart_count,
    update_run_json,
    write_run_json,
)
from seqlab.training.state import TrainingRun
from seqlab.training.task import check_layout, check_model
from seqlab.training.vector_initialization import check_vectors, copy_word_vectors, vector_columns
from seqlab.training.warm_start import check_init_from, copy_init_weights

logger = logging.getLogger(__name__)

OUT_OF_MEMORY = ("can't allocate memory", "CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
"""Texts of out-of-memory errors that are plain RuntimeErrors: CPU allocator, page-locked memory, cuBLAS."""


Recipe = Callable[[Path], Config]
"""Function that returns the config for a run folder, and may write data into the folder."""


def train(
    config: Config | Recipe,
    run_dir: str | Path | None = None,
    *,
    overwrite: bool = False,
    command: Sequence[str] = (),
) -> Path:
    """Train the model of a config in a run folder; resume if the folder has a run of the same config.

    Args:
        config: the config, or a recipe: a function that returns the config for a run folder, and may write data there.
        run_dir: the run folder (default: `runs/SRC-TGT` after the file names of the corpus, or `runs/RECIPE`).
        overwrite: replace an existing run; a recipe generates its data again. The new run is set up in `RUN.new`, then
            takes the path of the old one, which is deleted. Until then the old run stays unchanged.
        command: the command line, for run.json.

    Returns the run folder.

    Raises:
        ValueError: invalid data or config, or the config of the existing run differs in a field that must not change.
        OSError: a file is missing, or the disk is full.
        Interrupted: SIGTERM or Ctrl-C, after a checkpoint is written.
        FailedStep: a loss or gradient is not finite.
        LostRank: another process that torchrun started has ended.
        LostFolder: the run folder was moved or deleted during training; a moved folder has a checkpoint.
    """
    if not (isinstance(config, Config) or callable(config)):
        raise ValueError(
            f"`config` must be a `Config` or a recipe, but is {config!r} instead: `config_from_yaml` reads a config "
            "file, and `seqlab.recipes` contains the recipes."
        )
    folder = RunFolder(run_dir or _default_run_dir(config))
    with (
        join_world() as world,
        explain_full_disk(folder),
        world.enter_on_main(remove_if_rejected(folder)),
        open_folder(folder, overwrite, world) as locked_folder,
        locked_folder.restore_paths_in_messages(),
    ):
        run = set_up_run(config, locked_folder, command, world)
        with closing(run.metrics_logger):
            _fit(run)
            world.call_on_main(locked_folder.raise_if_lost)
    return folder.path


def _default_run_dir(config_or_recipe: Config | Recipe) -> Path:
    """Return the default run folder of a corpus or recipe; raise ValueError if the recipe has no name."""
    if isinstance(config_or_recipe, Config):
        return default_run_dir(*config_or_recipe.data.run_name_specs())
    name = getattr(config_or_recipe, "__name__", "")
    if not name.isidentifier():
        raise ValueError("`run_dir` must be given if `config` is a function without a name.")
    return Path("runs") / name


def open_folder(folder: RunFolder, overwrite: bool, world: World) -> AbstractContextManager[LockedRunFolder]:
    """Lock the run folder, or the folder of a new run that overwrites it."""
    if not overwrite:
        return lock_run_folder(folder, world)
    refuse_unnamed_torchrun_job()
    restarts = restart_count(world)
    return lock_run_folder(folder, world, lambda folder: must_overwrite(folder, restarts))


def set_up_run(
    config_or_recipe: Config | Recipe, locked_folder: LockedRunFolder, command: Sequence[str], world: World
) -> TrainingRun:
    """Set up a new run, or restore an existing one from its last checkpoint.

    The main rank writes the files, and the other ranks read them.
    """
    folder = locked_folder.root
    config = world.call_on_main(lambda: _prepared_config(config_or_recipe, locked_folder))
    device_context = set_up(config.training, world, folder.read_description() if folder.exists() else None)
    with corpus_bar(world.is_main) as on_progress:
        changes = world.call_on_main(lambda: _open_folder(config, locked_folder, on_progress))
        codecs = load_codecs_for(folder, config.data)
        data = _prepare_data(config, codecs, folder, world, on_progress)
    if config.training.max_epochs is not None:
        config = _convert_max_epochs(config, codecs, data, world)
        if changes is not None:
            changes = world.call_on_main(lambda: differing_fields(read_config(folder), config))
    notes = data.reading if isinstance(data, HasReadingNotes) else ReadingNotes()
    if changes is not None:
        refuse_changed_reading(folder, notes)
    for line in [*data.report.lines(), *notes.lines()]:
        logger.info("%s", locked_folder.with_user_path(line))
    run, init_entries = _assemble(config, locked_folder, device_context, codecs, data)
    if changes is not None:
        resume(run, changes)
        world.call_on_main(lambda: update_run_json(run))
    else:
        world.call_on_main(lambda: write_config(_with_user_paths(config, locked_folder), folder.config_file))
        world.call_on_main(lambda: write_run_json(run, command, init_entries))
        if locked_folder.overwrites is not None:
            _take_path(run, world)
    locked_folder.bind_run_id(world.call_on_main(lambda: locked_folder.root.read_description_entry(RUN_ID)))
    world.call_on_main(lambda: _start_loggers(run))
    return run


def _convert_max_epochs(config: Config, codecs: tuple[Any, Any], data: Any, world: World) -> Config:
    """Replace `max_epochs` by `max_steps`, estimated from the share of an epoch that the first step covers.

    The estimate is exact if an epoch is one chunk, and off by a few percent if it has several.
    """
    training = config.training
    assert training.max_epochs is not None
    steps: int | None = None  # for a count-based model, which has no steps
    if not config.model.is_count_based:
        first = next(config.data.task.steps(data, config, codecs, world, None))
        steps = max(1, round(training.max_epochs / first.epoch))
        logger.info("%g epochs are %s steps", training.max_epochs, f"{steps:,}")
    return replace(config, training=replace(training, max_steps=steps, max_epochs=None))


def _start_loggers(run: TrainingRun) -> None:
    names, root = run.config.training.logger, run.locked_folder.root
    run.metrics_logger.set_loggers(open_loggers(names, root.logs, root.read_metrics() if names else ()))


def _prepared_config(config_or_recipe: Config | Recipe, locked_folder: LockedRunFolder) -> Config:
    """Let a recipe write its data, and return the config."""
    folder = locked_folder.root
    if not folder.exists():
        refuse_foreign_folder(folder)
    # a recipe writes the paths of its data into the config, so it receives no path of a descriptor
    config = config_or_recipe if isinstance(config_or_recipe, Config) else config_or_recipe(locked_folder.place.path)
    if locked_folder.overwrites is not None:
        refuse_foreign_data(locked_folder.folder, folder)
    check_loggers(config.training.logger)
    check_layout(config)
    return keep_older_defaults(folder, config) if folder.exists() else config


def _prepare_data(
    config: Config, codecs: tuple[Any, Any], folder: RunFolder, world: World, on_progress: PreparationProgress
) -> Any:
    with world.main_first():
        return config.data.task.prepare(config, codecs, folder.cache, on_progress if world.is_main else None)


def _with_user_paths(config: Config, locked_folder: LockedRunFolder) -> Config:
    """Replace the paths of data that a recipe has written into `RUN.new` by their later paths."""

    def with_user_paths(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: with_user_paths(each) for key, each in value.items()}
        return list(map(with_user_paths, value)) if isinstance(value, list) else locked_folder.with_user_path(value)

    values = to_dict(config)
    renamed = with_user_paths(values)
    return config if renamed == values else from_dict(renamed)


def _take_path(run: TrainingRun, world: World) -> None:
    """Replace the run that this one overwrites, and open the data that a recipe has written under their new paths."""
    config = _with_user_paths(run.config, run.locked_folder)
    run.locked_folder.take_path(world)
    if config != run.config:
        with corpus_bar(world.is_main) as on_progress:
            run.data = _prepare_data(config, run.codecs, run.locked_folder.root, world, on_progress)
    run.config = config


def _open_folder(config: Config, locked_folder: LockedRunFolder, on_progress: PreparationProgress) -> Changes | None:
    """Create the folder of a new run and return None, or return the changed fields of an existing run."""
    folder, changes = locked_folder.root, None
    if folder.exists():
        changes = check_resumable(folder, config)
        specs: list[str | Column] = [*config.data.input_specs(), *vector_columns(config)]
        check_content(folder, hash_inputs(specs, folder.cache))
    elif config.init_from is not None:
        check_init_from(config, RunFolder(Path(config.init_from)), locked_folder.folder)
    check_vectors(config)
    if changes is None:
        create_run_folder(config, folder, on_progress)
    remove_leftovers(folder.checkpoints)
    return changes


def _fit(run: TrainingRun) -> None:
    if run.config.model.is_count_based:
        model = run.config.model
        advice = model.memory_advice if isinstance(model, CountingConfig) else "count less text"
        with _explain_out_of_memory(lambda: "while counting", advice):
            fit(run)
        return
    with _explain_out_of_memory(lambda: f"in step {run.progress.step + 1}", run.config.data.memory_advice):
        fit(run)


@contextmanager
def _explain_out_of_memory(when: Callable[[], str], advice: str) -> Iterator[None]:
    """Re-raise out-of-memory errors, of the host or a device, as a MemoryError with advice."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        raise MemoryError(f"Memory ran out {when()}: {advice}.") from error


def _assemble(
    config: Config,
    locked_folder: LockedRunFolder,
    device_context: DeviceContext,
    codecs: tuple[Any, Any],
    data: Any,
) -> tuple[TrainingRun, dict[str, Any]]:
    """Build model, optimizer and other state of a run; also return the entries about initial weights for run.json."""
    folder = locked_folder.root
    torch.manual_seed(config.seed)
    model_config = config.model.resolve(config.data)
    model = model_config.build(*codecs)
    check_model(model, config, config.data.task)
    is_new = not checkpoint_steps(folder.checkpoints)
    frozen, init_entries = initialize_weights(model, config, codecs, data, is_new=is_new)
    objective = config.objective.build_for(model, ModelFactory(model_config, *codecs))
    with _explain_out_of_memory(lambda: "when the model was moved to the device", "choose a smaller model"):
        accumulator = Accumulator(model, objective, device_context, config.seed, frozen)
        # zero gradients, as after an update, so that a resumed run equals an uninterrupted one
        for parameter in accumulator.parameters:
            parameter.grad = torch.zeros_like(parameter)
    optimizer = config.optim.optimizer.build(
        Parameters(accumulator.parameters, accumulator.partly_frozen, hidden_matrices(model))
    )
    metrics_logger = MetricsLogger(folder.metrics_file if device_context.world.is_main else Path(os.devnull))
    task = config.data.task
    run = TrainingRun(
        config,
        locked_folder,
        device_context,
        codecs,
        task,
        data,
        model,
        objective,
        accumulator,
        optimizer,
        metrics_logger,
    )
    if config.optim.ema_decay:
        run.moving_average = MovingAverage(run.weights(), config.optim.ema_decay)
    if num_parameters := sum(p.numel() for p in model.parameters()):  # a count-based model has none
        world = device_context.world
        ranks = "" if world.is_single_process else f", {world.world_size} ranks ({config.training.parallel})"
        logger.info(
            "%s parameters, %s, %s%s", f"{num_parameters:,}", device_context.device, device_context.dtype, ranks
        )
    return run, init_entries


@runtime_checkable
class CountingConfig(Protocol):
    """A model config with advice on counting with less memory."""

    @property
    def memory_advice(self) -> str:
        """Advice for the error message when counting runs out of memory."""
        ...


@runtime_checkable
class CorpusReader(Protocol):
    """A model that collects statistics of the encoded training corpus before the first step."""

    def read_corpus(self, values: Any, offsets: Any) -> Iterator[str]:
        """Read the training corpus and yield log lines.

        Args:
            values: the source ids of all rows, concatenated, as a numpy array.
            offsets: the start of each row in `values`, as a numpy array.
        """
        ...


def initialize_weights(
    model: Any, config: Config, codecs: tuple[Any, Any], data: Any, *, is_new: bool
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Initialize weights from counts, another run or word vectors; return frozen rows and entries for run.json.

    A resumed run takes its weights from a checkpoint, but still reads the word vectors to find the frozen rows.
    """
    copies_all = config.init_from is not None and config.init_parts == "all"
    if is_new and isinstance(model, CorpusReader) and not copies_all:
        for line in model.read_corpus(data.train.src.values, data.train.src.offsets):
            logger.info("%s", line)
    if config.init_from is not None:
        return {}, {"init_from": copy_init_weights(model, config)} if is_new else {}
    if config.data.vector_files() and (is_new or config.optim.frozen_vectors):
        vectors = copy_word_vectors(model, config, codecs, data)
        return vectors.frozen, {"vectors": vectors.notes}
    return {}, {}


def _is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return any(text in str(error) for text in OUT_OF_MEMORY)
