"""`seqlab.load` for translators: translate, score, ensembles, and refused arguments."""

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import seqlab
from seqlab.inference.decode import decode_text
from seqlab.runs.folder import RunFolder
from seqlab.search.config import SearchConfig
from seqlab.tasks.translation.run import Run
from seqlab.tasks.translation.translator import MAX_WARNINGS, ScoredText, Translation, warn_of_continued_words
from seqlab.text import CharactersConfig, SentencePieceBpeConfig, Tokenizer, WordsConfig, train_tokenizer

LINES = ["the dog sees a cat.", "", "a man rides.", "   ", "the red horse eats quickly on the street."]


@pytest.fixture(scope="module")
def run(run_folder: Path) -> Run:
    return seqlab.load(run_folder, precision="fp32")


def test_one_output_per_line(run: Run) -> None:
    texts = run.translate(LINES, beam_size=2, max_length=12)
    assert len(texts) == len(LINES)
    assert [bool(text) for text in texts] == [True, False, True, False, True]
    assert run.translate([]) == []
    assert all("\n" not in text for text in texts)


def test_empty_lines_do_not_run_the_model(run_folder: Path) -> None:
    run = seqlab.load(run_folder)
    run.engine.model = None
    (empty,) = run.translate_detailed([""])
    assert (empty.text, empty.score, empty.truncated, empty.num_pieces) == ("", 0.0, False, 0)


def test_n_best_lists_are_sorted_and_scored(run: Run) -> None:
    for translation in run.translate_detailed(LINES[:1] + LINES[2:3], beam_size=4, num_hypotheses=3, max_length=10):
        scores = [h.score for h in translation.hypotheses]
        assert scores == sorted(scores, reverse=True)
        assert len(scores) == 3
        assert translation.text == translation.hypotheses[0].text
        for hypothesis in translation.hypotheses:
            assert hypothesis.score == pytest.approx(hypothesis.log_prob / hypothesis.num_tokens, rel=1e-5)


def test_translations_start_with_the_given_prefix(run: Run) -> None:
    texts = run.translate(LINES, prefixes=["a woman", "", "", "", "blue"], max_length=12, beam_size=3)
    assert texts[0].startswith("a woman")
    assert texts[4].startswith("blue")
    assert texts[2] == run.translate(LINES, max_length=12, beam_size=3)[2]
    with pytest.raises(ValueError, match=r"one entry per line \(5\), but has 1"):
        run.translate(LINES, prefixes=["a"])


