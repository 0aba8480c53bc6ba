"""Data augmentation of vectors and images: rotation, shift, noise and mixup."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from seqlab.data.batch import ValueBatch, batch_of_arrays
from seqlab.data.table_codec import RowIndices
from seqlab.data.targets import Target
from seqlab.tasks.prediction.config import PredictionConfig
from seqlab.tasks.prediction.examples import EncodedExamples


class AugmentedStep:
    """Augmented examples of one training step; random numbers do not depend on the division among ranks."""

    def __init__(
        self,
        examples: EncodedExamples,
        config: PredictionConfig,
        target: Target,
        indices: RowIndices,
        rng: np.random.Generator,
    ) -> None:
        """`indices` (n,): indices of the examples of the step."""
        self.examples, self.config, self.target, self.indices, self.rng = examples, config, target, indices, rng
        self._augmented: tuple[NDArray[np.float32], NDArray[Any]] | None = None

    def batch(self, indices: RowIndices) -> ValueBatch:
        """Make a batch of some examples of the step."""
        if not self.config.augments:
            return self.examples.batch(indices)
        if self._augmented is None:
            self._augmented = self._augment()
        position_of = {index: position for position, index in enumerate(self.indices.tolist())}
        positions = [position_of[index] for index in indices.tolist()]
        inputs, targets = (array[positions] for array in self._augmented)
        return batch_of_arrays(inputs, targets, self.examples.rows[indices])

    def _augment(self) -> tuple[NDArray[np.float32], NDArray[Any]]:
        """Augment all examples of the step."""
        inputs = augment_inputs(self.examples.read(self.indices), self.config, self.rng)
        targets = self.examples.read_targets(self.indices)
        if not self.config.augment_mixup:
            return inputs, targets
        if targets.ndim == 1:  # class ids
            targets = np.eye(self.target.size, dtype=np.float32)[targets]
        return mixup(inputs, targets, self.config.augment_mixup, self.rng)


def augment_inputs(
    inputs: NDArray[np.float32], config: PredictionConfig, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Rotate and shift images (B, C, H, W) at random; add noise to images or other inputs, such as (B, F, D)."""
    if inputs.ndim == 4 and (config.augment_rotation or config.augment_shift):
        angles = rng.uniform(-config.augment_rotation, config.augment_rotation, len(inputs))
        shifts = rng.uniform(-config.augment_shift, config.augment_shift, (len(inputs), 2))
        inputs = _rotate_and_shift(*(torch.from_numpy(array) for array in (inputs, angles, shifts))).numpy()
    if config.augment_noise:
        inputs = inputs + rng.normal(0.0, config.augment_noise, inputs.shape).astype(np.float32)
    return inputs


def mixup(
    inputs: NDArray[np.float32], targets: NDArray[np.float32], alpha: float, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Interpolate each example with another one: inputs (B, ...) and targets (B, O) (mixup, Zhang et al. 2018).

    The weight of each example is drawn from Beta(`alpha`, `alpha`).
    """
    partners = rng.permutation(len(inputs))
    shares = rng.beta(alpha, alpha, len(inputs)).astype(np.float32)

    def mix(values: NDArray[np.float32]) -> NDArray[np.float32]:
        share = shares.reshape(-1, *[1] * (values.ndim - 1))
        return share * values + (1 - share) * values[partners]

    return mix(inputs), mix(targets)


def _rotate_and_shift(images: Tensor, degrees: Tensor, shifts: Tensor) -> Tensor:
    """Rotate images (B, C, H, W) about their centers by degrees (B,), and shift them by pixels (B, 2).

    Pixels are interpolated bilinearly; border pixels are repeated outside the image.
    """
    height, width = images.shape[2:]
    angle = degrees.deg2rad()
    cos, sin, ratio = angle.cos(), angle.sin(), height / width
    right, down = 2 * shifts[:, 0] / width, 2 * shifts[:, 1] / height  # grid coordinates are in [-1, 1]
    rows = torch.stack((cos, -sin * ratio, right), dim=1), torch.stack((sin / ratio, cos, down), dim=1)
    grid = F.affine_grid(torch.stack(rows, dim=1).float(), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)
