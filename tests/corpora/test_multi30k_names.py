"""Invented names and numbers in Multi30k pairs: the same in source and target, and new in validation."""

import random
from pathlib import Path

from seqlab.corpora.multi30k.names import CHANGED_EVERY, insert_names, invent_name, write

PAIRS = [
    ("A man is fishing.", "Ein Mann angelt."),
    ("A man is fishing.", "Ein Herr angelt."),
    ("Two men are fishing.", "Zwei Männer angeln."),
    ("A manta ray swims.", "Ein Mantarochen schwimmt."),
    ("A man and a woman.", "Eine Frau und ein Mann."),
]


def test_the_first_words_of_both_sides_are_replaced() -> None:
    found = list(insert_names(PAIRS, random.Random(0), 1, set()))
    names = [name for _, name in found]
    assert [bool(name) for name in names] == [True, False, True, False, False]
    assert found[0][0] == (f"{names[0]} is fishing.", f"{names[0]} angelt.")
    assert found[2][0] == (f"{names[2]} men are fishing.", f"{names[2]} Männer angeln.")
    assert names[2].isdigit()
    assert names[0].isalpha()
    assert names[0].istitle()
    assert [found[i][0] for i in (1, 3, 4)] == [PAIRS[i] for i in (1, 3, 4)]


def test_names_are_new_and_unique() -> None:
    first = invent_name("name", random.Random(3))
    found = [name for _, name in insert_names(PAIRS * 400, random.Random(3), 1, {first}) if name]
    assert len(found) == len(set(found)) == 800
    assert first not in found


def test_validation_names_are_not_in_training(tmp_path: Path) -> None:
    for split, count in (("train", 40), ("valid", 3)):
        for side, lines in zip(("en", "de"), zip(*PAIRS, strict=True), strict=True):
            (tmp_path / f"{split}.{side}").write_text("".join(f"{line}\n" for line in lines * count))
    splits = [[tmp_path / f"{split}.{side}" for side in ("en", "de")] for split in ("train", "valid")]
    write(tmp_path / "data", *splits)
    text = {path.name: path.read_text().splitlines() for path in (tmp_path / "data").iterdir()}
    assert len(text["train.en"]) == len(text["train.de"]) == 40 * len(PAIRS)
    changed = [line for line in text["train.en"] if line not in {pair[0] for pair in PAIRS}]
    assert len(changed) == 2 * 40 // CHANGED_EVERY
    assert len(text["valid.en"]) == len(text["valid.de"]) == len(text["valid.names"]) == 2 * 3
    words = {word for side in ("en", "de") for line in text[f"train.{side}"] for word in line.split()}
    for name, *pair in zip(text["valid.names"], text["valid.en"], text["valid.de"], strict=True):
        assert name not in words
        assert all(side.startswith(f"{name} ") for side in pair)
