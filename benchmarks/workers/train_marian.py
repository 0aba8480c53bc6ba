"""Worker for training `transformers.MarianMTModel` in a plain loop."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.records import Json, TrainingJob, Unavailable
from benchmarks.scale import ModelSizes, transformer_sizes
from benchmarks.workers.plain_loop import Batch, Workload, train
from benchmarks.workers.weights import Weights, marian_weights, sinusoidal_positions

MAX_POSITIONS = 512


def build_marian(sizes: ModelSizes, ids: dict[str, int], weights: Weights, dropout: float) -> Any:
    """Build a `MarianMTModel` with seqlab's sizes, weights and position vectors.

    Raises:
        Unavailable: transformers is not installed, or Marian does not support the model.
    """
    if sizes.norm != "post":
        raise Unavailable("Marian's layer norms come after the residual sums: run with `--norm post`")
    try:
        from transformers import MarianConfig, MarianMTModel
    except ImportError:
        raise Unavailable("not installed (pip install transformers)") from None
    config = MarianConfig(
        vocab_size=sizes.vocab_size,
        max_position_embeddings=MAX_POSITIONS,
        d_model=sizes.d_model,
        encoder_layers=sizes.num_encoder_layers,
        decoder_layers=sizes.num_decoder_layers,
        encoder_ffn_dim=sizes.d_ff,
        decoder_ffn_dim=sizes.d_ff,
        encoder_attention_heads=sizes.num_heads,
        decoder_attention_heads=sizes.num_heads,
        activation_function="relu",
        dropout=dropout,
        scale_embedding=True,
        pad_token_id=ids["pad_id"],
        bos_token_id=ids["bos_id"],
        eos_token_id=ids["eos_id"],
        forced_eos_token_id=None,
        decoder_start_token_id=ids["bos_id"],
    )
    model = MarianMTModel(config)
    missing, unexpected = model.load_state_dict(marian_weights(weights, sizes), strict=False)
    assert not unexpected, f"Marian has no {unexpected}"
    may_be_missing = ("embed_tokens.weight", "embed_positions.weight", "lm_head.weight", "final_logits_bias")
    assert all(name.endswith(may_be_missing) for name in missing), f"no weights for {missing}"
    use_seqlab_positions(model)
    return model


def use_seqlab_positions(model: Any) -> None:
    """Replace Marian's position vectors by seqlab's; both are sinusoids with slightly different wavelengths."""
    for side in (model.model.encoder, model.model.decoder):
        positions = side.embed_positions.weight
        positions.data.copy_(sinusoidal_positions(*positions.shape))


def make_logits_function(model: Any) -> Callable[[Batch], Tensor]:
    """Return a function that maps a batch to the logits (B, T, V) of a `MarianMTModel`."""

    def logits_of(batch: Batch) -> Tensor:
        is_token = torch.arange(batch["src"].size(1), device=batch["src"].device) < batch["src_lengths"][:, None]
        output = model(
            input_ids=batch["src"], attention_mask=is_token.long(), decoder_input_ids=batch["tgt_in"], use_cache=False
        )
        logits: Tensor = output.logits
        return logits

    return logits_of


def run(job: Json) -> Json:
    """Run a `TrainingJob`."""
    settings = TrainingJob(**job)
    torch.set_num_threads(settings.threads)
    workload = Workload.read(Path(settings.workload), settings.micro_batch_tokens, settings.steps)
    ids = {"pad_id": workload.pad_id, "bos_id": workload.bos_id, "eos_id": workload.eos_id}
    model = build_marian(transformer_sizes(workload.sizes), ids, dict(workload.weights), settings.dropout)

    return train(model, make_logits_function(model), workload, settings)
