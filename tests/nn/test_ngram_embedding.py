"""Embeddings of frequent n-grams, against counts in a dictionary."""

from collections import Counter

import numpy as np
import pytest
import torch

from seqlab.nn import ngram_embedding
from seqlab.nn.ngram_embedding import NgramEmbedding

VOCAB_SIZE, SIZE = 12, 5


def draw_lines(seed: int) -> list[list[int]]:
    rng = np.random.default_rng(seed)
    return [rng.integers(1, VOCAB_SIZE, size=length).tolist() for length in [*rng.integers(0, 9, size=60), 0, 1]]


def list_ngrams(line: list[int], length: int) -> list[tuple[int, ...]]:
    """List the n-gram that ends at each token. The id `VOCAB_SIZE` pads the start of the line."""
    padded = [VOCAB_SIZE] * (length - 1) + line
    return [tuple(padded[i : i + length]) for i in range(len(line))]


def fit_embedding(lines: list[list[int]], length: int, num_ngrams: int, **options: float) -> tuple[NgramEmbedding, int]:
    torch.manual_seed(0)
    layer = NgramEmbedding(num_ngrams, length, VOCAB_SIZE, SIZE, std=1.0, dropout=options.pop("dropout", 0.0))
    words = np.array([word for line in lines for word in line], np.uint16)
    return layer, layer.select_frequent(words, np.cumsum([0, *map(len, lines)]))


@pytest.mark.parametrize("tokens_per_block", [1 << 24, 25])
@pytest.mark.parametrize(("length", "num_ngrams"), [(2, 500), (2, 30), (3, 500), (3, 7), (4, 40)])
def test_most_frequent_ngrams_have_unique_vectors(
    length: int, num_ngrams: int, tokens_per_block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ngram_embedding, "TOKENS_PER_BLOCK", tokens_per_block)
    lines = draw_lines(0)
    counts = Counter(ngram for line in lines for ngram in list_ngrams(line, length))
    ranked = sorted((ngram for ngram, count in counts.items() if count > 1), key=lambda ngram: (-counts[ngram], ngram))
    expected = set(ranked[:num_ngrams])
    layer, num_known = fit_embedding(lines, length, num_ngrams)
    assert num_known == len(expected)
    vectors: dict[tuple[int, ...], torch.Tensor] = {}
    for line in [*lines, *draw_lines(1)]:  # also for lines outside the counted text
        if not line:
            continue
        for ngram, vector in zip(list_ngrams(line, length), layer(torch.tensor([line]))[0], strict=True):
            assert (ngram in expected) == bool(vector.any())
            assert torch.equal(vectors.setdefault(ngram, vector), vector)
    assert len({tuple(vector.tolist()) for ngram, vector in vectors.items() if ngram in expected}) == len(expected)


def test_unfitted_embeddings_and_padding_are_zero() -> None:
    layer = NgramEmbedding(8, 2, VOCAB_SIZE, SIZE, std=1.0, dropout=0.0)
    assert not layer(torch.tensor([[4, 4], [0, 0]])).any()
    layer, _ = fit_embedding([[4, 5], [4, 5], [5]], 2, 8)
    found = layer(torch.tensor([[4, 5, 0, 0], [5, 4, 5, 0]]))
    assert found.any(2).tolist() == [[True, True, False, False], [False, False, True, False]]
    assert torch.equal(found[0, 1], found[1, 2])


@pytest.mark.parametrize("lines", [[], [[]], [[], [], []]])
def test_empty_lines_have_no_ngrams(lines: list[list[int]]) -> None:
    layer, num_known = fit_embedding(lines, 3, 8)
    assert num_known == 0
    assert layer(torch.zeros(2, 0, dtype=torch.int64)).shape == (2, 0, SIZE)


@pytest.mark.parametrize(("vocab_size", "length"), [(1_400_000, 3), ((1 << 24) - 1, 2), (55_000, 4)])
def test_large_ids_are_distinguished(vocab_size: int, length: int) -> None:
    layer = NgramEmbedding(50, length, vocab_size, SIZE, std=1.0, dropout=0.0)
    line = [vocab_size - 1, vocab_size - 2, vocab_size - 1, vocab_size - 3, 1, vocab_size - 257]
    assert layer.select_frequent(np.array(line * 2), np.array([0, len(line), 2 * len(line)])) == len(line)
    changed = [vocab_size - 2, *line[1:]]
    found, of_changed = layer(torch.tensor([line, changed]))
    assert found.any(1).all()
    assert of_changed.any(1).tolist() == [False] * length + [True] * (len(line) - length)


def test_dropout_drops_all_occurrences_of_an_ngram() -> None:
    layer, _ = fit_embedding(draw_lines(0), 2, 500, dropout=0.5)
    src = torch.tensor([line[:3] for line in draw_lines(0) if len(line) >= 3] * 4)
    torch.manual_seed(1)
    undropped, dropped = layer.eval()(src), layer.train()(src)
    is_kept = {}
    for row, before, after in zip(src.tolist(), undropped, dropped, strict=True):
        for ngram, vector, left in zip(list_ngrams(row, 2), before, after, strict=True):
            if vector.any():
                kept = is_kept.setdefault(ngram, bool(left.any()))
                torch.testing.assert_close(left, 2 * vector if kept else torch.zeros(SIZE))
    assert 0.3 < np.mean(list(is_kept.values())) < 0.7


def test_only_ngrams_in_the_table_have_gradients() -> None:
    layer, num_known = fit_embedding([[4, 5, 4, 5], [4, 5]], 2, 8)
    assert num_known == 2  # including the n-gram of a line's first word
    layer(torch.tensor([[4, 5, 6, 0]])).sum().backward()
    assert layer.weight.grad is not None
    assert layer.weight.grad.any(1).sum() == 2
    assert not layer.known.requires_grad


def test_too_large_vocabularies_are_refused() -> None:
    with pytest.raises(
        ValueError, match=r"vocabulary of 100,000 is too large for n-grams of 4 tokens: `model.ngram_order` can be 3"
    ):
        NgramEmbedding(8, 4, 100_000, SIZE, std=1.0, dropout=0.0)
    with pytest.raises(ValueError, match="4,294,967,296 is too large"):
        NgramEmbedding(8, 2, 1 << 32, SIZE, std=1.0, dropout=0.0)
