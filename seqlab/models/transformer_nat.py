"""Non-autoregressive Transformer translators that predict the target length, then all tokens in parallel.

`transformer_nat` predicts the tokens in one pass (Gu et al. 2018, arXiv:1711.02281). `transformer_cmlm`, a conditional
masked language model, predicts masked tokens given the others and refines its output in several passes (mask-predict,
Ghazvininejad et al. 2019, arXiv:1904.09324). Both are the same model with different training objectives.

Shapes: B batch, S source positions, P target positions, T target tokens and eos, D d_model, N rows of a search.
"""

from collections.abc import Callable
from typing import Any, ClassVar, Literal, TypeVar

import torch
import torch.nn.functional as F
from pydantic import model_validator
from torch import Tensor, nn

from seqlab.base.config_class import dataclass
from seqlab.data.batch import IGNORE, Seq2SeqBatch
from seqlab.models.config import SETTINGS, Ability, Size, TokenSide
from seqlab.models.encoder_decoder import make_embeddings
from seqlab.models.outputs import IMPOSSIBLE_LOG_PROB, DecoderOutput, FrameOutput, Glance, PositionOutput, TargetLengths
from seqlab.models.parallel_decoder import DecoderInput, EncodedSource, ParallelDecoder, ParallelDecoderConfig
from seqlab.models.target_length import LengthClassifier, LengthRatio
from seqlab.models.transformer_encoder import TransformerEncoder, init_linear_weights
from seqlab.models.unreachable_targets import IntArray, UnreachableTargets
from seqlab.nn.embedding import Embedding
from seqlab.nn.projection import VocabularyProjection


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class PredictedLengthConfig(ParallelDecoderConfig):
    """Common fields of translators that predict the target length."""

    length: Literal["classifier", "ratio"] = "classifier"
    """Length prediction: a classifier of the difference between target and source length (`classifier`), or a learned
    distribution of their ratio (`ratio`)."""
    max_length_difference: Size = 64
    """With `length: classifier`: largest difference between target and source length, in tokens."""

    required_length: ClassVar[dict[str, str]] = {"max_length_difference": "classifier"}
    """Fields that apply only to one value of `length`, with this value."""

    iterations: ClassVar[int]
    """Default number of decoding passes."""

    @property
    def abilities(self) -> frozenset[Ability]:
        """Glancing, and lengths of targets unless an end mark ends them."""
        return super().abilities | (frozenset() if self.length == "end_mark" else {"target_lengths"})

    def build(self, src: TokenSide, tgt: TokenSide) -> "TransformerNat":
        """Build the model."""
        return TransformerNat(self, src.vocab_size, tgt.vocab_size, mask_id=tgt.mask_id, eos_id=tgt.eos_id)

    def check_search(self, search: Any) -> None:
        """Raise ValueError if the model cannot be decoded with a `SearchConfig`."""
        search.check_non_autoregressive("target_lengths" not in self.abilities, self.iterations)

    def unreachable_targets(
        self, src: IntArray, tgt: IntArray, repeated: Callable[[], IntArray]
    ) -> UnreachableTargets | None:
        """Find targets whose lengths the classifier cannot predict."""
        if self.length != "classifier":
            return None
        limit = self.max_length_difference
        reason = (
            f"have lengths that are never predicted: they differ by more than `model.max_length_difference: {limit}`"
        )
        return UnreachableTargets(abs(tgt - (src - 1)) > limit, reason)

    @model_validator(mode="after")
    def _check_length(self) -> "PredictedLengthConfig":
        for name, length in self.required_length.items():
            if self.length != length and getattr(self, name) != type(self).__dataclass_fields__[name].default:
                raise ValueError(
                    f"`{name}` applies to `length: {length}` only, but `length` is `{self.length}`: change one of them."
                )
        return self


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class TransformerNatConfig(PredictedLengthConfig):
    """A non-autoregressive Transformer translator: predicts the target length, then all tokens in one pass."""

    family: Literal["transformer_nat"] = "transformer_nat"
    """Name of the model family."""
    length: Literal["classifier", "ratio", "end_mark"] = "classifier"  # type: ignore[assignment]
    """Length prediction: a classifier of the difference between target and source length (`classifier`), a learned
    distribution of their ratio (`ratio`), or none: more positions than needed, cut at the first eos (`end_mark`)."""
    end_mark_ratio: Size = 2
    """With `length: end_mark`: positions per source token, eos included. Training adds positions for longer targets,
    which the model can never predict."""

    outputs: ClassVar[str] = "positions"
    default_objective: ClassVar[str] = "parallel_cross_entropy"
    iterations: ClassVar[int] = 1
    required_length: ClassVar[dict[str, str]] = {**PredictedLengthConfig.required_length, "end_mark_ratio": "end_mark"}

    def unreachable_targets(
        self, src: IntArray, tgt: IntArray, repeated: Callable[[], IntArray]
    ) -> UnreachableTargets | None:
        """Find targets whose lengths the classifier cannot predict, or that have more tokens than positions."""
        if self.length != "end_mark":
            return super().unreachable_targets(src, tgt, repeated)
        setting = f"`model.end_mark_ratio: {self.end_mark_ratio}`"
        reason = f"have more target tokens than can be predicted with {setting}"
        return UnreachableTargets(tgt >= self.end_mark_ratio * src, reason)


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class TransformerCmlmConfig(PredictedLengthConfig):
    """A conditional masked language model: predicts masked target tokens and re-predicts the least confident ones."""

    family: Literal["transformer_cmlm"] = "transformer_cmlm"
    """Name of the model family."""
    decoder_input: DecoderInput = "mask"
    """Input of the decoder at masked positions: the mask embedding (`mask`), plus the source embedding at the same
    relative position (`uniform_copy`) or a distance-weighted mean of the source embeddings (`soft_copy`)."""

    outputs: ClassVar[str] = "gaps"
    default_objective: ClassVar[str] = "cmlm"
    iterations: ClassVar[int] = 10
    adds_mask_embedding: ClassVar[bool] = True


