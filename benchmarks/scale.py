"""Model and data of the benchmarks: the full scale, and a quick one for smoke tests."""

from dataclasses import dataclass, replace
from typing import Any, Literal

Norm = Literal["pre", "post"]
Family = Literal["transformer", "lstm"]


@dataclass(frozen=True)
class ModelSizes:
    """Shape of a Transformer encoder-decoder; both embeddings and the output share one weight."""

    vocab_size: int
    d_model: int
    d_ff: int
    num_heads: int
    num_encoder_layers: int
    num_decoder_layers: int
    norm: Norm = "post"

    @property
    def family(self) -> Family:
        return "transformer"

    @property
    def name(self) -> str:
        """Return the part of folder names that distinguishes models of the same scale."""
        return self.norm


@dataclass(frozen=True)
class RecurrentSizes:
    """Shape of a translator with a bidirectional LSTM encoder and an LSTM decoder with attention, one layer each.

    Attention is general (Luong et al. 2015), the decoder's initial state is zero, and both embeddings and the output
    share one weight.
    """

    vocab_size: int
    hidden_size: int
    """Size of embeddings, decoder and attentional vectors; each direction of the encoder has half of it."""
    input_feeding: bool

    @property
    def family(self) -> Family:
        return "lstm"

    @property
    def name(self) -> str:
        return "lstm" if self.input_feeding else "lstm_unfed"


Sizes = ModelSizes | RecurrentSizes


def transformer_sizes(sizes: Sizes) -> ModelSizes:
    """Return the sizes of a model that must be a Transformer."""
    assert isinstance(sizes, ModelSizes), "this benchmark needs a Transformer"
    return sizes


def recurrent_sizes(sizes: Sizes) -> RecurrentSizes:
    """Return the sizes of a model that must be recurrent."""
    assert isinstance(sizes, RecurrentSizes), "this benchmark needs a recurrent model"
    return sizes


def sizes_from_json(values: dict[str, Any]) -> Sizes:
    """Restore an object from the output of `dataclasses.asdict`."""
    return RecurrentSizes(**values) if "input_feeding" in values else ModelSizes(**values)


@dataclass(frozen=True)
class Scale:
    """Corpus, model and amount of measured work."""

    corpus: str
    """A corpus of `seqlab.corpora`, or `GENERATED`."""
    model: Sizes
    batch_tokens: int
    """Target tokens of one update."""
    micro_batch_tokens: tuple[int, ...]
    """Padded tokens of a micro-step: each system is measured at each size, and its best rate is used."""
    steps: int
    """Number of timed updates."""
    warmup_steps: int
    """Updates before the timed ones, which build kernels and touch memory for the first time."""
    repetitions: int


def scale_from_json(values: dict[str, Any]) -> Scale:
    """Restore an object from the output of `dataclasses.asdict`."""
    lists = {"micro_batch_tokens": tuple(values["micro_batch_tokens"]), "model": sizes_from_json(values["model"])}
    return Scale(**{**values, **lists})


GENERATED = "generated"
"""Generated corpus of artificial words; see `benchmarks.workers.generated_corpus`."""

FULL = Scale(
    corpus="multi30k",
    model=ModelSizes(8000, d_model=256, d_ff=1024, num_heads=4, num_encoder_layers=4, num_decoder_layers=4),
    batch_tokens=4096,
    # The batch planner makes 4 or 5 micro-steps per update with the first size, and one with the last.
    micro_batch_tokens=(1024, 2048, 4800),
    steps=24,
    warmup_steps=8,
    repetitions=3,
)
QUICK = Scale(
    corpus="number_words",
    model=ModelSizes(560, d_model=64, d_ff=128, num_heads=2, num_encoder_layers=2, num_decoder_layers=2),
    batch_tokens=512,
    micro_batch_tokens=(256,),
    steps=4,
    warmup_steps=2,
    repetitions=1,
)

MODELS = ("transformer", "lstm", "lstm_unfed")
"""Choices of `--model`; `lstm_unfed` has no input feeding."""


def with_model(scale: Scale, name: str) -> Scale:
    """Return the scale with one of `MODELS`; an LSTM has twice the Transformer's width and the same vocabulary."""
    if name == "transformer":
        return scale
    sizes = RecurrentSizes(
        scale.model.vocab_size, 2 * transformer_sizes(scale.model).d_model, input_feeding=name == "lstm"
    )
    return replace(scale, model=sizes)
