"""Scores of lines and continuations against a plain loop, and log-probabilities of unknown words."""

import math
from pathlib import Path

import numpy as np
import pytest
from reference.tiny_language_models import FAMILIES, LINES, MAX_LENGTH, TinyRuns, score_one_by_one, write_uniform_run

from seqlab.tasks.language_modelling.language_model import load_language_model
from seqlab.text import WordsConfig

TEXT = [*LINES[7:16], "", "die Katze sees über größer Straße , dog naïve a the café . - schön", " x  y ", LINES[3]]
"""Includes a line longer than any context, an empty line, and spaces."""

every_family = pytest.mark.parametrize("family", FAMILIES)


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> TinyRuns:
    return TinyRuns(tmp_path_factory.getbasetemp() / "language_models")


@every_family
def test_line_scores_match_a_loop_over_contexts(runs: TinyRuns, caplog: pytest.LogCaptureFixture, family: str) -> None:
    """Lines longer than the context are scored with a sliding window of stride MAX_LENGTH // 2, with a warning."""
    run = load_language_model(runs(family))
    limit = MAX_LENGTH if family == "transformer_lm" else None
    scores = run.score(TEXT)
    for line, score in zip(TEXT, scores, strict=True):
        [ids] = run.tokenizer.encode([line])
        window = None if limit is None or len(ids) < limit else limit
        expected = score_one_by_one(
            run.members[0].model, [*ids, run.tokenizer.eos_id], run.start_id, window, MAX_LENGTH // 2
        )
        assert score.token_log_probs == pytest.approx(expected, rel=1e-6, abs=2e-6)
        assert score.log_prob == pytest.approx(sum(expected))
    assert ("1 of 13 lines are longer than the model's context" in caplog.text) == (limit is not None)
    assert run.score([]) == []


@every_family
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_line_scores_do_not_depend_on_other_lines(runs: TinyRuns, family: str, precision: str) -> None:
    run = load_language_model(runs(family), precision=precision)
    scores = run.score(TEXT)
    assert [run.score([line])[0] for line in TEXT] == scores
    assert run.score(TEXT[::-1], batch_tokens=1)[::-1] == scores


@every_family
@pytest.mark.parametrize("tokenizer", ["bpe", "characters", "words", "sentencepiece"])
def test_continuations_are_scored_after_their_prompts(runs: TinyRuns, family: str, tokenizer: str) -> None:
    run = load_language_model(runs(family, tokenizer))
    prompts = ["die Ka", "dog sees", "", "größer"]
    lines = ["tze", " a the", "naïve", ""]
    scores = run.score(lines, prompts)
    for prompt, line, score in zip(prompts, lines, scores, strict=True):
        seam = " " if tokenizer == "words" and prompt else ""
        [ids], [prompt_ids] = run.tokenizer.encode([prompt + seam + line]), run.tokenizer.encode([prompt])
        num_shared = max(n for n in range(len(prompt_ids) + 1) if ids[:n] == prompt_ids[:n])
        expected = score_one_by_one(run.members[0].model, [*ids, run.tokenizer.eos_id], run.start_id, None)[num_shared:]
        assert score.token_log_probs == pytest.approx(expected, rel=1e-6, abs=2e-6)
        spellings = [run.spellings[0].log_prob(item) for item in score.unknown]
        assert score.log_prob == pytest.approx(sum(expected) + sum(spellings))


def test_words_after_a_prompt_are_new_words(runs: TinyRuns) -> None:
    run = load_language_model(runs("ngram_lm", "words"))
    prompts = ["dog xyz sees qu", "dog xyz sees qu", "dog xyz sees qu "]
    first, second, third = run.score(["ux a", " dog ux", "ux a"], prompts)
    assert (first.unknown, first.num_tokens) == (["ux"], 3)
    assert (second.unknown, second.num_tokens) == (["ux"], 3)
    assert third == first


@pytest.mark.parametrize("tokenizer", ["bpe", "characters", "words", "sentencepiece"])
def test_the_score_of_a_continuation_is_that_of_the_line_minus_that_of_the_prompt(
    runs: TinyRuns, tokenizer: str
) -> None:
    run = load_language_model(runs("gru_lm", tokenizer))
    line = "dog sees naïve the café"
    (whole,), prompt_size = run.score([line]), len(run.tokenizer.encode(["dog sees"])[0])
    expected = whole.log_prob - sum(whole.token_log_probs[:prompt_size])
    seams = [("dog sees", " naïve the café"), ("dog sees ", "naïve the café")]
    if tokenizer == "characters":  # a prompt with the space has one character more
        seams = seams[:1]
    if tokenizer == "words":
        seams.append(("dog sees", "naïve the café"))
    scores = run.score([line for _, line in seams], [prompt for prompt, _ in seams])
    assert [score.log_prob for score in scores] == pytest.approx([expected] * len(seams))


def test_lines_that_continue_a_word_are_counted(runs: TinyRuns, caplog: pytest.LogCaptureFixture) -> None:
    prompts, lines = ["die", "die ", "", "ein", "数"], ["Katze", "Katze", "a", "zwei", "字"]
    load_language_model(runs("ngram_lm", "words")).score(lines, prompts)
    assert not caplog.messages
    load_language_model(runs("gru_lm")).score(lines, prompts)
    assert caplog.messages == [
        "2 of 5 lines continue the last word of their prompt, such as `die` + `Katze`: start new words with a space"
    ]


def test_unknown_words_are_scored_by_unk_and_the_spelling_model(runs: TinyRuns) -> None:
    run = load_language_model([runs("ngram_lm", "words"), runs("gru_lm", "words", seed=2)])
    [known, unknown] = run.score(["dog sees a", "dog blorp a"])
    probs = [math.exp(spelling.log_prob("blorp")) for spelling in run.spellings]
    assert len(probs) == 2
    assert unknown.unknown == ["blorp"]
    assert unknown.log_prob == pytest.approx(sum(unknown.token_log_probs) + math.log(np.mean(probs)))
    assert (known.unknown, known.log_prob) == ([], pytest.approx(sum(known.token_log_probs)))


def test_lines_with_unknown_words_have_no_score_without_a_spelling_model(tmp_path: Path) -> None:
    lines = ["a b c", "b a"]
    run = load_language_model(write_uniform_run(tmp_path / "run", lines, WordsConfig(), has_spelling_model=False))
    found = run.perplexity(["a b", "a d"])
    assert [line.log_prob for line in found.lines] == [pytest.approx(-3 * math.log(5)), None]
    likelihood = found.likelihood.as_dict()
    assert [likelihood[name] for name in ("perplexity", "perplexity_per_word", "bits_per_byte")] == [None] * 3
    assert [score.log_prob for score in run.score(["d", "c"])] == [None, pytest.approx(-2 * math.log(5))]
    assert run.perplexity(["a b"]).likelihood.perplexity == pytest.approx(5)
