"""Word alignments of translations: token strings and attention weights."""

import pytest
import torch

from seqlab.search.hypothesis import Hypothesis
from seqlab.tasks.translation.translator import align_attention
from seqlab.text import CharactersConfig, WordsConfig, train_tokenizer


def test_alignments_contain_token_strings_and_eos() -> None:
    tokenizer = train_tokenizer(WordsConfig(), ["the house is old"])
    src, tgt = tokenizer.encode(["old house", "is"])
    weights = torch.tensor([[0.5, 0.25, 0.2, 0.05, 0.0], [0.0, 0.1, 0.12341, 0.77659, 0.0]])
    hypothesis = Hypothesis([*tgt], 0.0, 0.0, True, [], weights)
    found = align_attention([*src, tokenizer.vocab_size], hypothesis, (tokenizer, tokenizer), ["Xerxes"])
    assert found.src == ["old", "house", "Xerxes", "</s>"]
    assert found.tgt == ["is", "</s>"]
    assert found.weights == [[0.5, 0.25, 0.2, 0.05], [0.0, 0.1, 0.1234, 0.7766]]
    with pytest.raises(ValueError, match="does not attend to the source"):
        align_attention(src, Hypothesis([*tgt], 0.0, 0.0, True, []), (tokenizer, tokenizer), [])


def test_no_alignment_row_for_eos_without_an_eos_token() -> None:
    """Models that predict the length, such as `transformer_cmlm`, output no eos."""
    tokenizer = train_tokenizer(WordsConfig(), ["the house is old"])
    src, tgt = tokenizer.encode(["old house", "is"])
    found = align_attention(
        src, Hypothesis([*tgt], 0.0, 0.0, True, [], torch.ones(1, 3) / 3), (tokenizer, tokenizer), []
    )
    assert (found.tgt, len(found.weights)) == (["is"], 1)


def test_source_tags_appear_as_in_the_text() -> None:
    tokenizer = train_tokenizer(CharactersConfig(tags=True), ["go\tV;PST"])
    (src,) = tokenizer.encode(["go\tPST;FUT"])
    hypothesis = Hypothesis([], 0.0, 0.0, True, [], torch.full((1, 5), 0.2))
    assert align_attention(src, hypothesis, (tokenizer, tokenizer), []).src == ["g", "o", "PST", "<unk>", "</s>"]
