"""Word language model over characters, against sums over words in plain Python, for all short texts."""

import math
import random
from collections.abc import Sequence
from itertools import product
from typing import Any

import pytest
import torch
from reference.kneser_ney import KneserNey
from torch import Tensor

from seqlab.data.batch import collate_prompts
from seqlab.models import NgramConfig
from seqlab.models.interfaces import FixedContextModel, Stepper
from seqlab.models.kneser_ney import TrieLevel
from seqlab.models.ngram import NgramModel
from seqlab.models.spelled_words_lm import UNK_PENALTY, SpelledWordsLm
from seqlab.text.tokenizer import BOS_ID, EOS_ID, PAD_ID, UNK_ID
from seqlab.text.trained import train_tokenizer
from seqlab.text.vocabulary import CharactersConfig, WordsConfig

with_and_without_look_ahead = pytest.mark.parametrize("look_ahead", [True, False])
UNSPELLED = "é"
"""A character of some words that the character tokenizer lacks."""
LETTERS = "ab"


def random_lines(seed: int) -> list[str]:
    """Draw texts of short words, some of which are prefixes of others."""
    drawn = random.Random(seed)
    words = drawn.sample(["".join(each) for n in (1, 2, 3) for each in product(LETTERS, repeat=n)], 6)
    words.append(f"a{UNSPELLED}")
    return [" ".join(drawn.choices(words, range(1, 8), k=drawn.randint(0, 6))) for _ in range(50)]


class Setup:
    """Both tokenizers, the word language model, and its reference equations in plain dicts."""

    def __init__(self, seed: int, order: int = 3) -> None:
        lines = [line for line in random_lines(seed) if line]
        self.words = train_tokenizer(WordsConfig(min_count=8), lines)
        self.characters = train_tokenizer(CharactersConfig(), [f"{LETTERS} "])
        rows = self.words.encode(lines)
        special_ids = (PAD_ID, BOS_ID, EOS_ID)
        self.lm = NgramModel(NgramConfig(order=order), self.words.vocab_size, *special_ids)
        self.lm.fit(rows)
        self.reference = KneserNey(rows, order, self.words.vocab_size, special_ids, "lines")
        self.space_id = self.characters.encode([" "])[0][0]
        self.names = {word: self.words.decode([[word]])[0] for word in range(4, self.words.vocab_size)}

    def spelled(self, **options: Any) -> SpelledWordsLm:
        given: dict[str, Any] = {
            "lm": self.lm,
            "spellings": {word: self.spell(name) for word, name in self.names.items() if UNSPELLED not in name},
            "words": self.words,
            "characters": self.characters,
            "space_id": self.space_id,
            "start_id": BOS_ID,
        }
        return SpelledWordsLm(**(given | options))

    def spell(self, text: str) -> list[int]:
        return self.characters.encode([text])[0]

    def total(self, text: str, unk_penalty: float, ends: bool = True) -> float:
        """Sum the log-probabilities of the words of a text by the reference equations."""
        ids = {name: word for word, name in self.names.items()}
        row = [BOS_ID, *(ids.get(name, UNK_ID) for name in text.split()), *[EOS_ID] * ends]
        unknown = [name for name in text.split() if name not in ids]
        return sum(self.reference.log_probs(row)) - unk_penalty * sum(map(len, unknown))


@pytest.fixture(scope="module", params=range(3))
def setup(request: pytest.FixtureRequest) -> Setup:
    return Setup(request.param)


def all_texts(longest: int) -> list[str]:
    return ["".join(each) for n in range(longest + 1) for each in product(f"{LETTERS} ", repeat=n)]


def shares_of(model: SpelledWordsLm, rows: Sequence[Sequence[int]]) -> Tensor:
    """Score rows of equal lengths with eos after them: (N, T + 1)."""
    contexts, found = model.contexts_after(collate_prompts([[BOS_ID]] * len(rows))), []
    for column in torch.tensor([[*row, EOS_ID] for row in rows]).T:
        shares, contexts = model.read(column, contexts)
        found.append(shares)
    return torch.stack(found, 1)


@with_and_without_look_ahead
@pytest.mark.parametrize("unk_penalty", [0.0, 1.7])
def test_text_scores_are_sums_over_words(setup: Setup, look_ahead: bool, unk_penalty: float) -> None:
    model = setup.spelled(look_ahead=look_ahead, unk_penalty=unk_penalty)
    for length in range(7):
        texts = [text for text in all_texts(length) if len(text) == length]
        totals = shares_of(model, [setup.spell(text) for text in texts]).sum(1).tolist()
        assert totals == pytest.approx([setup.total(text, unk_penalty) for text in texts], abs=1e-9)


