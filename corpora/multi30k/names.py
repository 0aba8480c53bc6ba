"""Multi30k with invented names and numbers in source and target, which a translation model must copy.

In a pair such as `A man is fishing.`, `Ein Mann angelt.`, an invented name replaces the subject. In a pair such as `Two
men are fishing.`, `Zwei Männer angeln.`, digits replace the number. The names and numbers of validation pairs do not
occur in training pairs.
"""

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

from seqlab.corpora.description import read_text_file

REPLACEABLE_STARTS = {
    **{("A man", "Ein Mann"): "name", ("A woman", "Eine Frau"): "name"},
    **{("A boy", "Ein Junge"): "name", ("A girl", "Ein Mädchen"): "name"},
    **{("Two", "Zwei"): "number", ("Three", "Drei"): "number", ("Four", "Vier"): "number", ("Five", "Fünf"): "number"},
}
"""Start of a pair (English, German) -> kind of its replacement."""
CHANGED_EVERY = 5
"""Every fifth training pair with a start in `REPLACEABLE_STARTS` is changed."""
NAMES_SEED = 1

Pair = tuple[str, str]


def invent_name(kind: str, rng: random.Random) -> str:
    """Generate a name of two to four syllables, or a number of two to four digits."""
    if kind == "number":
        return str(rng.randint(11, 9999))
    syllables = [rng.choice("bdfgklmnprstvz") + rng.choice("aeiou") for _ in range(rng.randint(2, 4))]
    return ("".join(syllables) + rng.choice(["", "n", "s", "r"])).capitalize()


def insert_names(pairs: Sequence[Pair], rng: random.Random, every: int, known: set[str]) -> Iterator[tuple[Pair, str]]:
    """Replace starts in `REPLACEABLE_STARTS` by new names or numbers, in each `every`-th pair with such a start.

    Yields each pair with its name or number, or with "" if it is unchanged. New names and numbers are not in `known`,
    and are added to it.
    """
    count = 0
    for pair in pairs:
        starts = [
            (en, de) for en, de in REPLACEABLE_STARTS if pair[0].startswith(f"{en} ") and pair[1].startswith(f"{de} ")
        ]
        count += bool(starts)
        if not starts or count % every:
            yield pair, ""
            continue
        (start,) = starts
        name = invent_name(REPLACEABLE_STARTS[start], rng)
        while name in known:
            name = invent_name(REPLACEABLE_STARTS[start], rng)
        known.add(name)
        src, tgt = (name + text[len(replaced) :] for text, replaced in zip(pair, start, strict=True))
        yield (src, tgt), name


def write(folder: str | Path, train: Sequence[Path], valid: Sequence[Path]) -> None:
    """Write `train.en`, `train.de`, and the changed validation pairs: `valid.en`, `valid.de` and `valid.names`.

    `train` and `valid` are the English and German files of Multi30k, plain or gzip-compressed.
    """
    folder = Path(folder)
    rng = random.Random(NAMES_SEED)
    pairs = list(zip(*map(_read_lines, train), strict=True))
    known = {word for pair in pairs for text in pair for word in text.split()}
    changed = [pair for pair, _ in insert_names(pairs, rng, CHANGED_EVERY, known)]
    valid_pairs = list(zip(*map(_read_lines, valid), strict=True))
    named = [(pair, name) for pair, name in insert_names(valid_pairs, rng, 1, known) if name]
    folder.mkdir(parents=True, exist_ok=True)
    for name, lines in (
        ("train.en", [pair[0] for pair in changed]),
        ("train.de", [pair[1] for pair in changed]),
        ("valid.en", [pair[0] for pair, _ in named]),
        ("valid.de", [pair[1] for pair, _ in named]),
        ("valid.names", [name for _, name in named]),
    ):
        (folder / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")


def _read_lines(path: Path) -> list[str]:
    return read_text_file(path).removesuffix("\n").split("\n")
