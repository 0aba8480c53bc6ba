"""What the choices for a corpus depend on: its size, a sample of its pairs, and how its lines are written."""

import random
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

from seqlab.data.line_sample import LineSample
from seqlab.tasks.translation.config import TranslationConfig

SAMPLE_PAIRS = 32_768


@dataclass(frozen=True)
class CorpusProfile:
    """The training corpora as a whole, pairs that lack a side left out."""

    pairs: int
    src_chars: int
    tgt_chars: int
    src: LineSample
    tgt: LineSample

    @cached_property
    def overlap(self) -> float:
        """Return the share of characters that the sides have in common, by how often each occurs: 1 is all."""
        src, tgt = self.src.characters, self.tgt.characters
        return sum(min(src[char] / src.total(), tgt[char] / tgt.total()) for char in src.keys() & tgt.keys())


def profile(config: TranslationConfig) -> CorpusProfile:
    """Read the training corpora once, holding no more of them than a fixed random sample.

    Raises:
        FileNotFoundError: a corpus is missing.
        ValueError: a corpus cannot be read, its sides are of unequal length, or no pair has both sides.
    """
    draw = random.Random(0)
    sample: list[tuple[str, str]] = []
    pairs = src_chars = tgt_chars = 0
    blocks = chain.from_iterable(corpus.blocks() for corpus in config.corpora("train"))
    for block in blocks:
        for pair in zip(*block.lines(), strict=True):
            if not (pair[0].strip() and pair[1].strip()):
                continue
            if pairs < SAMPLE_PAIRS:
                sample.append(pair)
            elif (place := draw.randrange(pairs + 1)) < SAMPLE_PAIRS:  # each pair is kept with the same probability
                sample[place] = pair
            pairs += 1
            src_chars, tgt_chars = src_chars + len(pair[0]), tgt_chars + len(pair[1])
    if not sample:
        names = ", ".join(config.train_src)
        raise ValueError(f"{names}: holds no line with a counterpart on the other side, so there is nothing to learn.")
    src, tgt = (LineSample(list(lines)) for lines in zip(*sample, strict=True))
    return CorpusProfile(pairs, src_chars, tgt_chars, src, tgt)
