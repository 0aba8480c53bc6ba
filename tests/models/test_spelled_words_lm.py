"""Word language model over characters, against sums over words in plain Python for all short texts."""

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
from seqlab.models.interfaces import FixedContextModel
from seqlab.models.kneser_ney import TrieLevel
from seqlab.models.ngram import NgramModel
from seqlab.models.spelled_words_lm import UNK_PENALTY, SpelledWordsLm
from seqlab.search.protocols import Stepper
from seqlab.text.tokenizer import BOS_ID, EOS_ID, PAD_ID, UNK_ID
from seqlab.text.trained import train_tokenizer
from seqlab.text.vocabulary import CharactersConfig, WordsConfig

with_and_without_look_ahead = pytest.mark.parametrize("look_ahead", [True, False])
MISSING_CHARACTER = "é"
"""A character of some words that is missing from the character tokenizer."""
LETTERS = "ab"


def draw_lines(seed: int) -> list[str]:
    """Draw texts of short words, some of which are prefixes of others."""
    draw = random.Random(seed)
    words = draw.sample(["".join(each) for n in (1, 2, 3) for each in product(LETTERS, repeat=n)], 6)
    words.append(f"a{MISSING_CHARACTER}")
    return [" ".join(draw.choices(words, range(1, 8), k=draw.randint(0, 6))) for _ in range(50)]


class Setup:
    """Word and character tokenizers, the word language model, and its reference equations in dictionaries."""

    def __init__(self, seed: int, order: int = 3) -> None:
        lines = [line for line in draw_lines(seed) if line]
        self.words = train_tokenizer(WordsConfig(min_count=8), lines)
        self.characters = train_tokenizer(CharactersConfig(), [f"{LETTERS} "])
        rows = self.words.encode(lines)
        special_ids = (PAD_ID, BOS_ID, EOS_ID)
        self.lm = NgramModel(NgramConfig(order=order), self.words.vocab_size, *special_ids)
        self.lm.fit(rows)
        self.reference = KneserNey(rows, order, self.words.vocab_size, special_ids, "lines")
        self.space_id = self.characters.encode([" "])[0][0]
        self.names = {word: self.words.decode([[word]])[0] for word in range(4, self.words.vocab_size)}

    def build_model(self, **options: Any) -> SpelledWordsLm:
        defaults: dict[str, Any] = {
            "lm": self.lm,
            "spellings": {word: self.spell(name) for word, name in self.names.items() if MISSING_CHARACTER not in name},
            "words": self.words,
            "characters": self.characters,
            "space_id": self.space_id,
            "start_id": BOS_ID,
        }
        return SpelledWordsLm(**(defaults | options))

    def spell(self, text: str) -> list[int]:
        return self.characters.encode([text])[0]

    def text_score(self, text: str, unk_penalty: float, with_eos: bool = True) -> float:
        """Sum the log-probabilities of the words of a text by the reference equations."""
        ids = {name: word for word, name in self.names.items()}
        row = [BOS_ID, *(ids.get(name, UNK_ID) for name in text.split()), *[EOS_ID] * with_eos]
        unknown = [name for name in text.split() if name not in ids]
        return sum(self.reference.log_probs(row)) - unk_penalty * sum(map(len, unknown))


@pytest.fixture(scope="module", params=range(3))
def setup(request: pytest.FixtureRequest) -> Setup:
    return Setup(request.param)


def all_texts(max_length: int) -> list[str]:
    return ["".join(each) for n in range(max_length + 1) for each in product(f"{LETTERS} ", repeat=n)]


def token_scores(model: SpelledWordsLm, rows: Sequence[Sequence[int]]) -> Tensor:
    """Score rows of equal length, followed by eos: (N, T + 1)."""
    contexts, found = model.contexts_after(collate_prompts([[BOS_ID]] * len(rows))), []
    for column in torch.tensor([[*row, EOS_ID] for row in rows]).T:
        scores, contexts = model.read(column, contexts)
        found.append(scores)
    return torch.stack(found, 1)


@with_and_without_look_ahead
@pytest.mark.parametrize("unk_penalty", [0.0, 1.7])
def test_text_scores_are_sums_over_words(setup: Setup, look_ahead: bool, unk_penalty: float) -> None:
    model = setup.build_model(look_ahead=look_ahead, unk_penalty=unk_penalty)
    for length in range(7):
        texts = [text for text in all_texts(length) if len(text) == length]
        totals = token_scores(model, [setup.spell(text) for text in texts]).sum(1).tolist()
        assert totals == pytest.approx([setup.text_score(text, unk_penalty) for text in texts], abs=1e-9)


