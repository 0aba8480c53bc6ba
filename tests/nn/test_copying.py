"""Pointer-generator against its definition, computed word by word."""

import math

import pytest
import torch
import torch.nn.functional as F

from seqlab.nn.copying import NOT_COPYABLE, PointerGenerator, PointerOutput

SRC = torch.tensor([[4, 5, 4, NOT_COPYABLE], [6, 9, NOT_COPYABLE, NOT_COPYABLE]])
VOCAB_SIZE = 8


def draw_example() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return gate logits (2, 3), attention (2, 3, 4) and log-probabilities over the vocabulary (2, 3, 8)."""
    torch.manual_seed(0)
    gate, attention = torch.randn(2, 3), torch.rand(2, 3, 4)
    attention = attention.masked_fill((torch.arange(4) > 1) & torch.tensor([[[False]], [[True]]]), 0.0)
    return gate, attention / attention.sum(-1, keepdim=True), torch.randn(2, 3, VOCAB_SIZE).log_softmax(-1)


def by_definition(gate: float, attention: list[float], src: list[int], vocab_log_prob: float, word: int) -> float:
    gate_prob = 1 / (1 + math.exp(-gate))
    copy_prob, uncopyable_prob = (
        sum(a for a, s in zip(attention, src, strict=True) if s == each) for each in (word, NOT_COPYABLE)
    )
    total = (gate_prob + (1 - gate_prob) * uncopyable_prob) * math.exp(vocab_log_prob) + (1 - gate_prob) * copy_prob
    return math.log(total) if total else -math.inf


def make_pointer(size: int) -> PointerGenerator:
    torch.manual_seed(1)
    return PointerGenerator(size, VOCAB_SIZE, eos_id=2, unk_id=3)


def test_probabilities_equal_the_definition() -> None:
    _, attention, log_probs = draw_example()
    hidden = torch.randn(2, 3, 5)
    copying = make_pointer(5)
    gate = (hidden @ copying.weight[0] + copying.bias).detach()
    src = SRC.masked_fill(SRC == NOT_COPYABLE, 3)
    source = copying.source(src)
    found = copying.mix_scores(log_probs.flatten(0, 1), hidden.flatten(0, 1), attention.flatten(0, 1), source)
    assert found.shape == (6, VOCAB_SIZE + 2)
    pointer = copying(hidden, attention, src).select(torch.ones(2, 3, dtype=torch.bool))
    for word in range(VOCAB_SIZE + 2):
        vocab_log_probs = log_probs[..., min(word, VOCAB_SIZE - 1)]
        mixed = pointer.mix(vocab_log_probs.flatten(), torch.full((6,), word)).view(2, 3).detach()
        for b in range(2):
            for t in range(3):
                log_prob = float(vocab_log_probs[b, t]) if word < VOCAB_SIZE else -math.inf
                a = attention[b, t].tolist()
                expected = by_definition(float(gate[b, t]), a, SRC[b].tolist(), log_prob, word)
                assert float(found.view(2, 3, -1)[b, t, word]) == pytest.approx(expected, abs=1e-5)
                if expected > -60:
                    assert float(mixed[b, t]) == pytest.approx(expected, abs=1e-5)


def test_attention_to_uncopyable_positions_is_given_to_the_vocabulary() -> None:
    _, attention, log_probs = draw_example()
    copying, hidden = make_pointer(5), torch.randn(2, 5)
    uncopyable = torch.full_like(SRC, 3)
    scores = copying.mix_scores(log_probs[:, 0], hidden, attention[:, 0], copying.source(uncopyable))
    torch.testing.assert_close(scores, log_probs[:, 0])


@pytest.mark.parametrize("tag_ids", [range(0), range(4, 6)])
def test_probabilities_sum_to_one(tag_ids: range) -> None:
    _, attention, log_probs = draw_example()
    copying = PointerGenerator(5, VOCAB_SIZE, eos_id=2, unk_id=3, tag_ids=tag_ids)
    source = copying.source(SRC.masked_fill(SRC == NOT_COPYABLE, 3))
    scores = copying.mix_scores(log_probs[:, 0], torch.randn(2, 5), attention[:, 0], source)
    torch.testing.assert_close(scores.exp().sum(-1), torch.ones(2))


@pytest.mark.parametrize("word", [7, VOCAB_SIZE + 1])
def test_gradients_are_finite_for_words_outside_the_source(word: int) -> None:
    gate, attention, log_probs = (each.requires_grad_() for each in draw_example())
    pointer = PointerOutput(gate, attention, SRC, VOCAB_SIZE).select(torch.ones(2, 3, dtype=torch.bool))
    mixed = pointer.mix(log_probs[..., 7].flatten(), torch.full((6,), word))
    for gradient in torch.autograd.grad(mixed.sum(), [gate, attention, log_probs]):
        assert bool(gradient.isfinite().all())


def test_gate_is_computed_in_fp32_under_autocast() -> None:
    copying, hidden, attention = make_pointer(5), torch.randn(2, 3, 5), torch.full((2, 3, 4), 0.25)
    with torch.autocast("cpu", torch.bfloat16):
        found = copying(hidden, attention, SRC).gate
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, hidden @ copying.weight[0] + copying.bias)


def test_tags_are_not_copied() -> None:
    torch.manual_seed(1)
    copying = PointerGenerator(5, VOCAB_SIZE, eos_id=2, unk_id=3, tag_ids=range(5, 7))
    assert copying.source(SRC.masked_fill(SRC == NOT_COPYABLE, 3)).src_ids.tolist() == [[4, -1, 4, -1], [-1, 9, -1, -1]]


def test_eos_is_not_copied() -> None:
    assert make_pointer(5).source(torch.tensor([[4, 2, 0], [5, 7, 2]])).src_ids.tolist() == [[4, -1, 0], [5, 7, -1]]


def test_copied_words_outside_the_vocabulary_are_replaced_by_unk() -> None:
    assert make_pointer(5).replace_copied(torch.tensor([1, 7, 8, 12])).tolist() == [1, 7, 3, 3]


@pytest.mark.parametrize("length", [3, 7, 9, 15, 17, 33])
def test_results_are_bitwise_independent_of_padding(length: int) -> None:
    torch.manual_seed(length)
    src = torch.randint(4, 6, (40, length))
    attention = torch.rand(40, length).softmax(-1)
    gate, log_probs, targets = torch.randn(40), torch.randn(40), torch.full((40,), 5)
    unpadded = PointerOutput(gate, attention, src, VOCAB_SIZE).mix(log_probs, targets)
    for extra in (1, 5, 20):
        padded = PointerOutput(gate, F.pad(attention, (0, extra)), F.pad(src, (0, extra)), VOCAB_SIZE)
        assert torch.equal(padded.mix(log_probs, targets), unpadded)


@pytest.mark.parametrize("rows", [17, 40])
def test_results_of_a_row_do_not_depend_on_other_rows(rows: int) -> None:
    torch.manual_seed(rows)
    src = torch.randint(4, 6, (rows, 7))
    attention = torch.rand(rows, 7).softmax(-1)
    gate, log_probs, targets = torch.randn(rows), -10 * torch.rand(rows), torch.full((rows,), 5)
    batched = PointerOutput(gate, attention, src, VOCAB_SIZE).mix(log_probs, targets)
    for i in range(rows):
        row = slice(i, i + 1)
        single_row = PointerOutput(gate[row], attention[row], src[row], VOCAB_SIZE).mix(log_probs[row], targets[row])
        assert torch.equal(single_row, batched[row])
