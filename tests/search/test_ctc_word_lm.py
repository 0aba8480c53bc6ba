"""Prefix beam search over characters with a word language model, against brute force over all outputs."""

import math
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from reference.ctc_alignments import GivenFrames, alignment_log_prob, all_alignments, collapse
from torch import Tensor

from seqlab.data.batch import TextBatch, collate_prompts
from seqlab.models import NgramConfig
from seqlab.models.ctc import CtcPrefixes
from seqlab.models.ngram import NgramModel
from seqlab.models.outputs import FrameLogProbs
from seqlab.models.spelled_words_lm import SpelledWordsLm
from seqlab.search.beam import beam_search
from seqlab.search.config import SearchConfig
from seqlab.search.fusion import Fusion, WeightedLm
from seqlab.search.prefix_beam import prefix_beam_search
from seqlab.text.tokenizer import BOS_ID, EOS_ID, PAD_ID, UNK_ID, Tokenizer
from seqlab.text.trained import train_tokenizer
from seqlab.text.vocabulary import CharactersConfig, WordsConfig

BLANK = PAD_ID
LINES = [
    *["i have two cats", "we have two dogs", "two cats have dogs", "i see two dogs"] * 3,
    *["you see me too", "i see you too", "too many cats", "we have cats too"] * 3,
]
WORDS = train_tokenizer(WordsConfig(), LINES)
CHARACTERS = train_tokenizer(CharactersConfig(), LINES)
(SPACE,) = CHARACTERS.encode([" "])[0]
WEIGHT, REWARD, UNK_PENALTY = 0.8, 0.5, 2.0
with_and_without_look_ahead = pytest.mark.parametrize("look_ahead", [True, False])


class GivenCharacters(GivenFrames):
    """A `FrameModel` over the ids of `CHARACTERS`, for given frames."""

    vocab_size, blank_id, eos_id = CHARACTERS.vocab_size, BLANK, EOS_ID
    prefixes = CtcPrefixes(blank_id=BLANK, bos_id=BOS_ID, eos_id=EOS_ID)


MODEL = GivenCharacters()
BANNED_IDS = [PAD_ID, BOS_ID]


@pytest.fixture(scope="module")
def words() -> NgramModel:
    model = NgramModel(NgramConfig(order=3), WORDS.vocab_size, PAD_ID, BOS_ID, EOS_ID)
    model.fit(WORDS.encode(LINES))
    return model


def make_spelled_lm(words: NgramModel, look_ahead: bool = True, tokenizer: Tokenizer = WORDS) -> SpelledWordsLm:
    ids = range(UNK_ID + 1, tokenizer.vocab_size)
    spellings = dict(zip(ids, CHARACTERS.encode(tokenizer.decode([[word] for word in ids])), strict=True))
    return SpelledWordsLm(
        words,
        spellings,
        words=tokenizer,
        characters=CHARACTERS,
        space_id=SPACE,
        start_id=BOS_ID,
        look_ahead=look_ahead,
        unk_penalty=UNK_PENALTY,
    )


def make_weighted_lm(lm: SpelledWordsLm, length_reward: float = REWARD) -> WeightedLm:
    def start(rows: int, device: torch.device) -> TextBatch:
        return collate_prompts([[BOS_ID]] * rows).to(device)

    return WeightedLm(lm, weight=WEIGHT, start_lm=start, length_reward=length_reward)


def lm_score(words: NgramModel, ids: Sequence[int], length_reward: float = REWARD) -> float:
    """Compute the weighted score of the word language model for all words, plus the length reward."""
    text = CHARACTERS.decode([ids])[0]
    last_ids, state = words.start(collate_prompts([[BOS_ID]]))
    total = 0.0
    for word in [*WORDS.encode([text])[0], EOS_ID]:
        step = words.step(last_ids, state)
        total += float(step.scores[0, word])
        last_ids, state = torch.tensor([word]), step.state
    unknown = sum(map(len, WORDS.unknown_items(text)))
    return WEIGHT * (total - UNK_PENALTY * unknown) + length_reward * len(ids)


def draw_frames(lengths: Sequence[int], ids: Sequence[int], spread: float = 1.5) -> FrameLogProbs:
    """Draw frames with these ids and blanks.

    Sentences of equal length have equal frames in every batch. Values after the last frame are NaN.
    """
    log_probs = torch.full((len(lengths), max(lengths), CHARACTERS.vocab_size), math.nan)
    for row, length in enumerate(lengths):
        generator = torch.Generator().manual_seed(length)
        logits = torch.full((length, CHARACTERS.vocab_size), -torch.inf)
        logits[:, [BLANK, *ids]] = torch.randn(length, 1 + len(ids), generator=generator) * spread
        log_probs[row, :length] = logits.log_softmax(1)
    return FrameLogProbs(log_probs, torch.tensor(lengths))