@pytest.mark.parametrize("order", [1, 2, 4])
def test_text_scores_with_each_order_of_the_word_model(order: int) -> None:
    setup = Setup(3, order)
    model = setup.build_model()
    texts = [text for text in all_texts(6) if len(text) == 6]
    totals = token_scores(model, [setup.spell(text) for text in texts]).sum(1).tolist()
    assert totals == pytest.approx([setup.text_score(text, UNK_PENALTY) for text in texts], abs=1e-9)


def test_words_with_unk_characters_are_unknown(setup: Setup) -> None:
    model = setup.build_model(unk_penalty=0.5)
    (a,) = setup.spell("a")
    (with_unknown,) = token_scores(model, [[UNK_ID, a, setup.space_id, a]]).sum(1).tolist()
    assert with_unknown == pytest.approx(setup.text_score("?a a", 0.5), abs=1e-9)


def test_characters_of_known_words_score_zero_without_look_ahead(setup: Setup) -> None:
    name = max((name for name in setup.names.values() if MISSING_CHARACTER not in name), key=len)
    scores = token_scores(setup.build_model(look_ahead=False), [[*setup.spell(name), setup.space_id]])[0].tolist()
    assert scores[: len(name)] == [0.0] * len(name)
    assert scores[len(name)] == pytest.approx(setup.text_score(name, 0.0, with_eos=False))


def test_look_ahead_sums_unigram_probabilities_of_words_with_the_prefix(setup: Setup) -> None:
    """The sum includes unknown words, at a penalty of 1 nat per character. No character increases it."""
    unigram = {word: math.log(setup.reference.prob(word, ())) for word in (*setup.names, UNK_ID)}
    model = setup.build_model(unk_penalty=1.0)
    for text in (text for text in all_texts(4) if text and " " not in text):
        names = {word: name for word, name in setup.names.items() if MISSING_CHARACTER not in name}
        matching = [unigram[word] for word, name in names.items() if name.startswith(text)]
        with_unknown = [*matching, unigram[UNK_ID] - len(text)]
        scores = token_scores(model, [setup.spell(text)])[0, :-1]
        assert float(scores.sum()) == pytest.approx(math.log(sum(map(math.exp, with_unknown))), abs=1e-9)
        assert float(scores.max()) <= 1e-12


def test_scores_are_independent_of_other_rows_and_broadcasting(setup: Setup) -> None:
    model = setup.build_model()
    rows = [setup.spell(text) for text in all_texts(4) if len(text) == 4]
    contexts = model.contexts_after(collate_prompts([[BOS_ID, *row] for row in rows]))
    ids = torch.arange(model.vocab_size)
    scores, new_contexts = model.read(ids, contexts[:, None])
    assert scores.dtype == torch.float64
    for row, context in enumerate(contexts):
        for index in ids.tolist():
            single_score, single_context = model.read(torch.tensor(index), context)
            assert torch.equal(single_score, scores[row, index])
            assert torch.equal(single_context, new_contexts[row, index])


def test_steps_and_prompts_equal_read(setup: Setup) -> None:
    model = setup.build_model()
    assert isinstance(model, Stepper)
    assert isinstance(model, FixedContextModel)
    assert model.impossible_ids == []
    row = setup.spell("ab b aab")
    for prompt_length in range(len(row)):
        last_ids, state = model.start(collate_prompts([[BOS_ID, *row[:prompt_length]]] * 2))
        contexts = model.contexts_after(collate_prompts([[BOS_ID, *row[:prompt_length]]] * 2))
        for each in row[prompt_length:]:
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
    model = setup.build_model(start_id=EOS_ID)
    assert torch.equal(
        model.contexts_after(collate_prompts([[BOS_ID]]))[:, :-1],
        setup.lm.contexts_after(collate_prompts([[EOS_ID]])),
    )
    after = model.contexts_after(collate_prompts([[BOS_ID, *setup.spell("a a"), EOS_ID]]))
    assert torch.equal(after[:, :-1], setup.lm.contexts_after(collate_prompts([[EOS_ID, word, word, EOS_ID]])))