@pytest.mark.parametrize("order", [1, 2, 4])
def test_all_orders_of_the_word_model(order: int) -> None:
    setup = Setup(3, order)
    model = setup.spelled()
    texts = [text for text in all_texts(6) if len(text) == 6]
    totals = shares_of(model, [setup.spell(text) for text in texts]).sum(1).tolist()
    assert totals == pytest.approx([setup.total(text, UNK_PENALTY) for text in texts], abs=1e-9)


def test_a_character_of_no_word_makes_an_unknown_word(setup: Setup) -> None:
    model = setup.spelled(unk_penalty=0.5)
    (a,) = setup.spell("a")
    (with_unknown,) = shares_of(model, [[UNK_ID, a, setup.space_id, a]]).sum(1).tolist()
    assert with_unknown == pytest.approx(setup.total("?a a", 0.5), abs=1e-9)


def test_characters_of_known_words_score_zero_without_look_ahead(setup: Setup) -> None:
    name = max((name for name in setup.names.values() if UNSPELLED not in name), key=len)
    shares = shares_of(setup.spelled(look_ahead=False), [[*setup.spell(name), setup.space_id]])[0].tolist()
    assert shares[: len(name)] == [0.0] * len(name)
    assert shares[len(name)] == pytest.approx(setup.total(name, 0.0, ends=False))


def test_look_ahead_is_the_unigram_probability_of_all_words_with_the_prefix(setup: Setup) -> None:
    """Unknown words included, at one nat per character; look-ahead never increases with a character."""
    unigram = {word: math.log(setup.reference.prob(word, ())) for word in (*setup.names, UNK_ID)}
    model = setup.spelled(unk_penalty=1.0)
    for text in (text for text in all_texts(4) if text and " " not in text):
        spelled = {word: name for word, name in setup.names.items() if UNSPELLED not in name}
        matching = [unigram[word] for word, name in spelled.items() if name.startswith(text)]
        both = [*matching, unigram[UNK_ID] - len(text)]
        shares = shares_of(model, [setup.spell(text)])[0, :-1]
        assert float(shares.sum()) == pytest.approx(math.log(sum(map(math.exp, both))), abs=1e-9)
        assert float(shares.max()) <= 1e-12


def test_scores_are_independent_of_other_rows_and_broadcasting(setup: Setup) -> None:
    model = setup.spelled()
    rows = [setup.spell(text) for text in all_texts(4) if len(text) == 4]
    contexts = model.contexts_after(collate_prompts([[BOS_ID, *row] for row in rows]))
    ids = torch.arange(model.vocab_size)
    shares, after = model.read(ids, contexts[:, None])
    assert shares.dtype == torch.float64
    for row, context in enumerate(contexts):
        for index in ids.tolist():
            one, then = model.read(torch.tensor(index), context)
            assert torch.equal(one, shares[row, index])
            assert torch.equal(then, after[row, index])


def test_steps_and_prompts_equal_read(setup: Setup) -> None:
    model = setup.spelled()
    assert isinstance(model, Stepper)
    assert isinstance(model, FixedContextModel)
    assert model.impossible_ids == []
    row = setup.spell("ab b aab")
    for known in range(len(row)):
        last_ids, state = model.start(collate_prompts([[BOS_ID, *row[:known]]] * 2))
        contexts = model.contexts_after(collate_prompts([[BOS_ID, *row[:known]]] * 2))
        for each in row[known:]:
            step = model.step(last_ids, state)
            expected = model.read(torch.arange(model.vocab_size), contexts[:, None])[0]
            assert torch.equal(step.scores, expected.float())
            assert step.scores[0].isneginf().nonzero().flatten().tolist() == [PAD_ID, BOS_ID]
            last_ids = torch.tensor([each, setup.space_id])
            _, contexts = model.read(last_ids, contexts)
            state = step.state


def test_continuous_text_starts_with_eos_and_continues_after_it() -> None:
    setup = Setup(0)
    (word,) = (word for word, name in setup.names.items() if name == "a")
    setup.lm.fit([[word, word], [word], [word, word, word]], "continuous")
    model = setup.spelled(start_id=EOS_ID)
    assert torch.equal(
        model.contexts_after(collate_prompts([[BOS_ID]]))[:, :-1],
        setup.lm.contexts_after(collate_prompts([[EOS_ID]])),
    )
    after = model.contexts_after(collate_prompts([[BOS_ID, *setup.spell("a a"), EOS_ID]]))
    assert torch.equal(after[:, :-1], setup.lm.contexts_after(collate_prompts([[EOS_ID, word, word, EOS_ID]])))


