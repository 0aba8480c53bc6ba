"""Perplexity of texts against a plain loop over single contexts: windows, ensembles, bytes, errors."""

import copy
import functools
import io
import math
import pickle
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reference.tiny_language_models import (
    BLOCK_LENGTH,
    FAMILIES,
    LINES,
    MAX_LENGTH,
    UNLIMITED_CONTEXT_FAMILIES,
    TinyRuns,
    random_model,
    score_one_by_one,
    write_language_model,
    write_uniform_run,
)

import seqlab
from seqlab.base.raw_lines import LineLimit
from seqlab.models import EncoderLmConfig, NgramConfig, TransformerEncoderConfig
from seqlab.tasks.language_modelling import text, text_scorer
from seqlab.tasks.language_modelling.language_model import LanguageModel, load_language_model
from seqlab.tasks.language_modelling.text import Text
from seqlab.text import CharactersConfig, WordsConfig, train_tokenizer

TEXT = [*LINES[12:16], "", "die Katze sees über größer Straße , dog naïve a the café . - schön", " x  y ", LINES[3]]
"""Includes a line longer than any context, an empty line, and spaces."""

every_family = pytest.mark.parametrize("family", FAMILIES)


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> TinyRuns:
    return TinyRuns(tmp_path_factory.getbasetemp() / "language_models")


def documents_of(run: LanguageModel, lines: Sequence[str]) -> list[list[int]]:
    rows = [[*ids, run.tokenizer.eos_id] for ids in run.tokenizer.encode(lines)]
    return [list(chain(*rows))] if run.is_continuous else rows


@every_family
@pytest.mark.parametrize("documents", ["lines", "continuous"])
@pytest.mark.parametrize(("context", "stride"), [(None, None), (MAX_LENGTH, 3), (5, 2), (1, None)])
def test_blocks_and_sliding_windows_match_a_loop_over_contexts(
    runs: TinyRuns, family: str, documents: str, context: int | None, stride: int | None
) -> None:
    run = load_language_model(runs(family, documents=documents))
    found = run.perplexity(TEXT, context=context, stride=stride)
    size = context or BLOCK_LENGTH
    assert (found.window.context, found.window.stride) == (size, stride or size)
    expected = [
        score_one_by_one(run.members[0].model, ids, run.start_id, size, stride or size)
        for ids in documents_of(run, TEXT)
    ]
    log_probs = [each for line in found.lines for each in line.token_log_probs]
    assert log_probs == pytest.approx(list(chain(*expected)), rel=1e-6, abs=2e-6)
    assert found.likelihood.nats_per_token == pytest.approx(-np.mean(list(chain(*expected))), abs=1e-6)


@pytest.mark.parametrize("family", UNLIMITED_CONTEXT_FAMILIES)
@pytest.mark.parametrize("documents", ["lines", "continuous"])
def test_context_all_matches_one_pass_over_the_text(
    runs: TinyRuns, monkeypatch: pytest.MonkeyPatch, family: str, documents: str
) -> None:
    """In one part, in several parts, and token by token."""
    run = load_language_model(runs(family, documents=documents))
    expected = [score_one_by_one(run.members[0].model, ids, run.start_id, None) for ids in documents_of(run, TEXT)]
    for carried_tokens in (1000, 10, 1):
        monkeypatch.setattr(text_scorer, "TOKENS_PER_PART", carried_tokens)
        found = run.perplexity(TEXT, context="all")
        log_probs = [each for line in found.lines for each in line.token_log_probs]
        assert log_probs == pytest.approx(list(chain(*expected)), rel=1e-6, abs=2e-6), carried_tokens


