"""Masking for masked language models: shares, distribution, and dependence on seed, epoch and position only."""

import math
from collections.abc import Sequence
from itertools import dropwhile, takewhile
from typing import Any

import numpy as np
import pytest
import torch

from seqlab.data.batch import IGNORE, TextBatch, collate_text
from seqlab.data.encoded import EncodedCorpus, Span
from seqlab.data.masking import Masking, hashed_uniform
from seqlab.data.ragged import RaggedArray
from seqlab.data.step import TrainingStep
from seqlab.data.text_sampler import TextSampler, ordered_text_batches
from seqlab.tasks.language_modelling.config import LanguageModellingConfig

PAD, BOS, EOS, UNK = range(4)
VOCAB = 30
MASK = BOS


class Tokenizer:
    pad_id, bos_id, eos_id, unk_id, mask_id = PAD, BOS, EOS, UNK, BOS
    vocab_size = VOCAB


def make_config(**settings: Any) -> LanguageModellingConfig:
    return LanguageModellingConfig(
        **{"train": ["text"], "mask_share": 0.15, "block_length": 16, "batch_tokens": 60, **settings}
    )


def make_masking(share: float = 0.15, seed: int = 1) -> Masking:
    masking = Masking.from_config(make_config(mask_share=share), Tokenizer(), seed)  # type: ignore[arg-type]
    assert masking is not None
    return masking


def make_batch(rows: Sequence[Sequence[int]]) -> TextBatch:
    """Collate rows that are consecutive in the text."""
    starts = np.cumsum([0, *map(len, rows)])[:-1]
    return collate_text(rows, starts, pad_id=PAD, start_id=BOS)


def make_text(lengths: Sequence[int], seed: int = 0) -> EncodedCorpus:
    """Make lines of random ids, each followed by eos."""
    rng = np.random.default_rng(seed)
    values = rng.integers(UNK, VOCAB, sum(lengths)).astype(np.uint16)
    values[np.cumsum(lengths) - 1] = EOS
    rows = RaggedArray.from_flat(values, np.array(lengths, np.int64))
    return EncodedCorpus([rows], [], np.arange(1, len(lengths) + 1)[:, None], [Span(("corpus",), 0, len(lengths))])


def assert_share(count: int, total: int, share: float) -> None:
    """Check that a count of independent draws is within 4 standard deviations of its mean."""
    assert abs(count - share * total) < 4 * math.sqrt(total * share * (1 - share)), (count, total, share)


def test_shares_match_the_bert_paper() -> None:
    size, width = 200, 500
    ids = np.random.default_rng(0).integers(UNK + 1, VOCAB, (size, width))
    batch = make_masking()(make_batch(ids.tolist()), epoch=0)
    inputs, targets = batch.tgt_in.numpy(), batch.tgt_out.numpy()
    chosen = targets != IGNORE
    assert_share(int(chosen.sum()), ids.size, 0.15)
    assert batch.num_tgt_tokens == chosen.sum()
    assert (targets[chosen] == ids[chosen]).all()
    assert (inputs[~chosen] == ids[~chosen]).all()
    is_masked, total = inputs[chosen] == MASK, int(chosen.sum())
    assert_share(int(is_masked.sum()), total, 0.8)
    # A random token equals the original with probability 1/26: 26 ids are not special.
    assert_share(int((inputs[chosen] == ids[chosen]).sum()), total, 0.1 + 0.1 / 26)
    replaced = inputs[chosen][~is_masked & (inputs[chosen] != ids[chosen])]
    counts = np.bincount(replaced, minlength=VOCAB)
    assert counts[: UNK + 1].sum() == 0
    for count in counts[UNK + 1 :]:
        assert_share(int(count), len(replaced), 1 / 26)


