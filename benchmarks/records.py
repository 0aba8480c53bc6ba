"""What goes to a measuring process and what comes back, as JSON."""

from dataclasses import dataclass
from typing import Any, Literal

from benchmarks.scale import ModelSizes

Json = dict[str, Any]
Dtype = Literal["fp32", "bf16"]
"""Of matrix products; weights are fp32."""


@dataclass(frozen=True)
class TrainingJob:
    """Some updates from given weights over given batches."""

    workload: str
    """The folder that `prepare_training` made."""
    micro_batch_tokens: int
    dtype: str
    """`fp32` or `bf16`: the dtype of matrix products; weights are fp32."""
    dropout: float
    steps: int
    threads: int
    device: str


@dataclass(frozen=True)
class TrainingResult:
    """One number for each step."""

    seconds: list[float]
    losses: list[float]
    """Smoothed cross entropy in nats per target token."""
    src_padding: list[float]
    """Share of the source tensors that is padding."""
    tgt_padding: list[float]
    peak_memory_mb: float
    """Largest resident set of the process; on a GPU, the largest amount that torch had allocated there."""


class Unavailable(Exception):
    """A system cannot be measured: it is not installed, or cannot do what is asked; the message says which."""


@dataclass(frozen=True)
class DecodingJob:
    """Some lines to translate, once with each batch size."""

    folder: str
    """What `prepare_decoding` made."""
    run: str
    engine: str
    """Of seqlab: `torch` or `ctranslate2`; of JoeyNMT the Python of its environment."""
    dtype: str
    """`fp32`, `bf16` or `int8`."""
    beam_size: int
    batches: list[int]
    """In the system's own unit."""
    lines: list[str]
    warmup_lines: int
    """Lines that are translated before the clock starts."""
    workers: int
    """Batches that are decoded side by side, where a system can."""
    threads: int
    """Of each worker."""
    device: str
    started: float
    """When the process was started, seconds since 1970."""


@dataclass(frozen=True)
class DecodingResult:
    """What one process did."""

    load_seconds: float
    """From the start of the process to the first line that could be translated."""
    seconds: list[float]
    """For each batch size."""
    hypotheses: list[str]
    """Of the last batch size."""
    tgt_tokens: list[int]
    """For each line of the last batch size, the end of sentence counted."""
    peak_memory_mb: float


HELPERS = ("rescore", "lm")
"""Fields of a system's search that name other runs."""
LM_FIELDS = ("lm_weight", "length_reward")
"""Fields of how a language model decides, numbers."""


@dataclass(frozen=True)
class TradeoffJob:
    """Some lines to translate with one search, once with each batch size, or one by one."""

    run: str
    search: Json
    """Fields by name: of a `SearchConfig`, whose values may be text, those of `HELPERS` and of `LM_FIELDS`."""
    batches: list[int]
    """Padded source tokens times beam size; none for one by one."""
    lines: list[str]
    precision: str
    """`fp32`, `bf16` or `auto`."""
    device: str


@dataclass(frozen=True)
class QualityJob:
    """A training run that is validated now and then."""

    folder: str
    """Where the corpus lies and the run is kept."""
    name: str
    """Of the run."""
    scale: Json
    recipe: str | None
    """A recipe or config of seqlab's own instead of the benchmark's model and schedule."""
    dtype: Dtype
    minutes: float
    """Of training, evaluation not counted."""
    valid_every: int
    """Updates between two validations."""
    lr_warmup_steps: int
    enough_bleu: float
    """Training ends early once this is reached."""
    seed: int
    threads: int
    device: str


@dataclass(frozen=True)
class Point:
    """One validation."""

    minutes: float
    """Of training until then, evaluation not counted."""
    step: int
    bleu: float
    """Greedy, detokenised, on the validation set."""


GrowthWork = Literal["training", "decoding", "corpus"]


@dataclass(frozen=True)
class GrowthJob:
    """One piece of work at one size."""

    work: GrowthWork
    sizes: ModelSizes
    sentences: int
    length: int
    """Tokens of each sentence on both sides, special id counted."""
    beam_size: int
    pairs: int
    """Of the corpus that is prepared."""
    folder: str
    """Where `growth_corpora` wrote."""
    dtype: Dtype
    warmups: int
    repetitions: int
    threads: int
    device: str
