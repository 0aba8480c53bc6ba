"""Predicted decoder inputs, against lookups in an embedding matrix with dropped tokens."""

import pytest
import torch
from torch import Tensor, nn

from seqlab.nn.input_mixing import InputMixing, Mixture, PredictedInputs
from seqlab.nn.projection import VocabularyProjection

ROWS, STEPS, VOCAB, SIZE = 3, 4, 11, 5


def make_mixing(mixture: Mixture) -> InputMixing:
    is_reference = torch.tensor([[True, False, False, True], [True, True, False, False], [True, False, True, True]])
    return InputMixing(is_reference, mixture, 0.7, torch.Generator().manual_seed(3))


@pytest.mark.parametrize("has_token_dropout", [False, True])
@pytest.mark.parametrize("mixture", ["argmax", "sampled", "soft"])
def test_predictions_and_references_use_the_same_dropped_embeddings(mixture: Mixture, has_token_dropout: bool) -> None:
    torch.manual_seed(1)
    weight = nn.Parameter(torch.randn(VOCAB, SIZE))
    feature_mask = torch.rand(ROWS, SIZE)
    token_mask = (torch.rand(VOCAB, 1) > 0.4) / 0.6 if has_token_dropout else None
    references, vectors, output_grads = torch.randn(3, STEPS, ROWS, SIZE).unbind(0)
    inputs = PredictedInputs(make_mixing(mixture), VocabularyProjection(weight), weight, feature_mask, token_mask)
    found = torch.stack([inputs.mix(references[t], vectors[t], t) for t in range(1, STEPS)])
    (gradient,) = torch.autograd.grad((found * output_grads[1:]).sum(), weight)

    reference_mixing, embedding = make_mixing(mixture), weight if token_mask is None else weight * token_mask

    def by_definition(t: int) -> Tensor:
        predicted = reference_mixing.predictions((vectors[t] @ weight.T).detach())
        probs = predicted if predicted.dim() == 2 else nn.functional.one_hot(predicted, VOCAB).float()
        return torch.where(reference_mixing.is_reference[:, t, None], references[t], probs @ embedding * feature_mask)

    assert reference_mixing.has_predictions == [False, True, True, True]
    expected = torch.stack([by_definition(t) for t in range(1, STEPS)])
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(gradient, torch.autograd.grad((expected * output_grads[1:]).sum(), weight)[0])
    assert bool(gradient.any())


def test_references_are_returned_unchanged_without_predicted_inputs() -> None:
    weight, reference = nn.Parameter(torch.randn(VOCAB, SIZE)), torch.randn(ROWS, SIZE)
    is_reference = torch.ones(ROWS, STEPS, dtype=torch.bool)
    is_reference[1, 2] = False
    inputs = PredictedInputs(
        InputMixing(is_reference, "argmax", 1.0, None),
        VocabularyProjection(weight),
        weight,
        torch.ones(ROWS, SIZE),
        None,
    )
    found = [inputs.mix(reference, torch.randn(ROWS, SIZE), t) for t in range(STEPS)]
    assert [torch.equal(each, reference) for each in found] == [True, True, False, True]
