"""Validation pairs that the loss leaves out: targets that a CTC model can never predict."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from seqlab.base.world import SINGLE_PROCESS
from seqlab.data.batch import collate
from seqlab.inference.scorer import score_rows
from seqlab.models import TransformerCtcConfig
from seqlab.training.validation import mean_nll

SOURCES = [[4, 5, 6], [4, 6], [5]]
RUN: Any = SimpleNamespace(device_context=SimpleNamespace(world=SINGLE_PROCESS, device="cpu"))


class Side:
    vocab_size, pad_id, bos_id, eos_id, unk_id, blank_id, mask_id = 9, 0, 1, 2, 3, 0, 1


def mean(model: torch.nn.Module, sources: Sequence[list[int]], targets: Sequence[list[int]]) -> float:
    batches = (
        collate([src], [tgt], [0], pad_id=0, bos_id=1, eos_id=2) for src, tgt in zip(sources, targets, strict=True)
    )
    return mean_nll(RUN, model, batches)


def test_targets_without_enough_frames_do_not_count() -> None:
    torch.manual_seed(1)
    config = TransformerCtcConfig(d_model=16, d_ff=32, num_heads=2, num_encoder_layers=1, num_decoder_layers=1)
    model = config.build(Side(), Side()).eval()  # type: ignore[arg-type]
    targets = [[7, 8], [8], [7]]
    expected = mean(model, SOURCES, targets)
    impossible = [4] * 200
    assert mean(model, [*SOURCES, [5]], [*targets, impossible]) == pytest.approx(expected)
    together = collate([*SOURCES, [5]], [*targets, impossible], range(4), pad_id=0, bos_id=1, eos_id=2)
    assert mean_nll(RUN, model, iter([together])) == pytest.approx(expected, rel=1e-5)
    assert mean(model, [[5]], [impossible]) == float("inf")
    possible, not_possible = score_rows([model], SOURCES[:2], [[7, 8], impossible], Side())  # type: ignore[list-item,arg-type]
    assert (possible.log_prob, not_possible.log_prob) == (sum(possible.token_log_probs), float("-inf"))
