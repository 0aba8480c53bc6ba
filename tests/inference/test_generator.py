"""Generation from language models: batch invariance, stop texts, and beam search against brute force."""

import math
import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from reference.exhaustive import all_sequences, best
from reference.tiny_language_models import FAMILIES, MAX_LENGTH, TinyRuns, random_model, write_language_model

from seqlab.data.batch import collate_prompts
from seqlab.search.config import SearchConfig
from seqlab.tasks.language_modelling.generator import Continuation, Generator
from seqlab.tasks.language_modelling.language_model import LanguageModel, load_language_model
from seqlab.text import CharactersConfig, SentencePieceBpeConfig, TokenizerConfig, train_tokenizer

PROMPTS = ["", "der", "die Katze läuft über", "dog sees a", "größer", "der", "日本 🙂"]
every_family = pytest.mark.parametrize("family", FAMILIES)
NEWLINE = {"lines": [], "continuous": ["\n"]}
"""Stop texts that only a model of continuous text can output."""
every_document = pytest.mark.parametrize("documents", ["lines", "continuous"])


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> TinyRuns:
    return TinyRuns(tmp_path_factory.getbasetemp() / "language_models")


def is_close(found: Continuation, other: Continuation) -> bool:
    return replace(found, log_prob=0.0) == replace(other, log_prob=0.0) and math.isclose(
        found.log_prob, other.log_prob, rel_tol=1e-5
    )


@torch.inference_mode()
def next_log_probs(run: LanguageModel, prefix: Sequence[int]) -> torch.Tensor:
    """Compute log-probabilities of the next id after a prefix: the mean of the members' probabilities."""
    steps = []
    for member in run.members:
        last_ids, state = member.stepper.start(collate_prompts([[run.start_id, *prefix]]))
        steps.append(member.stepper.step(last_ids, state).scores[0].double())
    return torch.logsumexp(torch.stack(steps), dim=0) - math.log(len(steps))


@every_family
@every_document
def test_samples_do_not_depend_on_the_batch(runs: TinyRuns, family: str, documents: str) -> None:
    run = load_language_model(runs(family, documents=documents))
    config: dict[str, Any] = {"seed": 3, "max_length": 18, "top_p": 0.97}
    expected = run.generate(PROMPTS, num_samples=2, **config)
    for batch_rows in (1, 4):
        assert run.generate(PROMPTS, num_samples=2, **config, batch_rows=batch_rows) == expected
    assert [each[:1] for each in expected] == run.generate(PROMPTS, **config)
    assert expected[:2] == run.generate(PROMPTS[:2], num_samples=2, **config)
    texts = [each.text for continuations in expected for each in continuations]
    assert len(set(texts)) > len(texts) // 2  # prompts and samples have independent random numbers
    assert texts != [each.text for c in run.generate(PROMPTS, num_samples=2, **(config | {"seed": 4})) for each in c]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("seeds", [(1,), (1, 2)], ids=str)
@every_family
def test_beam_search_beyond_the_context_does_not_depend_on_the_batch(
    runs: TinyRuns, family: str, seeds: tuple[int, ...], precision: str
) -> None:
    """Prompts near the context length, after which a Transformer re-reads half of its context; others have none."""
    run = load_language_model([runs(family, "characters", seed=seed) for seed in seeds], precision=precision)
    for length in (MAX_LENGTH - 6, MAX_LENGTH, MAX_LENGTH + 3)[: 3 if family == "transformer_lm" else 1]:
        prompts = ["".join("der Katzeläufbschn"[(i * k) % 18] for i in range(length)) for k in (1, 5, 7, 11, 13)]
        options: dict[str, Any] = {"beam_size": 3, "num_hypotheses": 3, "max_length": 24}
        expected = run.generate(prompts, **options)
        for chosen in ([0], [1, 2], [3, 4, 0]):
            assert run.generate([prompts[i] for i in chosen], **options) == [expected[i] for i in chosen]


@every_family
def test_bf16_samples_do_not_depend_on_the_batch(runs: TinyRuns, family: str) -> None:
    run = load_language_model(runs(family), precision="bf16")
    config: dict[str, Any] = {"max_length": 12, "min_p": 0.02}
    expected = run.generate(PROMPTS, num_samples=2, **config)
    assert run.generate(PROMPTS, num_samples=2, **config, batch_rows=1) == expected


