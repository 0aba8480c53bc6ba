"""Read image files as arrays of pixels, as a viewer shows them; write animations."""

from __future__ import annotations

import hashlib
import struct
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from seqlab.base.reading_notes import FIRST_READING_VERSION, READ_AS_MEANT, READING_VERSION, ReadingNotes
from seqlab.data.colors import PROFILE_NOTE, flatten, parse_ground, to_srgb
from seqlab.data.folders import FileKind
from seqlab.data.readers import require_file

if TYPE_CHECKING:
    from PIL import Image, ImageFile

FRAMES_PER_SECOND = 30
FIRST_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp"})
"""Suffixes of images that the first version of the reading knew."""
IMAGE_SUFFIXES = FIRST_SUFFIXES | {".apng", ".jpe", ".jfif", ".tif", ".tiff", ".avif", ".heic", ".heif", ".dib"}
IMAGE_SUFFIXES |= {".jp2", ".j2k", ".ppm", ".pgm", ".pbm", ".pnm", ".tga"}
IMAGES = FileKind(
    "images",
    "class",
    frozenset(IMAGE_SUFFIXES),
    "move it, or name the folders that have a subfolder for each class themselves (such as FOLDER/train)",
    FIRST_SUFFIXES,
)
ANIMATED_FORMATS = ("GIF", "PNG", "WEBP", "TIFF", "AVIF")
"""Formats in which further frames are another picture, unlike the previews in a photo (MPO)."""
ORIENTATION_TAG = 0x0112
"""EXIF tag of the orientation: 1 is upright."""
TURNED_NOTE = "images were turned upright, as their EXIF orientation demands"
USUAL_GAMMA = 1 / 2.2
"""Exponent of the encoding of levels in a PNG file that needs no conversion."""
HEIC_BRANDS = (b"heic", b"heix", b"hevc", b"mif1")
UNREADABLE = (OSError, SyntaxError, ValueError, TypeError, LookupError, RuntimeError, EOFError, struct.error)
"""Errors of Pillow for damaged files."""
BLANK_RANGE = 8
"""An image on a ground is blank if its brightest and darkest values differ by less."""
BLANK_NOTE = "transparent images are blank on "
"""Start of the note on images that cannot be seen on their ground."""
CONTRADICTION_NOTE = "images equal an image of another class"
SERIOUS_NOTES = (BLANK_NOTE, CONTRADICTION_NOTE)
"""Starts of the notes that are warnings."""


class UnknownRange(ValueError):
    """Error for an image whose values have an unknown range; the message says what to do."""


