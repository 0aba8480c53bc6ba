"""Recognisers: encoders of frames whose outputs are tokens and blanks, trained by CTC (Graves et al. 2006).

Shapes: B recordings, F frames, F' outputs, T tokens, D hidden size, V ids.
"""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal

import torch
from pydantic import model_validator
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from seqlab.data.batch import FrameBatch
from seqlab.models.config import SETTINGS, IntArray, Size, TokenSide, UnreachableTargets
from seqlab.models.ctc import CtcPrefixes, CtcState
from seqlab.models.frame_encoders import (
    FrameEncoder,
    FrameEncoderConfig,
    FrameSide,
    RecurrentFramesConfig,
    TransformerFramesConfig,
)
from seqlab.models.interfaces import FrameLogProbs, FrameOutput, Glance, Step
from seqlab.nn.layers import Linear
from seqlab.nn.projection import VocabularyProjection
from seqlab.nn.recurrent import RecurrentKind


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class RecogniserConfig(FrameEncoderConfig):
    """The base of the families that turn recordings into text."""

    task: ClassVar[str] = "transcription"
    outputs: ClassVar[str] = "frames"
    default_objective: ClassVar[str] = "ctc"
    warm_start_excludes: ClassVar[tuple[str, ...]] = ("upsample.", "projection.")

    upsampling: Size = 2
    """Outputs of each frame of the layers, by a linear projection (Libovicky & Helcl 2018). Two blocks of convolutions
    leave 25 frames a second, but fast speech has 20 letters a second, and CTC needs a blank between two that are alike;
    2 outputs of a frame cost less than one block fewer."""

    @model_validator(mode="after")
    def _check_upsampling(self) -> "RecogniserConfig":
        if self.frame_step % self.upsampling:
            raise ValueError(
                f"`upsampling` must divide the {self.frame_step} frames that {len(self.channels)} blocks (`channels`) "
                f"make one of, but is {self.upsampling} instead."
            )
        return self

    @property
    def can_glance(self) -> bool:
        """There is no decoder."""
        return False

    def num_outputs(self, frames: IntArray) -> IntArray:
        """Return how many outputs recordings of so many frames (N,) have."""
        return self.upsampling * self.num_frames(frames)

    def build(self, src: FrameSide, tgt: TokenSide) -> "Recogniser":
        """Build the model."""
        prefixes = CtcPrefixes(blank_id=tgt.blank_id, bos_id=tgt.bos_id, eos_id=tgt.eos_id)
        return Recogniser(self, self.build_encoder(src.num_bands), tgt.vocab_size, prefixes)

    def check_search(self, search: Any) -> None:
        """Raise ValueError where a `SearchConfig` asks for what a model of frames cannot do."""
        search.check_frame_model()

    def unreachable_targets(
        self, src: IntArray, tgt: IntArray, repeated: Callable[[], IntArray]
    ) -> UnreachableTargets | None:
        """Find targets with more tokens than frames; a blank stands between two tokens that are alike."""
        return UnreachableTargets(
            tgt + repeated() > self.num_outputs(src),
            f"have texts that need more outputs than the model has for them, {self.upsampling} for each "
            f"{self.frame_step} frames, and teach nothing: are the texts the right ones? More `model.upsampling`, or "
            "tokens of several characters, leave more room",
            yield_no_loss=True,
        )


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class LstmRecogniserConfig(RecurrentFramesConfig, RecogniserConfig):
    """A recogniser of bidirectional LSTMs."""

    family: Literal["lstm_recogniser"] = "lstm_recogniser"
    """Which architecture this is."""
    kind: ClassVar[RecurrentKind] = "lstm"


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class GruRecogniserConfig(RecurrentFramesConfig, RecogniserConfig):
    """A recogniser of bidirectional gated recurrent units."""

    family: Literal["gru_recogniser"] = "gru_recogniser"
    """Which architecture this is."""
    kind: ClassVar[RecurrentKind] = "gru"


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class TransformerRecogniserConfig(TransformerFramesConfig, RecogniserConfig):
    """A recogniser of self-attention, over all frames or within a window."""

    family: Literal["transformer_recogniser"] = "transformer_recogniser"
    """Which architecture this is."""


class Recogniser(nn.Module):
    """An encoder and a projection; a `FrameModel`, a `Stepper` and a `Scorer`."""

    def __init__(self, config: RecogniserConfig, encoder: FrameEncoder, vocab_size: int, prefixes: CtcPrefixes) -> None:
        """Build the projection.

        Args:
            config: how frames become outputs.
            encoder: of frames.
            vocab_size: ids that an output is scored for.
            prefixes: which ids no text holds, and how prefixes are scored.
        """
        super().__init__()
        self.encoder_step, self.upsampling = config.frame_step, config.upsampling
        self.vocab_size, self.blank_id, self.eos_id = vocab_size, prefixes.blank_id, prefixes.eos_id
        self.encoder, self.prefixes = encoder, prefixes
        size = encoder.output_size
        self.upsample = Linear(size, self.upsampling * size) if self.upsampling > 1 else None
        weight = torch.empty(vocab_size, encoder.output_size)
        self.projection = VocabularyProjection(nn.Parameter(nn.init.xavier_uniform_(weight)))

    @property
    def output_step(self) -> int:
        """Frames of the features from one output to the next."""
        return self.encoder_step // self.upsampling

    @property
    def first_output(self) -> float:
        """Where the first output is among the frames of the features, whose first is 0."""
        return (self.output_step - self.encoder_step) / 2

    def forward(self, batch: FrameBatch, glance: Glance | None = None) -> FrameOutput:
        """Run one pass: hidden states (B, F', D). Raises ValueError for `glance`: there is no decoder to show it to."""
        if glance is not None:
            raise ValueError("`objective.glancing` shows a decoder parts of the target, but a recogniser has none.")
        hidden, lengths = self.encoder(batch.frames, batch.frame_lengths)
        if self.upsample is not None:
            hidden = self.upsample(hidden).float().unflatten(2, (self.upsampling, -1)).flatten(1, 2)
        return FrameOutput(hidden, self.projection, self.upsampling * lengths)

    @torch.no_grad()
    def frames(self, batch: FrameBatch) -> FrameLogProbs:
        """Give the log-probabilities of all frames, without a gradient."""
        return self(batch).frames()

    def score(self, batch: FrameBatch) -> Tensor:
        """(B, T): log-probabilities in nats of `tgt_out`, 0 at padding; they sum to that of all its paths."""
        assert batch.tgt_out is not None, "scoring needs a target"
        return self.prefixes.score(self.frames(batch), batch.tgt_out)

    def score_sequences(self, frames: FrameLogProbs, symbols: Sequence[Sequence[int]]) -> list[list[float]]:
        """Score given texts by frames that are there already: of each token and of the end, in nats."""
        return self.prefixes.score_sequences(frames, symbols)

    def start(self, batch: FrameBatch, need_attention: bool = False) -> tuple[Tensor, CtcState]:
        """Score all frames; the first step reads bos. There is no attention of a token."""
        return self.prefixes.start(self.frames(batch))

    def step(self, last_ids: Tensor, state: CtcState) -> Step:
        """Read one id of each row (N,) and score the next."""
        return self.prefixes.step(last_ids, state)