@every_family
@every_document
def test_log_probs_match_teacher_forcing(runs: TinyRuns, family: str, documents: str) -> None:
    """The log-probability of a continuation is the sum over its ids, scored one by one after the prompt."""
    run = load_language_model(runs(family, "characters", documents))
    config: dict[str, Any] = {"max_length": 8, "seed": 2}
    prompts = [prompt for prompt in PROMPTS if len(prompt) + 8 <= MAX_LENGTH]
    for prompt, [found] in zip(prompts, run.generate(prompts, **config), strict=True):
        lines = (prompt + found.text).split("\n")
        rows = [[*ids, run.tokenizer.eos_id] for ids in run.tokenizer.encode(lines)]
        ids = [each for row in rows for each in row]
        length = len(prompt) + found.num_tokens  # each id is a character, or the end of a line
        expected = [float(next_log_probs(run, ids[:n])[ids[n]]) for n in range(len(prompt), length)]
        assert found.log_prob == pytest.approx(sum(expected), rel=1e-5)
        assert found.finished == (ids[length - 1] == run.tokenizer.eos_id and documents == "lines")


@every_family
@every_document
def test_top_k_1_equals_greedy_search(runs: TinyRuns, family: str, documents: str) -> None:
    run = load_language_model(runs(family, documents=documents))
    sampled = run.generate(PROMPTS, top_k=1, max_length=10)
    searched = run.generate(PROMPTS, beam_size=1, max_length=10)
    for [sample], [greedy] in zip(sampled, searched, strict=True):
        if documents == "lines":
            assert is_close(sample, greedy)
        else:  # the search ends at the end of the line
            assert sample.text.partition("\n")[0] == greedy.text


@pytest.mark.parametrize("families", [[family] for family in FAMILIES] + [list(FAMILIES)], ids="+".join)
def test_beam_search_matches_exhaustive_search(tmp_path: Path, families: list[str]) -> None:
    """Also for an ensemble of all families."""
    lines = ["abba", "ab", "ba", "aab", "b"]
    tokenizer = train_tokenizer(CharactersConfig(), lines)
    paths = []
    for number, family in enumerate(families):
        model = random_model(FAMILIES[family], tokenizer, seed=number + 3)
        if family == "ngram_lm":
            model.fit(tokenizer.encode(lines))
        paths.append(write_language_model(tmp_path / family, FAMILIES[family], model, tokenizer))
    run = load_language_model(paths)
    config: dict[str, Any] = {"beam_size": 200, "num_hypotheses": 4, "max_length": 5, "early_stopping": False}
    for prompt in ("", "ab"):
        [before] = tokenizer.encode([prompt])

        def table(history: tuple[int, ...], before: list[int] = before) -> list[float]:
            return next_log_probs(run, [*before, *history]).tolist()

        banned = (tokenizer.pad_id, tokenizer.bos_id, tokenizer.unk_id)
        expected = best(all_sequences(table, tokenizer.eos_id, SearchConfig(**config), 1, 5, banned_ids=banned), 4)
        [found] = run.generate([prompt], **config)
        assert [each.text for each in found] == tokenizer.decode([each.ids for each in expected])
        assert [each.log_prob for each in found] == pytest.approx([each.log_prob for each in expected], rel=1e-4)
        assert [each.finished for each in found] == [each.finished for each in expected]


@every_document
@pytest.mark.parametrize("tokenizer", ["bpe", "sentencepiece", "characters", "words"])
def test_stop_texts_truncate_the_text_at_their_first_occurrence(runs: TinyRuns, documents: str, tokenizer: str) -> None:
    """For any tokenizer and batch size, the result is a prefix of the text generated without stop texts."""
    run = load_language_model(runs("gru_lm", tokenizer, documents))
    config: dict[str, Any] = {"max_length": 40, "seed": 5}
    prompts = PROMPTS * 2
    stop = ["Ka", "er", " d", "a ", "🙂", "語", ",", "o", *NEWLINE[documents]]
    untruncated = run.generate(prompts, **config)
    found = run.generate(prompts, **config, stop=stop)
    assert found == run.generate(prompts, **config, stop=stop, batch_rows=1)
    num_truncated = 0
    for [full], [cut] in zip(untruncated, found, strict=True):
        positions = [full.text.find(each) for each in stop if each in full.text]
        num_truncated += bool(positions)
        assert cut.text == (full.text[: min(positions)] if positions else full.text)
        assert cut.finished == (bool(positions) or full.finished)
        assert (cut.num_tokens < full.num_tokens) <= bool(positions)
    assert num_truncated > 3


