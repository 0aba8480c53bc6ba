"""Predicted inputs of a decoder, against lookups in one embedding matrix with dropped tokens."""

import pytest
import torch
from torch import Tensor, nn

from seqlab.nn.input_mixing import InputMixing, Mixture, PredictedInputs
from seqlab.nn.projection import VocabularyProjection

ROWS, STEPS, VOCAB, SIZE = 3, 4, 11, 5


def mixing(mixture: Mixture) -> InputMixing:
    is_reference = torch.tensor([[True, False, False, True], [True, True, False, False], [True, False, True, True]])
    return InputMixing(is_reference, mixture, 0.7, torch.Generator().manual_seed(3))


@pytest.mark.parametrize("drops_tokens", [False, True])
@pytest.mark.parametrize("mixture", ["argmax", "sampled", "soft"])
def test_predictions_are_embedded_like_references(mixture: Mixture, drops_tokens: bool) -> None:
    torch.manual_seed(1)
    weight = nn.Parameter(torch.randn(VOCAB, SIZE))
    feature_mask = torch.rand(ROWS, SIZE)
    token_mask = (torch.rand(VOCAB, 1) > 0.4) / 0.6 if drops_tokens else None
    references, vectors, factors = torch.randn(3, STEPS, ROWS, SIZE).unbind(0)
    own = PredictedInputs(mixing(mixture), VocabularyProjection(weight), weight, feature_mask, token_mask)
    found = torch.stack([own.mix(references[t], vectors[t], t) for t in range(1, STEPS)])
    (gradient,) = torch.autograd.grad((found * factors[1:]).sum(), weight)

    again, embedding = mixing(mixture), weight if token_mask is None else weight * token_mask

    def by_definition(t: int) -> Tensor:
        predicted = again.predictions((vectors[t] @ weight.T).detach())
        probs = predicted if predicted.dim() == 2 else nn.functional.one_hot(predicted, VOCAB).float()
        return torch.where(again.is_reference[:, t, None], references[t], probs @ embedding * feature_mask)

    assert again.has_predictions == [False, True, True, True]
    expected = torch.stack([by_definition(t) for t in range(1, STEPS)])
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(gradient, torch.autograd.grad((expected * factors[1:]).sum(), weight)[0])
    assert bool(gradient.any())


def test_nothing_is_predicted_if_all_inputs_are_references() -> None:
    weight, reference = nn.Parameter(torch.randn(VOCAB, SIZE)), torch.randn(ROWS, SIZE)
    is_reference = torch.ones(ROWS, STEPS, dtype=torch.bool)
    is_reference[1, 2] = False
    own = PredictedInputs(
        InputMixing(is_reference, "argmax", 1.0, None),
        VocabularyProjection(weight),
        weight,
        torch.ones(ROWS, SIZE),
        None,
    )
    found = [own.mix(reference, torch.randn(ROWS, SIZE), t) for t in range(STEPS)]
    assert [torch.equal(each, reference) for each in found] == [True, True, False, True]
