"""Tiny Shakespeare: its split, and the round trip of its characters through training steps."""

import gzip
import os
from itertools import takewhile
from pathlib import Path

import pytest

from seqlab.corpora import locate
from seqlab.corpora.tinyshakespeare import write_split
from seqlab.data.prepare import prepare
from seqlab.data.text_sampler import TextSampler, ordered_text_batches
from seqlab.data.tokenizer_training import training_lines
from seqlab.recipes.tinyshakespeare import tinyshakespeare
from seqlab.text import train_tokenizer

FOLDER = Path(os.environ.get("SEQLAB_DATA", "")) / "tinyshakespeare"
needs_corpus = pytest.mark.skipif(not (FOLDER / "input.txt").exists(), reason="SEQLAB_DATA has no tinyshakespeare")


@pytest.mark.parametrize("name", ["input.txt", "input.txt.gz"])
def test_the_split_is_after_nine_tenths_of_the_characters(name: str, tmp_path: Path) -> None:
    text = "".join(f"Zeile \u00e9 {number}\r\n\n" for number in range(20))
    raw = text.encode()
    (tmp_path / name).write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
    write_split(tmp_path / name, tmp_path / "data")
    train, valid = ((tmp_path / "data" / f"{split}.txt").read_bytes() for split in ("train", "valid"))
    assert train + valid == raw
    assert len(train.decode()) == len(text) * 9 // 10


@needs_corpus
def test_all_characters_survive_a_round_trip(tmp_path: Path) -> None:
    text = locate("tinyshakespeare")["all"]["text"].read_text("utf-8")
    config = tinyshakespeare(tmp_path)
    files = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert tinyshakespeare(tmp_path) == config  # as when the command resumes
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == files
    assert [len(files[tmp_path / "data" / name]) for name in ("train.txt", "valid.txt")] == [1_003_854, 111_540]

    tokenizer = train_tokenizer(config.data.tokenizer, training_lines(config.data))
    assert tokenizer.vocab_size == len(set(text) - {"\n"}) + 4
    data = prepare(config.data, (tokenizer,), tmp_path / "cache")
    for split, part in ((data.train, text[:1_003_854]), (data.valid, text[1_003_854:])):
        assert "\n".join(tokenizer.decode([row[:-1].tolist() for row in split.tgt])) == part.removesuffix("\n")
    assert [corpus.counts[0].unknown for corpus in data.report.corpora] == [0, 0]

    sampler = TextSampler(data.train, config.data, config.seed, tokenizer)
    steps = list(takewhile(lambda step: step.position.epoch == 0, sampler.steps()))
    assert sum(step.num_tgt_tokens for step in steps) == data.train.num_tokens
    assert sum(step.num_tgt_tokens for step in steps) / sum(step.padded_tgt_tokens for step in steps) > 0.999
    batches = ordered_text_batches(data.valid, config.data, 4096, tokenizer)
    assert sum(batch.num_tgt_tokens for batch in batches) == data.valid.num_tokens
