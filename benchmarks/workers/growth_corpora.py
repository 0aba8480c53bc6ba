"""Worker that writes corpora of number words of several sizes, and a tokenizer for them."""

from pathlib import Path

from benchmarks.records import Json
from seqlab.corpora.number_words.phrases import cardinal_phrase
from seqlab.text import SentencePieceBpeConfig, train_tokenizer

STRIDE = 7
"""Difference of successive numbers, so that small corpora, too, have lines of many lengths."""
TOKENIZER_LINES = 2000


def run(job: Json) -> Json:
    """Write a corpus for each of `sizes` (in pairs) into `folder`, unless it exists. Job: folder, sizes."""
    folder = Path(job["folder"])
    for size in job["sizes"]:
        target = folder / f"pairs-{size}"
        if (target / "train.de").exists():
            continue
        target.mkdir(parents=True, exist_ok=True)
        for language in ("en", "de"):
            with (target / f"train.{language}").open("w", encoding="utf-8", newline="\n") as file:
                file.writelines(f"{getattr(cardinal_phrase(STRIDE * number), language)}\n" for number in range(size))
    lines = [side for number in range(TOKENIZER_LINES) for side in _sides(STRIDE * number)]
    train_tokenizer(SentencePieceBpeConfig(vocab_size=400), lines).save(folder / "tokenizer")
    return {}


def _sides(number: int) -> tuple[str, str]:
    phrase = cardinal_phrase(number)
    return phrase.en, phrase.de
