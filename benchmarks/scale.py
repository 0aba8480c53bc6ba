"""The benchmark's model and data: one that means something, and one for a smoke run."""

from dataclasses import dataclass, replace
from typing import Any, Literal

Norm = Literal["pre", "post"]
Family = Literal["transformer", "lstm"]


@dataclass(frozen=True)
class ModelSizes:
    """The shape of a Transformer encoder-decoder with one joint vocabulary whose weight is tied three ways."""

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
        """Return what tells it from others of the same scale, in the names of folders."""
        return self.norm


@dataclass(frozen=True)
class RecurrentSizes:
    """The shape of an LSTM encoder, one layer in both directions, and an LSTM decoder of one layer that attends to it.

    Attention is general, the decoder starts from zeros, and one joint vocabulary's weight is tied three ways.
    """

    vocab_size: int
    hidden_size: int
    """Of embeddings, of the decoder and its attentional vectors, and of both directions of the encoder together."""
    input_feeding: bool

    @property
    def family(self) -> Family:
        return "lstm"

    @property
    def name(self) -> str:
        return "lstm" if self.input_feeding else "lstm_unfed"


Sizes = ModelSizes | RecurrentSizes


def transformer_sizes(sizes: Sizes) -> ModelSizes:
    """Return the sizes of what can only be a Transformer."""
    assert isinstance(sizes, ModelSizes), "recurrent models are given to systems that have them"
    return sizes


def recurrent_sizes(sizes: Sizes) -> RecurrentSizes:
    """Return the sizes of what can only be recurrent."""
    assert isinstance(sizes, RecurrentSizes), "Transformers are given to systems that have them"
    return sizes


def sizes_from_json(values: dict[str, Any]) -> Sizes:
    """Read what `dataclasses.asdict` gave."""
    return RecurrentSizes(**values) if "input_feeding" in values else ModelSizes(**values)


@dataclass(frozen=True)
class Scale:
    """What is trained on what."""

    corpus: str
    """A corpus of `seqlab.corpora`, or `GENERATED`."""
    model: Sizes
    batch_tokens: int
    """Target tokens of one update."""
    micro_batch_tokens: tuple[int, ...]
    """Padded tokens of one forward and backward pass: each system is measured at each, and counts at its best."""
    steps: int
    """Updates that are timed."""
    warmup_steps: int
    """Updates before them: kernels are built, memory is first touched."""
    repetitions: int


def scale_from_json(values: dict[str, Any]) -> Scale:
    """Read what `dataclasses.asdict` gave."""
    lists = {"micro_batch_tokens": tuple(values["micro_batch_tokens"]), "model": sizes_from_json(values["model"])}
    return Scale(**{**values, **lists})


GENERATED = "generated"
"""Made-up words, which need no corpus from outside; see `benchmarks.workers.generated_corpus`."""

FULL = Scale(
    corpus="multi30k",
    model=ModelSizes(8000, d_model=256, d_ff=1024, num_heads=4, num_encoder_layers=4, num_decoder_layers=4),
    batch_tokens=4096,
    # A planner that balances steps makes 4 or 5 passes of the first an update, and one of the last.
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
"""What `--model` chooses from; the last is an LSTM without input feeding."""


def with_model(scale: Scale, name: str) -> Scale:
    """Take one of `MODELS` with the same vocabulary; states of an LSTM are twice as wide as the Transformer's."""
    if name == "transformer":
        return scale
    sizes = RecurrentSizes(
        scale.model.vocab_size, 2 * transformer_sizes(scale.model).d_model, input_feeding=name == "lstm"
    )
    return replace(scale, model=sizes)
