"""Summed source tags: encoder inputs, source positions of the memory, scores and attention."""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from reference.tiny_translators import BOS, EOS, PAD, TGT, VOCAB

from seqlab.data.batch import Seq2SeqBatch, collate
from seqlab.models import RecurrentConfig, TransformerConfig
from seqlab.models.encoder_decoder import SourceTags, TagUse
from seqlab.runs.config import Config
from seqlab.tasks.translation.config import TranslationConfig
from seqlab.testing import Examples, check_model
from seqlab.testing.models import build as build_model
from seqlab.testing.random_examples import Vocabulary

TAGS = range(36, 40)
SRC = [[5, 6, 7, 36, 39], [8, 9, 10, 11, 12], [17, 37], [18, 19, 20, 21, 38, 36, 37]]
TAG_COUNTS = [2, 0, 1, 3]
SUMMED_TAGS = SourceTags("sum", TAGS, EOS)
SIZES = {"d_model": 32, "d_ff": 48, "num_heads": 4}
MODELS = {
    "transformer": TransformerConfig(**SIZES, tags="sum", copying=True),  # type: ignore[arg-type]
    "lstm": RecurrentConfig(family="lstm", hidden_size=16, tags="sum", copying=True),
}


def batch_of(rows: Sequence[int]) -> Seq2SeqBatch:
    src, tgt = [SRC[i] for i in rows], [TGT[i] for i in rows]
    return collate(src, tgt, rows, pad_id=PAD, bos_id=BOS, eos_id=EOS)


ALL = list(range(len(SRC)))


EXAMPLES = Examples(Vocabulary(tag_ids=TAGS), Vocabulary(), len(SRC), batch_of)


def build(name: str) -> Any:
    return build_model(MODELS[name], EXAMPLES)


def test_tags_are_removed_and_summed() -> None:
    batch, table = batch_of(ALL), torch.randn(VOCAB, 3)
    src, lengths, tag_sums = SUMMED_TAGS.remove_tags(batch.src, batch.src_lengths, lambda ids: table[ids])
    for i, (row, count) in enumerate(zip(SRC, TAG_COUNTS, strict=True)):
        tokens = row[: len(row) - count]
        assert src[i, : lengths[i]].tolist() == [*tokens, EOS]
        expected = torch.zeros(3) + sum(table[tag] for tag in row[len(tokens) :])
        torch.testing.assert_close(tag_sums[i, 0], expected)


@pytest.mark.parametrize("size", [6, 40, 100])
def test_tag_sums_are_independent_of_padding(size: int) -> None:
    """At these sizes the summation order of torch's `sum` depends on the padding."""
    torch.manual_seed(1)
    table, tags = torch.randn(VOCAB, size), list(TAGS) * 2
    for tokens, count, other_length in itertools.product(range(1, 12), range(3, len(tags) + 1), range(20, 40)):
        row, sums = [5] * tokens + tags[:count], []
        for rows in ([row], [row, [6] * other_length]):
            batch = collate(rows, None, list(range(len(rows))), pad_id=PAD, bos_id=BOS, eos_id=EOS)
            sums.append(SUMMED_TAGS.remove_tags(batch.src, batch.src_lengths, lambda ids: table[ids])[2][0])
        assert torch.equal(*sums)


def test_relative_positions_run_from_the_first_token_to_eos() -> None:
    batch = batch_of([0, 2])
    third = 1 / 3
    expected = torch.tensor([[0, third, 2 * third, -1, -1, 1], [0, -1, 1, -1, -1, -1]])
    torch.testing.assert_close(SUMMED_TAGS.relative_positions(batch.src, batch.src_lengths), expected)


@pytest.mark.parametrize("use", ["sum", "symbols"])
@pytest.mark.parametrize("name", MODELS)
def test_models_return_relative_source_positions(name: str, use: TagUse) -> None:
    model: Any = build_model(replace(MODELS[name], tags=use), EXAMPLES)
    relative = model(batch_of(ALL), need_attention=True).relative_src_positions
    for found, row, count in zip(relative.tolist(), SRC, TAG_COUNTS, strict=True):
        tokens = len(row) - count
        expected = [i / max(1, tokens) for i in range(tokens)] + [-1.0] * count + [1.0]
        assert found == pytest.approx([*expected, *[-1.0] * (len(found) - len(expected))])


@pytest.mark.parametrize("name", MODELS)
@torch.inference_mode()
def test_attention_is_over_tokens_and_eos_at_their_source_positions(name: str) -> None:
    model, batch = build(name), batch_of(ALL)
    output = model(batch, need_attention=True)
    last_ids, state = model.start(batch, need_attention=True)
    step = model.step(last_ids, state)
    torch.testing.assert_close(step.attention, output.attention[:, 0], rtol=1e-4, atol=1e-5)
    tokens = SUMMED_TAGS.relative_positions(batch.src, batch.src_lengths) >= 0
    assert bool((output.attention.masked_select(~tokens[:, None]) == 0).all())
    assert bool((output.attention.masked_select(tokens[:, None]) > 0).all())
    torch.testing.assert_close(output.attention.sum(-1), torch.ones(output.attention.shape[:2]))


@pytest.mark.parametrize("name", MODELS)
def test_models_pass_the_public_checks(name: str) -> None:
    check_model(MODELS[name], EXAMPLES, has_attention=True)


@pytest.mark.parametrize("name", MODELS)
@torch.inference_mode()
def test_scores_depend_on_tags_but_not_on_their_order(name: str) -> None:
    model, scores = build(name), []
    for tags in ([36, 39], [39, 36], [36, 38]):
        batch = collate([[5, 6, 7, *tags]], [TGT[0]], [0], pad_id=PAD, bos_id=BOS, eos_id=EOS)
        scores.append(model.score(batch))
    torch.testing.assert_close(scores[0], scores[1], rtol=1e-5, atol=1e-6)
    assert not torch.allclose(scores[0], scores[2], rtol=1e-3)


def test_summed_tags_need_a_source_with_tags() -> None:
    data = TranslationConfig(train_src=["a"], train_tgt=["b"])
    with pytest.raises(ValueError, match=r"`model\.tags: sum` needs a source with tags"):
        Config(data=data, model=TransformerConfig(tags="sum"))
