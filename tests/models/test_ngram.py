"""N-gram models: reference equations in dictionaries, stepwise scores, searches, weights and configs."""

import math
import random
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from reference.exhaustive import all_sequences, best, greedy
from reference.kneser_ney import KneserNey
from safetensors.torch import load, save
from torch import Tensor

from seqlab.data.batch import IGNORE, TextBatch
from seqlab.models.kneser_ney import TextBoundaries
from seqlab.models.ngram import NgramConfig, NgramModel
from seqlab.search.beam import beam_search
from seqlab.search.config import SearchConfig
from seqlab.search.greedy import greedy_search
from seqlab.testing import check_stepper, texts

PAD, BOS, EOS, UNK, VOCAB = 0, 1, 2, 3, 9
BOUNDARIES: list[TextBoundaries] = ["lines", "continuous"]
every_boundaries = pytest.mark.parametrize("boundaries", BOUNDARIES)
every_order = pytest.mark.parametrize("order", [1, 2, 3, 5])


def draw_documents(seed: int = 0, documents: int = 60) -> list[list[int]]:
    """Draw documents in which the highest id never occurs."""
    draw = random.Random(seed)
    return [[draw.choice([UNK, 4, 4, 5, 6, 7]) for _ in range(draw.randrange(8))] for _ in range(documents)]


def fit_model(order: int, boundaries: TextBoundaries = "lines", min_counts: tuple[int, ...] = ()) -> NgramModel:
    model = NgramModel(NgramConfig(order=order, min_counts=min_counts), VOCAB, PAD, BOS, EOS)
    model.fit(draw_documents(), boundaries)
    return model


def make_reference(order: int, boundaries: TextBoundaries = "lines", min_counts: tuple[int, ...] = ()) -> KneserNey:
    return KneserNey(draw_documents(), order, VOCAB, (PAD, BOS, EOS), boundaries, min_counts)


def batch_of(rows: Sequence[Sequence[int]]) -> TextBatch:
    """Make a batch that predicts all ids of each row except the first, padded on the right."""
    width = max(map(len, rows)) - 1
    tgt_in = torch.full((len(rows), width), PAD)
    tgt_out = torch.full((len(rows), width), IGNORE)
    for i, row in enumerate(rows):
        tgt_in[i, : len(row) - 1] = torch.tensor(row[:-1])
        tgt_out[i, : len(row) - 1] = torch.tensor(row[1:])
    return TextBatch(tgt_in, tgt_out, torch.arange(len(rows)), sum(map(len, rows)) - len(rows))


def make_prompt(*rows: Sequence[int]) -> TextBatch:
    ids = torch.tensor(rows)
    return TextBatch(ids, torch.full_like(ids, IGNORE), torch.arange(len(rows)), 0)


def score_stepwise(model: NgramModel, ids: Tensor) -> Tensor:
    """Score the ids (B, T) step by step, except the first of each row: (B, T - 1)."""
    last_ids, state = model.start(make_prompt(*ids[:, :1].tolist()))
    scores = []
    for column in ids.T[1:]:
        step = model.step(last_ids, state)
        assert step.attention is None
        scores.append(step.scores.gather(1, column[:, None]))
        last_ids, state = column, step.state
    return torch.cat(scores, dim=1)


def draw_texts(seed: int, start_id: int, length: int = 9, count: int = 20) -> list[list[int]]:
    """Draw rows of equal lengths, including ids that occur in no document."""
    draw = random.Random(seed)
    return [[start_id, *(draw.randrange(2, VOCAB) for _ in range(length))] for _ in range(count)]


@every_boundaries
@every_order
@pytest.mark.parametrize("min_counts", [(), (1, 1, 2)])
def test_scores_equal_steps_and_equations(order: int, boundaries: TextBoundaries, min_counts: tuple[int, ...]) -> None:
    min_counts = min_counts[:order]
    model, reference = fit_model(order, boundaries, min_counts), make_reference(order, boundaries, min_counts)
    rows = draw_texts(1, BOS if boundaries == "lines" else EOS)
    rows += [row[:1] + row[2:] + [EOS] for row in rows[:3]] + [
        [4, 4, 5, 6, 7, 4, 4, 4, 4, 5]
    ]  # the last row starts inside a text
    scores = model.score(batch_of(rows))
    expected = torch.tensor([reference.log_probs(row) for row in rows], dtype=torch.float64)
    torch.testing.assert_close(scores, expected, rtol=0, atol=1e-10)
    assert torch.equal(score_stepwise(model, torch.tensor(rows)), scores.float())