@with_and_without_look_ahead
def test_homographs_have_the_score_of_the_most_probable_word(look_ahead: bool) -> None:
    setup = Setup(0)
    words = sorted(setup.names, key=lambda word: setup.reference.prob(word, ()))
    spellings = {words[0]: setup.spell("a"), words[-1]: setup.spell("a"), words[1]: setup.spell("a")}
    model = setup.build_model(spellings=spellings, look_ahead=look_ahead)
    (total,) = token_scores(model, [setup.spell("a")]).sum(1).tolist()
    assert total == pytest.approx(sum(setup.reference.log_probs([BOS_ID, words[-1], EOS_ID])))


@with_and_without_look_ahead
def test_words_of_probability_zero_are_impossible(look_ahead: bool) -> None:
    """Other scores do not become NaN."""
    setup = Setup(0)
    (unigrams, *longer) = [TrieLevel(*(each.numpy() for each in level)) for level in setup.lm.trie]
    word, name = next((word, name) for word, name in setup.names.items() if MISSING_CHARACTER not in name)
    log_probs = unigrams.log_probs.copy()
    log_probs[word] = -math.inf
    lm = NgramModel(NgramConfig(order=1), setup.words.vocab_size, PAD_ID, BOS_ID, EOS_ID)
    lm.set_levels([TrieLevel(unigrams.keys, log_probs, longer[0].backoffs[:0])])
    model = setup.build_model(lm=lm, look_ahead=look_ahead)
    scores = token_scores(model, [setup.spell(name), setup.spell("b" * len(name))])
    assert not scores.isnan().any()
    assert scores.sum(1).isneginf().tolist() == [True, False]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"unk_penalty": -0.1}, "`unk_penalty` must be finite and at least 0, but is -0.1"),
        ({"unk_penalty": math.nan}, "but is nan"),
        ({"spellings": {}}, "`spellings` is empty"),
        ({"spellings": {4: []}}, "The spelling of word 4 is empty"),
        ({"spellings": {4: [5], 5: [5, EOS_ID]}}, "The spelling of word 5 holds 2, which is not a character"),
        ({"spellings": {4: [99]}}, "holds 99"),
        ({"spellings": {99: [4]}}, "holds id 99, which is not a word"),
        ({"spellings": {UNK_ID: [4]}}, "holds id 3, which is not a word"),
    ],
)
def test_invalid_arguments_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Setup(0).build_model(**options)


def test_spaces_in_spellings_and_texts_without_bos_are_refused(setup: Setup) -> None:
    with pytest.raises(ValueError, match=f"holds {setup.space_id}, which is not a character of words"):
        setup.build_model(spellings={4: setup.spell("a b")})
    with pytest.raises(ValueError, match="must start with bos"):
        setup.build_model().contexts_after(collate_prompts([[EOS_ID]]))


def test_language_models_without_unk_are_refused() -> None:
    setup = Setup(0)
    log_probs = setup.lm.trie[0].log_probs.numpy().copy()
    log_probs[UNK_ID] = -math.inf
    lm = NgramModel(NgramConfig(order=1), setup.words.vocab_size, PAD_ID, BOS_ID, EOS_ID)
    lm.set_levels([TrieLevel(setup.lm.trie[0].keys.numpy(), log_probs, log_probs[:0])])
    with pytest.raises(ValueError, match=r"gives unk \(id 3\) no probability"):
        setup.build_model(lm=lm)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_scores_on_gpu_equal_cpu() -> None:
    setup = Setup(0)
    model, rows = setup.build_model(), [setup.spell(text) for text in all_texts(4) if len(text) == 4]
    ids = torch.arange(model.vocab_size)
    contexts = model.contexts_after(collate_prompts([[BOS_ID, *row] for row in rows]))
    expected = model.read(ids, contexts[:, None])
    gpu_model = model.to("cuda")
    gpu_contexts = gpu_model.contexts_after(collate_prompts([[BOS_ID, *row] for row in rows]).to("cuda"))
    assert torch.equal(gpu_contexts.cpu(), contexts)
    found = gpu_model.read(ids.cuda(), gpu_contexts[:, None])
    torch.testing.assert_close(found[0].cpu(), expected[0], rtol=0, atol=1e-12)
    assert torch.equal(found[1].cpu(), expected[1])
