"""What tasks have in common whose examples are pairs: lines and their translations, or lines and their labels."""

from collections.abc import Iterator
from typing import Any

from seqlab.data.batch import Batch
from seqlab.data.config import LabelledConfig, ParallelConfig
from seqlab.data.labelled_sampler import LabelledSampler
from seqlab.data.prepare import PreparedData
from seqlab.data.sampler import Sampler
from seqlab.data.step import Position, TrainingStep
from seqlab.runs.config import Config
from seqlab.text import Tokenizer
from seqlab.world import World


def paired_steps(
    data: PreparedData, config: Config, tokenizers: tuple[Tokenizer, Tokenizer], world: World, after: Position | None
) -> Iterator[TrainingStep[Batch]]:
    """Yield this rank's part of the steps that follow a position."""
    assert isinstance(config.data, ParallelConfig | LabelledConfig)
    kind = LabelledSampler if isinstance(config.data, LabelledConfig) else Sampler
    sampler = kind(data.train, config.data, config.seed, *tokenizers, rank=world.rank, world_size=world.world_size)
    return sampler.steps(after)


def locate_pair(data: PreparedData, index: int) -> str:
    """Name the files and the line that a row of a batch came from."""
    return data.train.locate(index)


def describe_pairs(data: PreparedData) -> dict[str, Any]:
    """Note the longest source: beyond it a model has not learnt to read."""
    return {"longest_src_tokens": int(data.train.src.lengths.max())}
