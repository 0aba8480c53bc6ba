"""Non-autoregressive Transformer translator with CTC (Libovicky & Helcl 2018, D18-1336).

The decoder has several positions (frames) per source token and predicts all of them in parallel. Each frame is a token
or a blank; CTC turns them into the target (see `seqlab.models.ctc`).

Shapes: B batch, S source positions, F frames, T target positions, D d_model, N rows while decoding.
"""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from seqlab.base.config_class import dataclass
from seqlab.data.batch import Seq2SeqBatch
from seqlab.models.config import SETTINGS, Size, TokenSide
from seqlab.models.ctc import CtcPrefixes, CtcState
from seqlab.models.encoder_decoder import make_embeddings
from seqlab.models.interfaces import Step
from seqlab.models.outputs import FrameLogProbs, FrameOutput, Glance
from seqlab.models.parallel_decoder import ParallelDecoder, ParallelDecoderConfig
from seqlab.models.transformer_encoder import TransformerEncoder, init_linear_weights
from seqlab.models.unreachable_targets import IntArray, UnreachableTargets
from seqlab.nn.embedding import Embedding
from seqlab.nn.projection import VocabularyProjection


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class TransformerCtcConfig(ParallelDecoderConfig):
    """A non-autoregressive Transformer translator with CTC."""

    family: Literal["transformer_ctc"] = "transformer_ctc"
    """Name of the model family."""
    upsampling: Size = 3
    """Frames per source token, eos included. A target needs one frame per token, and one more between equal tokens."""

    outputs: ClassVar[str] = "frames"
    default_objective: ClassVar[str] = "ctc"

    def build(self, src: TokenSide, tgt: TokenSide) -> "TransformerCtc":
        """Build the model."""
        special = {"blank_id": tgt.blank_id, "mask_id": tgt.mask_id, "bos_id": tgt.bos_id, "eos_id": tgt.eos_id}
        return TransformerCtc(self, src.vocab_size, tgt.vocab_size, **special)

    def check_search(self, search: Any) -> None:
        """Raise ValueError if the model cannot be decoded with a `SearchConfig`."""
        search.check_frame_model()

    def unreachable_targets(
        self, src: IntArray, tgt: IntArray, repeated: Callable[[], IntArray]
    ) -> UnreachableTargets | None:
        """Find targets with too few frames: they need one per token, and a blank between equal tokens."""
        needed = tgt + repeated()
        sufficient = max(1, int((-(-needed // src)).max()))
        return UnreachableTargets(
            needed > self.upsampling * src,
            f"have more target tokens than `model.upsampling: {self.upsampling}` has frames for, and are left out of "
            f"the loss ({sufficient} is enough for all)",
            yield_no_loss=True,
        )


class TransformerCtc(nn.Module):
    """Transformer encoder and non-autoregressive decoder with CTC; a `FrameModel`, `Stepper` and `Scorer`."""

    embeddings: ClassVar[dict[str, str]] = {"src": "encoder.embedding.weight", "tgt": "decoder.embedding.weight"}
    """Names of the embedding parameters of the source and target side."""

    def __init__(
        self,
        config: TransformerCtcConfig,
        src_vocab_size: int,
        tgt_vocab_size: int,
        *,
        blank_id: int,
        mask_id: int,
        bos_id: int,
        eos_id: int,
    ) -> None:
        """Build the layers; `blank_id`, `mask_id` and `bos_id` never occur in targets."""
        super().__init__()
        self.config, self.vocab_size, self.blank_id, self.eos_id = config, tgt_vocab_size, blank_id, eos_id
        weights = make_embeddings(
            config.tied_embeddings,
            src_vocab_size,
            tgt_vocab_size,
            lambda rows: torch.empty(rows, config.d_model).normal_(std=config.d_model**-0.5),
        )
        longest = config.max_length * config.upsampling
        self.encoder = TransformerEncoder(
            config, Embedding(weights.src, config.positions, config.max_length, config.dropout)
        )
        self.decoder = ParallelDecoder(
            config, Embedding(weights.tgt, config.positions, longest, config.dropout), mask_id
        )
        self.projection = VocabularyProjection(weights.out)
        self.prefixes = CtcPrefixes(blank_id=blank_id, bos_id=bos_id, eos_id=eos_id)
        self.apply(init_linear_weights)

    def forward(self, batch: Seq2SeqBatch, glance: Glance | None = None) -> FrameOutput:
        """Run one pass: hidden states (B, F, D).

        With `glance` the decoder runs twice: the first pass has no gradient, and the second observes the target tokens
        (B, F) that `glance` chooses from its output.
        """
        source = self.decoder.encode(self.encoder, batch)
        lengths, size = self.config.upsampling * batch.src_lengths, self.config.upsampling * batch.src.size(1)
        shown = None
        if glance is not None:
            with torch.no_grad():
                shown = glance(FrameOutput(self.decoder(source, lengths, size=size)[0], self.projection, lengths))
        hidden, _ = self.decoder(source, lengths, shown, size=size)
        return FrameOutput(hidden, self.projection, lengths, shown)

    @torch.no_grad()
    def frames(self, batch: Seq2SeqBatch) -> FrameLogProbs:
        """Compute the log-probabilities of all frames, without a gradient."""
        return self(batch).frames()

    def score(self, batch: Seq2SeqBatch) -> Tensor:
        """Return the log-probabilities (B, T) in nats of `tgt_out`, 0 at padding, summed over all CTC paths."""
        assert batch.tgt_out is not None, "scoring needs a target"
        return self.prefixes.score(self.frames(batch), batch.tgt_out)

    def score_sequences(self, frames: FrameLogProbs, sequences: Sequence[Sequence[int]]) -> list[list[float]]:
        """Score one sequence for each sentence: the log-probabilities in nats of its tokens and, last, of its end."""
        return self.prefixes.score_sequences(frames, sequences)

    def start(self, batch: Seq2SeqBatch, need_attention: bool = False) -> tuple[Tensor, CtcState]:
        """Compute all frames; the first step reads bos. There is no attention."""
        return self.prefixes.start(self.frames(batch))

    def step(self, last_ids: Tensor, state: CtcState) -> Step:
        """Read one id per row (N,) and score the next id."""
        return self.prefixes.step(last_ids, state)
