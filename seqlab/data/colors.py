"""Colors of images: conversion to sRGB by ICC profiles, and transparent pixels on a ground."""

from __future__ import annotations

import re
from functools import lru_cache
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL import Image

GROUNDS = {"white": "#ffffff", "black": "#000000", "gray": "#808080"}
"""Named colors behind transparent images."""
MODES_BY_SPACE = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}
"""Color space of an ICC profile -> mode of Pillow."""
PROFILE_NOTE = "images were converted from their color profile to sRGB"
LAB_NOTE = "images were converted from L*a*b* to sRGB"
CMYK_NOTE = "images in CMYK without a color profile were converted to RGB as Pillow does"
UNKNOWN_PROFILE = "images have a color profile that cannot be used: their colors were read as sRGB"
SAME_COLOR = 2
"""Maximum difference, of 255, between colors in sRGB and in a profile that counts as sRGB."""


def check_ground(ground: object) -> object:
    """Return a color that `parse_ground` parses; raise ValueError for anything else."""
    if str(ground) not in GROUNDS and not re.fullmatch(r"#[0-9a-fA-F]{6}", str(ground)):
        raise ValueError(f"choose {', '.join(GROUNDS)} or a color such as '#336699', not {ground!r}.")
    return ground


def parse_ground(ground: str) -> tuple[int, int, int]:
    """Parse `white`, `black`, `gray` or `#rrggbb`."""
    digits = GROUNDS.get(ground, ground).removeprefix("#")
    return int(digits[:2], 16), int(digits[2:4], 16), int(digits[4:], 16)


def flatten(color: NDArray[np.uint8], alpha: NDArray[np.uint8], ground: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Put pixels (H, W) or (H, W, 3) on a ground, by their opacity `alpha` (H, W) from 0 to 255.

    The result is in color if the ground is.
    """
    if color.ndim == 2 and len(set(ground)) > 1:
        color = np.repeat(color[..., None], 3, axis=2)
    share = alpha / 255 if color.ndim == 2 else alpha[..., None] / 255
    behind = ground[0] if color.ndim == 2 else np.array(ground)
    return np.rint(share * color + (1 - share) * behind).astype(np.uint8)


def to_srgb(image: Image.Image, profile: bytes | None) -> tuple[NDArray[np.uint8], str]:
    """Convert an opaque image with its ICC profile to sRGB.

    Returns:
        The pixels, (H, W) for a gray image and (H, W, 3) for all others; and a note on the conversion, or "".
    """
    from PIL import ImageCms

    is_gray = image.mode in ("1", "L")
    if image.mode == "LAB":
        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        rgb = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
        assert rgb is not None
        return np.asarray(rgb), LAB_NOTE
    plain = image if image.mode in ("L", "RGB") else image.convert("L" if is_gray else "RGB")
    if not profile:
        return np.asarray(plain), CMYK_NOTE if image.mode == "CMYK" else ""
    try:
        mode, transform = _transform_to_srgb(profile)
    except (ImageCms.PyCMSError, OSError):
        return np.asarray(plain), UNKNOWN_PROFILE
    source = image if image.mode == mode else plain.convert(mode) if is_gray and mode == "RGB" else None
    if source is None:
        return np.asarray(plain), UNKNOWN_PROFILE
    if transform is None:
        return np.asarray(plain), ""
    converted = np.asarray(ImageCms.applyTransform(source, transform))
    return converted[..., 0] if is_gray else converted, PROFILE_NOTE


@lru_cache(maxsize=64)
def _transform_to_srgb(profile: bytes) -> tuple[str, Any]:
    """Return the mode of the images that a profile describes, and its conversion; None if it is sRGB.

    Raises:
        ImageCms.PyCMSError, OSError: the profile is damaged, or describes another kind of images.
    """
    from PIL import Image, ImageCms

    source = ImageCms.ImageCmsProfile(BytesIO(profile))
    mode = MODES_BY_SPACE.get(source.profile.xcolor_space.strip(), "")
    if not mode:
        raise ImageCms.PyCMSError("the color space is not supported")
    transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
    if mode == "CMYK":
        return mode, transform
    levels = np.arange(0, 256, 17, dtype=np.uint8)
    probe = np.arange(256, dtype=np.uint8)[None]
    if mode == "RGB":
        probe = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(1, -1, 3)
    changed = np.asarray(ImageCms.applyTransform(Image.fromarray(probe), transform)).astype(int)
    same = probe[..., None] if mode == "L" else probe
    return mode, None if abs(changed - same).max() <= SAME_COLOR else transform
