"""Character CNN against `torch.nn.functional.conv1d` over each word separately."""

import torch
import torch.nn.functional as F

from seqlab.nn.embedding import CharacterCnn


def test_character_cnn_equals_torch_convolution_per_word() -> None:
    torch.manual_seed(0)
    layer = CharacterCnn(20, 16, size=6, width=3, dropout=0.0)
    words = [[1, 2], [1, 5, 2], [1, 7, 8, 9, 10, 2], [4]]
    spelling = torch.zeros(len(words), 9, dtype=torch.int16)
    for row, word in zip(spelling, words, strict=True):
        row[: len(word)] = torch.tensor(word)
    found = layer(spelling)
    kernel = layer.filters.weight.view(16, 6, 3)
    for vector, word in zip(found, words, strict=True):
        characters = layer.weight[torch.tensor(word)].t()[None]
        characters = F.pad(characters, (0, max(0, 3 - len(word))))
        expected = torch.tanh(F.conv1d(characters, kernel, layer.filters.bias).amax(2))[0]
        torch.testing.assert_close(vector, expected, rtol=1e-5, atol=1e-6)
    for i, word in enumerate(words):
        torch.testing.assert_close(layer(spelling[i : i + 1, : len(word)])[0], found[i], rtol=1e-5, atol=1e-6)