@every_document
@pytest.mark.parametrize("tokenizer", ["bpe", "sentencepiece", "words"])
def test_streaming_emits_the_final_text(runs: TinyRuns, documents: str, tokenizer: str) -> None:
    run = load_language_model(runs("lstm_lm", tokenizer, documents))
    for seed in range(4):
        for stop in ([], ["er", "läuft", *NEWLINE[documents]]):
            emitted: list[str] = []
            config: dict[str, Any] = {"max_length": 30, "seed": seed, "min_length": 4}
            [[found]] = run.generate(["die Ka"], **config, stop=stop, on_text=emitted.append)
            assert "".join(emitted) == found.text
            assert [[found]] == run.generate(["die Ka"], **config, stop=stop)


def test_models_of_continuous_text_generate_several_lines(runs: TinyRuns) -> None:
    run = load_language_model(runs("ngram_lm", documents="continuous"))
    [continuations] = run.generate(["der die\nKatze"], num_samples=20, max_length=40)
    assert any("\n" in each.text for each in continuations)
    assert not any(each.finished for each in continuations)
    assert all(each.num_tokens == 40 for each in continuations)
    [[first, *_], [second, *_]] = run.generate(["der", "der\n"], num_samples=2, top_k=1)
    assert first.text.startswith((" ", "\n", ","))
    assert not second.text.startswith(" ")


def test_control_characters_in_lines_are_replaced(runs: TinyRuns) -> None:
    """They are replaced by spaces and counted; in continuous text they are kept."""
    counts = {}
    for documents in ("lines", "continuous"):
        run = load_language_model(runs("gru_lm", "bpe", documents))
        [found] = run.generate([""], num_samples=200, max_length=20)
        controls = [sum(unicodedata.category(c) == "Cc" and c != "\n" for c in each.text) for each in found]
        counts[documents] = sum(controls), sum(each.control_characters for each in found)
    assert counts["lines"][0] == 0 < counts["lines"][1]
    assert counts["continuous"][0] > 0 == counts["continuous"][1]


def test_newlines_in_stop_texts_are_refused_for_models_of_lines(runs: TinyRuns) -> None:
    run = load_language_model(runs("gru_lm"))
    with pytest.raises(ValueError, match="`stop` contains a newline, but the model was trained on single lines"):
        run.generate(["der"], stop=["a", "e\n"])


def test_first_prompt_reproduces_the_samples_of_a_part_of_the_prompts(runs: TinyRuns) -> None:
    run = load_language_model(runs("gru_lm"))
    options: dict[str, Any] = {"num_samples": 2, "max_length": 12}
    found = run.generate(PROMPTS, **options)
    parts = [run.generate(PROMPTS[i : i + 3], **options, first_prompt=i) for i in (0, 3, 6)]
    assert found == [continuations for part in parts for continuations in part]


def test_the_repetition_penalty_includes_the_prompt(runs: TinyRuns) -> None:
    """A very high penalty forbids every token of the prompt."""
    run = load_language_model(runs("gru_lm", "words"))
    search: dict[str, Any] = {"repetition_penalty": 1e6, "max_length": 8}
    [found] = run.generate(["die Katze die Katze"], num_samples=50, **search)
    without_penalty = run.generate(["die Katze die Katze"], num_samples=50, **(search | {"repetition_penalty": 1.0}))[0]
    assert not any({"die", "Katze"} & set(each.text.split()) for each in found)
    assert any({"die", "Katze"} & set(each.text.split()) for each in without_penalty)
    assert all(len(set(each.text.split())) == len(each.text.split()) for each in found)


def test_models_of_lines_generate_one_line(runs: TinyRuns) -> None:
    run = load_language_model(runs("ngram_lm"))
    found = run.generate(["", "der"], num_samples=50, max_length=60)
    assert all("\n" not in each.text for continuations in found for each in continuations)
    assert all(each.finished for continuations in found for each in continuations if each.num_tokens < 60)


