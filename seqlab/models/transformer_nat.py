"""Non-autoregressive translators that know how long a target is, and predict all of its symbols at once.

`transformer_nat` predicts them in one pass (Gu et al. 2018, arXiv:1711.02281). `transformer_cmlm`, a conditional masked
language model, predicts some of them given the others, so that its answer is made better pass after pass (Ghazvininejad
et al. 2019, arXiv:1904.09324). Both are one model: what differs is what it learns from.

Shapes: B batch, S source positions, P positions of the target, T its symbols and eos, D d_model, N rows of a search.
"""

from collections.abc import Callable
from typing import Any, ClassVar, Literal, TypeVar

import torch
import torch.nn.functional as F
from pydantic import model_validator
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from seqlab.data.batch import IGNORE, Seq2SeqBatch
from seqlab.models.config import SETTINGS, IntArray, Size, TokenSide, UnreachableTargets
from seqlab.models.encoder_decoder import make_embeddings
from seqlab.models.interfaces import (
    IMPOSSIBLE_LOG_PROB,
    DecoderOutput,
    FrameOutput,
    Glance,
    PositionOutput,
    TargetLengths,
)
from seqlab.models.parallel_decoder import DecoderInput, EncodedSource, ParallelDecoder, ParallelDecoderConfig
from seqlab.models.target_length import LengthClassifier, LengthRatio
from seqlab.models.transformer_encoder import TransformerEncoder, init_linear_weights
from seqlab.nn.embedding import Embedding
from seqlab.nn.projection import VocabularyProjection


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class PredictedLengthConfig(ParallelDecoderConfig):
    """The fields of both families."""

    length: Literal["classifier", "ratio"] = "classifier"
    """Where lengths come from: a classifier of how much longer a target is than its source (`classifier`), or a
    distribution of ratios that is learnt for all (`ratio`)."""
    max_length_difference: Size = 64
    """Of `length: classifier`: the largest difference between the two sides, in symbols, that is told from others."""

    required_length: ClassVar[dict[str, str]] = {"max_length_difference": "classifier"}
    """The fields that are for one `length` alone."""

    iterations: ClassVar[int]
    """Passes of a search unless it is told."""

    @property
    def learns_lengths(self) -> bool:
        """Whether lengths are predicted."""
        return self.length != "end_mark"

    def build(self, src: TokenSide, tgt: TokenSide) -> "TransformerNat":
        """Build the model."""
        return TransformerNat(self, src.vocab_size, tgt.vocab_size, mask_id=tgt.mask_id, eos_id=tgt.eos_id)

    def check_search(self, search: Any) -> None:
        """Raise ValueError where a `SearchConfig` asks for what such a model cannot do."""
        search.check_non_autoregressive(not self.learns_lengths, self.iterations)

    def unreachable_targets(
        self, src: IntArray, tgt: IntArray, repeated: Callable[[], IntArray]
    ) -> UnreachableTargets | None:
        """Find targets whose lengths are never predicted."""
        if self.length != "classifier":
            return None
        most = self.max_length_difference
        reason = f"have lengths that are never said, as they differ by more than `model.max_length_difference: {most}`"
        return UnreachableTargets(abs(tgt - (src - 1)) > most, reason)

    @model_validator(mode="after")
    def _check_length(self) -> "PredictedLengthConfig":
        for name, length in self.required_length.items():
            if self.length != length and getattr(self, name) != type(self).__dataclass_fields__[name].default:
                raise ValueError(
                    f"`{name}` is for `length: {length}`, but `length` is `{self.length}`: set one of them differently."
                )
        return self


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class TransformerNatConfig(PredictedLengthConfig):
    """A Transformer that predicts a target's length, then all of its symbols at once."""

    family: Literal["transformer_nat"] = "transformer_nat"
    """Which architecture this is."""
    length: Literal["classifier", "ratio", "end_mark"] = "classifier"  # type: ignore[assignment]
    """Where lengths come from: a classifier of how much longer a target is than its source (`classifier`), a
    distribution of ratios that is learnt for all (`ratio`), or more positions than are needed, cut at the first eos
    (`end_mark`)."""
    end_mark_ratio: Size = 2
    """Of `length: end_mark`: positions for each symbol of the source, eos counted. Longer targets have as many as they
    need in training; none that is longer is ever said."""

    outputs: ClassVar[str] = "positions"
    default_objective: ClassVar[str] = "parallel_cross_entropy"
    iterations: ClassVar[int] = 1
    required_length: ClassVar[dict[str, str]] = {**PredictedLengthConfig.required_length, "end_mark_ratio": "end_mark"}

    def unreachable_targets(
        self, src: IntArray, tgt: IntArray, repeated: Callable[[], IntArray]
    ) -> UnreachableTargets | None:
        """Find targets whose lengths are never predicted, or that have more tokens than positions."""
        if self.length != "end_mark":
            return super().unreachable_targets(src, tgt, repeated)
        setting = f"`model.end_mark_ratio: {self.end_mark_ratio}`"
        reason = f"have more target tokens than are ever said with {setting}"
        return UnreachableTargets(tgt >= self.end_mark_ratio * src, reason)


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class TransformerCmlmConfig(PredictedLengthConfig):
    """A Transformer that fills gaps in targets, all at once, and again what it is least sure of (mask-predict)."""

    family: Literal["transformer_cmlm"] = "transformer_cmlm"
    """Which architecture this is."""
    decoder_input: DecoderInput = "mask"
    """What the decoder reads in a gap: a mask (`mask`), and beside it the source's vector at the same share of its
    length (`uniform_copy`), or a mean of these that weighs near ones more (`soft_copy`)."""

    outputs: ClassVar[str] = "gaps"
    default_objective: ClassVar[str] = "cmlm"
    iterations: ClassVar[int] = 10
    adds_mask_embedding: ClassVar[bool] = True


