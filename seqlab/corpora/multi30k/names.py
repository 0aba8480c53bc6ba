"""Put names and numbers into image descriptions, on both sides alike: what a translator must copy.

In a pair such as `A man is fishing.`, `Ein Mann angelt.` the subject becomes a name that is made up, in one such as
`Two men are fishing.`, `Zwei Männer angeln.` the number becomes one in digits. None of those of the validation pairs
stands in the training pairs.
"""

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

from seqlab.corpora.location import read_text

SUBJECTS = {
    **{("A man", "Ein Mann"): "name", ("A woman", "Eine Frau"): "name"},
    **{("A boy", "Ein Junge"): "name", ("A girl", "Ein Mädchen"): "name"},
    **{("Two", "Zwei"): "number", ("Three", "Drei"): "number", ("Four", "Vier"): "number", ("Five", "Fünf"): "number"},
}
"""Beginnings of a pair, and what they are replaced by."""
SHARE = 5
"""Of the training pairs that begin so each fifth is changed."""
SEED = 1

Pair = tuple[str, str]


def made_up(kind: str, rng: random.Random) -> str:
    """Make up a name of two to four syllables, or a number of two to four digits."""
    if kind == "number":
        return str(rng.randint(11, 9999))
    syllables = [rng.choice("bdfgklmnprstvz") + rng.choice("aeiou") for _ in range(rng.randint(2, 4))]
    return ("".join(syllables) + rng.choice(["", "n", "s", "r"])).capitalize()


def with_names(pairs: Sequence[Pair], rng: random.Random, every: int, known: set[str]) -> Iterator[tuple[Pair, str]]:
    """Yield the pairs with a name or a number, none of which is in `known`, in each `every`-th that begins so.

    What was put in comes with the pair, and is added to `known`; "" for pairs that stay as they are.
    """
    count = 0
    for pair in pairs:
        beginnings = [(en, de) for en, de in SUBJECTS if pair[0].startswith(f"{en} ") and pair[1].startswith(f"{de} ")]
        count += bool(beginnings)
        if not beginnings or count % every:
            yield pair, ""
            continue
        (beginning,) = beginnings
        name = made_up(SUBJECTS[beginning], rng)
        while name in known:
            name = made_up(SUBJECTS[beginning], rng)
        known.add(name)
        src, tgt = (name + side[len(own) :] for side, own in zip(pair, beginning, strict=True))
        yield (src, tgt), name


def write(folder: str | Path, train: Sequence[Path], valid: Sequence[Path]) -> None:
    """Write `train.en`, `train.de`; and of the validation pairs those with names: `valid.en`, `.de` and `.names`.

    `train` and `valid` are the English and the German side of Multi30k, plain or gzip-compressed.
    """
    folder = Path(folder)
    rng = random.Random(SEED)
    pairs = list(zip(*map(_lines, train), strict=True))
    known = {word for pair in pairs for side in pair for word in side.split()}
    changed = [pair for pair, _ in with_names(pairs, rng, SHARE, known)]
    named = [each for each in with_names(list(zip(*map(_lines, valid), strict=True)), rng, 1, known) if each[1]]
    folder.mkdir(parents=True, exist_ok=True)
    for name, lines in (
        ("train.en", [pair[0] for pair in changed]),
        ("train.de", [pair[1] for pair in changed]),
        ("valid.en", [pair[0] for pair, _ in named]),
        ("valid.de", [pair[1] for pair, _ in named]),
        ("valid.names", [name for _, name in named]),
    ):
        (folder / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")


def _lines(path: Path) -> list[str]:
    return read_text(path).removesuffix("\n").split("\n")