@every_document
def test_long_prompts_are_truncated_on_the_left_with_a_warning(
    runs: TinyRuns, caplog: pytest.LogCaptureFixture, documents: str
) -> None:
    run = load_language_model(runs("transformer_lm", "characters", documents))
    ending = "läuft über Straße"[-MAX_LENGTH:]
    config: dict[str, Any] = {"top_k": 1, "max_length": 6}
    [[at_limit]] = run.generate([ending], **config)
    assert caplog.text == ""
    [[one], [other]] = run.generate([f"a {ending}", f"der die Katze {ending}"], **config)
    assert "prompt 1 has 18 tokens, but the model's context is 16 tokens: the first ones are ignored" in caplog.text
    assert "prompt 2 has 30 tokens" in caplog.text
    assert is_close(one, other)
    assert is_close(one, replace(at_limit, truncated=True))
    assert not at_limit.truncated


def test_recurrent_models_read_long_prompts_completely(runs: TinyRuns, caplog: pytest.LogCaptureFixture) -> None:
    run = load_language_model(runs("lstm_lm", "characters"))
    config: dict[str, Any] = {"top_k": 1, "max_length": 6}
    [[one], [other]] = run.generate(["die Katze sees a dog", "der Katze sees a dog"], **config)
    assert caplog.text == ""
    assert one.log_prob != other.log_prob


def test_unknown_characters_in_a_prompt_are_reported(runs: TinyRuns, caplog: pytest.LogCaptureFixture) -> None:
    run = load_language_model(runs("ngram_lm", "characters"))
    [[found]] = run.generate(["der Ω漢"], max_length=4)
    assert "prompt 1: not in the vocabulary, read as unknown: 'Ω', '漢'" in caplog.text
    assert "<unk>" not in found.text
    load_language_model(runs("ngram_lm", "bpe")).generate(["der Ω漢"], max_length=4)
    assert caplog.text.count("unknown") == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prompts": "der"}, "`prompts` must be a list of texts, but is one string"),
        ({"prompts": iter(["a", "b"])}, "`prompts` must be a list of texts, but is an iterator"),
        ({"prompts": ["a", 3]}, "`prompts` must hold strings, but entry 1 is 3"),
        ({"temprature": 2}, "There is no `temprature`; the nearest is `temperature`"),
        ({"beam_size": 2, "top_k": 3}, "`top_k` is for sampling, but `beam_size` is for beam search"),
        ({"length_alpha": 1}, "`length_alpha` is for beam search: give `beam_size`, too"),
        ({"prompts": ["a", "der\ndie"]}, "Prompt 2 contains a newline, but the model was trained on single lines"),
        ({"stop": "der"}, "`stop` must be a list of texts, but is one string"),
        ({"stop": ["a", ""]}, "`stop` must contain texts of at least one character, but one is empty"),
        ({"num_samples": 0}, "`num_samples` must be at least 1, but is 0"),
        ({"batch_rows": 0}, "`batch_rows` must be at least 1, but is 0"),
        ({"num_samples": 2, "beam_size": 5}, "beam search has `num_hypotheses`"),
        ({"stop": ["a"], "beam_size": 5}, "`stop` and `on_text` are for sampling"),
        ({"num_samples": 2, "on_text": print}, "`on_text` needs exactly one continuation, but 2 are requested"),
        ({"beam_size": 5, "min_length_ratio": 0.5}, "`min_length_ratio` is 0.5, but the batch has no"),
    ],
)
def test_invalid_arguments_are_refused(runs: TinyRuns, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_language_model(runs("ngram_lm")).generate(**options)
    assert load_language_model(runs("ngram_lm")).generate([]) == []


@pytest.mark.parametrize(
    ("config", "is_reported"), [(SentencePieceBpeConfig(vocab_size=280), True), (CharactersConfig(), False)]
)
def test_words_of_a_prompt_that_go_on_in_other_subwords_are_reported(
    config: TokenizerConfig, is_reported: bool, caplog: pytest.LogCaptureFixture
) -> None:
    tokenizer = train_tokenizer(config, ["the woman sees the woman"] * 9)
    generator = Generator([object()], tokenizer, 0, is_continuous=True, limit=None, device=torch.device("cpu"))  # type: ignore[list-item]
    prompts = ["the wom", "the woman", "the", "sees\nthe wom", ""]
    found = [[Continuation(text, 0.0, 1, True, 0, False)] for text in ("an\nthe", " sees", " wom", "an", "an")]
    generator._warn_of_continued_words(prompts, found)
    expected = (
        "2 of 5 continuations continue the last word of their prompt, such as `wom` in `the woman`, in other tokens"
    )
    assert [message.startswith(expected) for message in caplog.messages] == [True] * is_reported