def test_long_lines_are_split_with_a_warning(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    sentences = ["the dog sees a red cat on the street.", "a man rides a bike quickly.", "the woman eats."]
    with caplog.at_level(logging.WARNING):
        (translation,) = run.translate_detailed([" ".join(sentences * 3)], max_length=10, beam_size=2)
    assert translation.truncated
    assert translation.num_pieces > 1
    assert "line 1 is too long" in caplog.text
    (short,) = run.translate_detailed(sentences[:1], max_length=10, beam_size=2)
    assert not short.truncated


def test_lines_longer_than_the_training_lines_are_split(make_run: Callable[..., Path]) -> None:
    folder = make_run()
    RunFolder(folder).write_description({"longest_src_tokens": 8})
    line = "the dog sees a red cat. the man rides."
    run = seqlab.load(folder, precision="fp32")
    (ids,) = run.src_tokenizer.encode([line])
    (translation,) = run.translate_detailed([line], max_length=20)
    assert 10 < len(ids) < 30  # within the model's limit
    assert translation.truncated


def test_strings_instead_of_lists_are_refused(run: Run) -> None:
    with pytest.raises(ValueError, match="`lines` must be a list of texts"):
        run.translate("a dog")
    with pytest.raises(ValueError, match="must be a list of texts"):
        run.score("ab", "cd")


def test_the_first_segment_of_a_long_line_is_translated_like_a_single_line(run: Run) -> None:
    first = "the dog sees a red cat on the street quickly."
    long_line = f"{first} {'a man rides under the house ' * 8}"
    joined, single = run.translate([long_line, first], max_length=8, beam_size=2)
    assert joined.startswith(single + " ")


def test_decode_text_matches_translate(run: Run) -> None:
    member, lines = run.engine.members[0], [line for line in LINES if line == "" or line.strip()]
    rows = member.src_tokenizer.encode(lines)
    texts = decode_text(member.model, rows, SearchConfig(beam_size=2, max_length=12), member.tgt_tokenizer)
    assert [text for text, _ in texts] == run.translate(lines, beam_size=2, max_length=12)


def test_decoding_restores_the_training_mode(run_folder: Path) -> None:
    member = seqlab.load(run_folder, precision="fp32").engine.members[0]
    rows = member.src_tokenizer.encode(LINES)
    config = SearchConfig(beam_size=1, max_length=8)
    expected = decode_text(member.model, rows, config, member.tgt_tokenizer)
    member.model.train()
    assert decode_text(member.model, rows, config, member.tgt_tokenizer) == expected
    assert member.model.training


def test_scores_cover_each_target_token_and_eos(run: Run) -> None:
    scores = run.score(LINES, LINES[::-1])
    assert len(scores) == len(LINES)
    lengths = [len(ids) + 1 for ids in run.tgt_tokenizer.encode(LINES[::-1])]
    assert [score.num_tokens for score in scores] == lengths
    assert all(score.log_prob < 0 for score in scores)
    with pytest.raises(ValueError, match="have 5 and 1"):
        run.score(LINES, [""])


def test_scores_are_in_fp32_by_default(run: Run, run_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if translations are in bf16."""
    monkeypatch.setattr("seqlab.nn.precision.supports_bf16", lambda device: True)
    default, half = seqlab.load(run_folder), seqlab.load(run_folder, precision="bf16")
    assert default.translate(LINES, beam_size=2, max_length=12) == half.translate(LINES, beam_size=2, max_length=12)
    assert default.engine.members[0].model.projection.weight.dtype == torch.bfloat16
    assert default.score(LINES, LINES) == run.score(LINES, LINES) != half.score(LINES, LINES)


def test_bf16_scores_are_close_to_fp32(run: Run, run_folder: Path) -> None:
    half = seqlab.load(run_folder, precision="bf16")
    assert half.engine.members[0].model.projection.weight.dtype == torch.bfloat16
    for near, exact in zip(half.score(LINES, LINES), run.score(LINES, LINES), strict=True):
        assert near.log_prob == pytest.approx(exact.log_prob, rel=0.02)


def test_an_ensemble_averages_probabilities(make_run: Callable[..., Path]) -> None:
    one, two = make_run(seed=1), make_run(seed=7)
    members = [seqlab.load(folder, precision="fp32").score(LINES, LINES) for folder in (one, two)]
    both = seqlab.load([one, two], precision="fp32")
    for pair, first, second in zip(both.score(LINES, LINES), *members, strict=True):
        probs = [torch.tensor(scores.token_log_probs, dtype=torch.float64).exp() for scores in (first, second)]
        expected = ((probs[0] + probs[1]) / 2).log().tolist()
        assert pair.token_log_probs == pytest.approx(expected, rel=1e-6)
    twice = seqlab.load([one, one], precision="fp32").translate(LINES, max_length=10)
    assert twice == seqlab.load(one, precision="fp32").translate(LINES, max_length=10)


def test_checkpoints_of_one_run_form_an_ensemble(make_run: Callable[..., Path]) -> None:
    folder = make_run(steps=(1, 2))
    assert [member.step for member in seqlab.load(folder, ["1", "last"]).engine.members] == [1, 2]
    with pytest.raises(ValueError, match="`checkpoint` must be"):
        seqlab.load(folder, "3")


def test_ensembles_with_different_vocabularies_are_refused(make_run: Callable[..., Path], run_folder: Path) -> None:
    other: Tokenizer = train_tokenizer(SentencePieceBpeConfig(vocab_size=300), [f"{i} other words" for i in range(400)])
    with pytest.raises(ValueError, match="have different src vocabularies"):
        seqlab.load([run_folder, make_run(other=other)])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beam_size": 0}, "`beam_size` must be at least 1"),
        ({"batch_tokens": 0}, "`batch_tokens` must be at least 1, but is 0"),
        ({"prefixes": ["a\nb"]}, "`prefixes` must hold single lines"),
        (
            {"prefixes": ["a dog " * 9], "max_length": 6, "locations": ["line 7"]},
            r"line 7: its prefix has \d+ tokens, but its translation may have at most 5",
        ),
    ],
)
def test_invalid_options_are_refused(run: Run, options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run.translate(["a dog"], **options)


def test_unknown_options_newlines_and_missing_folders_are_refused(run: Run, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="beam"):
        run.translate(["a dog"], beam=3)
    with pytest.raises(ValueError, match="holds a newline"):
        run.translate(["a\nb"])
    with pytest.raises(FileNotFoundError, match="nowhere"):
        seqlab.load(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="names 0"):
        seqlab.load([])


def test_warnings_name_some_unknown_tags_and_count_the_others(
    make_run: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    tokenizer = train_tokenizer(WordsConfig(tags=True), ["go\tPST", "ox\tPL"])
    run = seqlab.load(make_run(other=tokenizer))
    lines = [f"go\tPST;new{index}" for index in range(MAX_WARNINGS + 3)]
    run.translate([*lines, lines[0]])
    messages = [record.getMessage() for record in caplog.records]
    assert messages[0] == "line 1 has the tag 'new0', which is not in the training data: it is read as unknown"
    assert len(messages) == MAX_WARNINGS + 1
    assert messages[-1].startswith("3 more tags are unknown")
    caplog.clear()
    run.score(["go\tPST", "ox\tnew", "ox"], ["go", "ox", "ox"], locations=["5", "6", "7"])
    run.translate_detailed(["ox", " \tPL", ""], locations=[f"a.tsv#0+1, line {line}" for line in (2, 3, 4)])
    assert [record.getMessage() for record in caplog.records] == [
        "6 has the tag 'new', which is not in the training data: it is read as unknown",
        "7 (and 0 more) has no tags after a tab, but the training data has: is a column missing?",
        "a.tsv#0+1, line 3 has tags but no text before them: it is read as empty",
        "a.tsv#0+1, line 2 (and 0 more) has no tags after a tab, but the training data has: is a column missing?",
    ]
    caplog.clear()
    run.translate(["", "ox", "go\t", "ox"])
    assert [record.getMessage() for record in caplog.records] == [
        "line 2 (and 2 more) has no tags after a tab, but the training data has: is a column missing?"
    ]


def test_sources_with_tabs_are_named_if_the_run_has_no_tags(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    run.translate(["a dog\tein Hund", "a cat"], max_length=3)
    assert "tab" not in caplog.text
    run.translate(["a dog\tein Hund", "a cat\teine Katze"], max_length=3)
    run.score(["1\ta dog", "2\ta cat"], ["a man", "a man"], locations=["a.src, line 1", "a.src, line 2"])
    messages = [record.getMessage() for record in caplog.records if "tab" in record.getMessage()]
    expected = "and all other lines have a tab, which is read as text: are they columns of a .tsv file?"
    assert messages == [f"line 1 {expected}", f"a.src, line 1 {expected}"]


def test_unusual_spaces_do_not_change_a_translation(run: Run) -> None:
    line = "the red horse eats quickly."
    variants = [" the  red horse eats\u00a0quickly. ", "\ufeffthe\tred\u2009horse ea\u00adts quickly.\u200b"]
    expected = run.translate([line], beam_size=2, max_length=12)
    assert run.translate(variants, beam_size=2, max_length=12) == expected * 2
    scores = run.score([line, *variants], ["a man"] * 3)
    assert scores[1:] == scores[:1] * 2


def test_a_space_at_the_end_of_a_prefix_is_that_of_the_next_word(run: Run) -> None:
    options = {"max_length": 12, "beam_size": 2}
    expected = run.translate(LINES[:1], prefixes=["a woman"], **options)  # type: ignore[arg-type]
    assert run.translate(LINES[:1], prefixes=["a woman "], **options) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["characters", "sentencepiece_bpe"])
def test_translations_that_continue_the_word_of_a_prefix_are_counted(
    kind: str, tokenizer: Tokenizer, caplog: pytest.LogCaptureFixture
) -> None:
    """Characters are the same in each word; `woman` is one subword, which `wom` does not start."""
    prefixes, texts = ["a wom", "a wom", "a wom ", "", "a", "数"], ["a woman", "a wom an", "a woman", "x", "a", "数字"]
    translations = [Translation([ScoredText(text, 0.0, 0.0, 1, True)], False, 1, 0) for text in texts]
    characters = train_tokenizer(CharactersConfig(), texts)
    warn_of_continued_words(prefixes, translations, characters if kind == "characters" else tokenizer)
    expected = "2 of 6 translations continue the last word of their prefix, such as `wom` in `a woman`"
    if kind != "characters":
        expected += ": 2 of these words have other tokens than in training, so end prefixes with complete words"
    assert caplog.messages == [expected]


@pytest.mark.parametrize("old_is_first", [True, False])
def test_an_ensemble_with_a_run_of_an_earlier_version_reads_single_spaces(
    make_run: Callable[..., Path], run_folder: Path, old_is_first: bool
) -> None:
    old = RunFolder(make_run(seed=3))
    old.config_file.write_text(old.config_file.read_text().replace("src_spaces: single", "src_spaces: keep"))
    old.write_description({})
    assert not seqlab.load(old.path).src_tokenizer.has_single_spaces
    paths = [old.path, run_folder] if old_is_first else [run_folder, old.path]
    run, options = seqlab.load(paths), {"beam_size": 2, "max_length": 10}
    assert run.translate(["a\u00a0man rides."], **options) == run.translate(["a man rides."], **options)  # type: ignore[arg-type]


def test_a_blank_prefix_is_no_prefix(run: Run) -> None:
    options = {"max_length": 12, "beam_size": 2}
    blank = run.translate(LINES[:1] * 2, prefixes=["  ", "\u00a0"], **options)  # type: ignore[arg-type]
    assert blank == run.translate(LINES[:1] * 2, **options)  # type: ignore[arg-type]
