"""How to search: one typed config for all searches, each of which refuses what it cannot do."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal, TypedDict

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from seqlab.base.bounds import MAX_COUNT, MAX_NUMBER, BeamSize, Count, CountOrZero, NonNegative
from seqlab.registry import Parts

Offset = Annotated[int, Field(ge=-MAX_COUNT, le=MAX_COUNT)]
DEFAULT_RATIO, DEFAULT_OFFSET = 2.0, 10
"""The limit of an output where neither the caller nor the model has one: ids per id of the source, and ids added."""
NUM_SEEDS = 2**64
"""Seeds and the numbers of rows are below this: together they are the key of a generator."""


@dataclass(frozen=True)
class OutputLimits:
    """How long the outputs of a trained model may become, by its training data: what a `SearchConfig` leaves open.

    For a source of S ids the limit is floor(ratio * S) + offset, and at most `max_length`; both sides count eos.
    """

    max_length: int
    ratio: float = DEFAULT_RATIO
    offset: int = DEFAULT_OFFSET

    @classmethod
    def combined(cls, members: "Sequence[OutputLimits]") -> "OutputLimits":
        """Combine the limits of several models: the smallest `max_length`, the largest ratio and offset."""
        return cls(
            min(each.max_length for each in members),
            max(each.ratio for each in members),
            max(each.offset for each in members),
        )


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid", use_attribute_docstrings=True))
class SearchConfig:
    """Search: beam, length penalty and limits.

    A length counts ids and includes the final eos, on the source side and on the target side. A forced prefix counts
    as part of the hypothesis, in its length and in its log-probability.
    """

    beam_size: BeamSize = 5
    """Hypotheses per sentence that are extended at each step; 1 is greedy search. Of models that predict lengths: how
    many lengths are tried, and beside a language model how many beginnings of each are kept."""
    num_hypotheses: BeamSize = 1
    """Hypotheses per sentence to return, best first; at most `beam_size`."""
    length_penalty: Literal["plain", "gnmt"] = "plain"
    """What a log-probability is divided by: len^alpha (plain) or ((5 + len) / 6)^alpha (gnmt, arXiv:1609.08144)."""
    length_alpha: Annotated[float, Field(ge=-10, le=10)] = 1.0
    """The exponent alpha: 0 compares log-probabilities, 1 in the plain formula their mean; higher means longer."""
    coverage_penalty: NonNegative = 0.0
    """Of beam search with models that attend to a source: weight of what a hypothesis leaves out of it, the beta of
    GNMT's coverage penalty, which is added to its score; 0.2 is usual where attention is soft. Where it is sharp, or a
    good answer leaves symbols unattended, as most of single words do, it does harm: choose it on validation data."""
    max_length_ratio: NonNegative | None = None
    """Longest hypothesis, in ids per id of the source; left out, the run's own limit, 20% above the longest targets of
    its training data, or 2 if the run has none or `max_length_offset` is given. A higher limit makes the search
    slower."""
    max_length_offset: Offset | None = None
    """Ids added to `max_length_ratio` times the source length; left out, the run's own, or 10 if the run has none or
    `max_length_ratio` is given."""
    max_length: Count = 512
    """Longest hypothesis in ids, whatever the source; the only limit if there is no source."""
    min_length_ratio: NonNegative = 0.0
    """Shortest hypothesis, in ids per id of the source; the maximum length wins where the two collide."""
    early_stopping: bool | None = None
    """Let a sentence leave a beam when `beam_size` hypotheses have finished and none that goes on is better so far, as
    it does where this is left out; without it the search goes on until nothing better can be found. A beam over frames
    reads all of them. Let a hypothesis leave mask-predict when a pass changes nothing: not where this is left out, as a
    later pass, which hides others, might have changed it."""
    no_repeat_ngram_size: CountOrZero = 0
    """No hypothesis holds the same n ids in a row twice, where n is this size; 0 allows all."""
    iterations: Count | None = None
    """Of models that predict all symbols at once, given any of them: passes of mask-predict. Left out, a
    `transformer_cmlm` takes 10 and others 1."""
    pseudo_likelihood: bool = True
    """Of mask-predict with more than one pass and several lengths: choose between these by how likely each symbol is
    given half of the others (two more passes), rather than by how likely it was when it was predicted last."""
    revise: Annotated[bool, "true | false"] = False
    """Of mask-predict: say all symbols anew in each pass, rather than the hidden ones alone. For models that learned to
    read their own words (`objective.own_words`)."""

    algorithm: str | None = None
    """Which search: `beam` (greedy with a `beam_size` of 1), `ctc`, `mask_predict` or a registered one; left out, the
    first that fits the model."""

    def check_non_autoregressive(self, ends_at_eos: bool, iterations: int) -> None:
        """Raise ValueError where a field asks for what a model cannot do that predicts all positions at once.

        `ends_at_eos`: whether it predicts more of them than are needed, and the first eos ends a target. `iterations`:
        the passes that it takes unless it is told.
        """
        for name in ("no_repeat_ngram_size", "coverage_penalty"):
            if getattr(self, name):
                raise ValueError(
                    f"`{name}` is for models that go left to right, but this one predicts all symbols at once: leave "
                    "it out."
                )
        for name, is_asked in (
            ("min_length_ratio", self.min_length_ratio > 0),
            ("num_hypotheses", self.num_hypotheses > 1),
            ("iterations", (self.iterations or 1) > 1),
            ("early_stopping", self.early_stopping is not None),
            ("pseudo_likelihood", not self.pseudo_likelihood),
            ("revise", self.revise),
        ):
            if ends_at_eos and is_asked:
                raise ValueError(
                    f"`{name}` is for models that predict lengths, but this one has one answer, which it cuts at the "
                    "first eos: leave it out."
                )
        if self.revise and (self.iterations or iterations) == 1:
            raise ValueError("`revise` is for mask-predict, but there is one pass: raise `iterations` or leave it out.")

    def check_frame_model(self) -> None:
        """Raise ValueError where a field asks for what a model of frames cannot do."""
        self.check_autoregressive()
        if self.coverage_penalty:
            raise ValueError(
                "`coverage_penalty` is for models that attend to a source symbol by symbol, but this one predicts "
                "frames all at once: leave it out."
            )

    def check_autoregressive(self) -> None:
        """Raise ValueError where a field asks for what only a model can do that predicts all positions at once."""
        for name, is_asked in (
            ("iterations", self.iterations is not None),
            ("pseudo_likelihood", not self.pseudo_likelihood),
            ("revise", self.revise),
        ):
            if is_asked:
                raise ValueError(
                    f"`{name}` is for models that predict all symbols of a target given any of them, but this one does "
                    "not: leave it out."
                )

    @classmethod
    def unsupported_fields(cls, check: "Callable[[SearchConfig], None]") -> set[str]:
        """Return the fields that a model does not support, by its check of whole configs, which raises ValueError."""
        unsupported = set()
        for name, values in _PROBES.items():
            try:
                check(cls(**values))
            except ValueError:
                unsupported.add(name)
        return unsupported

    def with_limits(self, limits: OutputLimits) -> "SearchConfig":
        """Return the same search with the limits of a model.

        Its ratio and offset belong together: where the caller has given one, the other has its default.
        """
        found = replace(self, max_length=min(self.max_length, limits.max_length))
        if self.max_length_ratio is None and self.max_length_offset is None:
            found = replace(found, max_length_ratio=limits.ratio, max_length_offset=limits.offset)
        return found

    def max_length_for(self, src_length: int) -> int:
        """Return the longest allowed hypothesis for a source of so many ids."""
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
            raise ValueError("`coverage_penalty` decides between the hypotheses of a beam: `beam_size: 1` has one.")


_PROBES: dict[str, dict[str, Any]] = {
    "num_hypotheses": {"num_hypotheses": 2},
    "coverage_penalty": {"coverage_penalty": 0.1},
    "min_length_ratio": {"min_length_ratio": 0.1},
    "early_stopping": {"early_stopping": True},
    "no_repeat_ngram_size": {"no_repeat_ngram_size": 2},
    "iterations": {"iterations": 2},
    "pseudo_likelihood": {"pseudo_likelihood": False, "iterations": 2},
    "revise": {"revise": True, "iterations": 2},
}
"""Field that some models do not support -> the fields of a config that uses it."""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid", use_attribute_docstrings=True))
class SamplingConfig:
    """Choose the distribution that ids are drawn from, the limits and the seed.

    `repetition_penalty` acts first, then the others in the order in which they stand here, each on what the one before
    it left, renormalised. The defaults draw from the model's own distribution.
    """

    temperature: Annotated[float, Field(ge=1e-4, le=MAX_NUMBER)] = 1.0
    """What log-probabilities are divided by: below 1 prefers the probable ids, above 1 evens out. `top_k: 1` takes the
    most probable id at each step."""
    top_k: CountOrZero = 0
    """Draw from this many most probable ids; 0 is off, 1 is greedy search."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Draw from the nucleus: the fewest most probable ids that together have this probability; 1 is off."""
    min_p: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Draw from the ids with at least this share of the best one's probability; 0 is off."""
    typical_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Draw from the fewest ids that together have this probability, those first whose information content is closest
    to the expected one; 1 is off."""
    repetition_penalty: Annotated[float, Field(ge=1e-4, le=MAX_NUMBER)] = 1.0
    """The power that the probability of an id is raised to once it was drawn or read in the prompt, before
    renormalising; 1 is off, 1.2 is usual."""
    max_length: Count = 256
    """Longest sample in ids, eos counted, the prompt not."""
    min_length: CountOrZero = 0
    """Shortest sample in ids, eos counted: neither eos nor a stop condition ends it before."""
    seed: Annotated[int, Field(ge=0, lt=NUM_SEEDS)] = 1
    """Seed of all draws; with it and a row's number they are the same in any batch."""

    def __post_init__(self) -> None:
        if self.min_length > self.max_length:
            raise ValueError(
                f"`min_length` must be at most `max_length` ({self.max_length}), but is {self.min_length} instead."
            )


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
