"""The translator from outside against itself: step by step and at once, alone and in a batch."""

import json
from typing import Any

import pytest

from .conftest import HERE, run_script

SCRIPT = """
import json, random, torch
from seqlab.data.batch import collate
from seqlab.nn.precision import prepare_inference
from seqlab_outside.convolutional import ConvolutionalConfig, ConvolutionalTranslator

random.seed(1)
torch.manual_seed(1)
rows, targets = ([[random.randrange(5, 60) for _ in range(random.randrange(1, 23))] for _ in range(13)] for _ in "st")
ids = {"pad_id": 0, "bos_id": 1, "eos_id": 2}
for kernel_size in (1, 3, 5):
    config = ConvolutionalConfig(d_model=16, kernel_size=kernel_size, num_encoder_layers=2, num_decoder_layers=3)
    model = ConvolutionalTranslator(config, 60, 60, 1, 2).eval()
    prepare_inference(model, torch.device("cpu"), torch.float32)
    batch = collate(rows, targets, range(13), **ids)
    with torch.inference_mode():
        output, scores = model(batch, need_attention=True), model.score(batch)
        alone = [model.score(collate([row], [target], [0], **ids))[0] for row, target in zip(rows, targets)]
        equal = [torch.equal(scores[i, : len(each)], each) for i, each in enumerate(alone)]
        expected = output.logits().log_softmax(-1)
        last_ids, state = model.start(batch, need_attention=True)
        twice = model.step(last_ids, state.fork()).scores
        difference = float((model.step(last_ids, state.fork()).scores - twice).abs().max())
        ends = batch.tgt_out != -100
        rearranged = torch.arange(12, -1, -1)
        for position in range(batch.tgt_in.size(1)):
            if position == 3:  # the hypotheses of each sentence twice
                state = state.select(torch.arange(13).repeat_interleave(2))
            copies = 1 if position < 3 else 2
            step = model.step(batch.tgt_in[:, position].repeat_interleave(copies), state)
            state, live = step.state, ends[:, position]
            for copy in range(copies):
                for found, wanted in ((step.scores, expected), (step.attention, output.attention)):
                    found = found[copy::copies][live]
                    difference = max(difference, float((found - wanted[:, position][live]).abs().max()))
        attention = output.attention.sum(-1)[ends]
        padded = output.attention * (torch.arange(batch.src.size(1)) >= batch.src_lengths[:, None, None])
    print(json.dumps([all(equal), difference, float((attention - 1).abs().max()), float(padded.abs().max())]))
"""


@pytest.fixture(scope="module")
def found() -> list[Any]:
    return [json.loads(line) for line in run_script(SCRIPT, HERE).splitlines()]


def test_no_batch_changes_an_answer(found: list[Any]) -> None:
    assert [equal for equal, *_ in found] == [True] * 3


def test_cached_equals_uncached(found: list[Any]) -> None:
    assert all(difference < 1e-4 for _, difference, *_ in found)


def test_attention_is_to_the_source_alone(found: list[Any]) -> None:
    assert all(sums < 1e-5 and padded == 0 for *_, sums, padded in found)
