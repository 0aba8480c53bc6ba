"""Text as it grows: stop texts wherever they fall among the ids, and what is told of it meanwhile."""

import random
from collections.abc import Sequence

import pytest
from reference.tiny_language_models import LINES, TOKENIZERS

from seqlab.tasks.language_modelling.streaming import Teller, Wording
from seqlab.text import Tokenizer, train_tokenizer

every_tokenizer = pytest.mark.parametrize("kind", TOKENIZERS)
CONTINUOUS = pytest.mark.parametrize("is_continuous", [False, True], ids=["lines", "continuous"])
MADE: dict[str, Tokenizer] = {}


def tokenizer_of(kind: str) -> Tokenizer:
    if kind not in MADE:
        MADE[kind] = train_tokenizer(TOKENIZERS[kind], LINES)
    return MADE[kind]


def random_ids(tokenizer: Tokenizer, draw: random.Random, is_continuous: bool) -> list[int]:
    """Draw ids of any kind, many of them bytes that make no character, or parts of one."""
    ids = [draw.randrange(tokenizer.unk_id + 1, tokenizer.vocab_size) for _ in range(draw.randint(0, 12))]
    ids = [tokenizer.eos_id if is_continuous and draw.random() < 0.2 else each for each in ids]
    return [each for each in ids if each != tokenizer.unk_id] + tokenizer.encode(["größer 日本 🙂 \x10 ▁"])[0]


def whole_text(tokenizer: Tokenizer, ids: Sequence[int], is_continuous: bool) -> str:
    """Decode line by line."""
    lines: list[list[int]] = [[]]
    for each in ids:
        lines[-1].append(each)
        if is_continuous and each == tokenizer.eos_id:
            lines.append([])
    joined = "\n".join(tokenizer.decode([line])[0] for line in lines)
    return joined if is_continuous else joined.replace("\n", " ")


@every_tokenizer
@CONTINUOUS
def test_what_is_told_is_the_text_and_nothing_twice(kind: str, is_continuous: bool) -> None:
    """Whatever the ids are: told one by one, and stopped where the text that grew from scratch is stopped."""
    tokenizer, draw = tokenizer_of(kind), random.Random(kind)
    for _ in range(150):
        prompt = tokenizer.encode([draw.choice(["", "die Katze", "größer ", "日"])])[0]
        ids = random_ids(tokenizer, draw, is_continuous)
        before = whole_text(tokenizer, prompt, is_continuous)
        text = whole_text(tokenizer, [*prompt, *ids], is_continuous)[len(before) :]
        place = draw.randrange(len(text) + 1)
        stop = [text[place : place + draw.randint(1, 3)] or "zz", "never"] if draw.random() < 0.7 else []
        stop = [each for each in stop if "\ufffd" not in each]
        wording = Wording(tokenizer, stop, 0, is_continuous=is_continuous)
        told: list[str] = []
        teller, stopper = Teller(wording, prompt, told.append), wording.stopper(begins_line=not prompt)
        grown: list[int] = []
        for each in ids:
            grown.append(each)
            teller.on_step([0], [each])
            if stopper is not None and stopper(grown):
                break
        final, has_ended = wording.cut(prompt, grown)
        shown, num_controls = wording.shown(text)
        assert (shown == text) == (num_controls == 0)
        assert shown.startswith("".join(told))
        teller.finish(final)
        assert "".join(told) == shown[: len(final)]
        found = [text.find(each) for each in stop if each in text]
        assert (final, has_ended) == ((text[: min(found)], True) if found else (text, False))
        assert all(told)


