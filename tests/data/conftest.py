"""Fixtures: a trivial tokenizer, and corpora in files."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from seqlab.data.prepare import PreparedData, prepare
from seqlab.tasks.translation.config import TranslationConfig
from seqlab.text import FlatIds

JOINER = 4
SAMPLE_RATES = (8000, 22050, 44100)
WORDS = ("one", "two", "three", "four", "five")


class CharTokenizer:
    """A tokenizer with one id per character; sampling inserts joiners, which decoding removes."""

    pad_id, bos_id, eos_id, unk_id = range(4)
    vocab_size = 5 + 0x300
    tag_ids = range(0)
    can_sample = True

    def __init__(self) -> None:
        self.lines_encoded = 0

    def normalize(self, line: str) -> str:
        return line.strip()

    def encode(self, lines: Sequence[str]) -> list[list[int]]:
        self.lines_encoded += len(lines)
        return [[self._id(char) for char in line.strip()] for line in lines]

    def encode_flat(self, lines: Sequence[str]) -> FlatIds:
        rows = self.encode(lines)
        return FlatIds(
            np.array([id_ for row in rows for id_ in row], np.uint32), np.array(list(map(len, rows)), np.int64)
        )

    def sample(self, lines: Sequence[str], *, seed: int, strength: float) -> list[list[int]]:
        rng = np.random.default_rng(seed)
        rows = []
        for row in self.encode(lines):
            joined = [(id_, JOINER) if rng.random() < strength else (id_,) for id_ in row]
            rows.append([id_ for part in joined for id_ in part])
        return rows

    def decode(self, rows: Sequence[Sequence[int]]) -> list[str]:
        return ["".join(chr(id_ - 5) for id_ in row if id_ > JOINER) for row in rows]

    def tokens(self, ids: Sequence[int]) -> list[str]:
        return [str(id_) for id_ in ids]

    def save(self, folder: Path) -> None:
        (folder / "kind").write_text(type(self).__name__)

    def _id(self, char: str) -> int:
        return 5 + ord(char) if ord(char) < 0x300 else self.unk_id


@pytest.fixture
def tokenizer() -> CharTokenizer:
    return CharTokenizer()


WriteCorpus = Callable[..., TranslationConfig]


def write_lines(path: Path, lines: Sequence[str]) -> Path:
    path.write_bytes("".join(line + "\n" for line in lines).encode())
    return path


@pytest.fixture
def write_config(tmp_path_factory: pytest.TempPathFactory) -> WriteCorpus:
    """Return a function that writes corpora (lists of pairs) to files and returns a config with them."""

    def write(
        *corpora: list[tuple[str, str]], valid: list[tuple[str, str]] | None = None, **settings: Any
    ) -> TranslationConfig:
        folder = tmp_path_factory.mktemp("corpus")
        names: dict[str, list[str]] = {"src": [], "tgt": []}
        for number, pairs in enumerate(corpora):
            for side, index in (("src", 0), ("tgt", 1)):
                path = write_lines(folder / f"train{number}.{side}", [pair[index] for pair in pairs])
                names[side].append(str(path))
        if valid is not None:
            settings["valid_src"] = str(write_lines(folder / "valid.src", [pair[0] for pair in valid]))
            settings["valid_tgt"] = str(write_lines(folder / "valid.tgt", [pair[1] for pair in valid]))
        settings.setdefault("max_length_ratio", 1e9)
        return TranslationConfig(train_src=names["src"], train_tgt=names["tgt"], **settings)

    return write


Prepare = Callable[..., PreparedData]


@pytest.fixture
def prepare_pairs(
    write_config: WriteCorpus, tokenizer: CharTokenizer, tmp_path_factory: pytest.TempPathFactory
) -> Prepare:
    """Return a function that writes and prepares corpora; without `valid`, one extra pair is the validation set."""

    def prepare_corpora(*corpora: list[tuple[str, str]], **settings: Any) -> PreparedData:
        settings.setdefault("valid", [("a valid source", "a valid target")])
        config = write_config(*corpora, **settings)
        return prepare(config, (tokenizer, tokenizer), tmp_path_factory.mktemp("run") / "cache")

    return prepare_corpora


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write 60 recordings with three sample rates, some in stereo, 30 texts and five speakers."""
    folder, rng = tmp_path_factory.mktemp("listed"), np.random.default_rng(1)
    rows = []
    for number in range(60):
        rate = SAMPLE_RATES[number % 3]
        samples = rng.normal(size=(int(rate * rng.uniform(0.3, 1.0)), 1 + number % 2)) * 0.1
        soundfile.write(folder / f"{number}.flac", samples, rate)
        text = f"{WORDS[number % 5]} {WORDS[number // 5 % 6 % 5]} {number % 30}"
        rows.append({"audio": f"{number}.flac", "text": text, "speaker": f"s{number % 5}", "fold": number % 30 % 4})
    for name, listed_rows in (("all", rows), ("extra", rows[:10])):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in listed_rows), encoding="utf-8")
    return folder
