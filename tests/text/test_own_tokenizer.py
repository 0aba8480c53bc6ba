"""A tokenizer that `seqlab` does not have: an id for each byte (Xue et al. 2022, ByT5), registered as a part."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

import pytest
from pydantic.dataclasses import dataclass
from reference.tiny_runs import tiny_config, write_numbers

import seqlab
from seqlab import registry
from seqlab.registry import Entry
from seqlab.runs.overrides import override
from seqlab.runs.validate import ConfigError
from seqlab.text import LearntConfig, Segmenter, load_tokenizer, train_tokenizer
from seqlab.text.config import SETTINGS
from seqlab.text.words import packed

FIRST = 4


class Bytes(Segmenter):
    vocab_size = FIRST + 256

    def encode(self, lines: Sequence[str]) -> list[bytes]:
        return [packed([FIRST + byte for byte in line.encode()]) for line in lines]

    def decode(self, rows: Sequence[Sequence[int]], unknown: Sequence[Sequence[str]] | None = None) -> list[str]:
        return [bytes(index - FIRST for index in row).decode("utf-8", "replace") for row in rows]

    def token(self, index: int) -> str:
        return f"<0x{index - FIRST:02X}>"

    def to_bytes(self) -> bytes:
        return b""


@dataclass(frozen=True, config=SETTINGS, kw_only=True)
class BytesConfig(LearntConfig):
    """An id for each byte."""

    kind: Literal["bytes"] = "bytes"
    vocab_size: int | None = None

    def learn(self, lines: Iterable[str]) -> Bytes:
        return Bytes()

    def restore(self, content: bytes) -> Bytes:
        return Bytes()


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry._entries["tokenizer"], "bytes", Entry("tokenizer", "bytes", BytesConfig, "", "a test"))


def test_it_is_saved_and_loaded(tmp_path: Path) -> None:
    train_tokenizer(BytesConfig(normalization="nfkc"), ["any"]).save(tmp_path)
    loaded = load_tokenizer(tmp_path)
    assert loaded.encode(["\ufb01é", ""]) == [[FIRST + byte for byte in "fié".encode()], []]
    assert loaded.decode(loaded.encode(["Über\tall"])) == ["Über\tall"]
    assert loaded.tokens([2, FIRST + 0xE9]) == ["</s>", "<0xE9>"]
    assert not any((loaded.has_unknown, loaded.can_sample, loaded.has_words, loaded.tag_ids))
    assert loaded.unknown_items("x") == loaded.unknown_tags("x") == []


def test_a_translator_has_it_on_one_side(tmp_path: Path) -> None:
    write_numbers(tmp_path, range(1, 200))
    config = override(
        tiny_config(tmp_path, data={"subword_sampling": 0.0}, max_steps=3),
        [("data.tokenizer_tgt.kind", "bytes"), ("data.joint_vocabulary", "false"), ("model.tied_embeddings", "none")],
    )
    seqlab.train(config, tmp_path / "run")
    translator = seqlab.load(tmp_path / "run")
    assert len(translator.translate(["one", "two"])) == 2
    assert load_tokenizer(tmp_path / "run" / "tgt_tokenizer").vocab_size == FIRST + 256


def test_fields_of_other_kinds_are_refused(tmp_path: Path) -> None:
    write_numbers(tmp_path, range(1, 9))
    config = tiny_config(tmp_path, data={"subword_sampling": 0.0})
    with pytest.raises(ConfigError, match=r"no `data\.tokenizer\.min_count` with `data\.tokenizer\.kind: bytes`"):
        override(config, [("data.tokenizer.kind", "bytes"), ("data.tokenizer.min_count", "2")])
    with pytest.raises(ConfigError, match="must be 0 for a `bytes` tokenizer"):
        override(config, [("data.tokenizer.kind", "bytes"), ("data.subword_sampling", "0.1")])


def test_without_it_its_name_is_in_the_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train_tokenizer(BytesConfig(), ["any"]).save(tmp_path)
    monkeypatch.delitem(registry._entries["tokenizer"], "bytes")
    with pytest.raises(ValueError, match=r"tokenizer\.json: There is no tokenizer 'bytes'"):
        load_tokenizer(tmp_path)