def test_telling_decodes_the_line_that_grows_and_not_those_before(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer, decoded = tokenizer_of("characters"), 0
    decode = tokenizer.decode

    def counted(_: Tokenizer, rows: Sequence[Sequence[int]]) -> list[str]:
        nonlocal decoded
        decoded = max(decoded, sum(map(len, rows)))
        return decode(rows)

    monkeypatch.setattr(type(tokenizer), "decode", counted)
    told: list[str] = []
    [line] = tokenizer.encode(["die Katze"])
    lines = [*line, tokenizer.eos_id] * 20
    teller = Teller(Wording(tokenizer, ["Hund"], 0, is_continuous=True), lines, told.append)
    for each in lines:
        teller.on_step([0], [each])
    teller.finish("die Katze\n" * 20)
    assert "".join(told) == "die Katze\n" * 20
    assert decoded <= 2 * len("die Katze\n")


@every_tokenizer
def test_no_half_character_is_told(kind: str) -> None:
    tokenizer = tokenizer_of(kind)
    line = "schön 日本語 🙂🙂 naïve"
    told: list[str] = []
    teller = Teller(Wording(tokenizer, [], 0, is_continuous=False), [], told.append)
    for each in tokenizer.encode([line])[0]:
        teller.on_step([0], [each])
        assert line.startswith("".join(told)) or kind in ("words", "characters")
        assert "\ufffd" not in "".join(told)


@pytest.mark.parametrize("begins_line", [True, False])
@every_tokenizer
def test_a_stop_text_may_begin_with_the_first_space(kind: str, begins_line: bool) -> None:
    """After a prompt a word has a space before it, at the beginning of a line it has none."""
    tokenizer = tokenizer_of(kind)
    [prompt], [whole] = tokenizer.encode(["dog"]), tokenizer.encode(["dog sees a"])
    ids = whole if begins_line else whole[len(prompt) :]
    wording = Wording(tokenizer, [" sees"], 0, is_continuous=False)
    stopper = wording.stopper(begins_line)
    assert stopper is not None
    end = next(n for n in range(1, len(ids) + 1) if stopper(ids[:n]))
    assert wording.cut([] if begins_line else prompt, ids[:end]) == ("dog" if begins_line else "", True)


def test_stop_texts_that_are_complete_too_early_are_text() -> None:
    tokenizer = tokenizer_of("characters")
    [ids] = tokenizer.encode(["a,a,a,a"])
    wording = Wording(tokenizer, [",a", "a,a"], 4, is_continuous=False)
    assert wording.cut([], ids[:3]) == ("a,a", False)
    assert wording.cut([], ids[:4]) == ("a,a,", False)
    assert wording.cut([], ids[:5]) == ("a,", True)  # `a,a` begins before `,a`


def test_a_line_model_says_lines() -> None:
    """A byte that is a newline would be two lines in a file of lines."""
    tokenizer = tokenizer_of("sentencepiece")
    newline = next(i for i in range(tokenizer.vocab_size) if tokenizer.tokens([i]) == ["<0x0A>"])
    ids = [*tokenizer.encode(["a"])[0], newline, *tokenizer.encode(["dog"])[0]]
    assert Wording(tokenizer, [], 0, is_continuous=False).added([], ids) == "a  dog"
    assert Wording(tokenizer, [], 0, is_continuous=True).added([], ids) == "a\n dog"
    with_end = [*tokenizer.encode(["a"])[0], tokenizer.eos_id, *tokenizer.encode(["dog"])[0]]
    assert Wording(tokenizer, [], 0, is_continuous=True).added([], with_end) == "a\ndog"


@pytest.mark.parametrize("kind", ["bpe", "sentencepiece"])
def test_a_stop_text_may_be_spelt_in_bytes(kind: str) -> None:
    tokenizer = tokenizer_of(kind)
    [ids] = tokenizer.encode(["a漢字かなdog"])
    stopper = Wording(tokenizer, ["漢字かな"], 0, is_continuous=False).stopper(begins_line=True)
    assert stopper is not None
    end = next(n for n in range(1, len(ids) + 1) if stopper(ids[:n]))
    assert tokenizer.decode([ids[:end]]) == ["a漢字かな"]
