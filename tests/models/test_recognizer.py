"""Speech recognizers and labelers of recordings: public checks, local attention, too long targets."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from models.batches import check_batches
from torch import Tensor

from seqlab.data.batch import FrameBatch, collate_frames
from seqlab.models import (
    LinearEncoderConfig,
    ModelConfig,
    RecognizerConfig,
    RecordingLabelerConfig,
    RecurrentEncoderConfig,
    TransformerEncoderConfig,
)
from seqlab.objectives import CtcConfig, SoftmaxConfig, StepContext
from seqlab.testing import check_model, check_objective, labeled_recordings, recordings
from seqlab.testing.models import build as build_model
from seqlab.testing.random_examples import FRAME_COUNTS

BANDS = 16
TRANSFORMER: dict[str, Any] = {"d_model": 24, "d_ff": 32, "num_heads": 2, "num_layers": 2}
RECURRENT: dict[str, Any] = {"hidden_size": 16, "num_layers": 2, "dropout": 0.2, "output_dropout": 0.2}
SMALL: dict[str, Any] = {"channels": (4, 4)}
SMALL_RECURRENT = SMALL | {"frame_size": 16}
RECOGNIZERS: dict[str, Any] = {
    "lstm": RecognizerConfig(encoder=RecurrentEncoderConfig(family="lstm", **RECURRENT), **SMALL_RECURRENT),
    "gru": RecognizerConfig(encoder=RecurrentEncoderConfig(family="gru", **RECURRENT), **SMALL_RECURRENT, upsampling=1),
    "transformer": RecognizerConfig(encoder=TransformerEncoderConfig(**TRANSFORMER), **SMALL),
    "local": RecognizerConfig(
        encoder=TransformerEncoderConfig(**TRANSFORMER, attention_window=3, positions="rotary"), **SMALL, upsampling=1
    ),
    "post": RecognizerConfig(
        encoder=TransformerEncoderConfig(**TRANSFORMER, attention_window=1, norm="post"), **SMALL, upsampling=4
    ),
}
LABELERS: dict[str, Any] = {
    "cnn": RecordingLabelerConfig(
        encoder=LinearEncoderConfig(activation="relu", input_dropout=0.1),
        channels=(4, 8),
        depth=2,
        frame_size=16,
        frame_dropout=0.1,
    ),
    "lstm": RecordingLabelerConfig(
        encoder=RecurrentEncoderConfig(family="lstm", **RECURRENT), **SMALL_RECURRENT, pooling="max"
    ),
    "gru": RecordingLabelerConfig(encoder=RecurrentEncoderConfig(family="gru", **RECURRENT), **SMALL_RECURRENT),
    "transformer": RecordingLabelerConfig(encoder=TransformerEncoderConfig(**TRANSFORMER, attention_window=4), **SMALL),
}


def build(config: ModelConfig) -> Any:
    return build_model(config, recordings(BANDS))


def frame_scores(model: Any, batch: FrameBatch) -> list[Tensor]:
    """Compute the log-probabilities of the frames of each recording."""
    found = model.frames(batch)
    return [row[:length] for row, length in zip(found.log_probs, found.lengths.tolist(), strict=True)]


@torch.inference_mode()
def scores(model: Any, frames: np.ndarray) -> Tensor:
    return frame_scores(model, collate_frames([frames], None, [0], pad_id=0, bos_id=1, eos_id=2))[0]


@pytest.mark.parametrize("name", RECOGNIZERS)
def test_recognizers_pass_the_public_checks(name: str) -> None:
    """The gradient of the CTC loss of a padded batch is the sum of the gradients of its recordings."""
    config, examples = RECOGNIZERS[name], recordings(BANDS)
    check_model(config, examples, tolerance=1e-4)
    check_objective(CtcConfig(label_smoothing=0.1), config, examples)
    for dtype, tolerance in ((torch.float32, 1e-4), (torch.bfloat16, 3e-2)):
        check_batches(config, examples, dtype, tolerance, frame_scores)
    found = build(config).frames(examples.all())
    assert found.lengths.tolist() == [config.upsampling * -(-count // 4) for count in FRAME_COUNTS]


@pytest.mark.parametrize("name", LABELERS)
def test_labelers_of_recordings_pass_the_public_checks(name: str) -> None:
    config, examples = LABELERS[name], labeled_recordings(BANDS)
    check_model(config, examples, objective=SoftmaxConfig(), tolerance=1e-4)
    check_batches(config, examples, tolerance=3e-2)


def test_local_attention_bounds_the_receptive_field() -> None:
    """Two layers with a window of 3 attend to 6 frames on each side. The convolutions read one more."""
    model, [row] = build(RECOGNIZERS["local"]), [np.random.default_rng(2).normal(size=(160, BANDS)).astype(np.float32)]
    changed = row.copy()
    changed[80] += 5
    before, after = scores(model, row), scores(model, changed)
    changed_frames = ((before - after).abs().amax(1) > 1e-6).nonzero()[:, 0]
    max_distance = 2 * 3 + 1
    assert 20 - max_distance <= int(changed_frames.min())
    assert int(changed_frames.max()) <= 20 + max_distance
    assert len(changed_frames) > 6
    unlimited = build(replace(RECOGNIZERS["transformer"], upsampling=1))
    assert ((scores(unlimited, row) - scores(unlimited, changed)).abs().amax(1) > 0).all()


def test_targets_that_need_too_many_frames_are_reported() -> None:
    config = RECOGNIZERS["gru"]
    src, tgt, repeated = (np.array(values) for values in ([40, 40, 40, 1], [10, 11, 10, 1], [0, 0, 1, 0]))
    found = config.unreachable_targets(src, tgt, lambda: repeated)
    assert found.mask.tolist() == [False, True, True, False]
    model = build(config)
    batch = collate_frames([np.zeros((40, BANDS), np.float32)], [[3, 4] * 5], [0], pad_id=0, bos_id=1, eos_id=2)
    assert float(CtcConfig().build()(model, batch, StepContext(0)).logs["too_long"]) == 0
    batch = collate_frames([np.zeros((40, BANDS), np.float32)], [[3] * 6], [0], pad_id=0, bos_id=1, eos_id=2)
    assert float(CtcConfig().build()(model, batch, StepContext(0)).logs["too_long"]) == 7


def test_recognizers_and_labelers_share_encoder_weights() -> None:
    """So a labeler can be initialized from a recognizer."""
    for name in ("lstm", "gru", "transformer"):
        names = [
            {key: value.shape for key, value in model.state_dict().items() if key.startswith("encoder.")}
            for model in (build(RECOGNIZERS[name]), build_model(LABELERS[name], labeled_recordings(BANDS)))
        ]
        assert names[0] == names[1]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (lambda: RecognizerConfig(encoder=TransformerEncoderConfig(positions="learned")), "needs a maximum length"),
        (
            lambda: RecordingLabelerConfig(
                encoder=LinearEncoderConfig(activation="relu", input_dropout=0.1),
                channels=(32, 64, 128),
                depth=2,
                frame_size=256,
                frame_dropout=0.1,
                frame_norm="batch",
            ),
            "would depend on padding",
        ),
    ],
)
def test_invalid_configs_are_refused(config: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        config()
