"""Streams in blocks of varied length: the learning rate is proportional to the length, and resuming is exact."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from reference.tiny_runs import tiny_text_config, write_text

import seqlab.training.loop
from seqlab.corpora.number_words.phrases import cardinal_phrase
from seqlab.models import EncoderLmConfig, RecurrentEncoderConfig
from seqlab.optim import ConstantScheduleConfig, OptimConfig, SgdConfig
from seqlab.runs.config import Config
from seqlab.training import train

OPTIM = OptimConfig(
    optimizer=SgdConfig(lr=0.5, momentum=0.0), schedule=ConstantScheduleConfig(warmup_steps=3), average_trigger=1
)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    texts = write_text(tmp_path, [cardinal_phrase(number).en for number in range(1, 130)])
    data = {"documents": "continuous", "order": "contiguous", "vary_block_length": True, "block_length": 14}
    model = EncoderLmConfig(
        encoder=RecurrentEncoderConfig(
            family="lstm",
            hidden_size=16,
            num_layers=2,
            bidirectional=False,
            dropout=0.1,
            output_dropout=0.1,
            weight_dropout=0.2,
        ),
        embedding_dropout=0.1,
    )
    return tiny_text_config(texts, data=data, model=model, optim=OPTIM, max_steps=40)


def test_the_learning_rate_is_proportional_to_the_block_length(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[tuple[int, float]] = []
    start_update = seqlab.training.loop.start_update

    def start_and_record(
        accumulator: Any, optimizer: torch.optim.Optimizer, micro_steps: Any, context: Any, lr: float, *rest: Any
    ) -> Any:
        found.append((micro_steps[0].tgt_in.size(1), lr))
        return start_update(accumulator, optimizer, micro_steps, context, lr, *rest)

    monkeypatch.setattr(seqlab.training.loop, "start_update", start_and_record)
    train(config, tmp_path / "run")
    assert len({length for length, _ in found}) > 5
    scheduled = [OPTIM.schedule.lr_at(0.5, step, 40) for step in range(40)]
    assert [lr for _, lr in found] == pytest.approx(
        [rate * length / 14 for rate, (length, _) in zip(scheduled, found, strict=True)]
    )
    found.clear()
    train(replace(config, data=replace(config.data, vary_block_length=False)), tmp_path / "even")
    assert {length for length, _ in found} > {14}, "the last block of a stream may be shorter"
    assert [lr for _, lr in found] == pytest.approx(
        [rate * length / 14 for rate, (length, _) in zip(scheduled, found, strict=True)]
    )
