"""Transformer predictors over images and sequences: patches, position encodings, public checks."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from seqlab.data.batch import batch_of_arrays
from seqlab.models import (
    EncoderPredictorConfig,
    TransformerEncoderConfig,
)
from seqlab.models.predictor import InputShape, TargetSize
from seqlab.models.vector_input import split_into_patches
from seqlab.testing import check_model, vectors


@pytest.mark.parametrize("size", [1, 2, 4])
def test_image_patches_equal_unfold(size: int) -> None:
    images = torch.randn(3, 2, 4, 8)
    expected = F.unfold(images, kernel_size=size, stride=size).transpose(1, 2)
    assert torch.equal(split_into_patches(images, size), expected)


def test_sequence_patches_are_consecutive_frames() -> None:
    frames = torch.randn(3, 6, 2)
    found = split_into_patches(frames, 3)
    assert found.shape == (3, 2, 6)
    assert torch.equal(found[1, 1], frames[1, 3:].flatten())


def scores(config: EncoderPredictorConfig, inputs: Any) -> torch.Tensor:
    torch.manual_seed(1)
    shape = inputs.shape[1:]
    model = config.build(InputShape(shape), TargetSize(5)).eval()
    found: torch.Tensor = model(batch_of_arrays(inputs, None, np.arange(len(inputs)))).detach()
    return found


@pytest.mark.parametrize(("positions", "is_same"), [("none", True), ("learned", False)])
def test_only_positions_make_scores_depend_on_the_order(positions: Any, is_same: bool) -> None:
    inputs = np.random.default_rng(1).normal(size=(4, 9, 3)).astype(np.float32)
    config = EncoderPredictorConfig(
        encoder=TransformerEncoderConfig(d_model=64, d_ff=256, num_layers=2, positions=positions)
    )
    permuted = np.ascontiguousarray(inputs[:, [3, 1, 4, 0, 5, 8, 2, 6, 7]])
    assert torch.allclose(scores(config, inputs), scores(config, permuted), atol=1e-5) == is_same


def test_models_pass_the_public_checks() -> None:
    check_model(
        EncoderPredictorConfig(
            encoder=TransformerEncoderConfig(d_model=64, d_ff=256, num_layers=2, positions="learned"), patch_size=2
        ),
        vectors((1, 8, 8)),
    )


def test_patch_sizes_that_do_not_divide_the_input_are_refused() -> None:
    with pytest.raises(ValueError, match=r"`model\.patch_size` \(3\) must divide the 8 by 8 positions"):
        EncoderPredictorConfig(
            encoder=TransformerEncoderConfig(d_model=64, d_ff=256, num_layers=2, positions="learned"), patch_size=3
        ).build(InputShape((1, 8, 8)), TargetSize(2))
    with pytest.raises(ValueError, match="must be divisible by `num_heads`"):
        EncoderPredictorConfig(encoder=TransformerEncoderConfig(d_model=6, d_ff=256, num_layers=2, positions="learned"))
