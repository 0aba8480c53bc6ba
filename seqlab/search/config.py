"""Configs of search and sampling, and types of their fields as keyword arguments.

`SearchConfig` is one class for all searches, without a tag that selects the fields, because the model selects the
search: options are given before a model is loaded, and the same options may decode with several models. Each search
rejects the fields that it does not support. This module imports no torch, so that the command line can show its help.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal, TypedDict

from pydantic import ConfigDict, Field

from seqlab.base.bounds import MAX_COUNT, MAX_NUMBER, BeamSize, Count, CountOrZero, NonNegative
from seqlab.base.config_class import dataclass
from seqlab.registry import Parts

Offset = Annotated[int, Field(ge=-MAX_COUNT, le=MAX_COUNT)]
DEFAULT_RATIO, DEFAULT_OFFSET = 2.0, 10
"""Length limit if neither the caller nor the run has one: target ids per source id, and number of ids added to them."""
NUM_SEEDS = 2**64
"""Number of possible seeds, and of possible row numbers. A seed and a row number are the key of a random generator."""


@dataclass(frozen=True)
class OutputLimits:
    """Output length limits of a trained model, derived from its training data: defaults for a `SearchConfig`.

    For a source of S ids the limit is min(floor(ratio * S) + offset, max_length). Both lengths include eos.
    """

    max_length: int
    ratio: float = DEFAULT_RATIO
    offset: int = DEFAULT_OFFSET

    @classmethod
    def combined(cls, members: "Sequence[OutputLimits]") -> "OutputLimits":
        """Combine the limits of several models: the smallest `max_length`, the largest ratio and offset."""
        return cls(
            min(member.max_length for member in members),
            max(member.ratio for member in members),
            max(member.offset for member in members),
        )


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid", use_attribute_docstrings=True))
class SearchConfig:
    """Search: beam, length penalty and limits.

    Lengths of sources and hypotheses are in ids and include eos. A forced prefix is part of the length and the
    log-probability of its hypothesis.
    """

    beam_size: BeamSize = 5
    """Number of hypotheses per sentence that are extended at each step; 1 is greedy search. For models that predict
    target lengths: the number of lengths to try and, with a language model, of prefixes to keep for each length."""
    num_hypotheses: BeamSize = 1
    """Number of hypotheses per sentence to return, best first; at most `beam_size`. Of hypotheses with the same text,
    only the best is returned."""
    length_penalty: Literal["plain", "gnmt"] = "plain"
    """Divisor of the log-probability: len^alpha (`plain`) or ((5 + len) / 6)^alpha (`gnmt`, arXiv:1609.08144)."""
    length_alpha: Annotated[float, Field(ge=-10, le=10)] = 1.0
    """Exponent alpha of the length penalty: 0 is no penalty, 1 with `plain` is the mean log-probability per id. Higher
    values favor longer hypotheses."""
    coverage_penalty: NonNegative = 0.0
    """Weight (beta) of GNMT's coverage penalty, which lowers the score of a hypothesis that leaves source tokens
    unattended. For beam search with models that attend to a source. 0.2 is usual with soft attention. It lowers quality
    if attention is sharp or correct outputs leave tokens unattended, as for single words: choose it on validation
    data."""
    max_length_ratio: NonNegative | None = None
    """Maximum length of a hypothesis, in ids per source id. Default: the run's limit, 20% above the longest targets of
    its training data; 2 if the run has none or `max_length_offset` is given. A higher limit makes the search slower."""
    max_length_offset: Offset | None = None
    """Number of ids added to `max_length_ratio` times the source length. Default: that of the run; 10 if the run has
    none or `max_length_ratio` is given."""
    max_length: Count = 512
    """Maximum length of a hypothesis in ids, for any source; the only limit if there is no source."""
    min_length_ratio: NonNegative = 0.0
    """Minimum length of a hypothesis, in ids per source id; the maximum length takes precedence."""
    early_stopping: bool | None = None
    """Beam search (default: true): stop a sentence when `beam_size` hypotheses have finished and no unfinished one has
    a better score; false searches until no better hypothesis is possible. Mask-predict (default: false): stop a
    hypothesis when a pass changes none of its tokens. A later pass, with other masked tokens, could still change some.
    No effect on the beam search of CTC, which reads all frames."""
    no_repeat_ngram_size: CountOrZero = 0
    """Length n of the n-grams that no hypothesis may contain twice; 0 allows all. They are n-grams of tokens, which are
    characters or parts of words with most tokenizers: 3 forbids to repeat three characters or subwords, not three
    words. A forced prefix is part of a hypothesis, the source and the prompt of a language model are not."""
    iterations: Count | None = None
    """Passes of mask-predict, for non-autoregressive models that predict masked tokens given the others. Default: 10
    for `transformer_cmlm`, 1 for others."""
    pseudo_likelihood: bool = True
    """Mask-predict with several passes and lengths: choose between the lengths by the log-probability of each half of
    the tokens given the other half (two more passes), instead of that of each token's last prediction."""
    revise: Annotated[bool, "true | false"] = False
    """Mask-predict: re-predict all tokens in each pass, not only the masked ones. For models that were trained on their
    own predictions (`objective.own_words`)."""

    algorithm: str | None = None
    """Search algorithm: `beam` (greedy with `beam_size: 1`), `ctc`, `mask_predict` or a registered one. Default: the
    first that fits the model."""

    def check_non_autoregressive(self, ends_at_eos: bool, iterations: int) -> None:
        """Raise ValueError for fields that do not apply to a non-autoregressive model.

        Args:
            ends_at_eos: whether the model predicts more positions than it needs and the first eos ends the target.
            iterations: the model's default number of passes.
        """
        self._refuse(
            ("no_repeat_ngram_size", "coverage_penalty"),
            "is for autoregressive models, but this one is non-autoregressive",
        )
        if ends_at_eos:
            names = ["min_length_ratio", "num_hypotheses", "early_stopping", "pseudo_likelihood", "revise"]
            self._refuse(
                names if self.iterations == 1 else [*names, "iterations"],
                "is for models that predict target lengths, but this one gives one hypothesis, which ends at the first "
                "eos",
            )
        if self.revise and (self.iterations or iterations) == 1:
            raise ValueError(
                "`revise` is for mask-predict with several passes, but there is one: raise `iterations` or leave it "
                "out."
            )

    def check_frame_model(self) -> None:
        """Raise ValueError for fields that do not apply to models that score frames, such as CTC models."""
        self.check_autoregressive()
        self._refuse(
            ("coverage_penalty",),
            "is for models that attend to a source for each token, but this one predicts all frames at once",
        )

    def check_autoregressive(self) -> None:
        """Raise ValueError for fields that apply only to non-autoregressive models."""
        self._refuse(
            ("iterations", "pseudo_likelihood", "revise"),
            "is for mask-predict with non-autoregressive models, which this one is not",
        )

    def _refuse(self, names: Sequence[str], reason: str) -> None:
        """Raise ValueError for the first of these fields that is set: its value is not the default."""
        for name in names:
            if getattr(self, name) != getattr(SearchConfig, name):
                raise ValueError(f"`{name}` {reason}: leave it out.")

    @classmethod
    def unsupported_fields(cls, check: "Callable[[SearchConfig], None]") -> set[str]:
        """Return the fields that a model does not support; `check` raises ValueError for an unsupported config."""
        unsupported = set()
        for name, values in _CONFIGS_BY_FIELD.items():
            try:
                check(cls(**values))
            except ValueError:
                unsupported.add(name)
        return unsupported

    def with_limits(self, limits: OutputLimits) -> "SearchConfig":
        """Return this config with the length limits of a model.

        The ratio and the offset of a model are used only together: if this config sets one of them, both are ignored.
        """
        config = replace(self, max_length=min(self.max_length, limits.max_length))
        if self.max_length_ratio is None and self.max_length_offset is None:
            config = replace(config, max_length_ratio=limits.ratio, max_length_offset=limits.offset)
        return config

    def max_length_for(self, src_length: int) -> int:
        """Return the maximum hypothesis length for a source of `src_length` ids."""
        ratio = DEFAULT_RATIO if self.max_length_ratio is None else self.max_length_ratio
        offset = DEFAULT_OFFSET if self.max_length_offset is None else self.max_length_offset
        return max(1, min(self.max_length, math.floor(ratio * src_length) + offset))

    def __post_init__(self) -> None:
        if self.algorithm is not None and self.algorithm not in Parts("search"):
            raise ValueError(
                f"`algorithm` must be one of {', '.join(Parts('search'))}, but is `{self.algorithm}` instead."
            )
        if self.num_hypotheses > self.beam_size:
            raise ValueError(
                f"`num_hypotheses` must be at most `beam_size` ({self.beam_size}), "
                f"but is {self.num_hypotheses} instead."
            )
        if self.coverage_penalty > 0 and self.beam_size == 1:
            raise ValueError(
                "`coverage_penalty` chooses between the hypotheses of a beam, but `beam_size: 1` has only one: raise "
                "`beam_size` or leave it out."
            )


