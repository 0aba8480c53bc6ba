"""Speech recognizers: encoders of frames with CTC outputs (Graves et al. 2006).

Shapes: B recordings, F frames of M bands, F' output frames, T tokens, D hidden size, V vocabulary.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from seqlab.base.config_class import dataclass
from seqlab.data.batch import FrameBatch
from seqlab.models.config import SETTINGS, Size, TokenSide, WarmStart
from seqlab.models.ctc import CtcPrefixes, CtcState
from seqlab.models.encoder import EncoderConfig
from seqlab.models.frame_input import FrameModelConfig, FrameSide
from seqlab.models.interfaces import Step
from seqlab.models.outputs import FrameLogProbs, FrameOutput, Glance
from seqlab.models.recurrent_encoder import RecurrentEncoderConfig
from seqlab.models.unreachable_targets import IntArray, UnreachableTargets
from seqlab.nn.layers import Linear
from seqlab.nn.projection import VocabularyProjection


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class RecognizerConfig(FrameModelConfig):
    """A speech recognizer: an encoder of frames with CTC outputs."""

    tasks: ClassVar[tuple[str, ...]] = ("transcription",)
    outputs: ClassVar[str] = "frames"
    default_objective: ClassVar[str] = "ctc"

    family: Literal["recognizer"] = "recognizer"
    """Name of the model family."""
    encoder: EncoderConfig = Field(
        default_factory=lambda: RecurrentEncoderConfig(
            family="lstm", hidden_size=320, num_layers=3, dropout=0.2, output_dropout=0.2
        )
    )
    """Encoder, chosen by its `family`."""
    upsampling: Size = 2
    """Output frames per encoder frame, by a linear projection (Libovicky & Helcl 2018). CTC needs one frame per token,
    and a blank between equal tokens. After two convolution blocks a second has 25 frames, and up to 20 letters."""

    @model_validator(mode="after")
    def _check_upsampling(self) -> "RecognizerConfig":
        if self.subsampling_factor % self.upsampling:
            raise ValueError(
                f"`upsampling` must divide {self.subsampling_factor}, the subsampling factor of {len(self.channels)} "
                f"blocks (`channels`), but is {self.upsampling} instead."
            )
        return self

    @property
    def warm_start(self) -> WarmStart:
        """Properties of the model that a warm start needs: its outputs depend on the vocabulary."""
        return replace(super().warm_start, excluded=("upsample.", "projection."))

    def num_outputs(self, frames: IntArray) -> IntArray:
        """Return the number of output frames (N,) of recordings with `frames` (N,) frames."""
        return self.upsampling * self.num_frames(frames)

    def build(self, src: FrameSide, tgt: TokenSide) -> "Recognizer":
        """Build the model."""
        prefixes = CtcPrefixes(blank_id=tgt.blank_id, bos_id=tgt.bos_id, eos_id=tgt.eos_id)
        return Recognizer(self, src.num_bands, tgt.vocab_size, prefixes)

    def check_search(self, search: Any) -> None:
        """Raise ValueError if the model cannot be decoded with a `SearchConfig`."""
        search.check_frame_model()

    def unreachable_targets(
        self, src: IntArray, tgt: IntArray, repeated: Callable[[], IntArray]
    ) -> UnreachableTargets | None:
        """Find targets with too few output frames: they need one per token, and a blank between equal tokens."""
        return UnreachableTargets(
            tgt + repeated() > self.num_outputs(src),
            f"have texts that need more output frames than the model has ({self.upsampling} for every "
            f"{self.subsampling_factor} frames), and are left out of the loss: do the texts belong to the recordings? "
            "Raise `model.upsampling`, or use tokens of several characters",
            yield_no_loss=True,
        )


class Recognizer(nn.Module):
    """CTC speech recognizer: an encoder and an output projection; a `FrameModel`, `Stepper` and `Scorer`."""

    def __init__(self, config: RecognizerConfig, bands: int, vocab_size: int, prefixes: CtcPrefixes) -> None:
        """Build the layers.

        Args:
            config: the config.
            bands: M.
            vocab_size: V.
            prefixes: CTC prefix scoring, with the special ids.
        """
        super().__init__()
        self.subsampling_factor, self.upsampling = config.subsampling_factor, config.upsampling
        self.vocab_size, self.blank_id, self.eos_id = vocab_size, prefixes.blank_id, prefixes.eos_id
        self.prefixes = prefixes
        self.input = config.build_input(bands)
        self.encoder = config.encoder.build(config.vector_size)
        config.encoder.init_weights(self.encoder)
        size = self.encoder.output_size
        self.upsample = Linear(size, self.upsampling * size) if self.upsampling > 1 else None
        weight = torch.empty(vocab_size, size)
        self.projection = VocabularyProjection(nn.Parameter(nn.init.xavier_uniform_(weight)))

    @property
    def output_step(self) -> int:
        """Feature frames per output frame."""
        return self.subsampling_factor // self.upsampling

    @property
    def first_output(self) -> float:
        """Position of the first output frame, in feature frames counted from 0."""
        return (self.output_step - self.subsampling_factor) / 2

    def forward(self, batch: FrameBatch, glance: Glance | None = None) -> FrameOutput:
        """Run one pass: hidden states (B, F', D). Raises ValueError for `glance`, which needs a decoder."""
        if glance is not None:
            raise ValueError("`objective.glancing` needs a decoder, but a speech recognizer has none.")
        x, lengths = self.input(batch.frames, batch.frame_lengths)
        hidden, lengths = self.encoder(self.encoder.enter(x), lengths)
        if self.upsample is not None:
            hidden = self.upsample(hidden).float().unflatten(2, (self.upsampling, -1)).flatten(1, 2)
        return FrameOutput(hidden, self.projection, self.upsampling * lengths)

    @torch.no_grad()
    def frames(self, batch: FrameBatch) -> FrameLogProbs:
        """Compute the log-probabilities of all frames, without a gradient."""
        return self(batch).frames()

    def score(self, batch: FrameBatch) -> Tensor:
        """Return the log-probabilities (B, T) in nats of `tgt_out`, 0 at padding, summed over all CTC paths."""
        assert batch.tgt_out is not None, "scoring needs a target"
        return self.prefixes.score(self.frames(batch), batch.tgt_out)

    def score_sequences(self, frames: FrameLogProbs, sequences: Sequence[Sequence[int]]) -> list[list[float]]:
        """Score one sequence for each recording: the log-probabilities in nats of its tokens, then of eos."""
        return self.prefixes.score_sequences(frames, sequences)

    def start(self, batch: FrameBatch, need_attention: bool = False) -> tuple[Tensor, CtcState]:
        """Compute all frames; the first step reads bos. There is no attention."""
        return self.prefixes.start(self.frames(batch))

    def step(self, last_ids: Tensor, state: CtcState) -> Step:
        """Read one id per row (N,) and score the next id."""
        return self.prefixes.step(last_ids, state)
