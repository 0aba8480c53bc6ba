"""The data report of text without a second side: what the corpora hold, and what is left out and why."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from pydantic import TypeAdapter

SPLITS = ("train", "valid")


@dataclass(frozen=True)
class CorpusReport:
    """Counts of lines in one corpus."""

    split: str  # train or valid
    name: str  # path spec
    lines: int
    kept: int
    split_off: int  # kept for validation
    empty: int  # dropped: documents without a word
    copies: int  # dropped: they repeat a line that is validated on
    tokens: int  # of all kept lines, ends of line counted
    unknown: int


@dataclass(frozen=True)
class TextReport:
    """Everything that is known of the text before training; JSON-able."""

    corpora: list[CorpusReport]
    valid_lines: int  # with a word
    valid_in_train: int  # of these, lines that the training text holds too

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Any) -> TextReport:
        """Read what `to_json` gave; raise ValueError when it is something else."""
        return TypeAdapter(cls).validate_python(value)

    def lines(self) -> list[str]:
        """Render the report for people, a few lines per corpus."""
        text: list[str] = []
        for corpus in self.corpora:
            kept = f"{corpus.split}: {corpus.name}: {corpus.lines:,} lines, {corpus.kept:,} kept"
            text.append(kept + (f", {corpus.split_off:,} split off for validation" if corpus.split_off else ""))
            if corpus.empty:
                text.append(f"  {corpus.empty:,} empty ones dropped")
            if corpus.copies:
                text.append(f"  {corpus.copies:,} dropped that repeat a validation line")
            unknown = corpus.unknown / max(corpus.tokens, 1)
            text.append(f"  {corpus.tokens:,} tokens, ends of line counted, {unknown:.3%} unknown")
        unknowns = {split: sum(each.unknown for each in self.corpora if each.split == split) for split in SPLITS}
        if unknowns["valid"] and not unknowns["train"]:
            text.append(
                f"valid: {unknowns['valid']:,} tokens are unknown, but in training none is: a model cannot learn where "
                "to expect one; with a `words` tokenizer set `data.tokenizer.min_count` to 2"
            )
        text.append(f"valid: of {self.valid_lines:,} lines with words, the training text holds {self.valid_in_train:,}")
        return text
