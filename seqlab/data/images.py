"""Reading of image files as arrays of pixels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqlab.data.readers import require_file

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp")


def images_in(folder: Path, pattern: str) -> list[Path]:
    """List the image files of a folder that match a pattern, sorted."""
    return sorted(path for path in folder.glob(pattern) if path.suffix.lower() in IMAGE_SUFFIXES)


def read_images(files: Sequence[Path]) -> NDArray[Any]:
    """Read images of one size: (N, C, H, W), values from 0 to 255.

    Raises:
        FileNotFoundError, ValueError: a file is not an image, or its size differs from that of the first.
    """
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError:
        raise ValueError("Images need Pillow: `pip install 'seqlab[images]'`.") from None
    found: list[NDArray[Any]] = []
    for file in files:
        require_file(file)
        try:
            with Image.open(file) as image:
                if image.mode.startswith("I"):  # 16-bit gray, scaled to the range of 8 bits
                    pixels = np.asarray(image, np.float32) / 257
                else:
                    pixels = np.asarray(image.convert("L" if image.mode in ("1", "L") else "RGB"))
        except (UnidentifiedImageError, OSError) as error:
            raise ValueError(f"{file}: cannot be read as an image ({error}).") from None
        channels = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
        if found and channels.shape != found[0].shape:
            raise ValueError(
                f"{file}: is {describe_size(channels)}, but {files[0]} is {describe_size(found[0])}: resize one of "
                "them."
            )
        found.append(channels)
    return np.stack(found)


def describe_size(image: NDArray[Any]) -> str:
    """Describe the size of an image (C, H, W)."""
    channels, height, width = image.shape
    return f"{width} by {height} pixels in {'color' if channels == 3 else 'gray'}"