@every_family
@pytest.mark.parametrize("options", [{}, {"context": 9, "stride": 4}], ids=["blocks", "windows"])
def test_batches_do_not_change_the_result(runs: TinyRuns, family: str, options: dict[str, int]) -> None:
    run = load_language_model(runs(family, documents="continuous"))
    expected = run.perplexity(LINES[:40], **options)
    for batch_tokens in (1, 50, 333):
        found = run.perplexity(LINES[:40], batch_tokens=batch_tokens, **options)
        assert found.likelihood.as_dict() == pytest.approx(expected.likelihood.as_dict(), abs=1e-6, rel=1e-6)
        assert found.likelihood.nats_per_token == pytest.approx(expected.likelihood.nats_per_token, abs=1e-6, rel=0)
        for line, other in zip(found.lines, expected.lines, strict=True):
            assert line.token_log_probs == pytest.approx(other.token_log_probs, rel=1e-6, abs=2e-6)


@pytest.mark.parametrize("documents", ["lines", "continuous"])
def test_line_scores_sum_to_the_total_and_progress_counts_each_token_once(runs: TinyRuns, documents: str) -> None:
    for family, options in (("transformer_lm", {"context": 9, "stride": 4}), ("lstm_lm", {"context": "all"})):
        ensemble = load_language_model([runs(family, documents=documents, seed=seed) for seed in (1, 2)])
        reported: list[int] = []
        found = ensemble.perplexity(TEXT, progress=reported.append, **options)
        assert sum(reported) == found.likelihood.tokens == sum(map(len, documents_of(ensemble, TEXT)))
        assert found.likelihood.nll == pytest.approx(-sum(line.log_prob for line in found.lines))
        for line, ids in zip(found.lines, ensemble.tokenizer.encode(TEXT), strict=True):
            assert line.num_tokens == len(line.token_log_probs) == len(ids) + 1
            assert line.log_prob == pytest.approx(sum(line.token_log_probs))


@pytest.mark.parametrize("documents", ["lines", "continuous"])
def test_an_ensemble_of_any_families_averages_probabilities(runs: TinyRuns, documents: str) -> None:
    paths = [runs(family, documents=documents) for family in FAMILIES]
    members = [load_language_model(path).perplexity(TEXT) for path in paths]
    both = load_language_model(paths).perplexity(TEXT)
    for number, line in enumerate(both.lines):
        probs = np.exp([member.lines[number].token_log_probs for member in members])
        assert line.token_log_probs == pytest.approx(np.log(probs.mean(axis=0)), rel=1e-6)
    for path, member in zip(paths, members, strict=True):
        twice = load_language_model([path, path]).perplexity(TEXT)
        assert twice.likelihood.as_dict() == pytest.approx(member.likelihood.as_dict())


def test_bits_per_byte_are_comparable_between_words_and_characters(tmp_path: Path) -> None:
    """With uniform models, each result follows from counts."""
    train_lines, text = ["schön grün", "grün ü"], ["schön  grün", "rot ü"]  # two spaces, and an unknown word
    by_word = load_language_model(
        write_uniform_run(tmp_path / "w", train_lines, WordsConfig(), has_spelling_model=True)
    )
    by_character = load_language_model(
        write_uniform_run(tmp_path / "c", train_lines, CharactersConfig(), has_spelling_model=True)
    )
    num_bytes = len("schön  grün\nrot ü\n".encode())
    words, characters = by_word.perplexity(text).likelihood, by_character.perplexity(text).likelihood
    assert (words.bytes, characters.bytes, words.words, characters.words) == (num_bytes, num_bytes, 6, 6)
    spelling_nll = -by_word.spellings[0].log_prob("rot")
    assert (words.tokens, words.unknown, words.dropped_bytes) == (6, 1, 1)
    assert words.bits_per_byte == pytest.approx((6 * math.log(3 + 2) + spelling_nll) / math.log(2) / num_bytes)
    spelling_nll = -sum(map(by_character.spellings[0].log_prob, "ot"))
    assert (characters.tokens, characters.unknown, characters.dropped_bytes) == (18, 2, 0)
    assert characters.bits_per_byte == pytest.approx((18 * math.log(9 + 2) + spelling_nll) / math.log(2) / num_bytes)


