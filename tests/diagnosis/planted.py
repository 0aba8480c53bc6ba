"""A small parallel corpus without faults, files of it, and rows of numbers with and without wrong labels."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from seqlab.diagnosis.rows import Rows

NOUNS = {
    "dog": "Hund", "horse": "Gaul", "bird": "Vogel", "baker": "Bäcker", "king": "König", "river": "Fluss",
    "teacher": "Lehrer", "sailor": "Seemann", "farmer": "Bauer", "tower": "Turm", "garden": "Garten", "uncle": "Onkel",
}  # fmt: skip
ADJECTIVES = {
    "old": "alte", "young": "junge", "brown": "braune", "quiet": "ruhige", "strange": "seltsame", "happy": "frohe",
    "poor": "arme", "clever": "kluge", "famous": "berühmte", "tired": "müde",
}  # fmt: skip
VERBS = {"sees": "sieht", "follows": "verfolgt", "praises": "lobt", "forgets": "vergisst", "paints": "malt"}
PLACES = {
    "behind the house": "hinter dem Haus", "in the evening": "am Abend", "without a word": "ohne ein Wort",
    "near the bridge": "nahe der Brücke", "every Sunday": "jeden Sonntag", "after the meal": "nach dem Essen",
}  # fmt: skip


def pairs(count: int, seed: int = 0) -> tuple[list[str], list[str]]:
    """Return different English and German sentences, line by line."""
    rng = np.random.default_rng(seed)
    found: dict[str, str] = {}
    while len(found) < count:
        adjective, other = rng.choice(list(ADJECTIVES), 2)
        noun, object_ = rng.choice(list(NOUNS), 2)
        verb, place = rng.choice(list(VERBS)), rng.choice(list(PLACES))
        source = f"The {adjective} {noun} {verb} the {other} {object_} {place}."
        found[source] = (
            f"Der {ADJECTIVES[adjective]} {NOUNS[noun]} {VERBS[verb]} den {ADJECTIVES[other]}n {NOUNS[object_]} "
            f"{PLACES[place]}."
        )
    return list(found), list(found.values())


def write(path: Path, lines: Sequence[str]) -> str:
    """Write lines to a file; return its path."""
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")
    return str(path)


def causes(findings: Any) -> set[str]:
    return {finding.cause for finding in findings}


def labeled_rows(count: int, noise: float = 0.0, seed: int = 1) -> Rows:
    """Return rows of numbers whose label is the sign of the first of them, except for a share of random ones."""
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(count, 1, 60)).astype(np.float32)
    labels = (inputs[:, 0, 0] > 0).astype(np.int64)
    labels = np.where(rng.random(count) < noise, rng.integers(0, 2, count), labels)
    return Rows(list(inputs), [label[None] for label in labels], np.arange(count), "label")


def rows_of(inputs: Any, targets: Any, kind: Any) -> Rows:
    """Return rows of vectors (N, D) with targets (N, O)."""
    return Rows(list(inputs[:, None].astype(np.float32)), list(targets), np.arange(len(inputs)), kind)
