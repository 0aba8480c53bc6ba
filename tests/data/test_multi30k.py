"""Preparation and sampling on real text; requires `SEQLAB_DATA`."""

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


def config_of(folder: Path) -> TranslationConfig:
    paths = {
        f"{split}_{side}": str(folder / f"{name}.{language}.gz")
        for split, name in [("train", "train"), ("valid", "val"), ("test", "test2016")]
        for side, language in [("src", "en"), ("tgt", "de")]
    }
    return TranslationConfig(**paths, tokenizer=CharactersConfig(), batch_tokens=16384, micro_batch_tokens=4096)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[TranslationConfig, Tokenizer, PreparedData]:
    config = config_of(FOLDER)
    tokenizer = train_tokenizer(config.tokenizer, training_lines(config))
    return config, tokenizer, prepare(config, (tokenizer, tokenizer), tmp_path_factory.mktemp("run") / "cache")


def test_the_report_agrees_with_sets_of_lines(prepared: tuple[TranslationConfig, Tokenizer, PreparedData]) -> None:
    _, _, data = prepared
    pairs = {
        name: list(zip(lines(f"{name}.en.gz"), lines(f"{name}.de.gz"), strict=True))
        for name in ["train", "val", "test2016"]
    }
    train, valid = data.report.corpora
    whole = [(src.strip(), tgt.strip()) for src, tgt in pairs["train"]]
    assert (train.rows, valid.rows) == (len(whole), len(pairs["val"])) == (29000, 1014)
    assert train.duplicates == len(whole) - len(set(whole))
    assert train.copies == sum(src == tgt for src, tgt in whole)
    # Two of its captions have `@@` as the translation.
    assert train.dropped["length_ratio"] == 2
    for overlap, name in zip(data.report.overlaps, ["val", "test2016"], strict=True):
        for side, found in enumerate(overlap.in_train):
            known = {pair[side] for pair in whole}
            assert abs(found - sum(pair[side].strip() in known for pair in pairs[name])) == 0


def test_an_epoch_is_the_corpus_with_little_padding(
    prepared: tuple[TranslationConfig, Tokenizer, PreparedData],
) -> None:
    config, tokenizer, data = prepared
    sampler = Seq2SeqSampler(data.train, config, 0, tokenizer, tokenizer)
    src_tokens = tgt_tokens = src_places = tgt_places = 0
    seen = []
    with Prefetch(sampler.steps(), config.prefetch_steps) as steps:
        for step in takewhile(lambda step: step.position.epoch == 0, steps):
            src_tokens, tgt_tokens = src_tokens + step.num_src_tokens, tgt_tokens + step.num_tgt_tokens
            src_places, tgt_places = src_places + step.padded_src_tokens, tgt_places + step.padded_tgt_tokens
            seen += [index for batch in step.micro_steps for index in batch.indices.tolist()]
    assert sorted(seen) == list(range(len(data.train)))
    assert src_tokens == len(data.train.src.values) + len(seen)
    assert tgt_tokens == len(data.train.tgt.values) + len(seen)
    print(f"padding share: src {1 - src_tokens / src_places:.1%}, tgt {1 - tgt_tokens / tgt_places:.1%}")
    assert 1 - (src_tokens + tgt_tokens) / (src_places + tgt_places) < 0.1


@pytest.mark.parametrize(("kind", "strength"), [("sentencepiece_bpe", 0.1), ("sentencepiece_unigram", 0.8)])
def test_sampled_subwords_are_the_same_after_resuming(kind: str, strength: float, tmp_path: Path) -> None:
    paths = {"train_src": str(FOLDER / "val.en.gz"), "train_tgt": str(FOLDER / "val.de.gz")}
    tokenizer_settings = {"kind": kind, "vocab_size": 2000}
    config = TranslationConfig(
        **paths, tokenizer=tokenizer_settings, subword_sampling=strength, batch_tokens=1024, chunk_pairs=400
    )
    tokenizer = train_tokenizer(config.tokenizer, training_lines(config))
    data = prepare(config, (tokenizer, tokenizer), tmp_path / "cache")

    def fresh() -> Seq2SeqSampler:
        return Seq2SeqSampler(data.train, config, 3, tokenizer, tokenizer)

    def ids(steps: Iterable[TrainingStep]) -> list[list[list[int]]]:
        return [[batch.src.flatten().tolist() for batch in step.micro_steps] for step in steps]

    whole = list(islice(fresh().steps(), 80))
    assert whole[-1].position.epoch > 0
    with Prefetch(fresh().steps(whole[24].position), 4) as ahead:
        assert ids(islice(ahead, 55)) == ids(whole[25:])
    texts = {index: tokenizer.normalize(line) for index, line in enumerate(data.train.src_text.texts())}  # type: ignore[union-attr]
    for step in whole:
        for batch in step.micro_steps:
            decoded = tokenizer.decode(batch.src.tolist())
            assert decoded == [texts[index] for index in batch.indices.tolist()]
