"""Which embeddings of an encoder-decoder share a weight: what all families of translators have in common."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from torch import Tensor, nn

EmbeddingTying = Literal["all", "decoder", "none"]


def check_tying(tied: EmbeddingTying, data: Any) -> None:
    """Raise ValueError where the two sides of the data cannot share what they are to share."""
    if tied == "all" and not data.joint_vocabulary:
        raise ValueError(
            "`model.tied_embeddings: all` gives both sides the same vectors, but with `data.joint_vocabulary: "
            "false` their ids mean different things: set `model.tied_embeddings` to `decoder` or `none`."
        )
    if tied == "all" and len(data.vector_files()) == 2:
        raise ValueError(
            "`model.tied_embeddings: all` gives both sides the same vectors, which cannot start from both "
            "`data.vectors_src` and `data.vectors_tgt`: name one of them, or set `model.tied_embeddings: decoder`."
        )


def check_copying(copying: bool, data: Any) -> None:
    """Raise ValueError where what is copied would have no id on the other side."""
    if copying and not data.joint_vocabulary:
        raise ValueError(
            "`model.copying` puts what the source holds into the target, but with `data.joint_vocabulary: false` their "
            "ids mean different things: set one of them differently."
        )


class EmbeddingWeights(NamedTuple):
    """The weights of a translator's embeddings (V, D); what is tied is one parameter."""

    src: nn.Parameter
    tgt: nn.Parameter
    out: nn.Parameter


def make_embeddings(
    tied: EmbeddingTying, src_vocab_size: int, tgt_vocab_size: int, draw: Callable[[int], Tensor]
) -> EmbeddingWeights:
    """Make the weights, of which `draw` gives so many random rows.

    Raises:
        ValueError: two vocabularies of different sizes are to share a weight.
    """
    if tied == "all" and src_vocab_size != tgt_vocab_size:
        raise ValueError(
            f"`model.tied_embeddings: all` needs one vocabulary for both sides, but they have {src_vocab_size} and "
            f"{tgt_vocab_size} entries: set `data.joint_vocabulary: true` or `model.tied_embeddings: decoder`."
        )
    tgt = nn.Parameter(draw(tgt_vocab_size))
    src = tgt if tied == "all" else nn.Parameter(draw(src_vocab_size))
    out = nn.Parameter(draw(tgt_vocab_size)) if tied == "none" else tgt
    return EmbeddingWeights(src, tgt, out)