IntOrTensor = TypeVar("IntOrTensor", int, Tensor)


class TransformerNat(nn.Module):
    """Transformer encoder, length predictor and non-autoregressive decoder; a `PositionModel` and a `Scorer`."""

    embeddings: ClassVar[dict[str, str]] = {"src": "encoder.embedding.weight", "tgt": "decoder.embedding.weight"}
    """Names of the embedding parameters of the source and target side."""

    def __init__(
        self,
        config: PredictedLengthConfig,
        src_vocab_size: int,
        tgt_vocab_size: int,
        *,
        mask_id: int,
        eos_id: int,
    ) -> None:
        """Build the layers; `mask_id` never occurs in targets."""
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

        The decoder observes the target tokens `shown` (B, P), IGNORE for none. With `glance` the decoder runs twice:
        the first pass has no gradient, and the second observes the tokens that `glance` chooses from its output.
        """
        source, lengths, size = self.encode(batch), self._num_positions(batch), self._max_positions(batch)
        if glance is not None:
            with torch.no_grad():
                shown = glance(self._predict(source, lengths, shown, size=size))
        length_nll = torch.zeros(len(lengths), device=lengths.device)
        if self.length is not None:
            length_nll = self.length.nll(source.end, source.lengths, lengths)
        return PositionOutput(self._predict(source, lengths, shown, size=size), length_nll)

    def position_targets(self, batch: Seq2SeqBatch) -> Tensor:
        """Return the reference token of each position: (B, P), IGNORE for none; eos only with `length: end_mark`."""
        assert batch.tgt_out is not None, "there is no target"
        size = self._max_positions(batch)
        targets = F.pad(batch.tgt_out, (0, max(0, size - batch.tgt_out.size(1))), value=IGNORE)[:, :size]
        return targets if self.ends_at_eos else targets.masked_fill(targets == self.eos_id, IGNORE)

    def _num_positions(self, batch: Seq2SeqBatch) -> Tensor:
        """Count the positions of each target: (B,)."""
        assert batch.tgt_out is not None, "there is no target"
        tokens = (batch.tgt_out != IGNORE).sum(1)
        if self.ends_at_eos:
            return torch.maximum(self._end_mark_positions(batch.src_lengths), tokens)
        return (tokens - 1).clamp_min(1)

    def _max_positions(self, batch: Seq2SeqBatch) -> int:
        """Return an upper bound of `_num_positions` from the shape of the batch, without waiting for the device."""
        assert batch.tgt_out is not None, "there is no target"
        if self.ends_at_eos:
            return max(self._end_mark_positions(batch.src.size(1)), batch.tgt_out.size(1))
        return max(1, batch.tgt_out.size(1) - 1)

    def _end_mark_positions(self, src_lengths: IntOrTensor) -> IntOrTensor:
        assert isinstance(self.config, TransformerNatConfig), "no other config has `length: end_mark`"
        return self.config.end_mark_ratio * src_lengths

    def encode(self, batch: Seq2SeqBatch) -> EncodedSource:
        """Run the encoder and compute the keys and values of its memory for each decoder layer."""
        return self.decoder.encode(self.encoder, batch)

    def target_lengths(self, source: EncodedSource, count: int, shortest: Tensor, longest: Tensor) -> TargetLengths:
        """Predict up to `count` target lengths for each source, from `shortest` to `longest` (B,) int64."""
        if self.length is not None:
            return self.length.most_probable(source.end, source.lengths, count, shortest, longest)
        lengths = self._end_mark_positions(source.lengths).clamp(shortest, longest)[:, None]
        return TargetLengths(lengths, torch.zeros(lengths.shape, device=lengths.device))

    def predict(
        self, source: EncodedSource, lengths: Tensor, shown: Tensor | None = None, need_attention: bool = False
    ) -> FrameOutput:
        """Predict targets of `lengths` (N,) positions; `shown` (N, P): observed target tokens, IGNORE for none."""
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
        """Return the log-probabilities (B, T) in nats of `tgt_out`, with no observed tokens, 0 at padding.

        The score of eos is that of the target length; with `length: end_mark` it is the log-probability of eos. An
        empty target scores `IMPOSSIBLE_LOG_PROB`, because lengths are at least 1.
        """
        assert batch.tgt_out is not None, "scoring needs a target"
        output, targets = self(batch), self.position_targets(batch)
        scores = DecoderOutput(output.positions.hidden, self.projection).scores(targets)
        size = batch.tgt_out.size(1)
        scores = F.pad(scores, (0, max(0, size - scores.size(1))))[:, :size]
        if self.length is not None:
            is_empty = batch.tgt_out[:, 0] == self.eos_id
            length_score = (-output.length_nll).masked_fill(is_empty, IMPOSSIBLE_LOG_PROB)
            scores = torch.where(batch.tgt_out == self.eos_id, length_score[:, None], scores)
        return scores
