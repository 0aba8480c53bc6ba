"""Describe Asterisk's telephone prompts: one professional speaker each of English, French and Italian.

Their texts were written for the studio. `clean_text` takes out notes that nobody speaks and spells single digits, and
recordings of silence and beeps, or whose text is not what is spoken, are left out.
"""

import re
from dataclasses import replace
from pathlib import Path

from seqlab.corpora.description import Corpus, Split, TextFile
from seqlab.corpora.location import locate_files
from seqlab.corpora.recordings import Row, read_manifest, write_manifest

LANGUAGES = {"en": 563, "fr": 511, "it": 590}
"""language -> recordings"""
DIGITS = {
    "en": ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
    "fr": ("zéro", "un", "deux", "trois", "quatre", "cinq", "six", "sept", "huit", "neuf"),
    "it": ("zero", "uno", "due", "tre", "quattro", "cinque", "sei", "sette", "otto", "nove"),
}
NUM_FOLDS = 5
MOST_CHARACTERS_PER_SECOND = 26
"""letters, digits and spaces between words; nobody speaks faster, so the text of such a recording is another one"""

CORPUS = Corpus(
    name="asterisk_prompts",
    summary="telephone prompts in English, French and Italian, 8 kHz, one speaker and 24 minutes a language",
    source=(
        "Debian's packages asterisk-core-sounds-{en,fr,it}-wav (recordings) and asterisk-core-sounds-{en,fr,it} "
        "(texts), apt-get install asterisk-core-sounds-en-wav asterisk-core-sounds-en"
    ),
    licence="CC BY-SA 3.0, Digium",
    columns={language: f"manifest of {language}: audio, text, duration, fold" for language in LANGUAGES},
    splits={
        "all": Split(
            num_lines=LANGUAGES,
            files={
                language: TextFile((f"{language}/manifest.jsonl",), sha256)
                for language, sha256 in (
                    ("en", "2ba34cbf5aad8cad4a7d8f99e2126336b327b94beef5f39e3301c41ccbe4780d"),
                    ("fr", "9678d8fab2771e62bea55b80f45fb2d4eb689d42c50a07aed8940fd494939caf"),
                    ("it", "8e6469ba88443a646b80e924093af141eead01b2d8dd6e4bbbf1114b9af15e4b"),
                )
            },
        )
    },
)


def write(folder: str | Path, language: str = "en", source: str | Path | None = None) -> Path:
    """Write `all.jsonl` with the spoken prompts of a language, and return its path.

    The columns are `audio` (absolute), `text` (cleaned), `original_text`, `speaker`, `fold` (0 to 4) and `duration` in
    seconds. No text is in two folds, whatever its case, punctuation and spaces.

    Args:
        folder: where to write.
        language: `en`, `fr` or `it`.
        source: the folder with a folder for each language, by default `$SEQLAB_DATA/asterisk_prompts`.

    Raises:
        FileNotFoundError: the manifest or a recording is missing; the message says where to get them.
        ValueError: the language is unknown, or the manifest is another one.
    """
    if language not in LANGUAGES:
        raise ValueError(f"`language` must be one of {', '.join(LANGUAGES)}, but is {language!r} instead.")
    split = CORPUS.splits["all"]
    only = replace(split, num_lines=LANGUAGES[language], files={language: split.files[language]})
    manifest = locate_files(replace(CORPUS, splits={"all": only}), source)["all"][language]
    rows = []
    for row in read_manifest(manifest):
        text = clean_text(row["text"], language)
        if 0 < len(_words(text)) <= MOST_CHARACTERS_PER_SECOND * row["duration"]:
            changed = {"text": text, "original_text": row["text"], "speaker": f"asterisk_{language}"}
            rows.append({**row, **changed})
    _join_folds(rows)
    return write_manifest(Path(folder) / "all.jsonl", rows)


def clean_text(text: str, language: str) -> str:
    """Take notes for the studio out of a text and spell digits that stand alone, `press 1`: their letters are spoken.

    Notes are `<...>`; signs in square brackets, `dash [-]`; parentheses around one word or at the end, `Pour
    (emphase)`; and all after the name of another prompt, where two lines ran together.
    """
    text = re.split(r"\b[a-z]+(?:-[a-z]+)+: ", text)[0]
    text = re.sub(r"<[^>]*>|\(\w+\)|\([^)]*\)\W*$|\[\W*\]", " ", text)
    text = re.sub(r"(?<![\w.,])\d(?!\w|[.,]\d)", lambda match: DIGITS[language][int(match[0])], text)
    return " ".join(re.sub(r"[\[\]]", "", text).split())


def _join_folds(rows: list[Row]) -> None:
    """Put recordings of the same letters into the fold of the first: without notes, two texts may have become one."""
    folds: dict[str, int] = {}
    for row in rows:
        row["fold"] = folds.setdefault(_words(row["text"]).replace(" ", ""), row["fold"])


def _words(text: str) -> str:
    return " ".join(re.findall(r"[^\W_]+", text.casefold()))


__all__ = ["CORPUS", "LANGUAGES", "NUM_FOLDS", "clean_text", "write"]
