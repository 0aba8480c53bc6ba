"""Statistics of a training text for zero config: its size and a random sample of its lines."""

import random
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

from seqlab.base.raw_lines import LineLimit
from seqlab.data.blocks import RawBlock
from seqlab.data.corpus import Corpus
from seqlab.data.line_sample import LineSample
from seqlab.tasks.language_modelling.config import LanguageModellingConfig
from seqlab.text.transcripts import normalize_transcript

SAMPLE_LINES = 32_768
MAX_SAMPLE_LINE_CHARS = 1 << 14
"""Maximum length of a sampled line; a longer line is cut."""
BLOCK_LINES = 10_000


@dataclass(frozen=True)
class TextProfile:
    """Statistics of all training corpora together."""

    lines: int
    empty: int
    """Number of lines without a visible character."""
    chars: int
    """Number of characters, including one per line end."""
    sample: LineSample
    """Sample of the lines that are not empty."""

    @property
    def empty_share(self) -> float:
        """Share of empty lines."""
        return self.empty / self.lines

    @cached_property
    def new_words_share(self) -> float:
        """Estimate the share of unseen words in another text by the share of words that occur once here (Good 1953)."""
        words = self.sample.words
        return sum(count == 1 for count in words.values()) / words.total()


def profile_text(config: LanguageModellingConfig, *, split_records: bool) -> TextProfile:
    """Read the training corpora once; keep a fixed random sample in memory.

    With `split_records` a table record with newlines counts as several lines, otherwise as one.

    Raises:
        FileNotFoundError: a corpus is missing.
        ValueError: a corpus cannot be read, or all lines are blank.
    """
    rng = random.Random(0)
    limit = LineLimit(splits_lines=True)  # `data.documents` is not chosen yet
    sample: list[str] = []
    lines = filled = chars = 0
    blocks = chain.from_iterable(
        Corpus.from_specs(spec, limit=limit).columns[0].blocks(BLOCK_LINES, split_records=split_records)
        for spec in config.train
    )
    for raw in chain.from_iterable(_decoded(block) for block in blocks):
        line = raw if config.transcripts is None else normalize_transcript(raw, config.transcripts)
        lines, chars = lines + 1, chars + len(line) + 1
        if not line.strip():
            continue
        filled += 1
        line = line[:MAX_SAMPLE_LINE_CHARS]
        if filled <= SAMPLE_LINES:
            sample.append(line)
        elif (position := rng.randrange(filled)) < SAMPLE_LINES:  # reservoir sampling
            sample[position] = line
    if not sample:
        raise ValueError(f"{', '.join(config.train)}: no line has a word: there is nothing to train on.")
    return TextProfile(lines, lines - filled, chars, LineSample(sample))


def _decoded(lines: RawBlock | list[str]) -> list[str]:
    return lines.decode() if isinstance(lines, RawBlock) else lines