IntOrTensor = TypeVar("IntOrTensor", int, Tensor)


class TransformerNat(nn.Module):
    """Encoder, length and parallel decoder; a `PositionModel` and a `Scorer`."""

    embeddings: ClassVar[dict[str, str]] = {"src": "encoder.embedding.weight", "tgt": "decoder.embedding.weight"}
    """The parameter that the ids of each side are looked up in."""

    def __init__(
        self,
        config: PredictedLengthConfig,
        src_vocab_size: int,
        tgt_vocab_size: int,
        *,
        mask_id: int,
        eos_id: int,
    ) -> None:
        """Build the layers; no target holds `mask_id`."""
        super().__init__()
        self.config, self.vocab_size, self.eos_id = config, tgt_vocab_size, eos_id
        self.ends_at_eos, self.iterations = config.length == "end_mark", config.iterations
        weights = make_embeddings(
            config.tied_embeddings,
            src_vocab_size,
            tgt_vocab_size,
            lambda rows: torch.empty(rows, config.d_model).normal_(std=config.d_model**-0.5),
        )
        ratio = config.end_mark_ratio if isinstance(config, TransformerNatConfig) else 1
        longest = config.max_length * (ratio if self.ends_at_eos else 1)
        self.encoder = TransformerEncoder(
            config, Embedding(weights.src, config.positions, config.max_length, config.dropout)
        )
        self.decoder = ParallelDecoder(
            config, Embedding(weights.tgt, config.positions, longest, config.dropout), mask_id
        )
        self.projection = VocabularyProjection(weights.out)
        self.length: LengthClassifier | LengthRatio | None = None
        if config.length == "classifier":
            self.length = LengthClassifier(config.d_model, config.max_length_difference)
        elif config.length == "ratio":
            self.length = LengthRatio()
        self.apply(init_linear_weights)

    def forward(self, batch: Seq2SeqBatch, shown: Tensor | None = None, glance: Glance | None = None) -> PositionOutput:
        """Run one pass over the positions of the batch's targets: hidden states (B, P, D).

        The decoder is shown `shown` (B, P), IGNORE for none. With `glance` there are two passes: the first is shown
        this, and has no gradient, the second what `glance` makes of what the first said; the encoder runs once.
        """
        source, lengths, size = self.encode(batch), self._true_lengths(batch), self._positions_of(batch)
        if glance is not None:
            with torch.no_grad():
                shown = glance(self._predict(source, lengths, shown, size=size))
        length_nll = torch.zeros(len(lengths), device=lengths.device)
        if self.length is not None:
            length_nll = self.length.nll(source.end, source.lengths, lengths)
        return PositionOutput(self._predict(source, lengths, shown, size=size), length_nll)

    def position_targets(self, batch: Seq2SeqBatch) -> Tensor:
        """Give what each position is to say: (B, P), IGNORE for nothing; eos is one of them where it ends targets."""
        assert batch.tgt_out is not None, "there is no target"
        size = self._positions_of(batch)
        targets = F.pad(batch.tgt_out, (0, max(0, size - batch.tgt_out.size(1))), value=IGNORE)[:, :size]
        return targets if self.ends_at_eos else targets.masked_fill(targets == self.eos_id, IGNORE)

    def _true_lengths(self, batch: Seq2SeqBatch) -> Tensor:
        """IntOrTensor the positions of each target: (B,)."""
        assert batch.tgt_out is not None, "there is no target"
        tokens = (batch.tgt_out != IGNORE).sum(1)
        if self.ends_at_eos:
            return torch.maximum(self._most_positions(batch.src_lengths), tokens)
        return (tokens - 1).clamp_min(1)

    def _positions_of(self, batch: Seq2SeqBatch) -> int:
        """Give the most positions that a target of a batch of this shape can have; no device is asked for it."""
        assert batch.tgt_out is not None, "there is no target"
        if self.ends_at_eos:
            return max(self._most_positions(batch.src.size(1)), batch.tgt_out.size(1))
        return max(1, batch.tgt_out.size(1) - 1)

    def _most_positions(self, src_lengths: IntOrTensor) -> IntOrTensor:
        assert isinstance(self.config, TransformerNatConfig), "eos is never masked"
        return self.config.end_mark_ratio * src_lengths

    def encode(self, batch: Seq2SeqBatch) -> EncodedSource:
        """Run the encoder, and project its memory for each layer of the decoder."""
        return self.decoder.encode(self.encoder, batch)

    def target_lengths(self, source: EncodedSource, count: int, shortest: Tensor, longest: Tensor) -> TargetLengths:
        """Predict up to `count` lengths for each source, between `shortest` and `longest` (B,) int64."""
        if self.length is not None:
            return self.length.likely(source.end, source.lengths, count, shortest, longest)
        lengths = self._most_positions(source.lengths).clamp(shortest, longest)[:, None]
        return TargetLengths(lengths, torch.zeros(lengths.shape, device=lengths.device))

    def predict(
        self, source: EncodedSource, lengths: Tensor, shown: Tensor | None = None, need_attention: bool = False
    ) -> FrameOutput:
        """Predict `lengths` (N,) positions of each source; `shown` (N, P): ids that are read, IGNORE for none."""
        return self._predict(source, lengths, shown, need_attention)

    def _predict(
        self,
        source: EncodedSource,
        lengths: Tensor,
        shown: Tensor | None,
        need_attention: bool = False,
        size: int | None = None,
    ) -> FrameOutput:
        hidden, attention = self.decoder(source, lengths, shown, need_attention, size)
        return FrameOutput(hidden, self.projection, lengths, shown, attention)

    @torch.no_grad()
    def score(self, batch: Seq2SeqBatch) -> Tensor:
        """(B, T): log-probabilities in nats of `tgt_out` when nothing is shown, 0 at padding.

        That of eos is the length's, or its own where it ends targets. No length is 0: an empty target is as good as
        impossible.
        """
        assert batch.tgt_out is not None, "scoring needs a target"
        output, targets = self(batch), self.position_targets(batch)
        scores = DecoderOutput(output.positions.hidden, self.projection).scores(targets)
        size = batch.tgt_out.size(1)
        scores = F.pad(scores, (0, max(0, size - scores.size(1))))[:, :size]
        if self.length is not None:
            is_empty = batch.tgt_out[:, 0] == self.eos_id
            of_length = (-output.length_nll).masked_fill(is_empty, IMPOSSIBLE_LOG_PROB)
            scores = torch.where(batch.tgt_out == self.eos_id, of_length[:, None], scores)
        return scores
