"""The benchmark's model and data: one that means something, and one for a smoke run."""

from dataclasses import dataclass
from typing import Any, Literal

Norm = Literal["pre", "post"]


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


@dataclass(frozen=True)
class Scale:
    """What is trained on what."""

    corpus: str
    """A corpus of `seqlab.corpora`."""
    model: ModelSizes
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
    lists = {"micro_batch_tokens": tuple(values["micro_batch_tokens"]), "model": ModelSizes(**values["model"])}
    return Scale(**{**values, **lists})


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
