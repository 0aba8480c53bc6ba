"""What a decoder reads of its own predictions, against looking it up in one embedding whose symbols are dropped."""

import pytest
import torch
from torch import Tensor, nn

from seqlab.nn.input_mixing import InputMixing, Mixture, PredictedInputs
from seqlab.nn.projection import VocabularyProjection

ROWS, STEPS, VOCAB, SIZE = 3, 4, 11, 5


def mixing(mixture: Mixture) -> InputMixing:
    is_reference = torch.tensor([[True, False, False, True], [True, True, False, False], [True, False, True, True]])
    return InputMixing(is_reference, mixture, 0.7, torch.Generator().manual_seed(3))


@pytest.mark.parametrize("drops_symbols", [False, True])
@pytest.mark.parametrize("mixture", ["argmax", "sampled", "soft"])
def test_predictions_are_looked_up_as_other_inputs_are(mixture: Mixture, drops_symbols: bool) -> None:
    torch.manual_seed(1)
    weight = nn.Parameter(torch.randn(VOCAB, SIZE))
    features = torch.rand(ROWS, SIZE)
    symbols = (torch.rand(VOCAB, 1) > 0.4) / 0.6 if drops_symbols else None
    references, vectors, factors = torch.randn(3, STEPS, ROWS, SIZE).unbind(0)
    own = PredictedInputs(mixing(mixture), VocabularyProjection(weight), weight, features, symbols)
    found = torch.stack([own.mix(references[t], vectors[t], t) for t in range(1, STEPS)])
    (gradient,) = torch.autograd.grad((found * factors[1:]).sum(), weight)

    again, embedding = mixing(mixture), weight if symbols is None else weight * symbols

    def by_definition(t: int) -> Tensor:
        predicted = again.predictions((vectors[t] @ weight.T).detach())
        probs = predicted if predicted.dim() == 2 else nn.functional.one_hot(predicted, VOCAB).float()
        return torch.where(again.is_reference[:, t, None], references[t], probs @ embedding * features)

    assert again.has_predictions == [False, True, True, True]
    expected = torch.stack([by_definition(t) for t in range(1, STEPS)])
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(gradient, torch.autograd.grad((expected * factors[1:]).sum(), weight)[0])
    assert bool(gradient.any())


def test_where_all_read_the_reference_nothing_is_predicted() -> None:
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
