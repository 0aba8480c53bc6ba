"""Inputs of numbers: one vector, a sequence of vectors, or patches of an image.

Shapes: B examples, F frames of D features each, C channels, H and W height and width, P vectors, E size of a vector.
"""

from math import prod

from torch import Tensor, nn

from seqlab.nn.layers import Linear


class VectorInput(nn.Module):
    """Arrays of a fixed shape as sequences of vectors.

    The vectors are projected to the size that the encoder needs (Dosovitskiy et al. 2021).
    """

    def __init__(self, shape: tuple[int, ...], patch_size: int | None, needed_size: int | None) -> None:
        """Build the layers.

        Args:
            shape: (F, D) or (C, H, W).
            patch_size: size of a patch in frames, or in pixels in each direction; None takes the example as one vector.
            needed_size: the E that the encoder needs; None if it accepts any.
        """
        super().__init__()
        self.patch_size = patch_size
        channels = shape[0] if len(shape) == 3 else shape[1]
        size = prod(shape) if patch_size is None else patch_size ** (len(shape) - 1) * channels
        self.num_vectors = prod(shape) // size
        self.output_size = size if needed_size is None else needed_size
        self.embed = None if needed_size is None else Linear(size, needed_size)

    def forward(self, inputs: Tensor) -> Tensor:
        """inputs (B, F, D) or (B, C, H, W) -> vectors (B, P, E)."""
        vectors = inputs.flatten(1)[:, None] if self.patch_size is None else split_into_patches(inputs, self.patch_size)
        return vectors if self.embed is None else self.embed(vectors).float()


def split_into_patches(inputs: Tensor, size: int) -> Tensor:
    """Split images (B, C, H, W) or sequences (B, F, D) into patches: (B, P, features of a patch).

    Patches of an image are ordered by row and column; the features of a patch by channel, row and column.
    """
    if inputs.dim() == 3:
        return inputs.flatten(1).unflatten(1, (-1, size * inputs.size(2)))
    split = inputs.unflatten(3, (-1, size)).unflatten(2, (-1, size))  # (B, C, H / size, size, W / size, size)
    return split.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)
