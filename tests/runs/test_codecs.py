"""Codecs other than tokenizers: round trip, checksums, and damaged files."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest

from seqlab import registry
from seqlab.registry import Entry
from seqlab.runs.codecs import codec_parts, codec_sha256, load_codecs, save_codec
from seqlab.runs.folder import RunFolder
from seqlab.text import CharactersConfig, tokenizer_sha256, train_tokenizer


@dataclass(frozen=True)
class ScaledNumbers:
    """Codec that divides numbers by a unit."""

    codec: ClassVar[str] = "scaled"
    unit: float

    def save(self, folder: Path) -> None:
        (folder / "unit.json").write_text(json.dumps(self.unit), "utf-8")


def load_scaled(folder: Path) -> ScaledNumbers:
    return ScaledNumbers(json.loads((folder / "unit.json").read_text("utf-8")))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """Return a run folder with a codec for source numbers and a tokenizer for target text."""
    entry = Entry("codec", "scaled", load_scaled, "numbers", "a test")
    monkeypatch.setitem(registry._parts["codec"], "scaled", entry)
    folder = RunFolder(tmp_path)
    save_codec(ScaledNumbers(2.5), folder, "src")
    train_tokenizer(CharactersConfig(), ["ab"]).save(folder.tokenizer("tgt"))
    (tmp_path / "config.yaml").write_text("", "utf-8")
    sides = {side: codec_sha256(folder.codec(side)) for side in ("src", "tgt")}
    folder.write_description({"run_id": "0", "tokenizer_sha256": sides})
    return folder


def test_round_trip(folder: RunFolder) -> None:
    src, tgt = load_codecs(folder)
    assert src == ScaledNumbers(2.5)
    assert tgt.decode(tgt.encode(["ab"])) == ["ab"]
    assert codec_sha256(folder.codec("tgt")) == tokenizer_sha256(folder.path / "tgt_tokenizer")
    assert [entry.name for entry in codec_parts(folder)] == ["scaled", "characters"]


def test_a_replaced_codec_is_refused(folder: RunFolder) -> None:
    save_codec(ScaledNumbers(3.5), folder, "src")
    with pytest.raises(ValueError, match=r"src_codec is not the src codec that .* was trained with.* would misread"):
        load_codecs(folder)


def test_the_error_for_an_unregistered_codec_names_it(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(registry._parts["codec"], "scaled")
    with pytest.raises(ValueError, match="src_codec holds the codec 'scaled', which is not registered"):
        load_codecs(folder)


@pytest.mark.parametrize(
    ("text", "message"), [("{", "codec.json is damaged"), ('{"format_version": 9, "codec": "x"}', "format version 9")]
)
def test_a_damaged_codec_is_reported(folder: RunFolder, text: str, message: str) -> None:
    (folder.codec("src") / "codec.json").write_text(text, "utf-8")
    with pytest.raises(ValueError, match=message):
        codec_parts(folder)
