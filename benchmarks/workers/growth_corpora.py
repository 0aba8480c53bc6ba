"""Write the corpora whose preparation is measured, and a tokenizer for them: numbers in words, English and German."""

from pathlib import Path

from benchmarks.records import Json
from seqlab.corpora.number_words.phrases import cardinal_phrase
from seqlab.text import SentencePieceBpeConfig, train_tokenizer

STRIDE = 7
"""Between two numbers, so that lines are of many lengths also in a small corpus."""
TOKENIZER_LINES = 2000


def run(job: Json) -> Json:
    """Job: folder, sizes (pairs). A corpus that is there already stays."""
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
