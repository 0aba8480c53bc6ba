"""Jobs and results of the worker processes, as JSON."""

from dataclasses import dataclass
from typing import Any, Literal

from benchmarks.scale import ModelSizes

Json = dict[str, Any]
Dtype = Literal["fp32", "bf16"]
"""Dtype of matrix products; weights are fp32."""


@dataclass(frozen=True)
class TrainingJob:
    """Training updates from given weights on given batches."""

    workload: str
    """Folder written by `prepare_training`."""
    micro_batch_tokens: int
    dtype: str
    """`fp32` or `bf16`: the dtype of matrix products; weights are fp32."""
    dropout: float
    steps: int
    threads: int
    device: str


@dataclass(frozen=True)
class TrainingResult:
    """Measurements by step."""

    seconds: list[float]
    losses: list[float]
    """Smoothed cross entropy in nats per target token."""
    src_padding: list[float]
    """Share of the source tensors that is padding."""
    tgt_padding: list[float]
    peak_memory_mb: float
    """Peak resident set of the process; on a GPU, the peak memory allocated by torch."""


class Unavailable(Exception):
    """Raised if a system cannot be measured, because it is not installed or does not support the job."""


@dataclass(frozen=True)
class DecodingJob:
    """Lines to translate, once with each batch size."""

    folder: str
    """Folder written by `prepare_decoding`."""
    run: str
    engine: str
    """`torch` or `ctranslate2` for seqlab; for JoeyNMT the Python of its environment."""
    dtype: str
    """`fp32`, `bf16` or `int8`."""
    beam_size: int
    batches: list[int]
    """Batch sizes in the unit of the system."""
    lines: list[str]
    warmup_lines: int
    """Number of lines translated before the timing."""
    workers: int
    """Number of batches decoded in parallel, if the system supports it."""
    threads: int
    """Threads per parallel batch."""
    device: str
    started: float
    """Start time of the process in seconds since 1970."""


@dataclass(frozen=True)
class DecodingResult:
    """Measurements of one worker process."""

    load_seconds: float
    """From the start of the process until the system can translate."""
    seconds: list[float]
    """Seconds by batch size."""
    hypotheses: list[str]
    """Translations with the last batch size."""
    tgt_tokens: list[int]
    """Tokens of each translation with the last batch size, including the end of sentence."""
    peak_memory_mb: float


HELPER_RUN_FIELDS = ("rescore", "lm")
"""Fields of `--system` with another run folder as value."""
LM_FIELDS = ("lm_weight", "length_reward")
"""Numeric fields of shallow fusion with a language model."""


@dataclass(frozen=True)
class TradeoffJob:
    """Lines to translate with one search configuration, once with each batch size or one by one."""

    run: str
    search: Json
    """Fields by name: those of `SearchConfig` (values may be strings), `HELPER_RUN_FIELDS` and `LM_FIELDS`."""
    batches: list[int]
    """Batch sizes in padded source tokens times beam size; empty for one by one."""
    lines: list[str]
    precision: str
    """`fp32`, `bf16` or `auto`."""
    device: str


@dataclass(frozen=True)
class QualityJob:
    """A training run with periodic validation."""

    folder: str
    """Folder of the corpus and the run."""
    name: str
    """Name of the run."""
    scale: Json
    recipe: str | None
    """A recipe or config of seqlab, or None for the model and schedule of the benchmark."""
    dtype: Dtype
    minutes: float
    """Time limit of training, without evaluation."""
    valid_every: int
    """Steps between two validations."""
    lr_warmup_steps: int
    target_bleu: float
    """Training stops early when this BLEU is reached."""
    seed: int
    threads: int
    device: str


@dataclass(frozen=True)
class Point:
    """One validation."""

    minutes: float
    """Training time until then, without evaluation."""
    step: int
    bleu: float
    """BLEU of greedy decoding on the detokenized validation set."""


GrowthWork = Literal["training", "decoding", "corpus"]


@dataclass(frozen=True)
class GrowthJob:
    """One type of work at one size."""

    work: GrowthWork
    sizes: ModelSizes
    sentences: int
    length: int
    """Tokens of each sentence on both sides, including the special id."""
    beam_size: int
    pairs: int
    """Pairs of the prepared corpus."""
    folder: str
    """Folder written by `growth_corpora`."""
    dtype: Dtype
    warmups: int
    repetitions: int
    threads: int
    device: str
