"""The fields of the configs of `search/` as keyword arguments, so that calls are checked and completed."""

from typing import Literal, TypedDict


class _SharedOptions(TypedDict, total=False):
    max_length: int


class SearchOptions(_SharedOptions, total=False):
    """The fields of `SearchConfig`, which explains them."""

    beam_size: int
    num_hypotheses: int
    length_penalty: Literal["plain", "gnmt"]
    length_alpha: float
    coverage_penalty: float
    max_length_ratio: float | None
    max_length_offset: int | None
    min_length_ratio: float
    early_stopping: bool | None
    no_repeat_ngram_size: int
    iterations: int | None
    pseudo_likelihood: bool
    revise: bool
    algorithm: str | None


class SamplingOptions(_SharedOptions, total=False):
    """The fields of `SamplingConfig`, which explains them."""

    temperature: float
    top_k: int
    top_p: float
    min_p: float
    typical_p: float
    repetition_penalty: float
    min_length: int
    seed: int


class GenerationOptions(SearchOptions, SamplingOptions, total=False):
    """Those of both: `beam_size` searches, without it continuations are sampled."""
