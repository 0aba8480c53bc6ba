"""Translator: tags, unknown words and coverage penalty of long lines, which are split into segments."""

from collections.abc import Sequence

import pytest

from seqlab.search.config import OutputLimits, SearchConfig
from seqlab.search.hypothesis import Hypothesis
from seqlab.tasks.translation.translator import Translator
from seqlab.text import CharactersConfig, WordsConfig, train_tokenizer


class CopyingEngine:
    """An engine that outputs its input, and records it."""

    def __init__(self) -> None:
        self.src_rows: list[list[int]] = []

    def decode(self, src_rows: Sequence[list[int]], config: SearchConfig, **options: object) -> list[list[Hypothesis]]:
        self.src_rows += src_rows
        return [[Hypothesis(list(row), 0.0, 0.0, True, [])] for row in src_rows]


def test_each_segment_has_the_tags_of_its_line() -> None:
    tokenizer = train_tokenizer(WordsConfig(tags=True), ["go home . we see\tPST;PL"])
    engine = CopyingEngine()
    translator = Translator(engine, tokenizer, tokenizer, max_src_tokens=5, output_limits=OutputLimits(9))  # type: ignore[arg-type]
    [found] = translator.translate(["go home . we see\tPST;PL"], SearchConfig())
    assert found.num_pieces == 2
    assert engine.src_rows == tokenizer.encode(["go home .\tPST;PL", "we see\tPST;PL"])
    assert all(tokenizer.unk_id not in row for row in engine.src_rows)


def test_each_segment_copies_its_unknown_words() -> None:
    tokenizer = train_tokenizer(WordsConfig(), ["we see ."])
    translator = Translator(
        CopyingEngine(), tokenizer, tokenizer, max_src_tokens=4, output_limits=OutputLimits(9), has_copied_unknowns=True
    )  # type: ignore[arg-type]
    line = "we see Kako . Bugen , Ka . see Kako"
    [found] = translator.translate([line], SearchConfig())
    assert (found.num_pieces, found.text) == (3, line)


def test_hypotheses_with_the_text_of_a_better_one_are_left_out() -> None:
    class EngineWithEqualTexts:
        def decode(self, src_rows: Sequence[list[int]], config: SearchConfig, **_: object) -> list[list[Hypothesis]]:
            rows = tokenizer.encode(["a b", "a\x07b", "b", "a b"])
            return [[Hypothesis(row, -float(rank), -1.0, True, []) for rank, row in enumerate(rows)] for _ in src_rows]

    tokenizer = train_tokenizer(CharactersConfig(), ["a b\x07"])
    translator = Translator(
        EngineWithEqualTexts(), tokenizer, tokenizer, max_src_tokens=9, output_limits=OutputLimits(9)
    )  # type: ignore[arg-type]
    [found] = translator.translate(["a"], SearchConfig(beam_size=4, num_hypotheses=4))
    assert [(each.text, each.score) for each in found.hypotheses] == [("a b", 0.0), ("b", -2.0)]


def test_the_coverage_penalty_of_a_split_line_is_the_sum_over_its_segments() -> None:
    """Each segment has two tokens and eos, each with a log-probability of -1, and a penalty of 0.5 or 1. The score is
    the mean log-probability minus 1.5."""

    class EngineWithPenalties:
        def decode(self, src_rows: Sequence[list[int]], config: SearchConfig, **_: object) -> list[list[Hypothesis]]:
            penalties = [0.5 * number for number in range(1, len(src_rows) + 1)]
            return [
                [Hypothesis(row[:2], -1.0 - penalty, -3.0, True, [])]
                for row, penalty in zip(src_rows, penalties, strict=True)
            ]

    tokenizer = train_tokenizer(WordsConfig(), ["go home . we see them"])
    translator = Translator(
        EngineWithPenalties(), tokenizer, tokenizer, max_src_tokens=4, output_limits=OutputLimits(9)
    )  # type: ignore[arg-type]
    [found] = translator.translate(["go home . we see them"], SearchConfig(beam_size=2, coverage_penalty=0.5))
    assert (found.num_pieces, found.hypotheses[0].num_tokens, found.hypotheses[0].log_prob) == (2, 6, -6.0)
    assert found.score == pytest.approx(-1.0 - 1.5)
