"""GPT-2 of `transformers` with the shape and weights of the benchmark."""

from typing import Any

from torch import Tensor, nn

from benchmarks.lm_shapes import LmShape
from benchmarks.records import Unavailable
from benchmarks.workers.lm_weights import Weights, gpt2_weights


class ScaledEmbedding(nn.Embedding):
    """Embedding scaled by the square root of its size, as in seqlab."""

    def forward(self, input: Tensor) -> Tensor:
        """Map ids (B, T) to embeddings (B, T, D)."""
        return super().forward(input) * self.embedding_dim**0.5


def build_gpt2(
    shape: LmShape,
    vocab_size: int,
    weights: Weights,
    dropout: float = 0.0,
    attention_dropout: float = 0.0,
    **config: Any,
) -> Any:
    """Build a `GPT2LMHeadModel` with torch's fused attention and without an end id, so that no text ends early.

    Raises:
        Unavailable: transformers is not installed.
    """
    try:
        from transformers import GPT2Config, GPT2LMHeadModel
    except ImportError:
        raise Unavailable("not installed (pip install transformers)") from None
    settings = {
        "vocab_size": vocab_size,
        "n_positions": shape.block_length,
        "n_embd": shape.width,
        "n_layer": shape.num_layers,
        "n_head": shape.num_heads,
        "activation_function": "gelu",
        "embd_pdrop": dropout,
        "resid_pdrop": dropout,
        "attn_pdrop": attention_dropout,
        "bos_token_id": None,
        "eos_token_id": None,
        "attn_implementation": "sdpa",
    }
    model = GPT2LMHeadModel(GPT2Config(**{**settings, **config}))
    model.transformer.wte = ScaledEmbedding(vocab_size, shape.width)
    model.tie_weights()
    missing, unexpected = model.load_state_dict(gpt2_weights(weights), strict=False)
    assert not unexpected, f"GPT-2 has no {unexpected}"
    assert set(missing) <= {"lm_head.weight"}, f"no weights for {missing}"
    return model
