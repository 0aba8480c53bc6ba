"""Consistency of a plugin's translator: cached steps equal a full pass, and single sentences equal a batch."""

import json
from typing import Any

import pytest

from .conftest import PLUGIN_PATH, run_script

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
        single = [model.score(collate([row], [target], [0], **ids))[0] for row, target in zip(rows, targets)]
        equal = [torch.equal(scores[i, : len(each)], each) for i, each in enumerate(single)]
        expected = output.logits().log_softmax(-1)
        last_ids, state = model.start(batch, need_attention=True)
        first_scores = model.step(last_ids, state.fork()).scores
        difference = float((model.step(last_ids, state.fork()).scores - first_scores).abs().max())
        is_target = batch.tgt_out != -100
        for position in range(batch.tgt_in.size(1)):
            if position == 3:  # two hypotheses of each sentence from here
                state = state.select(torch.arange(13).repeat_interleave(2))
            copies = 1 if position < 3 else 2
            step = model.step(batch.tgt_in[:, position].repeat_interleave(copies), state)
            state, active = step.state, is_target[:, position]
            for copy in range(copies):
                for stepwise, full in ((step.scores, expected), (step.attention, output.attention)):
                    stepwise = stepwise[copy::copies][active]
                    difference = max(difference, float((stepwise - full[:, position][active]).abs().max()))
        attention = output.attention.sum(-1)[is_target]
        padded = output.attention * (torch.arange(batch.src.size(1)) >= batch.src_lengths[:, None, None])
    print(json.dumps([all(equal), difference, float((attention - 1).abs().max()), float(padded.abs().max())]))
"""


@pytest.fixture(scope="module")
def results() -> list[Any]:
    """For each kernel size, return equality, difference, error of attention sums, and attention to padding."""
    return [json.loads(line) for line in run_script(SCRIPT, PLUGIN_PATH).splitlines()]


def test_scores_do_not_depend_on_the_batch(results: list[Any]) -> None:
    assert [equal for equal, *_ in results] == [True] * 3


def test_cached_steps_equal_a_full_pass(results: list[Any]) -> None:
    assert all(difference < 1e-4 for _, difference, *_ in results)


def test_attention_ignores_padding_and_sums_to_one(results: list[Any]) -> None:
    assert all(sum_error < 1e-5 and padded == 0 for *_, sum_error, padded in results)
