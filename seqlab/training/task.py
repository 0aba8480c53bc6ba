"""What training asks of a kind of data: how it is prepared, read in steps and validated on."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from seqlab.data.batch import Batch
from seqlab.data.step import Position, TrainingStep
from seqlab.data.survey import OnProgress
from seqlab.models.interfaces import Scorer
from seqlab.runs.config import Config
from seqlab.runs.folder import RunFolder
from seqlab.text import Tokenizer
from seqlab.training.validation import Validation
from seqlab.world import World


@dataclass(frozen=True)
class Task:
    """Functions that know nothing of each other; the tokenizers of both sides are one where there is one side."""

    write_tokenizers: Callable[[Config, RunFolder, OnProgress], dict[str, int]]
    """(config, folder, on_progress) -> learns the tokenizers and writes them: their vocabularies' sizes by name"""
    complete_tokenizers: Callable[[Config, RunFolder, OnProgress], None]
    """(config, folder, on_progress) -> adds what goes with the tokenizers, whether they were learnt or taken over from
    another run, and is not there"""
    prepare: Callable[[Config, tuple[Tokenizer, Tokenizer], Path, OnProgress | None], Any]
    """(config, tokenizers, cache, on_progress) -> the prepared data, with its `report` and the `content_hashes` of its
    files; without `on_progress` open what is there"""
    steps: Callable[[Any, Config, tuple[Tokenizer, Tokenizer], World, Position | None], Iterator[TrainingStep[Batch]]]
    """(data, config, tokenizers, world, after) -> the steps that follow a position"""
    count: Callable[[Any], Iterator[str]]
    """(training run) -> fits a model that is counted to the training corpus; yields lines for the log"""
    validate: Callable[[Any, dict[str, Tensor]], Validation]
    """(training run, weights) -> what the validation set says of them"""
    locate: Callable[[Any, int], str]
    """(data, index of a batch's row) -> the file and the line it came from"""
    batch_type: type
    """of the batches"""
    unit: str
    """what the rows of a batch are, in messages"""
    describe: Callable[[Any], dict[str, Any]]
    """(data) -> what run.json notes besides"""
    needs: tuple[type, ...] = (Scorer,)
    """the protocols of models whose methods validation calls"""
    decodes: bool = False
    """whether validation decodes by `training.valid_search`"""
