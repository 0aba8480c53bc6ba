"""Incremental detokenization with stop strings, and streaming output."""

import functools
import random
from collections.abc import Sequence

import pytest
from reference.tiny_language_models import LINES, TOKENIZERS

from seqlab.tasks.language_modelling.streaming import Detokenizer, TextStreamer
from seqlab.text import Tokenizer, train_tokenizer

every_tokenizer = pytest.mark.parametrize("kind", TOKENIZERS)
lines_and_continuous = pytest.mark.parametrize("is_continuous", [False, True], ids=["lines", "continuous"])


@functools.cache
def tokenizer_of(kind: str) -> Tokenizer:
    return train_tokenizer(TOKENIZERS[kind], LINES)


def random_ids(tokenizer: Tokenizer, draw: random.Random, is_continuous: bool) -> list[int]:
    """Draw random ids, many of them bytes of invalid or incomplete characters."""
    ids = [draw.randrange(tokenizer.unk_id + 1, tokenizer.vocab_size) for _ in range(draw.randint(0, 12))]
    ids = [tokenizer.eos_id if is_continuous and draw.random() < 0.2 else each for each in ids]
    return [each for each in ids if each != tokenizer.unk_id] + tokenizer.encode(["größer 日本 🙂 \x10 ▁"])[0]


def decode_text(tokenizer: Tokenizer, ids: Sequence[int], is_continuous: bool) -> str:
    """Decode line by line."""
    lines: list[list[int]] = [[]]
    for each in ids:
        lines[-1].append(each)
        if is_continuous and each == tokenizer.eos_id:
            lines.append([])
    joined = "\n".join(tokenizer.decode([line])[0] for line in lines)
    return joined if is_continuous else joined.replace("\n", " ")


@every_tokenizer
@lines_and_continuous
def test_emitted_pieces_join_to_the_decoded_text(kind: str, is_continuous: bool) -> None:
    """For random ids: emitted id by id, and stopped at the same position as the completely decoded text."""
    tokenizer, draw = tokenizer_of(kind), random.Random(kind)
    for _ in range(150):
        prompt = tokenizer.encode([draw.choice(["", "die Katze", "größer ", "日"])])[0]
        ids = random_ids(tokenizer, draw, is_continuous)
        before = decode_text(tokenizer, prompt, is_continuous)
        text = decode_text(tokenizer, [*prompt, *ids], is_continuous)[len(before) :]
        start = draw.randrange(len(text) + 1)
        stop = [text[start : start + draw.randint(1, 3)] or "zz", "never"] if draw.random() < 0.7 else []
        stop = [each for each in stop if "\ufffd" not in each]
        detokenizer = Detokenizer(tokenizer, stop, 0, is_continuous=is_continuous)
        emitted: list[str] = []
        streamer, is_stop = (
            TextStreamer(detokenizer, prompt, emitted.append),
            detokenizer.stop_condition(begins_line=not prompt),
        )
        grown: list[int] = []
        for each in ids:
            grown.append(each)
            streamer.on_step([0], [each])
            if is_stop is not None and is_stop(grown):
                break
        final, has_ended = detokenizer.until_stop(prompt, grown)
        shown, num_controls = detokenizer.printable(text)
        assert (shown == text) == (num_controls == 0)
        assert shown.startswith("".join(emitted))
        streamer.finish(final)
        assert "".join(emitted) == shown[: len(final)]
        found = [text.find(each) for each in stop if each in text]
        assert (final, has_ended) == ((text[: min(found)], True) if found else (text, False))
        assert all(emitted)


