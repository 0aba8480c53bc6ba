"""Sampling filters against loops over one row and against `transformers`; temperature, repetition penalty, configs."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from seqlab.search.config import SamplingConfig
from seqlab.search.filters import (
    apply_filters,
    apply_temperature,
    integer_probs,
    keep_min_p,
    keep_top_k,
    keep_top_p,
    keep_typical,
    penalize_repeats,
)

NEG_INF = float("-inf")
WIDTHS = (1, 2, 7, 64, 700, 9000)
NO_IDS = torch.zeros(8, 0, dtype=torch.int64)


def random_scores(rows: int, width: int, seed: int, spread: float = 2.0) -> Tensor:
    """Draw log-probabilities in fp64, so that there are no ties and rounding does not move sums over a threshold."""
    generator = torch.Generator().manual_seed(seed)
    return torch.log_softmax(torch.randn(rows, width, generator=generator, dtype=torch.float64) * spread, dim=1)


def probabilities(scores: Sequence[float]) -> list[float]:
    top = max(scores)
    weights = [math.exp(score - top) for score in scores]
    return [weight / math.fsum(weights) for weight in weights]


def take_until_mass(scores: Sequence[float], order: Sequence[int], mass: float) -> set[int]:
    """Take ids in this order until the sum of their probabilities is at least `mass`."""
    probs, selected = probabilities(scores), list[int]()
    for i in order:
        if math.fsum(probs[j] for j in selected) >= mass:
            break
        selected.append(i)
    return set(selected)


def expected_ids(name: str, scores: Sequence[float], value: float) -> set[int]:
    best_first = sorted(range(len(scores)), key=lambda i: (-scores[i], i))
    probs = probabilities(scores)
    if name == "top_k":
        return {i for i in best_first[: int(value)] if scores[i] > NEG_INF}
    if name == "top_p":
        return take_until_mass(scores, best_first, value)
    if name == "min_p":
        return {i for i, p in enumerate(probs) if p > 0 and p >= value * max(probs)}
    assert name == "typical_p"
    surprise = [-math.log(p) if p > 0 else math.inf for p in probs]
    entropy = math.fsum(p * s for p, s in zip(probs, surprise, strict=True) if p > 0)
    return take_until_mass(scores, sorted(range(len(scores)), key=lambda i: (abs(surprise[i] - entropy), i)), value)


FILTERS: dict[str, tuple[Callable[[Tensor, Any], Tensor], Sequence[float]]] = {
    "top_k": (keep_top_k, (1, 3, 50, 10_000)),
    "top_p": (keep_top_p, (0.01, 0.5, 0.9, 0.999)),
    "min_p": (keep_min_p, (0.001, 0.1, 1.0)),
    "typical_p": (keep_typical, (0.01, 0.5, 0.9, 0.999)),
}
CASES = [(name, value) for name, (_, values) in FILTERS.items() for value in values]


@pytest.mark.parametrize(("name", "value"), CASES)
@pytest.mark.parametrize("width", [1, 2, 7, 64, 700])
@pytest.mark.parametrize("spread", [0.5, 4.0])
def test_filters_match_their_definitions(name: str, value: float, width: int, spread: float) -> None:
    scores = random_scores(3, width, seed=width, spread=spread)
    scores[1, ::2] = NEG_INF if width > 1 else 0.0
    before = scores.clone()
    kept = FILTERS[name][0](scores + 3.5, value)
    assert torch.equal(scores, before)
    for row, given_row in zip(kept, scores, strict=True):
        expected = expected_ids(name, given_row.tolist(), value)
        assert set((row > NEG_INF).nonzero()[:, 0].tolist()) == expected
        chosen = sorted(expected)
        torch.testing.assert_close(row[chosen], given_row[chosen] + 3.5, rtol=0, atol=0)


@settings(max_examples=100)
@given(
    levels=st.lists(st.integers(0, 3), min_size=1, max_size=12),
    case=st.sampled_from(CASES),
)
def test_ties_keep_the_lower_ids(levels: list[int], case: tuple[str, float]) -> None:
    name, value = case
    scores = torch.tensor([levels], dtype=torch.float64) * 1.7
    kept = (FILTERS[name][0](scores, value)[0] > NEG_INF).nonzero()[:, 0].tolist()
    assert kept
    for level in range(4):
        ids_at_level = [i for i, n in enumerate(levels) if n == level]
        kept_at_level = [i for i in kept if levels[i] == level]
        assert kept_at_level == ids_at_level[: len(kept_at_level)]
    if name == "top_k":
        assert len(kept) == min(value, len(levels))


@pytest.mark.parametrize("keep", [keep_top_p, keep_typical])
def test_ids_are_kept_until_exactly_the_probability_mass(keep: Callable[[Tensor, float], Tensor]) -> None:
    assert keep(torch.zeros(1, 8), 0.5).tolist() == [[0.0] * 4 + [NEG_INF] * 4]


@pytest.mark.parametrize(("name", "value"), CASES)
@pytest.mark.parametrize("width", WIDTHS)
def test_filters_match_transformers(name: str, value: Any, width: int) -> None:
    from transformers import MinPLogitsWarper, TopKLogitsWarper, TopPLogitsWarper, TypicalLogitsWarper

    warpers = {"top_k": TopKLogitsWarper, "top_p": TopPLogitsWarper, "min_p": MinPLogitsWarper}
    warper = warpers.get(name, TypicalLogitsWarper)(value)
    for spread in (0.3, 1.0, 3.0):
        scores = random_scores(8, width, seed=width, spread=spread)
        assert torch.equal(FILTERS[name][0](scores, value), warper(NO_IDS, scores))


@pytest.mark.parametrize("penalty", [0.8, 1.3])
def test_repetition_penalty_matches_transformers_on_log_probabilities(penalty: float) -> None:
    from transformers import RepetitionPenaltyLogitsProcessor

    scores = random_scores(5, 30, seed=1)
    ids = torch.randint(0, 30, (5, 12), generator=torch.Generator().manual_seed(2))
    found = penalize_repeats(scores + 2, ids, penalty)  # a constant in the scores makes no difference
    torch.testing.assert_close(found, RepetitionPenaltyLogitsProcessor(penalty)(ids, scores))
    assert torch.equal(penalize_repeats(scores, NO_IDS[:5], penalty), torch.log_softmax(scores, dim=1))


def test_penalized_probabilities_are_powers() -> None:
    found = penalize_repeats(torch.tensor([[0.5, 0.25, 0.25]]).log(), torch.tensor([[1, 1]]), 2.0)
    torch.testing.assert_close(found.exp(), torch.tensor([[0.5, 0.0625, 0.25]]))


def test_temperature_matches_transformers_and_may_be_extreme() -> None:
    from transformers import TemperatureLogitsWarper

    scores = random_scores(4, 50, seed=3)
    found, expected = apply_temperature(scores, 0.7), TemperatureLogitsWarper(0.7)(NO_IDS, scores)
    torch.testing.assert_close(found.softmax(dim=1), expected.softmax(dim=1))
    frozen = apply_temperature(scores.float(), 1e-45)
    assert torch.equal(integer_probs(frozen).argmax(dim=1), scores.argmax(dim=1))
    assert torch.equal((frozen > NEG_INF).sum(dim=1), torch.ones(4, dtype=torch.int64))


@pytest.mark.parametrize(
    "fields",
    [
        {"temperature": 1.4, "top_k": 40, "top_p": 0.8, "min_p": 0.02, "typical_p": 0.7},
        {"temperature": 0.6, "top_p": 0.95, "typical_p": 0.9},
        {"top_k": 12, "typical_p": 0.5},
        {"top_p": 0.9, "min_p": 0.05},
        {},
    ],
)
def test_all_filters_together_match_transformers_generate(fields: dict[str, Any]) -> None:
    """The filters have the same order as in `generate`."""
    from transformers import GenerationConfig, GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=90, n_positions=16, n_embd=16, n_layer=1, n_head=2, initializer_range=0.8,
        bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    generation = GenerationConfig(
        do_sample=True, max_new_tokens=6, output_scores=True, output_logits=True, return_dict_in_generate=True,
        pad_token_id=0, **{"top_k": 0, "temperature": 1.0, **fields},
    )  # fmt: skip
    model = GPT2LMHeadModel(config).eval()
    prompts = torch.randint(1, 90, (5, 3), generator=torch.Generator().manual_seed(1))
    generated: Any = model.generate(prompts, attention_mask=torch.ones_like(prompts), generation_config=generation)
    for expected, logits in zip(generated.scores, generated.logits, strict=True):
        found = apply_filters(logits, NO_IDS[:5], SamplingConfig(**fields))
        torch.testing.assert_close(found.softmax(dim=1), expected.softmax(dim=1), rtol=1e-5, atol=1e-7)
        assert torch.equal(found > NEG_INF, expected > NEG_INF)


def test_repetition_penalty_is_applied_first() -> None:
    """The penalty changes which ids are the best ones."""
    scores = torch.tensor([[0.4, 0.35, 0.25]]).log()
    config = SamplingConfig(repetition_penalty=3, top_k=1)
    assert apply_filters(scores, torch.tensor([[0]]), config).isfinite().tolist() == [[False, True, False]]


@pytest.mark.parametrize("width", WIDTHS)
def test_rows_do_not_depend_on_each_other(width: int) -> None:
    """Results are bitwise equal, with widths that do and do not fill vector registers."""
    scores = random_scores(9, width, seed=4).float()
    ids = torch.randint(0, width, (9, 5), generator=torch.Generator().manual_seed(5))
    config = SamplingConfig(
        repetition_penalty=1.2, temperature=0.8, top_k=min(width, 600), top_p=0.9, min_p=0.001, typical_p=0.9
    )
    together = apply_filters(scores, ids, config)
    for i in range(9):
        assert torch.equal(apply_filters(scores[i : i + 1], ids[i : i + 1], config), together[i : i + 1])


@pytest.mark.parametrize("width", WIDTHS)
def test_integer_probabilities_sum_exactly_in_any_order(width: int) -> None:
    scores = random_scores(4, width, seed=6).float()
    probs = integer_probs(scores)
    assert torch.equal(probs, probs.floor())
    assert probs.sum(dim=1).tolist() == [sum(map(int, row)) for row in probs.tolist()]
    assert torch.equal(probs.flip(1).cumsum(dim=1)[:, -1], probs.cumsum(dim=1)[:, -1])
    torch.testing.assert_close(probs / 2**52, scores.double().softmax(dim=1), rtol=0, atol=2**-51)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"temperature": 0}, r"`temperature` must be at least 0\.0001"),
        ({"temperature": 1e-320}, r"`temperature` must be at least 0\.0001"),
        ({"temperature": float("nan")}, "temperature"),
        ({"temperature": float("inf")}, "`temperature` must be a finite number"),
        ({"top_k": -1}, "`top_k` must be at least 0"),
        ({"top_p": 0}, "`top_p` must be greater than 0"),
        ({"top_p": 1.1}, "`top_p` must be at most 1"),
        ({"typical_p": 0}, "`typical_p` must be greater than 0"),
        ({"min_p": -0.1}, "`min_p` must be at least 0"),
        ({"min_p": 1.5}, "`min_p` must be at most 1"),
        ({"repetition_penalty": 0}, r"`repetition_penalty` must be at least 0\.0001"),
        ({"max_length": 0}, "`max_length` must be at least 1"),
        ({"min_length": -1}, "`min_length` must be at least 0"),
        ({"min_length": 9, "max_length": 8}, r"`min_length` must be at most `max_length` \(8\), but is 9 instead."),
        ({"seed": -1}, "`seed` must be at least 0"),
        ({"topk": 3}, "topk"),
    ],
)
def test_invalid_values_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SamplingConfig(**fields)
