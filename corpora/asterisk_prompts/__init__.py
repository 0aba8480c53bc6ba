"""Asterisk's telephone prompts in English, French and Italian, with one professional speaker per language.

The texts were written for the studio: `clean_text` removes notes that are not spoken, and spells out single digits.
Recordings of silence or beeps, and recordings with a wrong text are left out.
"""

import re
from dataclasses import replace
from pathlib import Path

from seqlab.corpora.card import read_card
from seqlab.corpora.description import locate_files
from seqlab.corpora.recordings import ManifestRow, read_manifest, write_manifest

CORPUS = read_card("asterisk_prompts")
LANGUAGES = {language: CORPUS.splits["all"].count(language) for language in CORPUS.columns}
"""Language -> number of recordings."""
DIGITS = {
    "en": ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
    "fr": ("zéro", "un", "deux", "trois", "quatre", "cinq", "six", "sept", "huit", "neuf"),
    "it": ("zero", "uno", "due", "tre", "quattro", "cinque", "sei", "sette", "otto", "nove"),
}
NUM_FOLDS = 5
MAX_CHARACTERS_PER_SECOND = 26
"""Maximum number of letters, digits and spaces per second; a recording that exceeds it has a wrong text."""


def write(folder: str | Path, language: str = "en", source: str | Path | None = None) -> Path:
    """Write `all.jsonl` with the spoken prompts of a language, and return its path.

    The columns are `audio` (absolute), `text` (cleaned), `original_text`, `speaker`, `fold` (0 to 4) and `duration` in
    seconds. Texts that differ only in case, punctuation or spaces are in the same fold.

    Args:
        folder: folder to write the manifest to.
        language: `en`, `fr` or `it`.
        source: folder that contains a folder for each language; by default `$SEQLAB_DATA/asterisk_prompts`.

    Raises:
        FileNotFoundError: the manifest or a recording is missing; the message has the source of the corpus.
        ValueError: the language is unknown, or the checksum of the manifest does not match.
    """
    if language not in LANGUAGES:
        raise ValueError(f"`language` must be one of {', '.join(LANGUAGES)}, but is {language!r} instead.")
    split = CORPUS.splits["all"]
    split_of_language = replace(split, num_lines=LANGUAGES[language], files={language: split.files[language]})
    manifest = locate_files(replace(CORPUS, splits={"all": split_of_language}), source)["all"][language]
    rows = []
    for row in read_manifest(manifest):
        text = clean_text(row["text"], language)
        if 0 < len(_normalized_words(text)) <= MAX_CHARACTERS_PER_SECOND * row["duration"]:
            new_columns = {"text": text, "original_text": row["text"], "speaker": f"asterisk_{language}"}
            rows.append({**row, **new_columns})
    _merge_folds(rows)
    return write_manifest(Path(folder) / "all.jsonl", rows)


def clean_text(text: str, language: str) -> str:
    """Remove notes for the studio from a text, and spell out single digits (`press 1`).

    These are notes:

    - text in angle brackets, `<...>`;
    - symbols in square brackets, as in `dash [-]`;
    - parentheses around one word or at the end of the text, as in `Pour (emphase)`;
    - the name of another prompt and all text after it, which occur where two lines were merged.
    """
    text = re.split(r"\b[a-z]+(?:-[a-z]+)+: ", text)[0]
    text = re.sub(r"<[^>]*>|\(\w+\)|\([^)]*\)\W*$|\[\W*\]", " ", text)
    text = re.sub(r"(?<![\w.,])\d(?!\w|[.,]\d)", lambda match: DIGITS[language][int(match[0])], text)
    return " ".join(re.sub(r"[\[\]]", "", text).split())


def _merge_folds(rows: list[ManifestRow]) -> None:
    """Move recordings with the same letters into the fold of the first one, because cleaning can make texts equal."""
    folds: dict[str, int] = {}
    for row in rows:
        row["fold"] = folds.setdefault(_normalized_words(row["text"]).replace(" ", ""), row["fold"])


def _normalized_words(text: str) -> str:
    """Return the words of a text without case and punctuation."""
    return " ".join(re.findall(r"[^\W_]+", text.casefold()))


__all__ = ["CORPUS", "LANGUAGES", "NUM_FOLDS", "clean_text", "write"]
