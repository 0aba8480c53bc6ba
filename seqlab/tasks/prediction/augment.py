"""Random changes of training examples: pure functions of the examples and of a generator's numbers."""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from seqlab.tasks.prediction.config import PredictionConfig


def augmented(inputs: NDArray[np.float32], config: PredictionConfig, rng: np.random.Generator) -> NDArray[np.float32]:
    """Change inputs (B, F, D) or (B, C, H, W) at random, in their order."""
    if inputs.ndim == 4 and (config.augment_rotation or config.augment_shift):
        angles = rng.uniform(-config.augment_rotation, config.augment_rotation, len(inputs))
        shifts = rng.uniform(-config.augment_shift, config.augment_shift, (len(inputs), 2))
        inputs = _moved(*(torch.from_numpy(each) for each in (inputs, angles, shifts))).numpy()
    if config.augment_noise:
        inputs = inputs + rng.normal(0.0, config.augment_noise, inputs.shape).astype(np.float32)
    return inputs


def mixed(
    inputs: NDArray[np.float32], targets: NDArray[np.float32], alpha: float, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mix each example with another one, inputs (B, ...) and targets (B, K) by the same share (Zhang et al. 2018).

    Shares are drawn from the beta distribution with both parameters `alpha`, one for each example.
    """
    others = rng.permutation(len(inputs))
    shares = rng.beta(alpha, alpha, len(inputs)).astype(np.float32)

    def mix(values: NDArray[np.float32]) -> NDArray[np.float32]:
        share = shares.reshape(-1, *[1] * (values.ndim - 1))
        return share * values + (1 - share) * values[others]

    return mix(inputs), mix(targets)


def _moved(images: Tensor, degrees: Tensor, shifts: Tensor) -> Tensor:
    """Turn images (B, C, H, W) about their middle by degrees (B,), and shift them by pixels (B, 2); edges are repeated.

    Pixels are interpolated linearly.
    """
    height, width = images.shape[2:]
    angle = degrees.deg2rad()
    cos, sin, ratio = angle.cos(), angle.sin(), height / width
    right, down = 2 * shifts[:, 0] / width, 2 * shifts[:, 1] / height  # grids reach from -1 to 1
    rows = torch.stack((cos, -sin * ratio, right), dim=1), torch.stack((sin / ratio, cos, down), dim=1)
    grid = F.affine_grid(torch.stack(rows, dim=1).float(), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)
