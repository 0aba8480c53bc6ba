"""Layers: tensors in, tensors out. Nothing here knows of text, batches or files.

A name is imported when it is asked for.
"""

from typing import TYPE_CHECKING

from seqlab.late import late_names
from seqlab.nn.mkl import make_repeatable

make_repeatable()

if TYPE_CHECKING:
    from seqlab.nn.attention import CrossAttention, KeyValueCache, SelfAttention
    from seqlab.nn.bridge import Bridge
    from seqlab.nn.dropout import Dropout, dropout_add
    from seqlab.nn.embedding import Embedding
    from seqlab.nn.feed_forward import FeedForward
    from seqlab.nn.gradient_flow import gradient_norms, jacobian_norms
    from seqlab.nn.input_mixing import InputMixing
    from seqlab.nn.linear import Linear
    from seqlab.nn.locked_dropout import EmbeddingDropout, LockedDropout
    from seqlab.nn.masks import additive, can_attend_to_keys, causal, padding_mask
    from seqlab.nn.memory_attention import Memory, MemoryAttention
    from seqlab.nn.ngram_embedding import NgramEmbedding
    from seqlab.nn.norms import LayerNorm, RmsNorm, make_norm
    from seqlab.nn.positions import LearnedPositions, RotaryPositions, SinusoidalPositions, make_positions
    from seqlab.nn.projection import VocabularyProjection
    from seqlab.nn.recurrent import Recurrent, RecurrentOutput
    from seqlab.nn.recurrent_state import RecurrentState
    from seqlab.nn.transformer import DecoderLayer, Residual, SelfAttentionLayer
    from seqlab.nn.word_spelling import WordSpelling

__all__ = [
    "Bridge",
    "CrossAttention",
    "DecoderLayer",
    "Dropout",
    "Embedding",
    "EmbeddingDropout",
    "FeedForward",
    "InputMixing",
    "KeyValueCache",
    "LayerNorm",
    "LearnedPositions",
    "Linear",
    "LockedDropout",
    "Memory",
    "MemoryAttention",
    "NgramEmbedding",
    "Recurrent",
    "RecurrentOutput",
    "RecurrentState",
    "Residual",
    "RmsNorm",
    "RotaryPositions",
    "SelfAttention",
    "SelfAttentionLayer",
    "SinusoidalPositions",
    "VocabularyProjection",
    "WordSpelling",
    "additive",
    "can_attend_to_keys",
    "causal",
    "dropout_add",
    "gradient_norms",
    "jacobian_norms",
    "make_norm",
    "make_positions",
    "padding_mask",
]

if not TYPE_CHECKING:  # or any name would do
    __getattr__ = late_names(
        __name__,
        {
            "Bridge": "bridge",
            "CrossAttention": "attention",
            "DecoderLayer": "transformer",
            "Dropout": "dropout",
            "Embedding": "embedding",
            "EmbeddingDropout": "locked_dropout",
            "FeedForward": "feed_forward",
            "InputMixing": "input_mixing",
            "KeyValueCache": "attention",
            "LayerNorm": "norms",
            "LearnedPositions": "positions",
            "Linear": "linear",
            "LockedDropout": "locked_dropout",
            "Memory": "memory_attention",
            "MemoryAttention": "memory_attention",
            "NgramEmbedding": "ngram_embedding",
            "Recurrent": "recurrent",
            "RecurrentOutput": "recurrent",
            "RecurrentState": "recurrent_state",
            "Residual": "transformer",
            "RmsNorm": "norms",
            "RotaryPositions": "positions",
            "SelfAttention": "attention",
            "SelfAttentionLayer": "transformer",
            "SinusoidalPositions": "positions",
            "VocabularyProjection": "projection",
            "WordSpelling": "word_spelling",
            "additive": "masks",
            "can_attend_to_keys": "masks",
            "causal": "masks",
            "dropout_add": "dropout",
            "gradient_norms": "gradient_flow",
            "jacobian_norms": "gradient_flow",
            "make_norm": "norms",
            "make_positions": "positions",
            "padding_mask": "masks",
        },
    )
