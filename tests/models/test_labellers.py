"""Labellers: independence of the batch, pooling, spelling, n-grams and gradients."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from seqlab.data.batch import LabelledBatch, collate_labelled
from seqlab.models import (
    CnnLabeller,
    CnnLabellerConfig,
    GruLabellerConfig,
    LstmLabellerConfig,
    RecurrentLabeller,
    RnnLabellerConfig,
    TransformerLabeller,
    TransformerLabellerConfig,
    TransformerMlm,
    TransformerMlmConfig,
)
from seqlab.models.labelling import LabellerConfig, pool_sequence
from seqlab.nn.ngram_embedding import NgramEmbedding
from seqlab.nn.precision import prepare_inference
from seqlab.objectives import CrossEntropy, CrossEntropyConfig, RDrop, RDropConfig, StepContext
from seqlab.tasks.labelling.config import LabellingConfig
from seqlab.training.warm_start import matching_weights

VOCABULARY = ["a", "dog", "barks", "größe", "internationalization"]
UNK, LABELS = 3, 5
CONFIGS = {
    "rnn": RnnLabellerConfig(hidden_size=32, embedding_size=16, spelling_size=8),
    "lstm": LstmLabellerConfig(hidden_size=32, embedding_size=16, num_layers=2, spelling_size=8),
    "gru": GruLabellerConfig(hidden_size=32, embedding_size=16),
    "transformer": TransformerLabellerConfig(d_model=32, d_ff=64, spelling_size=8),
    "lstm with n-grams": LstmLabellerConfig(hidden_size=32, embedding_size=16, ngram_order=3, num_ngrams=100),
    "transformer with n-grams": TransformerLabellerConfig(
        d_model=32, d_ff=64, spelling_size=8, ngram_order=2, num_ngrams=50
    ),
    "convolutional": CnnLabellerConfig(
        embedding_size=16, num_filters=8, widths=(2, 3, 5), spelling_size=8, ngram_order=2, ngram_dropout=0.0
    ),
    "convolutional, words only": CnnLabellerConfig(embedding_size=16, num_filters=8),
    "transformer without spelling": TransformerLabellerConfig(d_model=32, d_ff=64),
}
DATA = {"train_src": ["x"], "train_tgt": ["y"]}


def build(config: LabellerConfig, labels_of: str) -> RecurrentLabeller | TransformerLabeller | CnnLabeller:
    torch.manual_seed(1)
    config = config.resolve(LabellingConfig(labels_of=labels_of, **DATA))  # type: ignore[arg-type]
    size = 4 + len(VOCABULARY)
    model: RecurrentLabeller | TransformerLabeller | CnnLabeller
    if isinstance(config, TransformerLabellerConfig):
        model = TransformerLabeller(config, size, UNK, LABELS)
    elif isinstance(config, CnnLabellerConfig):
        model = CnnLabeller(config, size, UNK, LABELS)
    else:
        assert isinstance(config, RnnLabellerConfig | LstmLabellerConfig | GruLabellerConfig)
        model = RecurrentLabeller(config, size, UNK, LABELS)
    words = np.random.default_rng(1).integers(4, size, size=1200)
    for ngrams in model.reader.ngrams:
        assert isinstance(ngrams, NgramEmbedding)
        ngrams.select_frequent(words, np.arange(0, 1201, 10))
    return model


def make_batch(lengths: list[int], seed: int = 0, rows: list[int] | None = None) -> LabelledBatch:
    rng = np.random.default_rng(seed)
    ids = [rng.integers(0, len(VOCABULARY), size=length) for length in lengths]
    rows_kept = range(len(ids)) if rows is None else rows
    texts = [np.frombuffer(" ".join(VOCABULARY[i] for i in ids[k]).encode(), np.uint8) for k in rows_kept]
    return collate_labelled([ids[k] + 4 for k in rows_kept], None, texts, rows_kept, pad_id=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("pooling", "labels_of"), [(None, "words"), ("mean", "lines"), ("max", "lines")])
@pytest.mark.parametrize("name", CONFIGS)
def test_labels_are_independent_of_the_batch(name: str, pooling: str, labels_of: str, dtype: torch.dtype) -> None:
    model = build(replace(CONFIGS[name], pooling=pooling), labels_of).eval()  # type: ignore[arg-type]
    prepare_inference(model, torch.device("cpu"), dtype)
    lengths = [1, 17, 4, 30, 9, 2, 25]
    with torch.inference_mode():
        together = model.label(make_batch(lengths))
        sizes = lengths if labels_of == "words" else [1] * len(lengths)
        for row, expected in enumerate(together.split(sizes)):
            assert torch.equal(model.label(make_batch(lengths, rows=[row])), expected)
            pair = model.label(make_batch(lengths, rows=[row, (row + 3) % 7]))
            assert torch.equal(pair[: sizes[row]], expected)
    torch.testing.assert_close(together.exp().sum(1), torch.ones(len(together)), rtol=1e-4, atol=1e-4)


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
    model = build(replace(CONFIGS["lstm"], unknown_share=0.5), "words")
    src = torch.full((50, 40), 6)
    fraction = (model.train().reader.drop_words(src) == UNK).float().mean()
    assert 0.45 < fraction < 0.55
    assert torch.equal(model.eval().reader.drop_words(src), src)


def test_spelling_distinguishes_unknown_words() -> None:
    model = build(CONFIGS["lstm"], "words").eval()
    texts = [np.frombuffer(word.encode(), np.uint8) for word in ("bark", "barking")]
    found = model.label(collate_labelled([[UNK], [UNK]], None, texts, [0, 1], pad_id=0))
    assert not torch.allclose(found[0], found[1])


WITH_NGRAMS = ["lstm with n-grams", "transformer with n-grams"]


@pytest.mark.parametrize("name", WITH_NGRAMS)
def test_ngram_embeddings_are_added_to_those_of_their_last_words(name: str) -> None:
    """A model without n-grams gives the same outputs if the word embeddings hold the sums."""
    model = build(CONFIGS[name], "words").eval()
    src = torch.tensor([[5, 8, 4, 7, 6]])
    texts = [np.frombuffer(" ".join(VOCABULARY[i - 4] for i in src[0].tolist()).encode(), np.uint8)]
    batch = collate_labelled([src[0].tolist()], None, texts, [0], pad_id=0)
    with torch.no_grad():
        vectors = model.reader.ngram_vectors(src)
        assert vectors is not None
        assert vectors.any(2).all()
        expected = model.encode(batch)
        for ngrams in model.reader.ngrams:
            ngrams.known.fill_(-1)
        assert not torch.allclose(model.encode(batch), expected, atol=1e-3)
        model.get_parameter("encoder.embedding.weight")[src[0]] += vectors[0]
        torch.testing.assert_close(model.encode(batch), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", WITH_NGRAMS)
def test_ngram_embeddings_have_dropout_and_the_standard_deviation_of_words(name: str) -> None:
    model = build(replace(CONFIGS[name], ngram_order=2, ngram_dropout=0.9), "words").train()
    src = torch.cartesian_prod(torch.arange(4, 9), torch.arange(4, 9))
    vectors = model.reader.ngram_vectors(src)
    assert vectors is not None
    assert vectors.any(2).float().mean() < 0.5
    embedding = model.get_parameter("encoder.embedding.weight")
    (ngrams,) = model.reader.ngrams
    torch.testing.assert_close(ngrams.weight.std(), embedding.std(), rtol=0.2, atol=0)


@pytest.mark.parametrize("name", WITH_NGRAMS)
def test_ngrams_of_words_replaced_by_unk_have_no_embedding(name: str) -> None:
    model = build(replace(CONFIGS[name], unknown_share=0.999), "words").train()
    model.encode(make_batch([7, 9])).sum().backward()
    for ngrams in model.reader.ngrams:
        assert not ngrams.weight.grad.any()


@pytest.mark.parametrize("objective", [CrossEntropy(CrossEntropyConfig()), RDrop(RDropConfig())])
@pytest.mark.parametrize("labels_of", ["words", "lines"])
@pytest.mark.parametrize("name", CONFIGS)
def test_every_weight_has_a_gradient(name: str, labels_of: str, objective: CrossEntropy) -> None:
    model = build(replace(CONFIGS[name], unknown_share=0.3), labels_of).train()
    batch = make_batch([3, 8, 5])
    shape = batch.src.shape if labels_of == "words" else (3, 1)
    batch = replace(batch, tgt_out=torch.randint(LABELS, shape), num_tgt_tokens=int(np.prod(shape)))
    objective(model, batch, StepContext(0)).total.backward()
    for parameter_name, parameter in model.named_parameters():
        if not parameter.requires_grad:  # the table of n-grams
            continue
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.abs().sum() > 0, parameter_name


def test_encoder_is_initialized_from_a_masked_language_model() -> None:
    model = build(CONFIGS["transformer"], "words")
    language_model = TransformerMlm(
        TransformerMlmConfig(d_model=32, d_ff=64, num_encoder_layers=2), 4 + len(VOCABULARY), 0
    )
    found = matching_weights(model, model.config, language_model, language_model.config)
    assert set(found) == {name for name, _ in model.named_parameters() if name.startswith("encoder.")}
