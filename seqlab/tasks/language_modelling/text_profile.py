"""What the choices for a text depend on: its size, a sample of its lines, and how it is written."""

import random
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

from seqlab.base.raw_lines import LineLimit
from seqlab.data.blocks import RawBlock
from seqlab.data.corpus import Corpus
from seqlab.data.line_sample import LineSample
from seqlab.tasks.language_modelling.config import LanguageModellingConfig

SAMPLE_LINES = 32_768
SAMPLE_CHARS = 1 << 14
"""Of a line that is sampled, at most."""
BLOCK_LINES = 10_000


@dataclass(frozen=True)
class TextProfile:
    """The training corpora as one text."""

    lines: int
    empty: int
    """Lines without a visible character."""
    chars: int
    """Characters, each end of a line counted as one."""
    sample: LineSample
    """Lines that are not empty."""

    @property
    def empty_share(self) -> float:
        return self.empty / self.lines

    @cached_property
    def new_words_share(self) -> float:
        """Estimate how many words of a further text this one does not have: as many as it has once (Good 1953)."""
        words = self.sample.words
        return sum(count == 1 for count in words.values()) / words.total()


def profile_text(config: LanguageModellingConfig, *, split_records: bool) -> TextProfile:
    """Read the training corpora once, holding no more of them than a fixed random sample.

    With `split_records` a record of a table that has newlines is several lines, else one.

    Raises:
        FileNotFoundError: a corpus is missing.
        ValueError: a corpus cannot be read, or no line has a visible character.
    """
    draw = random.Random(0)
    limit = LineLimit(splits_lines=True)  # what a line is, is chosen by what is found here
    sample: list[str] = []
    lines = filled = chars = 0
    blocks = chain.from_iterable(
        Corpus.from_specs(spec, limit=limit).columns[0].blocks(BLOCK_LINES, split_records=split_records)
        for spec in config.train
    )
    for line in chain.from_iterable(_decoded(block) for block in blocks):
        lines, chars = lines + 1, chars + len(line) + 1
        if not line.strip():
            continue
        filled += 1
        line = line[:SAMPLE_CHARS]
        if filled <= SAMPLE_LINES:
            sample.append(line)
        elif (place := draw.randrange(filled)) < SAMPLE_LINES:  # each line is kept with the same probability
            sample[place] = line
    if not sample:
        raise ValueError(f"{', '.join(config.train)}: holds no line with a word, so there is nothing to learn.")
    return TextProfile(lines, lines - filled, chars, LineSample(sample))


def _decoded(lines: RawBlock | list[str]) -> list[str]:
    return lines.decode() if isinstance(lines, RawBlock) else lines
