"""Labelers: public checks, pooling, spelling and n-grams."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from models.batches import check_batches

from seqlab.data.batch import collate_labelled
from seqlab.models import (
    CnnEncoderConfig,
    EncoderLmConfig,
    LabelerConfig,
    RecurrentEncoderConfig,
    TransformerEncoderConfig,
)
from seqlab.models.label_head import pool_sequence
from seqlab.nn.ngram_embedding import NgramEmbedding
from seqlab.objectives import RDropConfig
from seqlab.tasks.labelling.config import LabellingConfig
from seqlab.testing import check_model, labeled_lines, texts
from seqlab.testing.models import build as build_model
from seqlab.training.warm_start import matching_weights

UNK, EXAMPLES = 3, labeled_lines()
CONFIGS = {
    "rnn": LabelerConfig(
        encoder=RecurrentEncoderConfig(family="rnn", hidden_size=32), embedding_size=16, spelling_size=8
    ),
    "lstm": LabelerConfig(
        encoder=RecurrentEncoderConfig(family="lstm", hidden_size=32, num_layers=2), embedding_size=16, spelling_size=8
    ),
    "gru": LabelerConfig(encoder=RecurrentEncoderConfig(family="gru", hidden_size=32), embedding_size=16),
    "transformer": LabelerConfig(
        encoder=TransformerEncoderConfig(d_model=32, d_ff=64, num_layers=2, dropout=0.3), spelling_size=8
    ),
    "lstm with n-grams": LabelerConfig(
        encoder=RecurrentEncoderConfig(family="lstm", hidden_size=32), embedding_size=16, ngram_order=3, num_ngrams=100
    ),
    "transformer with n-grams": LabelerConfig(
        encoder=TransformerEncoderConfig(d_model=32, d_ff=64, num_layers=2, dropout=0.3),
        spelling_size=8,
        ngram_order=2,
        num_ngrams=50,
    ),
    "convolutional": LabelerConfig(
        encoder=CnnEncoderConfig(num_filters=8, widths=(2, 3, 5)),
        embedding_size=16,
        spelling_size=8,
        ngram_order=2,
        ngram_dropout=0.0,
    ),
    "convolutional, words only": LabelerConfig(encoder=CnnEncoderConfig(num_filters=8), embedding_size=16),
    "transformer without spelling": LabelerConfig(
        encoder=TransformerEncoderConfig(d_model=32, d_ff=64, num_layers=2, dropout=0.3)
    ),
}
DATA = {"train_src": ["x"], "train_tgt": ["y"]}


@dataclass(frozen=True)
class Fitted:
    """Config of a labeler with embeddings for all n-grams of the examples, each of which occurs twice."""

    config: LabelerConfig
    default_objective: ClassVar[str] = "cross_entropy"

    def build(self, src: Any, tgt: Any) -> Any:
        model, batch = self.config.build(src, tgt), EXAMPLES.collate([*range(EXAMPLES.count)] * 2)
        words = torch.cat([row[:length] for row, length in zip(batch.src, batch.src_lengths, strict=True)])
        for ngrams in model.features.ngrams:
            assert isinstance(ngrams, NgramEmbedding)
            ngrams.select_frequent(words.numpy(), np.cumsum([0, *batch.src_lengths]))
        return model


def build(config: LabelerConfig) -> Any:
    return build_model(Fitted(config), EXAMPLES)


@pytest.mark.parametrize(
    ("labels_of", "pooling", "objective"),
    [("words", None, None), ("lines", "mean", None), ("lines", "max", RDropConfig())],
)
@pytest.mark.parametrize("name", CONFIGS)
def test_models_pass_the_public_checks(name: str, labels_of: Any, pooling: Any, objective: Any) -> None:
    config, examples = Fitted(replace(CONFIGS[name], pooling=pooling)), labeled_lines(labels_of)
    check_model(config, examples, objective=objective)
    for dtype in (torch.float32, torch.bfloat16):
        check_batches(config, examples, dtype)


def test_pooling_equals_numpy() -> None:
    torch.manual_seed(0)
    memory, lengths = torch.randn(3, 6, 4), torch.tensor([6, 1, 3])
    for pooling, function in (("mean", np.mean), ("max", np.max)):
        expected = [function(row[:length].numpy(), axis=0) for row, length in zip(memory, lengths, strict=True)]
        np.testing.assert_allclose(pool_sequence(memory, lengths, pooling), expected, rtol=1e-5)  # type: ignore[arg-type]


def test_default_pooling_is_max_for_lines_and_none_for_words() -> None:
    for labels_of, expected in (("lines", "max"), ("words", None)):
        config = CONFIGS["lstm"].resolve(LabellingConfig(labels_of=labels_of, **DATA))  # type: ignore[arg-type]
        assert config.pooling == expected
    with pytest.raises(ValueError, match=r"`model.pooling: mean` .* `data.labels_of: words`"):
        replace(CONFIGS["lstm"], pooling="mean").resolve(LabellingConfig(labels_of="words", **DATA))  # type: ignore[arg-type]


def test_words_are_replaced_by_unk_in_training_only() -> None:
    model = build(replace(CONFIGS["lstm"], unknown_share=0.5))
    src = torch.full((50, 40), 6)
    fraction = (model.train().features.drop_words(src) == UNK).float().mean()
    assert 0.45 < fraction < 0.55
    assert torch.equal(model.eval().features.drop_words(src), src)


def test_spelling_distinguishes_unknown_words() -> None:
    model = build(CONFIGS["lstm"]).eval()
    spellings = [np.frombuffer(word.encode(), np.uint8) for word in ("bark", "barking")]
    found = model.label(collate_labelled([[UNK], [UNK]], None, spellings, [0, 1], pad_id=0))
    torch.testing.assert_close(found.exp().sum(1), torch.ones(2))
    assert not torch.allclose(found[0], found[1])


WITH_NGRAMS = ["lstm with n-grams", "transformer with n-grams"]


@pytest.mark.parametrize("name", WITH_NGRAMS)
def test_ngram_embeddings_are_added_to_those_of_their_last_words(name: str) -> None:
    """A model without n-grams gives the same outputs if the word embeddings hold the sums."""
    model = build(CONFIGS[name]).eval()
    batch = EXAMPLES.collate([1])
    with torch.no_grad():
        vectors = model.features.ngram_vectors(batch.src)
        assert vectors is not None
        assert vectors.any(2).all()
        expected = model.encode(batch)
        for ngrams in model.features.ngrams:
            ngrams.known.fill_(-1)
        assert not torch.allclose(model.encode(batch), expected, atol=1e-3)
        model.get_parameter("embedding.weight")[batch.src[0]] += vectors[0]
        torch.testing.assert_close(model.encode(batch), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", WITH_NGRAMS)
def test_ngram_embeddings_have_dropout_and_the_standard_deviation_of_words(name: str) -> None:
    model = build(replace(CONFIGS[name], ngram_order=2, ngram_dropout=0.9)).train()
    vectors = model.features.ngram_vectors(EXAMPLES.collate([1]).src)
    assert vectors is not None
    assert vectors.any(2).float().mean() < 0.5
    embedding = model.get_parameter("embedding.weight")
    (ngrams,) = model.features.ngrams
    torch.testing.assert_close(ngrams.weight.std(), embedding.std(), rtol=0.2, atol=0)


@pytest.mark.parametrize("name", WITH_NGRAMS)
def test_ngrams_of_words_replaced_by_unk_have_no_embedding(name: str) -> None:
    model = build(replace(CONFIGS[name], unknown_share=0.999)).train()
    model.encode(EXAMPLES.all()).sum().backward()
    for ngrams in model.features.ngrams:
        assert not ngrams.weight.grad.any()


def test_encoder_is_initialized_from_a_masked_language_model() -> None:
    model = build(CONFIGS["transformer"])
    language_model: Any = build_model(
        EncoderLmConfig(encoder=TransformerEncoderConfig(d_model=32, d_ff=64, num_layers=2)), texts()
    )
    found = matching_weights(model, model.config, language_model, language_model.config)
    assert set(found) == {name for name, _ in model.named_parameters() if name.startswith(("embedding.", "encoder."))}