def test_streaming_decodes_only_the_current_line(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer, max_decoded = tokenizer_of("characters"), 0
    decode = tokenizer.decode

    def decode_and_count(_: Tokenizer, rows: Sequence[Sequence[int]]) -> list[str]:
        nonlocal max_decoded
        max_decoded = max(max_decoded, sum(map(len, rows)))
        return decode(rows)

    monkeypatch.setattr(type(tokenizer), "decode", decode_and_count)
    emitted: list[str] = []
    [line] = tokenizer.encode(["die Katze"])
    lines = [*line, tokenizer.eos_id] * 20
    streamer = TextStreamer(Detokenizer(tokenizer, ["Hund"], 0, is_continuous=True), lines, emitted.append)
    for each in lines:
        streamer.on_step([0], [each])
    streamer.finish("die Katze\n" * 20)
    assert "".join(emitted) == "die Katze\n" * 20
    assert max_decoded <= 2 * len("die Katze\n")


@every_tokenizer
def test_incomplete_characters_are_not_emitted(kind: str) -> None:
    tokenizer = tokenizer_of(kind)
    line = "schön 日本語 🙂🙂 naïve"
    emitted: list[str] = []
    streamer = TextStreamer(Detokenizer(tokenizer, [], 0, is_continuous=False), [], emitted.append)
    for each in tokenizer.encode([line])[0]:
        streamer.on_step([0], [each])
        assert line.startswith("".join(emitted)) or kind in ("words", "characters")
        assert "\ufffd" not in "".join(emitted)


@pytest.mark.parametrize("begins_line", [True, False])
@every_tokenizer
def test_stop_texts_may_start_with_the_space_after_the_prompt(kind: str, begins_line: bool) -> None:
    """A word has a space before it after a prompt, but none at the start of a line."""
    tokenizer = tokenizer_of(kind)
    [prompt], [line] = tokenizer.encode(["dog"]), tokenizer.encode(["dog sees a"])
    ids = line if begins_line else line[len(prompt) :]
    detokenizer = Detokenizer(tokenizer, [" sees"], 0, is_continuous=False)
    is_stop = detokenizer.stop_condition(begins_line)
    assert is_stop is not None
    end = next(n for n in range(1, len(ids) + 1) if is_stop(ids[:n]))
    assert detokenizer.until_stop([] if begins_line else prompt, ids[:end]) == ("dog" if begins_line else "", True)


def test_stop_texts_before_min_length_do_not_stop() -> None:
    tokenizer = tokenizer_of("characters")
    [ids] = tokenizer.encode(["a,a,a,a"])
    detokenizer = Detokenizer(tokenizer, [",a", "a,a"], 4, is_continuous=False)
    assert detokenizer.until_stop([], ids[:3]) == ("a,a", False)
    assert detokenizer.until_stop([], ids[:4]) == ("a,a,", False)
    assert detokenizer.until_stop([], ids[:5]) == ("a,", True)  # `a,a` starts before `,a`


def test_newline_bytes_become_spaces_in_models_of_lines() -> None:
    """A newline byte would split a line of the output in two."""
    tokenizer = tokenizer_of("sentencepiece")
    newline = next(i for i in range(tokenizer.vocab_size) if tokenizer.tokens([i]) == ["<0x0A>"])
    ids = [*tokenizer.encode(["a"])[0], newline, *tokenizer.encode(["dog"])[0]]
    assert Detokenizer(tokenizer, [], 0, is_continuous=False).continuation([], ids) == "a  dog"
    assert Detokenizer(tokenizer, [], 0, is_continuous=True).continuation([], ids) == "a\n dog"
    with_end = [*tokenizer.encode(["a"])[0], tokenizer.eos_id, *tokenizer.encode(["dog"])[0]]
    assert Detokenizer(tokenizer, [], 0, is_continuous=True).continuation([], with_end) == "a\ndog"


@pytest.mark.parametrize("kind", ["bpe", "sentencepiece"])
def test_stop_texts_may_consist_of_byte_tokens(kind: str) -> None:
    tokenizer = tokenizer_of(kind)
    [ids] = tokenizer.encode(["a漢字かなdog"])
    is_stop = Detokenizer(tokenizer, ["漢字かな"], 0, is_continuous=False).stop_condition(begins_line=True)
    assert is_stop is not None
    end = next(n for n in range(1, len(ids) + 1) if is_stop(ids[:n]))
    assert tokenizer.decode([ids[:end]]) == ["a漢字かな"]