@with_and_without_look_ahead
def test_the_most_probable_of_homographs_has_the_spelling(look_ahead: bool) -> None:
    setup = Setup(0)
    words = sorted(setup.names, key=lambda word: setup.reference.prob(word, ()))
    spellings = {words[0]: setup.spell("a"), words[-1]: setup.spell("a"), words[1]: setup.spell("a")}
    model = setup.spelled(spellings=spellings, look_ahead=look_ahead)
    (total,) = shares_of(model, [setup.spell("a")]).sum(1).tolist()
    assert total == pytest.approx(sum(setup.reference.log_probs([BOS_ID, words[-1], EOS_ID])))


@with_and_without_look_ahead
def test_a_word_of_probability_zero_is_impossible(look_ahead: bool) -> None:
    """Nor do other scores become NaN."""
    setup = Setup(0)
    (unigrams, *longer) = [TrieLevel(*(each.numpy() for each in level)) for level in setup.lm.trie]
    word, name = next((word, name) for word, name in setup.names.items() if UNSPELLED not in name)
    log_probs = unigrams.log_probs.copy()
    log_probs[word] = -math.inf
    lm = NgramModel(NgramConfig(order=1), setup.words.vocab_size, PAD_ID, BOS_ID, EOS_ID)
    lm.set_levels([TrieLevel(unigrams.keys, log_probs, longer[0].backoffs[:0])])
    model = setup.spelled(lm=lm, look_ahead=look_ahead)
    shares = shares_of(model, [setup.spell(name), setup.spell("b" * len(name))])
    assert not shares.isnan().any()
    assert shares.sum(1).isneginf().tolist() == [True, False]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"unk_penalty": -0.1}, "`unk_penalty` must be finite and at least 0, but is -0.1"),
        ({"unk_penalty": math.nan}, "but is nan"),
        ({"spellings": {}}, "`spellings` is empty"),
        ({"spellings": {4: []}}, "The spelling of word 4 is empty"),
        ({"spellings": {4: [5], 5: [5, EOS_ID]}}, "The spelling of word 5 holds 2, which is no character"),
        ({"spellings": {4: [99]}}, "holds 99"),
        ({"spellings": {99: [4]}}, "holds id 99, which is not a word"),
        ({"spellings": {UNK_ID: [4]}}, "holds id 3, which is not a word"),
    ],
)
def test_invalid_arguments_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Setup(0).spelled(**options)


def test_spaces_in_spellings_and_texts_without_bos_are_refused(setup: Setup) -> None:
    with pytest.raises(ValueError, match=f"holds {setup.space_id}, which is no character of a word"):
        setup.spelled(spellings={4: setup.spell("a b")})
    with pytest.raises(ValueError, match="must start with bos"):
        setup.spelled().contexts_after(collate_prompts([[EOS_ID]]))


def test_a_language_model_without_unk_is_refused() -> None:
    setup = Setup(0)
    log_probs = setup.lm.trie[0].log_probs.numpy().copy()
    log_probs[UNK_ID] = -math.inf
    lm = NgramModel(NgramConfig(order=1), setup.words.vocab_size, PAD_ID, BOS_ID, EOS_ID)
    lm.set_levels([TrieLevel(setup.lm.trie[0].keys.numpy(), log_probs, log_probs[:0])])
    with pytest.raises(ValueError, match=r"gives unk \(id 3\) no probability"):
        setup.spelled(lm=lm)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_scores_on_gpu_equal_cpu() -> None:
    setup = Setup(0)
    model, rows = setup.spelled(), [setup.spell(text) for text in all_texts(4) if len(text) == 4]
    ids = torch.arange(model.vocab_size)
    contexts = model.contexts_after(collate_prompts([[BOS_ID, *row] for row in rows]))
    expected = model.read(ids, contexts[:, None])
    moved = model.to("cuda")
    there = moved.contexts_after(collate_prompts([[BOS_ID, *row] for row in rows]).to("cuda"))
    assert torch.equal(there.cpu(), contexts)
    found = moved.read(ids.cuda(), there[:, None])
    torch.testing.assert_close(found[0].cpu(), expected[0], rtol=0, atol=1e-12)
    assert torch.equal(found[1].cpu(), expected[1])
