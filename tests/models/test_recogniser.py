"""Speech recognizers and labellers of recordings: independence of the batch, local attention, too long targets."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from seqlab.data.batch import collate_frames, collate_values
from seqlab.models import (
    CnnRecordingLabellerConfig,
    GruRecogniserConfig,
    GruRecordingLabellerConfig,
    LstmRecogniserConfig,
    LstmRecordingLabellerConfig,
    ModelConfig,
    TransformerRecogniserConfig,
    TransformerRecordingLabellerConfig,
)
from seqlab.nn.precision import prepare_inference
from seqlab.objectives import CtcConfig
from seqlab.objectives.loss import StepContext

BANDS, VOCAB_SIZE = 16, 12
TRANSFORMER: dict[str, Any] = {"d_model": 24, "d_ff": 32, "num_heads": 2, "num_encoder_layers": 2, "channels": (4, 4)}
RECURRENT: dict[str, Any] = {"hidden_size": 16, "num_layers": 2, "channels": (4, 4)}
RECOGNISERS: dict[str, Any] = {
    "lstm": LstmRecogniserConfig(**RECURRENT),
    "gru": GruRecogniserConfig(**RECURRENT, upsampling=1),
    "transformer": TransformerRecogniserConfig(**TRANSFORMER),
    "local": TransformerRecogniserConfig(**TRANSFORMER, attention_window=3, positions="rotary", upsampling=1),
    "post": TransformerRecogniserConfig(**TRANSFORMER, attention_window=1, norm="post", upsampling=4),
}
LABELLERS: dict[str, Any] = {
    "cnn": CnnRecordingLabellerConfig(channels=(4, 8), hidden_size=16),
    "lstm": LstmRecordingLabellerConfig(**RECURRENT, pooling="max"),
    "gru": GruRecordingLabellerConfig(**RECURRENT),
    "transformer": TransformerRecordingLabellerConfig(**TRANSFORMER, attention_window=4),
}
LENGTHS = [37, 1, 64, 5, 20, 64, 2]


class Recordings:
    num_bands = BANDS


class Tokens:
    vocab_size, blank_id, bos_id, eos_id, size = VOCAB_SIZE, 0, 1, 2, 5


def build(config: ModelConfig, dtype: torch.dtype = torch.float32) -> Any:
    torch.manual_seed(0)
    model = config.build(Recordings(), Tokens()).eval()
    prepare_inference(model, torch.device("cpu"), dtype)
    return model


def draw_frames() -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [rng.normal(size=(length, BANDS)).astype(np.float32) for length in LENGTHS]


def scores(model: Any, frames: list[np.ndarray], extra: int = 0) -> list[Tensor]:
    """Compute the log-probabilities of each recording in a batch with `extra` additional frames of padding."""
    ids = {"pad_id": 0, "bos_id": 1, "eos_id": 2}
    batch = collate_frames(frames, None, range(len(frames)), **ids)
    padded = torch.nn.functional.pad(batch.frames, (0, 0, 0, extra))
    with torch.inference_mode():
        found = model.frames(replace(batch, frames=padded))
    return [row[:length] for row, length in zip(found.log_probs, found.lengths.tolist(), strict=True)]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.bfloat16, 3e-2)])
@pytest.mark.parametrize("name", RECOGNISERS)
def test_recognition_scores_are_independent_of_the_batch(name: str, dtype: torch.dtype, tolerance: float) -> None:
    model, frames = build(RECOGNISERS[name], dtype), draw_frames()
    together = scores(model, frames)
    assert [len(scores_of_row) for scores_of_row in together] == [
        model.upsampling * -(-length // 4) for length in LENGTHS
    ]
    reversed_scores = scores(model, frames[::-1], extra=40)[::-1]
    for expected, found, row in zip(together, reversed_scores, frames, strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=tolerance)
        torch.testing.assert_close(scores(model, [row])[0], expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.bfloat16, 3e-2)])
@pytest.mark.parametrize("name", LABELLERS)
def test_recording_labels_are_independent_of_the_batch(name: str, dtype: torch.dtype, tolerance: float) -> None:
    model, frames = build(LABELLERS[name], dtype), draw_frames()
    with torch.inference_mode():
        together = model(collate_values(frames, None, range(len(frames)))).float()
        for index, row in enumerate(frames):
            single = model(collate_values([row], None, [0])).float()[0]
            torch.testing.assert_close(single, together[index], rtol=0, atol=tolerance)


def test_local_attention_bounds_the_receptive_field() -> None:
    """Two layers with a window of 3 attend to 6 frames on each side. The convolutions read one more."""
    model, [row] = build(RECOGNISERS["local"]), [np.random.default_rng(2).normal(size=(160, BANDS)).astype(np.float32)]
    changed = row.copy()
    changed[80] += 5
    before, after = scores(model, [row])[0], scores(model, [changed])[0]
    changed_frames = ((before - after).abs().amax(1) > 1e-6).nonzero()[:, 0]
    max_distance = 2 * 3 + 1
    assert 20 - max_distance <= int(changed_frames.min())
    assert int(changed_frames.max()) <= 20 + max_distance
    assert len(changed_frames) > 6
    unlimited = build(replace(RECOGNISERS["transformer"], upsampling=1))
    assert ((scores(unlimited, [row])[0] - scores(unlimited, [changed])[0]).abs().amax(1) > 0).all()


@pytest.mark.parametrize("name", RECOGNISERS)
def test_batch_gradients_are_sums_over_recordings(name: str) -> None:
    """The gradient of the CTC loss of a padded batch is the sum of the gradients of its recordings."""
    config = replace(RECOGNISERS[name], dropout=0.0)
    model, frames, ids = build(config).train(), draw_frames()[2:5:2], {"pad_id": 0, "bos_id": 1, "eos_id": 2}
    targets, objective = [[5, 5, 7], [4]], CtcConfig().build()
    total = objective(model, collate_frames(frames, targets, range(2), **ids), StepContext(0)).total
    together = torch.autograd.grad(total, list(model.parameters()))
    sums = [torch.zeros_like(grad) for grad in together]
    for row, target in zip(frames, targets, strict=True):
        loss = objective(model, collate_frames([row], [target], [0], **ids), StepContext(0)).total
        for total_grad, grad in zip(sums, torch.autograd.grad(loss, list(model.parameters())), strict=True):
            total_grad += grad
    for grad_of_batch, expected in zip(together, sums, strict=True):
        torch.testing.assert_close(grad_of_batch, expected, rtol=1e-3, atol=1e-4)


def test_targets_that_need_too_many_frames_are_reported() -> None:
    config = RECOGNISERS["gru"]
    src, tgt, repeated = (np.array(values) for values in ([40, 40, 40, 1], [10, 11, 10, 1], [0, 0, 1, 0]))
    found = config.unreachable_targets(src, tgt, lambda: repeated)
    assert found.mask.tolist() == [False, True, True, False]
    model = build(config)
    batch = collate_frames([np.zeros((40, BANDS), np.float32)], [[3, 4] * 5], [0], pad_id=0, bos_id=1, eos_id=2)
    assert float(CtcConfig().build()(model, batch, StepContext(0)).logs["too_long"]) == 0
    batch = collate_frames([np.zeros((40, BANDS), np.float32)], [[3] * 6], [0], pad_id=0, bos_id=1, eos_id=2)
    assert float(CtcConfig().build()(model, batch, StepContext(0)).logs["too_long"]) == 7


def test_recognizers_and_labellers_share_encoder_weights() -> None:
    """So a labeller can be initialized from a recognizer."""
    for name in ("lstm", "gru", "transformer"):
        names = [
            {key: value.shape for key, value in build(config).state_dict().items() if key.startswith("encoder.")}
            for config in (RECOGNISERS[name], LABELLERS[name])
        ]
        assert names[0] == names[1]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (lambda: TransformerRecogniserConfig(positions="learned"), "needs a maximum length"),
        (lambda: CnnRecordingLabellerConfig(norm="batch"), "would depend on padding"),
    ],
)
def test_invalid_configs_are_refused(config: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        config()
