"""Statistics of a sample of lines: their lengths, words and characters."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from unicodedata import category

SHORT_LINE_CHARS = 32
"""Maximum mean number of characters per line for lines that are words or names."""
SHORT_UNSPACED_CHARS = 8
"""Maximum for scripts without spaces between words, in which a sentence looks like one word."""
MAX_IDEOGRAPHIC_WORD, MAX_UNSPACED_WORD = 3, 7
"""Maximum mean characters per word of text that was divided into words, in ideographic and other unspaced scripts."""

WORD_METRICS = {
    "bleu": "`bleu_zh` for Chinese, `bleu_ja_mecab` for Japanese, `bleu_char` or `bleu_flores200` for others, or "
    "`chrf`",
    "wer": "`cer`",
    "alternatives": "text that was divided into words",
    **dict.fromkeys(("ter", "contains", "repeated", "missing", "length_error"), "`chrf` or `cer`"),
}
"""Metrics of words that are separated by spaces -> what to use for text without such spaces."""
MIN_BLEU_WORDS = 4
"""Minimum words per line for BLEU, which counts 4-grams."""


@dataclass(frozen=True)
class LineSample:
    """A sample of lines of a text, or of one side of pairs."""

    lines: list[str]

    @cached_property
    def words(self) -> Counter[str]:
        """Counts of the words."""
        return Counter(word for line in self.lines for word in line.split())

    @cached_property
    def characters(self) -> Counter[str]:
        """Counts of the characters, without spaces."""
        counts: Counter[str] = Counter()
        for word, count in self.words.items():
            for character in word:
                counts[character] += count
        return counts

    @property
    def words_per_line(self) -> float:
        """Mean number of words per line, over all but the longest lines."""
        return _mean_without_longest([len(line.split()) for line in self.lines])

    @property
    def chars_per_line(self) -> float:
        """Mean number of characters per line, over all but the longest lines."""
        return _mean_without_longest([len(line) for line in self.lines])

    @property
    def is_unspaced(self) -> bool:
        """Whether most letters are of scripts without spaces between words, such as Chinese and Thai."""
        from seqlab.text.scripts import is_unspaced  # imports the tokenizers, which slows down --help

        return 2 * self._count_letters(is_unspaced) > self._count_letters(lambda character: True)

    @property
    def lacks_word_spaces(self) -> bool:
        """Whether the text is unspaced and has not been divided into words by spaces."""
        from seqlab.text.scripts import is_ideographic, is_unspaced

        ideographic = 2 * self._count_letters(is_ideographic) > self._count_letters(is_unspaced)
        longest = MAX_IDEOGRAPHIC_WORD if ideographic else MAX_UNSPACED_WORD
        is_divided = self.words_per_line >= 2 and self.characters.total() <= longest * self.words.total()
        return self.is_unspaced and not is_divided

    def _count_letters(self, condition: Callable[[str], bool]) -> int:
        """Count the letters and their marks that satisfy a condition."""
        counts = ((letter, count) for letter, count in self.characters.items() if category(letter)[0] in "LM")
        return sum(count for letter, count in counts if condition(letter))

    @property
    def is_short(self) -> bool:
        """Whether lines are as short as words or names."""
        return self.chars_per_line <= SHORT_LINE_CHARS

    @property
    def is_words(self) -> bool:
        """Whether most lines are a single word, such as `aalst`, rather than a sentence."""
        limit = SHORT_UNSPACED_CHARS if self.is_unspaced else SHORT_LINE_CHARS
        return self.chars_per_line <= limit and self.words_per_line < 2

    @property
    def is_spelled_out(self) -> bool:
        """Whether lines are words spelled out with spaces, such as `aː l s t`."""
        return self.is_short and self.characters.total() < 2 * self.words.total()


def word_metric_advice(metric: str, lines: list[str]) -> str | None:
    """Return a predicate about references if they lack the spaces between words that a metric needs; else None."""
    if metric not in WORD_METRICS or not LineSample(lines).lacks_word_spaces:
        return None
    return f"are written without spaces between words, which `{metric}` needs: use {WORD_METRICS[metric]}"


def _mean_without_longest(lengths: list[int]) -> float:
    """Return the mean without the longest 0.1% and at least one line, as a line can contain an entire book."""
    kept = sorted(lengths)[: max(1, len(lengths) - 1 - len(lengths) // 1000)]
    return sum(kept) / len(kept)


def count_covering_characters(sides: Sequence[LineSample], coverage: float) -> int:
    """Count the most frequent characters that together make up a share `coverage` of the text."""
    counts = sum((side.characters for side in sides), Counter[str]())
    required, covered = coverage * counts.total(), 0
    for number, (_, count) in enumerate(counts.most_common(), start=1):
        covered += count
        if covered >= required:
            return number
    return len(counts)