@every_boundaries
@every_order
def test_probabilities_sum_to_one_after_every_context(order: int, boundaries: TextBoundaries) -> None:
    model = fit_model(order, boundaries)
    for context in (*draw_documents()[:10], *(row[1:] for row in draw_texts(2, EOS, 6, 10))):
        start = [BOS if boundaries == "lines" else EOS, *context]
        batch = batch_of([[*start, i] for i in range(VOCAB)])
        last = model.score(batch)[:, -1]
        assert last.dtype == torch.float64
        assert last.exp().sum().item() == pytest.approx(1, abs=1e-9)
        assert last.isneginf().nonzero()[:, 0].tolist() == [PAD, BOS]
        last_ids, state = model.start(make_prompt(start))
        assert torch.equal(model.step(last_ids, state).scores[0], last.float())


def test_models_pass_the_public_checks() -> None:
    check_stepper(fit_model(4).eval(), texts(VOCAB))


def test_packed_lines_do_not_share_contexts() -> None:
    """Bos occurs only at the start of n-grams, so no context extends beyond it."""
    model = fit_model(4)
    lines = [[4, 4, 5], [], [6, UNK, 7, 4]]
    packed = batch_of([[i for line in lines for i in (BOS, *line)] + [EOS]])
    packed.tgt_out[packed.tgt_out == BOS] = EOS
    separate = [model.score(batch_of([[BOS, *line, EOS]]))[0] for line in lines]
    assert torch.equal(model.score(packed)[0], torch.cat(separate))


def test_searches_find_the_exhaustive_optimum() -> None:
    model, reference = fit_model(3), make_reference(3)
    config = SearchConfig(beam_size=60, num_hypotheses=3, max_length=4, early_stopping=False)

    def table(history: tuple[int, ...]) -> list[float]:
        found = [reference.prob(i, (BOS, *history)) if i in reference.predicted else 0.0 for i in range(VOCAB)]
        return [math.log(p) if p else -math.inf for p in found]

    expected = best(all_sequences(table, EOS, config, 1, 4), 3)
    (found,) = beam_search(model, make_prompt([BOS]), config)
    assert [tuple(hypothesis.ids) for hypothesis in found] == [hypothesis.ids for hypothesis in expected]
    assert [hypothesis.score for hypothesis in found] == pytest.approx([hypothesis.score for hypothesis in expected])
    (first,) = greedy_search(model, make_prompt([BOS]), config)
    assert tuple(first.ids) == greedy(table, EOS, config, 1, 4).ids


@every_order
def test_weights_can_be_saved_and_loaded(order: int) -> None:
    model = fit_model(order)
    weights = model.weights()
    loaded = NgramModel(model.config, VOCAB, PAD, BOS, EOS)
    loaded.load_weights(load(save(weights)))
    batch = batch_of(draw_texts(6, BOS))
    assert torch.equal(loaded.score(batch), model.score(batch))


def test_weights_of_another_order_or_vocabulary_are_refused() -> None:
    weights = fit_model(3).weights()
    with pytest.raises(ValueError, match="order 3 and 9 ids, but the config has order 2 and the vocabulary 9"):
        NgramModel(NgramConfig(order=2), VOCAB, PAD, BOS, EOS).load_weights(weights)
    with pytest.raises(ValueError, match="and 9 ids, but the config has order 3 and the vocabulary 10"):
        NgramModel(NgramConfig(order=3), VOCAB + 1, PAD, BOS, EOS).load_weights(weights)
    for tensors in ({}, {"weight": torch.zeros(1)}, {**weights, "levels.3.keys": torch.zeros(1)}):
        with pytest.raises(ValueError, match="Expected the tensors of an n-gram model"):
            fit_model(3).load_weights(tensors)


def test_unfitted_model_is_uniform() -> None:
    model = NgramModel(NgramConfig(), VOCAB, PAD, BOS, EOS)
    probs = model.step(*model.start(make_prompt([BOS, 5, 6]))).scores.exp()
    torch.testing.assert_close(probs, torch.tensor([[0, 0] + [1 / (VOCAB - 2)] * (VOCAB - 2)]))


def test_unseen_bytes_have_a_probability() -> None:
    """The documents are words as UTF-8 bytes. Bytes that occur in no word have a probability, too."""
    words = ["strasse", "straße", "haus", "häuser", "maus", "mäuse"]
    model = NgramModel(NgramConfig(order=4), 4 + 256, PAD, BOS, EOS)
    model.fit([np.frombuffer(word.encode(), np.uint8).astype(np.int64) + 4 for word in words])
    for context in ([], [4 + byte for byte in b"ma"], [4 + 255] * 5):
        last = model.score(batch_of([[BOS, *context, i] for i in range(EOS, 260)]))[:, -1]
        assert last.exp().sum().item() == pytest.approx(1, abs=1e-9)
        assert (last > -20).all()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"order": 0}, "`order` must be at least 1, but is 0"),
        ({"order": 2, "min_counts": (1, 1, 2)}, "at most `order` \\(2\\) values"),
        ({"min_counts": (2,)}, "must start with 1 and not decrease"),
        ({"min_counts": (1, 3, 2)}, "must start with 1 and not decrease"),
        ({"d_model": 4}, "d_model"),
    ],
)
def test_invalid_configs_are_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        NgramConfig(**values)
