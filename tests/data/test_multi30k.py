"""Preparation and sampling of Multi30k; requires `SEQLAB_DATA`."""

import gzip
import os
from collections.abc import Iterable
from itertools import islice, takewhile
from pathlib import Path

import pytest

from seqlab.data.prefetch import Prefetch
from seqlab.data.prepare import PreparedData, prepare
from seqlab.data.sampler import Seq2SeqSampler, TrainingStep
from seqlab.data.tokenizer_training import training_lines
from seqlab.tasks.translation.config import TranslationConfig
from seqlab.text import CharactersConfig, Tokenizer, train_tokenizer

FOLDER = Path(os.environ.get("SEQLAB_DATA", "")) / "multi30k"
pytestmark = pytest.mark.skipif(not (FOLDER / "train.en.gz").exists(), reason="SEQLAB_DATA has no multi30k")


def lines(name: str) -> list[str]:
    return gzip.decompress((FOLDER / name).read_bytes()).decode().split("\n")[:-1]


def make_config(folder: Path) -> TranslationConfig:
    paths = {
        f"{split}_{side}": str(folder / f"{name}.{language}.gz")
        for split, name in [("train", "train"), ("valid", "val"), ("test", "test2016")]
        for side, language in [("src", "en"), ("tgt", "de")]
    }
    return TranslationConfig(**paths, tokenizer=CharactersConfig(), batch_tokens=16384, micro_batch_tokens=4096)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[TranslationConfig, Tokenizer, PreparedData]:
    config = make_config(FOLDER)
    tokenizer = train_tokenizer(config.tokenizer, training_lines(config))
    return config, tokenizer, prepare(config, (tokenizer, tokenizer), tmp_path_factory.mktemp("run") / "cache")


def test_the_report_agrees_with_counts_from_sets_of_lines(
    prepared: tuple[TranslationConfig, Tokenizer, PreparedData],
) -> None:
    _, _, data = prepared
    pairs = {
        name: list(zip(lines(f"{name}.en.gz"), lines(f"{name}.de.gz"), strict=True))
        for name in ["train", "val", "test2016"]
    }
    train, valid = data.report.corpora
    train_pairs = [(src.strip(), tgt.strip()) for src, tgt in pairs["train"]]
    assert (train.rows, valid.rows) == (len(train_pairs), len(pairs["val"])) == (29000, 1014)
    assert train.duplicates == len(train_pairs) - len(set(train_pairs))
    assert train.copies == sum(src == tgt for src, tgt in train_pairs)
    # Two captions have `@@` as their translation.
    assert train.dropped["length_ratio"] == 2
    for overlap, name in zip(data.report.overlaps, ["val", "test2016"], strict=True):
        for side, found in enumerate(overlap.in_train):
            known = {pair[side] for pair in train_pairs}
            assert abs(found - sum(pair[side].strip() in known for pair in pairs[name])) == 0


def test_an_epoch_has_every_pair_once_with_little_padding(
    prepared: tuple[TranslationConfig, Tokenizer, PreparedData],
) -> None:
    config, tokenizer, data = prepared
    sampler = Seq2SeqSampler(data.train, config, 0, tokenizer, tokenizer)
    src_tokens = tgt_tokens = padded_src_tokens = padded_tgt_tokens = 0
    seen = []
    with Prefetch(sampler.steps(), config.prefetch_steps) as steps:
        for step in takewhile(lambda step: step.position.epoch == 0, steps):
            src_tokens, tgt_tokens = src_tokens + step.num_src_tokens, tgt_tokens + step.num_tgt_tokens
            padded_src_tokens, padded_tgt_tokens = (
                padded_src_tokens + step.padded_src_tokens,
                padded_tgt_tokens + step.padded_tgt_tokens,
            )
            seen += [index for batch in step.micro_steps for index in batch.indices.tolist()]
    assert sorted(seen) == list(range(len(data.train)))
    assert src_tokens == len(data.train.src.values) + len(seen)
    assert tgt_tokens == len(data.train.tgt.values) + len(seen)
    print(f"padding share: src {1 - src_tokens / padded_src_tokens:.1%}, tgt {1 - tgt_tokens / padded_tgt_tokens:.1%}")
    assert 1 - (src_tokens + tgt_tokens) / (padded_src_tokens + padded_tgt_tokens) < 0.1


@pytest.mark.parametrize(("kind", "strength"), [("sentencepiece_bpe", 0.1), ("sentencepiece_unigram", 0.8)])
def test_sampled_subwords_are_the_same_after_resuming(kind: str, strength: float, tmp_path: Path) -> None:
    paths = {"train_src": str(FOLDER / "val.en.gz"), "train_tgt": str(FOLDER / "val.de.gz")}
    tokenizer_settings = {"kind": kind, "vocab_size": 2000}
    config = TranslationConfig(
        **paths, tokenizer=tokenizer_settings, subword_sampling=strength, batch_tokens=1024, chunk_pairs=400
    )
    tokenizer = train_tokenizer(config.tokenizer, training_lines(config))
    data = prepare(config, (tokenizer, tokenizer), tmp_path / "cache")

    def make_sampler() -> Seq2SeqSampler:
        return Seq2SeqSampler(data.train, config, 3, tokenizer, tokenizer)

    def ids(steps: Iterable[TrainingStep]) -> list[list[list[int]]]:
        return [[batch.src.flatten().tolist() for batch in step.micro_steps] for step in steps]

    expected = list(islice(make_sampler().steps(), 80))
    assert expected[-1].position.epoch > 0
    with Prefetch(make_sampler().steps(expected[24].position), 4) as prefetched:
        assert ids(islice(prefetched, 55)) == ids(expected[25:])
    texts = {index: tokenizer.normalize(line) for index, line in enumerate(data.train.src_text.texts())}  # type: ignore[union-attr]
    for step in expected:
        for batch in step.micro_steps:
            decoded = tokenizer.decode(batch.src.tolist())
            assert decoded == [texts[index] for index in batch.indices.tolist()]