def make_frames(*choices: dict[str, float] | str) -> FrameLogProbs:
    """Make the frames of one sentence, with a blank after each choice.

    A choice is a character, or several characters with their probabilities.
    """
    rows = []
    for choice in choices:
        probs = torch.full((CHARACTERS.vocab_size,), 1e-4)
        for character, prob in (choice if isinstance(choice, dict) else {choice: 1.0}).items():
            probs[CHARACTERS.encode([character])[0][0]] = prob
        blank = torch.full_like(probs, 1e-4)
        blank[BLANK] = 1.0
        rows += [probs, blank]
    log_probs = torch.stack(rows)
    log_probs[:, EOS_ID] = 0.0
    return FrameLogProbs((log_probs / log_probs.sum(1, keepdim=True)).log()[None], torch.tensor([len(rows)]))


def draw_noisy_frames(texts: Sequence[str], noise: float) -> FrameLogProbs:
    """Make frames of texts with a blank after each character, and add Gaussian noise to the logits."""
    generator = torch.Generator().manual_seed(0)
    rows = []
    for ids in CHARACTERS.encode(texts):
        path = torch.tensor([[each, BLANK] for each in ids]).flatten()
        logits = torch.randn(len(path), CHARACTERS.vocab_size, generator=generator) * noise
        logits[torch.arange(len(path)), path] += 5.0
        logits[:, EOS_ID] = -torch.inf
        rows.append(logits.log_softmax(1))
    log_probs = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=math.nan)
    return FrameLogProbs(log_probs, torch.tensor([len(row) for row in rows]))


def sequence_probs(frames: FrameLogProbs, row: int, ids: Sequence[int]) -> dict[tuple[int, ...], float]:
    """Compute the probability of each output of a sentence: the sum over its paths."""
    log_probs: Tensor = frames.log_probs[row, : int(frames.lengths[row])].double()
    found: dict[tuple[int, ...], float] = defaultdict(float)
    for path in all_alignments(len(log_probs), [BLANK, *ids]):
        found[collapse(path)] += math.exp(alignment_log_prob(path, log_probs))
    return dict(found)


@with_and_without_look_ahead
@pytest.mark.parametrize("letters", ["ot ", "ois", "e m"])
def test_beam_of_all_prefixes_is_exact(words: NgramModel, look_ahead: bool, letters: str) -> None:
    ids = CHARACTERS.encode([letters])[0]
    frames, lm = draw_frames([4, 1, 3], ids), make_weighted_lm(make_spelled_lm(words, look_ahead))
    config = SearchConfig(beam_size=130, num_hypotheses=130, length_alpha=0.0)
    found = prefix_beam_search(MODEL, frames, config, banned_ids=BANNED_IDS, lm=lm)
    single = replace(config, num_hypotheses=1)
    without_scores = prefix_beam_search(MODEL, frames, single, banned_ids=BANNED_IDS, need_scores=False, lm=lm)
    for row, (best, (first,)) in enumerate(zip(found, without_scores, strict=True)):
        probs = sequence_probs(frames, row, ids)
        expected = {each: math.log(prob) + lm_score(words, each) for each, prob in probs.items() if prob > 0}
        assert {tuple(each.ids) for each in best if each.log_prob > -math.inf} == expected.keys()
        for each in (*best, first):
            assert each.log_prob == pytest.approx(expected[tuple(each.ids)], rel=1e-4, abs=1e-4)
        assert best[0].log_prob == pytest.approx(max(expected.values()), rel=1e-4)
        assert expected[tuple(first.ids)] == pytest.approx(max(expected.values()), rel=1e-4)


@pytest.mark.parametrize("beam_size", [4, 16])
@with_and_without_look_ahead
def test_language_model_chooses_between_homophones(words: NgramModel, look_ahead: bool, beam_size: int) -> None:
    """The frames prefer the wrong letter in each text."""
    too, two = {"o": 0.6, "w": 0.4}, {"o": 0.4, "w": 0.6}
    config, lm = (
        SearchConfig(beam_size=beam_size, length_alpha=0.0),
        make_weighted_lm(make_spelled_lm(words, look_ahead), 0.0),
    )
    for frames, without_lm, with_lm in (
        (make_frames(*"i have t", too, *"o cats"), "i have too cats", "i have two cats"),
        (make_frames(*"you see me t", two, "o"), "you see me two", "you see me too"),
        (make_frames(*"t", two, *"o many cats"), "two many cats", "too many cats"),
    ):
        for model, expected in ((None, without_lm), (lm, with_lm)):
            ((best,),) = prefix_beam_search(MODEL, frames, config, banned_ids=BANNED_IDS, lm=model)
            assert CHARACTERS.decode([best.ids]) == [expected]