_CONFIGS_BY_FIELD: dict[str, dict[str, Any]] = {
    "num_hypotheses": {"num_hypotheses": 2},
    "coverage_penalty": {"coverage_penalty": 0.1},
    "min_length_ratio": {"min_length_ratio": 0.1},
    "early_stopping": {"early_stopping": True},
    "no_repeat_ngram_size": {"no_repeat_ngram_size": 2},
    "iterations": {"iterations": 2},
    "pseudo_likelihood": {"pseudo_likelihood": False, "iterations": 2},
    "revise": {"revise": True, "iterations": 2},
}
"""Each field that some models do not support -> arguments of a config that uses it."""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid", use_attribute_docstrings=True))
class SamplingConfig:
    """Sampling: distribution, limits and seed.

    `repetition_penalty` is applied first, then the other filters in the order of the fields. Each filter is applied to
    the renormalized result of the previous one. The defaults sample from the model's distribution.
    """

    temperature: Annotated[float, Field(ge=1e-4, le=MAX_NUMBER)] = 1.0
    """Divisor of the log-probabilities: below 1 favors probable ids, above 1 flattens the distribution. For the most
    probable id at each step use `top_k: 1`."""
    top_k: CountOrZero = 0
    """Sample from this many most probable ids; 0 is off, 1 is greedy search."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Nucleus sampling: sample from the fewest most probable ids with at least this total probability; 1 is off."""
    min_p: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Sample from the ids with at least this fraction of the highest probability; 0 is off."""
    typical_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Locally typical sampling: rank the ids by the distance of their information content from the entropy, smallest
    first; sample from the fewest first ids with at least this total probability. 1 is off."""
    repetition_penalty: Annotated[float, Field(ge=1e-4, le=MAX_NUMBER)] = 1.0
    """Exponent of the probability of each id that is already in the prompt or the sample, before renormalizing; 1 is
    off, 1.2 is usual."""
    max_length: Count = 256
    """Maximum length of a sample in ids, with eos and without the prompt."""
    max_length_ratio: NonNegative | None = None
    """Maximum length of a sample in ids per source id, plus `max_length_offset`; null: `max_length` is the only
    limit."""
    max_length_offset: Offset | None = None
    """Number of ids added to `max_length_ratio` times the source length; no effect without it. Default: 10."""
    min_length: CountOrZero = 0
    """Minimum length of a sample in ids, with eos: neither eos nor a stop condition ends it earlier."""
    seed: Annotated[int, Field(ge=0, lt=NUM_SEEDS)] = 1
    """Random seed. The same seed and row number draw the same ids in any batch."""

    def max_length_for(self, src_length: int) -> int:
        """Return the maximum length of a sample for a source of `src_length` ids."""
        if self.max_length_ratio is None:
            return self.max_length
        offset = DEFAULT_OFFSET if self.max_length_offset is None else self.max_length_offset
        limit = math.floor(self.max_length_ratio * src_length) + offset
        return max(1, self.min_length, min(self.max_length, limit))

    def __post_init__(self) -> None:
        if self.min_length > self.max_length:
            raise ValueError(
                f"`min_length` must be at most `max_length` ({self.max_length}), but is {self.min_length} instead."
            )


class _SharedOptions(TypedDict, total=False):
    max_length: int
    max_length_ratio: float | None
    max_length_offset: int | None


class SearchOptions(_SharedOptions, total=False):
    """The fields of `SearchConfig` as keyword arguments, for type checkers and editors."""

    beam_size: int
    num_hypotheses: int
    length_penalty: Literal["plain", "gnmt"]
    length_alpha: float
    coverage_penalty: float
    min_length_ratio: float
    early_stopping: bool | None
    no_repeat_ngram_size: int
    iterations: int | None
    pseudo_likelihood: bool
    revise: bool
    algorithm: str | None


class SamplingOptions(_SharedOptions, total=False):
    """The fields of `SamplingConfig` as keyword arguments."""

    temperature: float
    top_k: int
    top_p: float
    min_p: float
    typical_p: float
    repetition_penalty: float
    min_length: int
    seed: int


class GenerationOptions(SearchOptions, SamplingOptions, total=False):
    """The fields of both configs as keyword arguments: with `beam_size` generation searches, otherwise it samples."""