def test_chosen_positions_are_uniform_and_independent() -> None:
    """Choices are uniform over rows, columns and epochs; those of neighboring columns and epochs are independent."""
    size, width, epochs = 50, 64, 40
    ids = np.random.default_rng(0).integers(UNK + 1, VOCAB, (size, width)).tolist()
    masking = make_masking()
    chosen = np.stack([masking(make_batch(ids), epoch).tgt_out.numpy() != IGNORE for epoch in range(epochs)])
    for axes in ((0, 1), (0, 2), (1, 2)):
        for count in chosen.sum(axes):
            assert_share(int(count), chosen.size // len(chosen.sum(axes)), 0.15)
    for shifted, reference in ((chosen[:, :, 1:], chosen[:, :, :-1]), (chosen[1:], chosen[:-1])):
        assert_share(int((shifted & reference).sum()), reference.size, 0.15**2)


def test_padding_and_eos_are_not_masked_and_every_row_has_a_target() -> None:
    rows = [[10, 11, EOS], [12, EOS], [EOS], [UNK, EOS], [EOS, EOS, 13]]
    for epoch in range(50):
        batch = make_masking(0.01)(make_batch(rows), epoch)
        for row, inputs, targets in zip(rows, batch.tgt_in.tolist(), batch.tgt_out.tolist(), strict=True):
            assert inputs[len(row) :] == [PAD] * (3 - len(row))
            assert targets[len(row) :] == [IGNORE] * (3 - len(row))
            chosen = [position for position, id_ in enumerate(targets) if id_ != IGNORE]
            assert chosen
            assert all(row[position] != EOS for position in chosen) or set(row) == {EOS}
            assert all(inputs[position] == id_ for position, id_ in enumerate(row) if position not in chosen)


def test_the_chosen_token_of_a_short_row_is_uniform() -> None:
    chosen = [
        int((make_masking(0.01, seed)(make_batch([[5, 6, 7, EOS]]), 0).tgt_out[0] != IGNORE).nonzero()[0])
        for seed in range(300)
    ]
    for position in range(3):
        assert_share(chosen.count(position), 300, 1 / 3)


def test_hashed_numbers_are_uniform_and_depend_only_on_key_and_position() -> None:
    positions = np.arange(100_000).reshape(1000, 100)
    key = np.uint64(2**64 - 5)
    numbers = hashed_uniform(key, positions)
    assert 0 <= numbers.min() < numbers.max() < 1
    for count in np.histogram(numbers, 20, (0, 1))[0]:
        assert_share(int(count), numbers.size, 1 / 20)
    pick = np.random.default_rng(0).permutation(numbers.size)[:500]
    assert (hashed_uniform(key, positions.ravel()[pick]) == numbers.ravel()[pick]).all()
    other = hashed_uniform(np.uint64(4), positions)
    assert abs(np.corrcoef(numbers.ravel(), other.ravel())[0, 1]) < 0.02
    # The first numbers of the published C code of the generator, seeded with 1234567.
    first = [0x599ED017FB08FC85, 0x2C73F08458540FA5, 0x883EBCE5A3F27C77]
    assert hashed_uniform(np.uint64(1234567), np.arange(1, 4)).tolist() == [
        (number >> 11) * 2.0**-53 for number in first
    ]


def tokens_by_position(steps: Sequence[TrainingStep]) -> dict[int, tuple[int, int]]:
    """Map each position of the text to its input id and its target."""
    found: dict[int, tuple[int, int]] = {}
    for batch in (batch for step in steps for batch in step.micro_steps if batch.num_tgt_tokens):
        assert isinstance(batch, TextBatch)
        for start, inputs, targets in zip(
            batch.indices.tolist(), batch.tgt_in.tolist(), batch.tgt_out.tolist(), strict=True
        ):
            length = len(inputs) - inputs.count(PAD)
            positions = range(start, start + length)
            assert not found.keys() & set(positions)
            found.update(zip(positions, zip(inputs, targets, strict=False), strict=False))
    return found


def epoch_tokens_by_position(
    text: EncodedCorpus, epoch: int = 0, seed: int = 5, world_size: int = 1, **settings: Any
) -> Any:
    """Map the positions of an epoch to inputs and targets on all ranks."""
    found: dict[int, tuple[int, int]] = {}
    for rank in range(world_size):
        sampler = TextSampler(text, make_config(**settings), seed, Tokenizer(), rank=rank, world_size=world_size)  # type: ignore[arg-type]
        later = dropwhile(lambda step: step.position.epoch < epoch, sampler.steps())
        steps = takewhile(lambda step: step.position.epoch == epoch, later)
        rank_tokens = tokens_by_position(list(steps))
        assert not found.keys() & rank_tokens.keys()
        found |= rank_tokens
    return found


LENGTHS = [1 + int(length) for length in np.random.default_rng(3).integers(1, 40, 60)]
each_documents_mode = pytest.mark.parametrize("documents", ["lines", "continuous"])


@each_documents_mode
def test_an_epoch_has_every_token_as_input_and_some_as_targets(documents: str) -> None:
    text = make_text(LENGTHS)
    found = epoch_tokens_by_position(text, documents=documents)
    assert sorted(found) == list(range(text.num_tokens))
    for position, (input_id, target) in found.items():
        assert target in (IGNORE, text.tgt.values[position])
        assert target != IGNORE or input_id == text.tgt.values[position]
    assert 0.1 < sum(target != IGNORE for _, target in found.values()) / text.num_tokens < 0.25


@each_documents_mode
@pytest.mark.parametrize(
    "other", [{"world_size": 2}, {"world_size": 3, "micro_batch_tokens": 16}, {"batch_tokens": 200}], ids=str
)
def test_masking_does_not_depend_on_ranks_or_sizes_of_steps(documents: str, other: dict[str, int]) -> None:
    """Rows are the same for any division among ranks and into micro-steps."""
    text = make_text(LENGTHS)
    assert epoch_tokens_by_position(text, documents=documents, **other) == epoch_tokens_by_position(
        text, documents=documents
    )


@each_documents_mode
def test_epochs_and_seeds_mask_different_tokens(documents: str) -> None:
    text = make_text(LENGTHS)
    found = [epoch_tokens_by_position(text, *key, documents=documents) for key in ((0, 5), (1, 5), (0, 6))]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        num_both = sum(found[one][position][1] != IGNORE != found[other][position][1] for position in found[0])
        assert_share(num_both, text.num_tokens, 0.15**2)


@each_documents_mode
def test_validation_masks_the_same_tokens_in_every_call(documents: str) -> None:
    text = make_text(LENGTHS)
    found = []
    for micro_batch_tokens in (16, 64, 64):
        batches = ordered_text_batches(text, make_config(documents=documents), micro_batch_tokens, Tokenizer())  # type: ignore[arg-type]
        found.append(tokens_by_position([TrainingStep(None, 0, list(batches), 0, 0)]))  # type: ignore[arg-type]
    assert found[0] == found[1] == found[2]
    assert sorted(found[0]) == list(range(text.num_tokens))


def test_without_a_mask_share_batches_are_autoregressive() -> None:
    assert Masking.from_config(make_config(mask_share=0.0), Tokenizer(), 1) is None  # type: ignore[arg-type]
    [batch] = ordered_text_batches(make_text([5]), make_config(mask_share=0.0), 64, Tokenizer())  # type: ignore[arg-type]
    assert batch.tgt_in[0, 0] == BOS
    assert batch.tgt_in[:, 1:].equal(batch.tgt_out[:, :-1])


def test_masking_does_not_change_its_input() -> None:
    batch = make_batch([[5, 6, 7, EOS], [8, EOS]])
    before = batch.tgt_in.clone(), batch.tgt_out.clone()
    masked = make_masking(0.9)(batch, 0)
    assert batch.tgt_in.equal(before[0])
    assert batch.tgt_out.equal(before[1])
    assert masked.tgt_in.dtype == masked.tgt_out.dtype == torch.int64


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"packing": True}, "`packing: true` is for autoregressive models"),
        ({"documents": "continuous", "order": "contiguous"}, "`order: contiguous` is for autoregressive models"),
        ({"mask_share": 1.0}, "mask_share"),
        ({"mask_share": -0.1}, "mask_share"),
    ],
)
def test_options_incompatible_with_masking_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_config(**settings)
