"""Worker for training `torch.nn.Transformer` with tied embeddings in a plain loop."""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.records import Json, TrainingJob
from benchmarks.scale import ModelSizes, transformer_sizes
from benchmarks.workers.plain_loop import Batch, Workload, train
from benchmarks.workers.weights import sinusoidal_positions, torch_weights

MAX_POSITIONS = 512


class PlainTransformer(nn.Module):
    """Translator around `torch.nn.Transformer`, as in tutorials."""

    def __init__(self, sizes: ModelSizes, dropout: float) -> None:
        super().__init__()
        self.embedding = nn.Embedding(sizes.vocab_size, sizes.d_model)
        self.dropout = nn.Dropout(dropout)
        self.scale = sizes.d_model**0.5
        self.register_buffer("positions", sinusoidal_positions(MAX_POSITIONS, sizes.d_model), persistent=False)
        self.positions: Tensor
        self.transformer = nn.Transformer(
            sizes.d_model,
            sizes.num_heads,
            sizes.num_encoder_layers,
            sizes.num_decoder_layers,
            sizes.d_ff,
            dropout,
            batch_first=True,
            norm_first=sizes.norm == "pre",
        )
        _disable_extra_dropout_and_norms(self.transformer, sizes)

    def forward(self, batch: Batch) -> Tensor:
        """Return logits (B, T, V)."""
        size = batch["tgt_in"].size(1)
        padding = torch.arange(batch["src"].size(1), device=batch["src"].device) >= batch["src_lengths"][:, None]
        hidden = self.transformer(
            self._embed(batch["src"]),
            self._embed(batch["tgt_in"]),
            tgt_mask=nn.Transformer.generate_square_subsequent_mask(size, device=padding.device, dtype=torch.bool),
            tgt_is_causal=True,
            src_key_padding_mask=padding,
            memory_key_padding_mask=padding,
        )
        return F.linear(hidden, self.embedding.weight)

    def _embed(self, ids: Tensor) -> Tensor:
        return self.dropout(self.embedding(ids) * self.scale + self.positions[: ids.size(1)])


def _disable_extra_dropout_and_norms(transformer: nn.Transformer, sizes: ModelSizes) -> None:
    """Disable what the other systems lack: dropout of attention weights and in feed-forward layers, final norms."""
    for module in transformer.modules():
        if isinstance(module, nn.MultiheadAttention):
            module.dropout = 0.0
        elif isinstance(module, nn.TransformerEncoderLayer | nn.TransformerDecoderLayer):
            module.dropout.p = 0.0
    if sizes.norm == "post":
        transformer.encoder.norm = transformer.decoder.norm = None


def run(job: Json) -> Json:
    """Run a `TrainingJob`."""
    settings = TrainingJob(**job)
    torch.set_num_threads(settings.threads)
    workload = Workload.read(Path(settings.workload), settings.micro_batch_tokens, settings.steps)
    sizes = transformer_sizes(workload.sizes)
    model = PlainTransformer(sizes, settings.dropout)
    model.load_state_dict(torch_weights(workload.weights, sizes))
    return train(model, model, workload, settings)