class ImageReader:
    """Read image files: the first frame, upright, in sRGB, on an opaque ground; `notes` counts what was converted."""

    def __init__(self, ground: str = "white", version: int = READING_VERSION) -> None:
        """Raise ValueError if Pillow is missing.

        Args:
            ground: color behind transparent images: `white`, `black`, `gray` or `#rrggbb`.
            version: version of the reading (`seqlab.base.reading_notes`).
        """
        try:
            import PIL  # noqa: F401
        except ImportError:
            raise ValueError("Images need Pillow: `pip install 'seqlab[images]'`.") from None
        self.ground, self.version, self.notes = ground, version, ReadingNotes()

    def read(self, file: Path) -> NDArray[Any]:
        """Read an image: (C, H, W), one or three channels, values from 0 to 255.

        Raises:
            FileNotFoundError, ValueError: a file is not an image, is damaged, or has values of an unknown range.
        """
        from PIL import Image

        require_file(file)
        try:
            with warnings.catch_warnings(action="ignore"), Image.open(file) as image:
                if self.version > 1:
                    self._note_decoding(image, str(file))
                image.load()
                pixels = self._pixels(image, str(file)) if self.version > 1 else _pixels_of_version_1(image)
        except (*UNREADABLE, Image.DecompressionBombError) as error:
            raise ValueError(f"{file}: cannot be read as an image ({error}).{_advice(file, error)}") from None
        return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)

    def _note_decoding(self, image: ImageFile.ImageFile, name: str) -> None:
        """Count what Pillow converts while it loads an image: colors of 16 bits, and the orientation of TIFF files."""
        if image.format == "TIFF" and image.getexif().get(ORIENTATION_TAG, 1) in range(2, 9):
            self.notes.add(TURNED_NOTE, name, since=READ_AS_MEANT)
        if not image.mode.startswith("I") and any(";16" in str(tile) for tile in image.tile):
            self.notes.add("images with 16 bits for each color were rounded to 8 bits", name)

    def _pixels(self, image: Image.Image, name: str) -> NDArray[Any]:
        """Return the pixels of an image: (H, W) or (H, W, 3)."""
        if image.format in ANIMATED_FORMATS and getattr(image, "n_frames", 1) > 1:
            self.notes.add("images have several frames or pages, of which the first one was read", name)
            image.seek(0)
        image = self._turn_upright(image, name)
        if image.mode.startswith(("I", "F")):
            return self._deep_pixels(image, name)
        opaque, alpha = _split_alpha(image)
        color, conversion = to_srgb(opaque, image.info.get("icc_profile"))
        self._note_profile(conversion, name)
        if (
            not {"icc_profile", "srgb"} & set(image.info)
            and abs(image.info.get("gamma", USUAL_GAMMA) - USUAL_GAMMA) > 0.05
        ):
            self.notes.add("images name a gamma (PNG chunk gAMA) that was not applied", name)
        if image.mode in ("LA", "La") and color.ndim == 2:
            self.notes.add("gray images with an alpha channel were read as gray", name, since=READ_AS_MEANT)
        if alpha is None or alpha.min() == 255:
            return color
        self.notes.add(f"transparent images were put on {self.ground}", name, since=READ_AS_MEANT)
        flat = flatten(color, alpha, parse_ground(self.ground))
        if np.ptp(flat, axis=(0, 1)).max() < BLANK_RANGE:
            self.notes.add(f"{BLANK_NOTE}{self.ground}: choose another color by `data.ground`", name)
        return flat

    def _turn_upright(self, image: Image.Image, name: str) -> Image.Image:
        """Rotate and mirror an image as its metadata demand."""
        from PIL import ImageOps

        try:
            orientation = image.getexif().get(ORIENTATION_TAG, 1)
        except UNREADABLE:  # viewers ignore damaged metadata
            return image
        if orientation not in range(2, 9):
            return image
        self.notes.add(TURNED_NOTE, name, since=READ_AS_MEANT)
        return ImageOps.exif_transpose(image)

    def _deep_pixels(self, image: Image.Image, name: str) -> NDArray[Any]:
        """Scale gray pixels of 16 bits, or float pixels from 0 to 1, to the range of 8 bits."""
        from PIL import Image

        values = np.asarray(image, np.float32)
        limit = 1.0 if image.mode == "F" else 65535.0
        if not (values.min() >= 0 and values.max() <= limit):  # also if a value is NaN
            raise UnknownRange(
                f"its values of type {'float' if image.mode == 'F' else 'integer'} are from {values.min():g} to "
                f"{values.max():g}, but must be from 0 to {limit:g}: scale them, or give them as an .npz file"
            )
        if image.mode == "I" and image.format == "TIFF" and values.max() <= 255:
            raise UnknownRange(
                f"its values are integers of 32 bits from {values.min():g} to {values.max():g}, which may be 8 bits or "
                "nearly black: save it with 8 or 16 bits"
            )
        if image.mode == "F":
            self.notes.add("float images were scaled from 0 to 1 to 0 to 255", name, since=READ_AS_MEANT)
        pixels = values * (255 / limit) if image.mode == "F" else values / 257
        levels = np.arange(256, dtype=np.uint8)
        curve, conversion = to_srgb(Image.fromarray(levels[None]), image.info.get("icc_profile"))
        if conversion == PROFILE_NOTE:
            pixels = np.interp(pixels, levels, curve[0])
        self._note_profile(conversion, name)
        if (transparent := image.info.get("transparency")) is not None:
            self.notes.add(f"transparent images were put on {self.ground}", name, since=READ_AS_MEANT)
            pixels = np.where(values == transparent, np.mean(parse_ground(self.ground)), pixels)
        return pixels.astype(np.float32)

    def _note_profile(self, conversion: str, name: str) -> None:
        """Count the conversion of a color profile."""
        if conversion:
            self.notes.add(
                conversion, name, since=READ_AS_MEANT if conversion == PROFILE_NOTE else FIRST_READING_VERSION
            )


def _split_alpha(image: Image.Image) -> tuple[Image.Image, NDArray[np.uint8] | None]:
    """Return an image without transparency, and its alpha channel (H, W), or None if it has none."""
    has_palette = image.mode == "P" and image.palette is not None and image.palette.mode == "RGBA"
    if image.mode not in ("LA", "La", "PA", "RGBA", "RGBa") and "transparency" not in image.info and not has_palette:
        return image.convert("L") if image.mode == "1" else image.convert("RGB") if image.mode == "P" else image, None
    is_gray = image.mode in ("1", "L", "LA", "La")
    full = image.convert("LA" if is_gray else "RGBA")
    return full.convert("L" if is_gray else "RGB"), np.asarray(full.getchannel("A"))


def _pixels_of_version_1(image: Image.Image) -> NDArray[Any]:
    """Return the pixels (H, W) or (H, W, 3) that runs of version 1 of the reading were trained on."""
    if image.mode.startswith("I"):
        return np.asarray(image, np.float32) / 257
    return np.asarray(image.convert("L" if image.mode in ("1", "L") else "RGB"))