def test_unknown_words_with_probable_characters_are_found(words: NgramModel) -> None:
    frames = make_frames(*"i have two vans")
    config = SearchConfig(beam_size=8, length_alpha=0.0)
    ((best,),) = prefix_beam_search(
        MODEL, frames, config, banned_ids=BANNED_IDS, lm=make_weighted_lm(make_spelled_lm(words), 0.0)
    )
    assert CHARACTERS.decode([best.ids]) == ["i have two vans"]


def draw_texts(count: int) -> list[str]:
    """Draw texts over a vocabulary of 300 words, each with at most four possible successors."""
    draw = random.Random(0)
    words = ["".join(draw.choices("aehimostv", k=draw.randint(2, 6))) for _ in range(300)]
    successors = {word: draw.choices(words, k=4) for word in words}
    texts = []
    for _ in range(count):
        text = [draw.choice(words)]
        while len(text) < 7:
            text.append(draw.choice(successors[text[-1]]))
        texts.append(" ".join(text))
    return texts


def test_look_ahead_finds_better_texts_with_a_small_beam() -> None:
    """Both searches use the same score, so their results can be compared."""
    texts = draw_texts(430)
    tokenizer = train_tokenizer(WordsConfig(), texts)
    words = NgramModel(NgramConfig(order=3), tokenizer.vocab_size, PAD_ID, BOS_ID, EOS_ID)
    words.fit(tokenizer.encode(texts[30:]))
    frames, config = draw_noisy_frames(texts[:30], noise=2.0), SearchConfig(beam_size=4, length_alpha=0.0)
    scores = {}
    for look_ahead in (True, False):
        lm = make_weighted_lm(make_spelled_lm(words, look_ahead, tokenizer), 0.0)
        found = prefix_beam_search(MODEL, frames, config, banned_ids=BANNED_IDS, lm=lm)
        scores[look_ahead] = [best.score for (best,) in found]
    pairs = list(zip(scores[True], scores[False], strict=True))
    better, worse = (
        sum(sign * (with_look_ahead - without) > 1e-3 for with_look_ahead, without in pairs) for sign in (1, -1)
    )
    assert better > 2 * worse, (better, worse)


@with_and_without_look_ahead
def test_wide_beam_agrees_with_token_by_token_search(words: NgramModel, look_ahead: bool) -> None:
    lengths = list(range(1, 8))
    frames = draw_frames(lengths, CHARACTERS.encode(["to ws"])[0], spread=3.0)
    config = SearchConfig(beam_size=48, length_alpha=0.0, early_stopping=False)
    lm = make_weighted_lm(make_spelled_lm(words, look_ahead))
    prefix_beams = prefix_beam_search(MODEL, frames, config, banned_ids=BANNED_IDS, lm=lm)
    token_beams = beam_search(Fusion(MODEL, lm), frames, config, banned_ids=BANNED_IDS)
    for (found,), (expected,) in zip(prefix_beams, token_beams, strict=True):
        assert found.log_prob == pytest.approx(expected.log_prob, abs=1e-3)


@with_and_without_look_ahead
@pytest.mark.parametrize("max_length", [256, 4])
def test_results_do_not_depend_on_other_sentences_and_padding(
    words: NgramModel, look_ahead: bool, max_length: int
) -> None:
    lengths = [4, 17, 1, 9, 17]
    ids, lm = CHARACTERS.encode(["to wshave"])[0], make_weighted_lm(make_spelled_lm(words, look_ahead))
    config = SearchConfig(beam_size=4, num_hypotheses=3, max_length=max_length)
    together = prefix_beam_search(MODEL, draw_frames(lengths, ids), config, banned_ids=BANNED_IDS, lm=lm)
    reversed_batch = prefix_beam_search(MODEL, draw_frames(lengths[::-1], ids), config, banned_ids=BANNED_IDS, lm=lm)
    assert reversed_batch == together[::-1]
    for row, length in enumerate(lengths):
        single = prefix_beam_search(MODEL, draw_frames([length], ids), config, banned_ids=BANNED_IDS, lm=lm)
        assert single == [together[row]]


def test_number_of_hypotheses_does_not_change_the_beam(words: NgramModel) -> None:
    """With fewer hypotheses, a subset of the same beam is returned."""
    frames = draw_frames([12, 7, 20], CHARACTERS.encode(["to wshave"])[0])
    lm = make_weighted_lm(make_spelled_lm(words))
    many = prefix_beam_search(MODEL, frames, SearchConfig(beam_size=6, num_hypotheses=6), banned_ids=BANNED_IDS, lm=lm)
    for count in range(1, 6):
        config = SearchConfig(beam_size=6, num_hypotheses=count)
        few = prefix_beam_search(MODEL, frames, config, banned_ids=BANNED_IDS, lm=lm)
        for hypotheses, all_hypotheses in zip(few, many, strict=True):
            log_probs = {tuple(each.ids): each.log_prob for each in all_hypotheses}
            assert all(log_probs[tuple(each.ids)] == pytest.approx(each.log_prob, abs=1e-4) for each in hypotheses)
