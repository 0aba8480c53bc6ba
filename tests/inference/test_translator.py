"""Splitting of lines that are too long, with tags and unknown words of each piece."""

from collections.abc import Sequence

import pytest

from seqlab.search.config import OutputLimits, SearchConfig
from seqlab.search.hypothesis import Hypothesis
from seqlab.tasks.translation.translator import Translator
from seqlab.text import WordsConfig, train_tokenizer


class Parrot:
    """An engine that outputs its input."""

    def __init__(self) -> None:
        self.heard: list[list[int]] = []

    def decode(self, src_rows: Sequence[list[int]], config: SearchConfig, **options: object) -> list[list[Hypothesis]]:
        self.heard += src_rows
        return [[Hypothesis(list(row), 0.0, 0.0, True, [])] for row in src_rows]


def test_every_piece_has_the_tags_of_its_line() -> None:
    tokenizer = train_tokenizer(WordsConfig(tags=True), ["go home . we see\tPST;PL"])
    parrot = Parrot()
    translator = Translator(parrot, tokenizer, tokenizer, max_src_tokens=5, output_limits=OutputLimits(9))  # type: ignore[arg-type]
    [found] = translator.translate(["go home . we see\tPST;PL"], SearchConfig())
    assert found.num_pieces == 2
    assert parrot.heard == tokenizer.encode(["go home .\tPST;PL", "we see\tPST;PL"])
    assert all(tokenizer.unk_id not in row for row in parrot.heard)


def test_every_piece_has_the_unknown_words_of_its_line() -> None:
    tokenizer = train_tokenizer(WordsConfig(), ["we see ."])
    translator = Translator(
        Parrot(), tokenizer, tokenizer, max_src_tokens=4, output_limits=OutputLimits(9), has_copied_unknowns=True
    )  # type: ignore[arg-type]
    line = "we see Kako . Bugen , Ka . see Kako"
    [found] = translator.translate([line], SearchConfig())
    assert (found.num_pieces, found.text) == (3, line)


def test_the_coverage_penalty_of_a_split_line_is_that_of_its_pieces() -> None:
    """Two tokens and an end for each piece, of a log-probability of -1 each, and penalties of 0.5 and 1 for what was
    left out: the mean of all, less 1.5."""

    class Forgetful:
        def decode(self, src_rows: Sequence[list[int]], config: SearchConfig, **_: object) -> list[list[Hypothesis]]:
            penalties = [0.5 * number for number in range(1, len(src_rows) + 1)]
            return [
                [Hypothesis(row[:2], -1.0 - penalty, -3.0, True, [])]
                for row, penalty in zip(src_rows, penalties, strict=True)
            ]

    tokenizer = train_tokenizer(WordsConfig(), ["go home . we see them"])
    translator = Translator(Forgetful(), tokenizer, tokenizer, max_src_tokens=4, output_limits=OutputLimits(9))  # type: ignore[arg-type]
    [found] = translator.translate(["go home . we see them"], SearchConfig(beam_size=2, coverage_penalty=0.5))
    assert (found.num_pieces, found.hypotheses[0].num_tokens, found.hypotheses[0].log_prob) == (2, 6, -6.0)
    assert found.score == pytest.approx(-1.0 - 1.5)