def _advice(file: Path, error: Exception) -> str:
    """Return what to do with a file that cannot be read, unless the error says it."""
    from PIL import Image

    with file.open("rb") as stream:
        head = stream.read(32)
    if not head:
        return " The file is empty: leave it out, or copy it again."
    if head.startswith(b"version https://git-lfs"):
        return " It is a pointer of git-lfs: get the file itself by `git lfs pull`."
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        return " It is a text with markup (HTML or SVG): was it downloaded completely?"
    if head[4:8] == b"ftyp" and b"avif" not in head and any(brand in head for brand in HEIC_BRANDS):
        return " HEIC images are not supported: convert it to JPEG or PNG."
    if isinstance(error, Image.DecompressionBombError):
        return " Make it smaller."
    is_image = isinstance(error, UnknownRange)
    return "" if is_image else " It is damaged, incomplete or no image: copy it again, or leave it out."


def read_images(files: Sequence[Path], reader: ImageReader | None = None, channels: int | None = None) -> NDArray[Any]:
    """Read images of one size: (N, C, H, W), values from 0 to 255.

    Args:
        files: the image files.
        reader: it reads the files and counts conversions.
        channels: number of channels; by default three if an image is in color.

    Raises:
        FileNotFoundError, ValueError: a file is not an image, or its size differs from that of the first.
    """
    reader = reader or ImageReader()
    images = [reader.read(file) for file in files]
    channels = channels or max(len(image) for image in images)
    for file, image in zip(files, images, strict=True):
        if image.shape[1:] != images[0].shape[1:]:
            raise ValueError(
                f"{file}: is {describe_size(image)}, but {files[0]} is {describe_size(images[0])}: resize one of them."
            )
    return np.stack([set_channels(image, channels, file, reader) for file, image in zip(files, images, strict=True)])


def note_copies(images: NDArray[Any], classes: Sequence[str], files: Sequence[Path], notes: ReadingNotes) -> None:
    """Count the images that equal an earlier one, of the same class or of another."""
    class_by_content: dict[bytes, str] = {}
    for image, name, file in zip(images, classes, files, strict=True):
        content = hashlib.blake2b(image.tobytes(), digest_size=16).digest()
        if content in class_by_content:
            is_same = class_by_content[content] == name
            notes.add("images equal an earlier image" if is_same else CONTRADICTION_NOTE, str(file))
        class_by_content.setdefault(content, name)


def set_channels(image: NDArray[Any], channels: int, file: Path, reader: ImageReader) -> NDArray[Any]:
    """Convert an image (C, H, W) to a number of channels; raise ValueError if that would lose its colors."""
    if len(image) == channels:
        return image
    if len(image) == 1 and channels == 3:
        reader.notes.add("gray images were read as color", str(file))
        return np.repeat(image, 3, axis=0)
    if len(image) == 3 and channels == 1 and (image == image[0]).all():
        reader.notes.add("color images without colors were read as gray", str(file))
        return image[:1]
    raise ValueError(
        f"{file}: is {describe_size(image)}, but images in {'color' if channels == 3 else 'gray'} are needed."
    )


def fit_size(image: NDArray[Any], shape: Sequence[int], file: Path, reader: ImageReader) -> NDArray[Any]:
    """Return an image with the channels that a model reads; raise ValueError if its size is not (C, H, W) = `shape`."""
    if image.shape[1:] != tuple(shape[1:]):
        raise ValueError(
            f"{file}: is {describe_size(image)}, but the model reads images of {describe_shape(shape)}: resize it."
        )
    return set_channels(image, shape[0], file, reader)


def describe_size(image: NDArray[Any]) -> str:
    """Describe the size of an image (C, H, W)."""
    return describe_shape(image.shape)


def describe_shape(shape: Sequence[int]) -> str:
    """Describe a size (C, H, W)."""
    channels, height, width = shape
    return f"{width} by {height} pixels in {'color' if channels == 3 else 'gray'}"


def channels_first(pixels: NDArray[Any]) -> NDArray[Any]:
    """Move the channels, the shorter one of the first and the last axis, to the front: (C, H, W)."""
    pixels = np.atleast_3d(pixels)
    return pixels if pixels.shape[0] < pixels.shape[2] else np.moveaxis(pixels, 2, 0)


def check_frames_path(path: Path) -> None:
    """Raise ValueError, before frames are computed, if `write_frames` cannot write them to a path."""
    if path.suffix.lower() not in ("", ".gif"):
        raise ValueError(f"{path} must end in .gif, or be a folder without a dot in its name.")
    if path.suffix and not path.parent.is_dir():
        raise ValueError(f"There is no folder {path.parent} for {path.name}.")
    if not path.suffix and path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise ValueError(f"{path} is not an empty folder: name a new one for the frames.")


def write_frames(frames: Iterable[NDArray[np.uint8]], path: Path) -> None:
    """Write frames (height, width, 3) as a GIF file, or as PNG files if the path is a folder, without a suffix."""
    from PIL import Image

    images = [Image.fromarray(frame) for frame in frames]
    if path.suffix:
        images[0].save(path, save_all=True, append_images=images[1:], duration=1000 // FRAMES_PER_SECOND, loop=0)
        return
    path.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(images):
        image.save(path / f"{number:05d}.png")