@pytest.mark.parametrize(
    ("raw", "dropped"),
    [
        ("grün\nü\n".encode(), 0),
        ("grün\r\nü\r\n".encode(), 2),
        ("\ufeffgrün\nü".encode(), 3),
        ("gru\u0308n\nü\n".encode(), 1),  # one byte more than the composed letter
        ("\u0958\nü\n".encode(), 0),  # normalization makes it longer
        (b"\n", 0),
        ("ü\u2028ü\x85".encode(), 0),
    ],
    ids=["plain", "crlf", "bom, no last newline", "decomposed", "longer", "empty line", "no line ends"],
)
def test_bytes_are_counted_before_normalization(tmp_path: Path, raw: bytes, dropped: int) -> None:
    run = load_language_model(
        write_uniform_run(tmp_path / "run", ["grün ü"], CharactersConfig(), has_spelling_model=True)
    )
    [text] = Text.blocks(io.BytesIO(raw), "a text")
    found = run.perplexity(text).likelihood
    assert (found.bytes, found.dropped_bytes) == (len(raw), dropped)
    assert found.bits_per_byte == pytest.approx(found.nll / math.log(2) / len(raw))


def test_the_default_window_is_the_block_length_of_training(runs: TinyRuns, tmp_path: Path) -> None:
    tokenizer = train_tokenizer(CharactersConfig(), LINES)
    config = NgramConfig(order=2)
    paths = [
        write_language_model(
            tmp_path / str(length), config, random_model(config, tokenizer), tokenizer, block_length=length
        )
        for length in (40, 30)
    ]
    assert load_language_model(paths).choose_window() == load_language_model(paths[::-1]).choose_window()
    assert load_language_model(paths).choose_window().context == 30
    assert load_language_model(paths).choose_window(50).stride == 50


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"context": "all"}, "a `transformer_lm` has a context of 16 tokens: give a number as `context`"),
        ({"context": 17}, "has a context of 16 tokens, but `context` is 17"),
        ({"context": 0}, "`context` must be at least 1, but is 0"),
        ({"context": "few"}, "`context` must be a number of tokens or `all`, but is `few`"),
        ({"context": 4, "stride": 5}, r"`stride` must be from 1 to `context` \(4\), but is 5"),
        ({"stride": 0}, r"`stride` must be from 1 to `context` \(12\), but is 0"),
        ({"batch_tokens": 0}, "`batch_tokens` must be at least 1, but is 0"),
    ],
)
def test_invalid_windows_are_refused(runs: TinyRuns, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_language_model([runs("lstm_lm"), runs()]).perplexity(["a"], **options)


def test_invalid_input_is_refused(runs: TinyRuns) -> None:
    run = load_language_model(runs("gru_lm"))
    for call, message in (
        (lambda: run.perplexity([]), "The text is empty"),
        (lambda: run.perplexity(""), "text is empty: it has no line"),
        (lambda: run.perplexity(["a", None]), "`lines` must hold strings, but entry 1 is None"),
        (lambda: run.perplexity(["a\nb"]), "entry 0 holds a newline"),
        (lambda: run.perplexity(["a"], context="all", stride=2), "`stride` needs a number as `context`"),
        (lambda: run.score(["a"], ["b", "c"]), r"`prompts` must have one entry per line \(1\), but has 2"),
        (lambda: run.score(["a"], ["b\nc"]), "`prompts` must hold single lines"),
        (lambda: run.score("ab"), "`lines` must be a list of texts"),
        (lambda: list(Text.blocks(io.BytesIO(b""), "empty.txt")), "empty.txt is empty: it has no line to score"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


@pytest.mark.parametrize("documents", ["lines", "continuous"])
@pytest.mark.parametrize(
    ("family", "options"),
    [("lstm_lm", {}), ("lstm_lm", {"context": "all"}), ("transformer_lm", {"context": 9, "stride": 4})],
)
@pytest.mark.parametrize("tokens", ["characters", "words"])
def test_perplexity_does_not_depend_on_how_the_text_is_divided(
    runs: TinyRuns,
    monkeypatch: pytest.MonkeyPatch,
    documents: str,
    family: str,
    options: dict[str, Any],
    tokens: str,
) -> None:
    """Into blocks of three lines, and parts of lines with more than 16 bytes."""
    run = load_language_model(runs(family, tokens, documents=documents))
    content = "".join(f"{line}\n" for line in [*LINES[:20], "", " ".join(LINES[:5]), "blorp"])
    expected = run.perplexity(content, **options)
    monkeypatch.setattr(text, "BLOCK_LINES", 3)
    monkeypatch.setattr(text, "LineLimit", functools.partial(LineLimit, 16))
    monkeypatch.setattr(text_scorer, "TOKENS_PER_PART", 5)
    found = run.perplexity(content, **options)
    assert found.likelihood.as_dict() == pytest.approx(expected.likelihood.as_dict(), rel=1e-6, abs=1e-6)
    assert len(found.lines) == len(expected.lines) == 23
    for line, other in zip(found.lines, expected.lines, strict=True):
        assert line.unknown == other.unknown
        assert line.token_log_probs == pytest.approx(other.token_log_probs, rel=1e-5, abs=2e-6)


def test_a_string_is_scored_like_its_lines(runs: TinyRuns) -> None:
    run = load_language_model(runs("lstm_lm"))
    text = run.perplexity("die Katze\n\nsees a dog")
    lines = run.perplexity(["die Katze", "", "sees a dog"])
    assert text.likelihood == replace(lines.likelihood, bytes=lines.likelihood.bytes - 1)
    assert text.lines == lines.lines


def test_a_loaded_run_can_be_copied_and_pickled(tmp_path: Path) -> None:
    text = ["grün ü", "rot"]
    run = load_language_model(write_uniform_run(tmp_path / "run", text[:1], WordsConfig(), has_spelling_model=True))
    expected = run.perplexity(text)
    for copied in (pickle.loads(pickle.dumps(run)), copy.deepcopy(run)):
        assert copied.perplexity(text).likelihood == expected.likelihood


def test_ensembles_of_incompatible_members_are_refused(runs: TinyRuns) -> None:
    with pytest.raises(ValueError, match=r"have different vocabularies.*`data.tokenizer.kind: saved`"):
        load_language_model([runs(), runs(tokenizer="characters")])
    with pytest.raises(ValueError, match="have different values of"):
        load_language_model([runs(), runs(documents="continuous")])


def test_lone_surrogates_are_scored_as_the_replacement_character(runs: TinyRuns) -> None:
    run = load_language_model(runs("ngram_lm"))
    surrogate, replacement = run.perplexity(["a\ud800"]), run.perplexity(["a\ufffd"])
    assert surrogate.likelihood.as_dict() == replacement.likelihood.as_dict()


def test_runs_of_other_tasks_are_refused(runs: TinyRuns, make_run: Any) -> None:
    translator = make_run()
    with pytest.raises(ValueError, match="translates: use `seqlab translate` or `seqlab score`"):
        load_language_model(translator)
    with pytest.raises(ValueError, match="is a language model: use `seqlab generate`, `seqlab perplexity`"):
        seqlab.load([translator, runs()])
    assert isinstance(seqlab.load(runs("rnn_lm")), LanguageModel)
    with pytest.raises(ValueError, match="is a language model, which has no option `threads`"):
        seqlab.load(runs("rnn_lm"), threads=1)


def test_masked_language_models_are_refused(tmp_path: Path) -> None:
    tokenizer = train_tokenizer(CharactersConfig(), LINES)
    config = EncoderLmConfig(encoder=TransformerEncoderConfig(d_model=16, d_ff=32, num_heads=2, num_layers=1))
    path = write_language_model(tmp_path / "run", config, random_model(config, tokenizer), tokenizer, mask_share=0.15)
    with pytest.raises(ValueError, match="is a masked model"):
        load_language_model(path)
