"""Sampled segmentations: reproducible in any thread and process, and distributed as by sentencepiece."""

import math
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sentencepiece
from reference.processes import FORKSERVER

from seqlab.text import (
    BpeConfig,
    CharactersConfig,
    SentencePieceBpeConfig,
    SentencePieceUnigramConfig,
    Tokenizer,
    WordsConfig,
    load_tokenizer,
    train_tokenizer,
)

LINES = [f"the {word} {n} walks to the {word}er house" for n, word in enumerate(["dog", "cat", "mouse", "horse"] * 50)]
CONFIGS = {
    "sentencepiece_bpe": SentencePieceBpeConfig(vocab_size=320),
    "sentencepiece_unigram": SentencePieceUnigramConfig(vocab_size=320),
}
TOKENIZERS: dict[str, Tokenizer] = {}


@pytest.fixture(params=CONFIGS)
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    kind = request.param
    if kind not in TOKENIZERS:
        TOKENIZERS[kind] = train_tokenizer(CONFIGS[kind], LINES)
    return TOKENIZERS[kind]


def test_sampling_depends_only_on_its_arguments(tokenizer: Tokenizer) -> None:
    rows = tokenizer.sample(LINES, seed=1, strength=0.5)
    assert tokenizer.sample(LINES, seed=2, strength=0.5) != rows
    assert tokenizer.sample(LINES, seed=1, strength=0.4) != rows
    assert tokenizer.sample(LINES, seed=1, strength=0.5) == rows
    assert tokenizer.decode(rows) == LINES


def test_sampling_with_strength_0_equals_encode(tokenizer: Tokenizer) -> None:
    assert tokenizer.sample(LINES, seed=1, strength=0.0) == tokenizer.encode(LINES)


@pytest.mark.parametrize("seed", [-1, 0, 2**32 - 1, 2**32, 2**63])
def test_any_seed_is_reproducible(tokenizer: Tokenizer, seed: int) -> None:
    assert tokenizer.sample(LINES, seed=seed, strength=0.3) == tokenizer.sample(LINES, seed=seed, strength=0.3)


def test_sampling_in_several_threads_is_reproducible(tokenizer: Tokenizer) -> None:
    expected = [tokenizer.sample(LINES, seed=seed, strength=0.5) for seed in range(20)]
    with ThreadPoolExecutor(4) as pool:
        drawn = list(pool.map(lambda seed: tokenizer.sample(LINES, seed=seed, strength=0.5), [*range(20)] * 3))
    assert drawn == expected * 3


def load_and_sample(folder: Path) -> list[list[int]]:
    return load_tokenizer(folder).sample(LINES, seed=7, strength=0.5)


def test_sampling_in_another_process_gives_the_same_rows(tokenizer: Tokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path)
    with FORKSERVER.Pool(1) as pool:
        assert pool.apply(load_and_sample, (tmp_path,)) == tokenizer.sample(LINES, seed=7, strength=0.5)


def test_draws_are_distributed_like_those_of_sentencepiece(tokenizer: Tokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path)
    line, draws = "the mouse walks \U0001f9a9 horse", 20_000
    is_bpe = "bpe" in (tmp_path / "tokenizer.json").read_text()
    strength = 0.2 if is_bpe else 0.8
    library_rows = sentencepiece.SentencePieceProcessor(model_proto=(tmp_path / "tokenizer.model").read_bytes()).encode(
        [line] * draws, enable_sampling=True, nbest_size=-1, alpha=strength if is_bpe else 1 - strength
    )
    seqlab_rows = tokenizer.sample([line] * draws, seed=1, strength=strength)
    assert sum(map(len, seqlab_rows)) == pytest.approx(sum(map(len, library_rows)), rel=0.01)
    seqlab_counts, library_counts = Counter(map(tuple, seqlab_rows)), Counter(map(tuple, library_rows))
    assert len(seqlab_counts) > 5
    for row, count in seqlab_counts.most_common(10):
        assert count == pytest.approx(library_counts[row], abs=6 * math.sqrt(count))


def test_bpe_dropout_near_0_equals_the_encoding_of_sentencepiece() -> None:
    tokenizer = train_tokenizer(CONFIGS["sentencepiece_bpe"], LINES)
    lines = [*LINES, "", " ", "  two  spaces ", "Unseen wörds, \u2581 and 日本 \0"]
    assert tokenizer.sample(lines, seed=1, strength=1e-15) == tokenizer.encode(lines)


@pytest.mark.parametrize("strength", [-0.1, 1.0, math.nan])
def test_a_strength_out_of_range_is_refused(tokenizer: Tokenizer, strength: float) -> None:
    with pytest.raises(ValueError, match="`strength` must be at least 0 and below 1"):
        tokenizer.sample(LINES, seed=1, strength=strength)


def test_empty_lines_and_empty_lists_are_sampled(tokenizer: Tokenizer) -> None:
    assert tokenizer.can_sample
    assert tokenizer.sample([], seed=1, strength=0.5) == []
    assert tokenizer.sample(["", ""], seed=1, strength=0.5) == [[], []]
    first, *_, last = tokenizer.sample(["", "", "the dog", ""], seed=1, strength=0.5)
    assert first == last == []


@pytest.mark.parametrize("config", [BpeConfig(), CharactersConfig(), WordsConfig()], ids=lambda config: config.kind)
def test_sampling_with_kinds_that_cannot_sample_is_refused(config: BpeConfig | CharactersConfig | WordsConfig) -> None:
    tokenizer = train_tokenizer(config, LINES)
    assert not tokenizer.can_sample
    assert tokenizer.sample(LINES, seed=1, strength=0.0) == tokenizer.encode(LINES)
    with pytest.raises(ValueError, match=f"kind `{config.kind}`"):
        tokenizer.sample(LINES, seed=1, strength=0.1)
