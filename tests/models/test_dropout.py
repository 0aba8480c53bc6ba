"""Dropout in recurrent translators and labelers: dropped values are zero or have no gradient."""

import numpy as np
import pytest
import torch
from reference.tiny_translators import batch_of, build
from torch import Tensor

from seqlab.data.batch import Seq2SeqBatch, collate_labelled
from seqlab.models import Labeler, LabelerConfig, RecurrentConfig, RecurrentEncoderConfig, RecurrentTranslator
from seqlab.tasks.labelling.config import LabellingConfig

LONG_SOURCE, LONG_TARGET = 1, 2
"""Indices of pairs of `tiny_translators` with a long source and a long target."""


def assert_some_dropped(rows: Tensor) -> None:
    """Check that some features are zero in all rows (N, E), and the others in none."""
    is_zero = rows == 0
    assert torch.equal(is_zero.all(0), is_zero.any(0)), "all rows must have the same mask"
    assert 0.1 < float(is_zero[0].float().mean()) < 0.9


def build_translator(input_feeding: bool, **fields: float) -> RecurrentTranslator:
    config = RecurrentConfig(
        family="lstm",
        hidden_size=48,
        embedding_size=40,
        num_encoder_layers=2,
        num_decoder_layers=2,
        input_feeding=input_feeding,
        tied_embeddings="none",
        **{"dropout": 0.0, "embedding_dropout": 0.0, "weight_dropout": 0.0, **fields},  # type: ignore[arg-type]
    )
    model = build(config).train()
    assert isinstance(model, RecurrentTranslator)
    return model


def make_long_batch(side: str) -> tuple[Seq2SeqBatch, Tensor]:
    """Return the pair with a long sentence on this side, and the ids of its tokens."""
    batch = batch_of([LONG_SOURCE if side == "encoder" else LONG_TARGET])
    ids = batch.src if side == "encoder" else batch.tgt_in
    assert ids is not None
    return batch, ids.unique()


def gradient(model: RecurrentTranslator, batch: Seq2SeqBatch, name: str) -> Tensor:
    """Return the gradient of a parameter for the sum of all decoder outputs."""
    (found,) = torch.autograd.grad(model(batch).hidden.sum(), [model.get_parameter(name)])
    return found


every_side = pytest.mark.parametrize("side", ["encoder", "decoder"])
with_and_without_input_feeding = pytest.mark.parametrize("input_feeding", [True, False])


@every_side
@with_and_without_input_feeding
def test_dropout_mask_is_shared_by_all_tokens_of_a_sentence(input_feeding: bool, side: str) -> None:
    """Masks of embeddings, and those between layers."""
    batch, ids = make_long_batch(side)
    model = build_translator(input_feeding, dropout=0.5)
    assert_some_dropped(gradient(model, batch, f"{side}.embedding.weight")[ids])
    assert_some_dropped(gradient(model, batch, f"{side}.layers.layers.1.0.from_input.weight"))


@with_and_without_input_feeding
def test_dropout_of_memory_and_decoder_output(input_feeding: bool) -> None:
    model, (batch, _) = build_translator(input_feeding, dropout=0.5), make_long_batch("encoder")
    memory, _, _ = model.encoder(batch.src, batch.src_lengths)
    assert_some_dropped(memory[0])
    batch, _ = make_long_batch("decoder")
    assert_some_dropped(model(batch).hidden[0])


@every_side
@with_and_without_input_feeding
def test_embedding_dropout_drops_all_occurrences_of_a_token(input_feeding: bool, side: str) -> None:
    batch, ids = make_long_batch(side)
    assert_some_dropped(
        gradient(build_translator(input_feeding, embedding_dropout=0.5), batch, f"{side}.embedding.weight")[ids].t()
    )


@every_side
@with_and_without_input_feeding
def test_weight_dropout_drops_elements_of_recurrent_weights(input_feeding: bool, side: str) -> None:
    batch, _ = make_long_batch(side)
    found = gradient(
        build_translator(input_feeding, weight_dropout=0.5), batch, f"{side}.layers.layers.1.0.from_hidden.weight"
    )
    assert 0.4 < float((found == 0).float().mean()) < 0.6


def build_labeler(**fields: float) -> Labeler:
    torch.manual_seed(0)
    of_model = {name: fields.get(name, 0.0) for name in ("embedding_dropout", "output_dropout")}
    of_encoder = {name: fields.get(name, 0.0) for name in ("dropout", "weight_dropout")}
    encoder = RecurrentEncoderConfig(family="lstm", hidden_size=48, num_layers=2, **of_encoder)
    config = LabelerConfig(encoder=encoder, embedding_size=40, **of_model)
    return Labeler(
        config.resolve(LabellingConfig(labels_of="words", train_src=["x"], train_tgt=["y"])), 30, 3, 5
    ).train()


def test_each_dropout_of_a_labeler_has_one_mask_per_sentence() -> None:
    ids = np.arange(4, 24)
    batch = collate_labelled([ids], None, None, [0], pad_id=0)

    def found(**fields: float) -> tuple[dict[str, Tensor], Tensor]:
        model = build_labeler(**fields)
        hidden = model(batch).hidden
        hidden.sum().backward()
        grads = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}
        return grads, hidden

    grads, _ = found(dropout=0.5)
    assert_some_dropped(grads["embedding.weight"][4:24])
    assert_some_dropped(grads["encoder.layers.layers.1.0.from_input.weight"])
    grads, _ = found(embedding_dropout=0.5)
    assert_some_dropped(grads["embedding.weight"][4:24].t())
    grads, _ = found(weight_dropout=0.5)
    is_zero = grads["encoder.layers.layers.0.1.from_hidden.weight"] == 0
    assert 0.4 < float(is_zero.float().mean()) < 0.6
    _, hidden = found(output_dropout=0.5)
    assert_some_dropped(hidden[0])
