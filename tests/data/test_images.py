"""Pixels of image files: as a viewer shows them, and as the runs of the first version read them."""

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from seqlab.base.reading_notes import FIRST_READING_VERSION, ReadingNotes
from seqlab.data.images import CONTRADICTION_NOTE, ImageReader, fit_size, note_copies, read_images

Image = pytest.importorskip("PIL.Image")
RNG = np.random.default_rng(1)
COLOR = RNG.integers(0, 256, (6, 8, 3)).astype(np.uint8)
GRAY = RNG.integers(0, 256, (6, 8)).astype(np.uint8)
ALPHA = np.array(RNG.integers(0, 256, (6, 8)), np.uint8)
ALPHA[0, :2] = 0, 255
RGB_TO_XYZ = {
    "srgb": [[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]],
    "adobe": [[0.60974, 0.20528, 0.14919], [0.31111, 0.62567, 0.06322], [0.01947, 0.06087, 0.74457]],
    "p3": [[0.51512, 0.29198, 0.15710], [0.24120, 0.69225, 0.06657], [-0.00105, 0.04189, 0.78407]],
}
"""Linear colors to XYZ with the white point D50, from the published profiles."""


def read(path: Path, **options: Any) -> tuple[NDArray[Any], list[str]]:
    """Read one image: its pixels (C, H, W), and the notes on it."""
    reader = ImageReader(**options)
    return reader.read(path), [note.text for note in reader.notes]


def save(path: Path, pixels: NDArray[Any], mode: str | None = None, **options: Any) -> Path:
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(path, **options)
    return path


def rgba() -> Any:
    return Image.fromarray(np.dstack([COLOR, ALPHA]))


def encode(linear: NDArray[Any]) -> NDArray[Any]:
    """Encode linear colors from 0 to 1 in sRGB (IEC 61966-2-1), from 0 to 255."""
    linear = linear.clip(0, 1)
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


WHITE_POINT = (0.9642, 1.0, 0.8249)


def encode_xyz(values: Any) -> bytes:
    return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))


def icc_file(kind: bytes, space: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    """Return an ICC profile of version 2 (ISO 15076-1) with a description and some tags."""
    text = b"desc\0\0\0\0" + struct.pack(">I", 2) + b"t\0" + bytes(80)
    tags = {b"desc": text, b"cprt": b"text\0\0\0\0t\0\0\0", b"wtpt": b"XYZ \0\0\0\0" + encode_xyz(WHITE_POINT)} | tags
    table, body, offset = struct.pack(">I", len(tags)), b"", 128 + 4 + 12 * len(tags)
    for name, content in tags.items():
        table += name + struct.pack(">II", offset + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    head = struct.pack(">I4xI4s4s4s", 128 + len(table) + len(body), 0x02400000, kind, space, connection)
    return (head + bytes(12) + b"acsp" + bytes(28) + encode_xyz(WHITE_POINT)).ljust(128, b"\0") + table + body


def icc_profile(space: str, gamma: float) -> bytes:
    """Return a profile with a power law: of gray, or with the primaries of a space."""
    curve = b"curv\0\0\0\0" + struct.pack(">IHxx", 1, round(gamma * 256))
    if space == "gray":
        return icc_file(b"mntr", b"GRAY", b"XYZ ", {b"kTRC": curve})
    tags = {name + b"TRC": curve for name in (b"r", b"g", b"b")}
    for name, column in zip((b"r", b"g", b"b"), np.array(RGB_TO_XYZ[space]).T, strict=True):
        tags[name + b"XYZ"] = b"XYZ \0\0\0\0" + encode_xyz(column)
    return icc_file(b"mntr", b"RGB ", b"XYZ ", tags)


def gray_ink_profile() -> bytes:
    """Return a profile of CMYK in which all inks are gray: lightness 100 without ink, 50 for colors, 0 for black."""
    lightness = [255, 0, *7 * [128, 0]]  # of 2 ** 4 combinations of inks; black is the last one
    colors = b"".join(bytes([level, 128, 128]) for level in lightness)
    identity = bytes(range(256))
    table = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + encode_xyz(np.eye(3).ravel()) + 4 * identity + colors + 3 * identity
    return icc_file(b"prtr", b"CMYK", b"Lab ", {b"A2B0": table})


@pytest.mark.parametrize(("ground", "color"), [("white", (255,) * 3), ("black", (0,) * 3), ("#00ff80", (0, 255, 128))])
def test_transparent_images_are_put_on_a_ground(tmp_path: Path, ground: str, color: tuple[int, ...]) -> None:
    rgba().save(tmp_path / "a.png")
    pixels, notes = read(tmp_path / "a.png", ground=ground)
    expected = Image.alpha_composite(Image.new("RGBA", (8, 6), (*color, 255)), rgba()).convert("RGB")
    assert np.abs(pixels.transpose(1, 2, 0) - np.asarray(expected, int)).max() <= 1
    assert notes == [f"transparent images were put on {ground}"]


def transparent_palette() -> Any:
    image = Image.fromarray(COLOR).quantize(16)
    image.info["transparency"] = 3
    return image


@pytest.mark.parametrize("kind", ["gray with alpha", "palette", "transparent gray", "RGB with one", "webp"])
def test_every_kind_of_transparency_shows_the_ground(tmp_path: Path, kind: str) -> None:
    path = tmp_path / ("a.webp" if kind == "webp" else "a.png")
    if kind == "gray with alpha":
        Image.fromarray(np.dstack([GRAY, ALPHA])).save(path)
        is_clear, plain = ALPHA == 0, GRAY[None]
    elif kind == "palette":
        image = transparent_palette()
        image.save(path, transparency=3)
        is_clear, plain = np.asarray(image) == 3, np.asarray(image.convert("RGB")).transpose(2, 0, 1)
    elif kind == "transparent gray":
        save(path, GRAY, transparency=int(GRAY[2, 3]))
        is_clear, plain = GRAY[2, 3] == GRAY, GRAY[None]
    elif kind == "RGB with one":
        save(path, COLOR, transparency=tuple(COLOR[2, 3].tolist()))
        is_clear, plain = (COLOR[2, 3] == COLOR).all(2), COLOR.transpose(2, 0, 1)
    else:
        rgba().save(path, lossless=True, exact=True)
        is_clear, plain = ALPHA == 0, COLOR.transpose(2, 0, 1)
    pixels, notes = read(path)
    is_opaque = ~is_clear if "alpha" not in kind and kind != "webp" else ALPHA == 255
    assert is_clear.any()
    assert (pixels[:, is_clear] == 255).all()
    assert np.array_equal(pixels[:, is_opaque], plain[:, is_opaque])
    assert "transparent images were put on white" in notes


def test_a_white_drawing_on_a_white_ground_is_reported(tmp_path: Path) -> None:
    drawing = np.dstack([np.full((6, 8, 3), 255, np.uint8), ALPHA])
    Image.fromarray(drawing).save(tmp_path / "a.png")
    assert "transparent images are blank on white: choose another color by `data.ground`" in read(tmp_path / "a.png")[1]
    pixels, notes = read(tmp_path / "a.png", ground="black")
    assert np.array_equal(pixels[0], ALPHA)
    assert not any("blank" in note for note in notes)


def test_an_opaque_alpha_channel_changes_nothing(tmp_path: Path) -> None:
    Image.fromarray(np.dstack([COLOR, np.full((6, 8), 255, np.uint8)])).save(tmp_path / "a.png")
    pixels, notes = read(tmp_path / "a.png")
    assert np.array_equal(pixels.transpose(1, 2, 0), COLOR)
    assert notes == []


UPRIGHT = {
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: np.rot90(stored.swapaxes(0, 1), 2),
    8: lambda stored: np.rot90(stored),
}
"""EXIF orientation -> conversion of the stored pixels (CIPA DC-008, 4.6.4)."""


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tif"])
@pytest.mark.parametrize("orientation", UPRIGHT)
def test_photos_are_turned_upright(tmp_path: Path, suffix: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    lossless = {"lossless": True} if suffix == "webp" else {"quality": 100, "subsampling": 0} if suffix == "jpg" else {}
    path = save(tmp_path / f"a.{suffix}", COLOR, exif=exif, **lossless)
    pixels, notes = read(path)
    assert np.abs(pixels.transpose(1, 2, 0) - UPRIGHT[orientation](COLOR).astype(int)).max() <= 12 * (suffix == "jpg")
    assert notes == ["images were turned upright, as their EXIF orientation demands"]


def test_16_bit_photos_are_turned_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = save(tmp_path / "a.png", GRAY.astype(np.uint16) * 257, exif=exif)
    assert np.array_equal(read(path)[0][0], np.rot90(GRAY, -1))


@pytest.mark.parametrize(("space", "gamma"), [("adobe", 2.19921875), ("p3", 2.2)])
def test_colors_are_converted_to_srgb_by_their_profile(tmp_path: Path, space: str, gamma: float) -> None:
    colors = RNG.integers(60, 200, (6, 8, 3)).astype(np.uint8)  # within sRGB
    path = save(tmp_path / "a.png", colors, icc_profile=icc_profile(space, gamma))
    linear = (colors / 255) ** gamma @ np.array(RGB_TO_XYZ[space]).T @ np.linalg.inv(RGB_TO_XYZ["srgb"]).T
    is_within = ((linear > 0) & (linear < 1)).all(2)
    pixels, notes = read(path)
    assert is_within.sum() > 20
    assert np.abs(pixels.transpose(1, 2, 0) - encode(linear))[is_within].max() <= 2
    assert np.abs(pixels.transpose(1, 2, 0).astype(int) - colors).max() > 8
    assert notes == ["images were converted from their color profile to sRGB"]


@pytest.mark.parametrize(("bits", "step"), [(8, 1), (16, 257)])
def test_gray_profiles_are_applied(tmp_path: Path, bits: int, step: int) -> None:
    levels = np.arange(256).reshape(16, 16)
    path = save(tmp_path / "a.png", (levels * step).astype(f"uint{bits}"), icc_profile=icc_profile("gray", 1.8))
    assert np.abs(read(path)[0][0] - encode((levels / 255) ** 1.8)).max() <= 3


def test_srgb_profiles_and_damaged_ones_change_nothing(tmp_path: Path) -> None:
    from PIL import ImageCms

    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for profile in (srgb, b"not a profile", icc_profile("gray", 1.8)):
        path = save(tmp_path / "a.png", COLOR, icc_profile=profile)
        pixels, notes = read(path)
        assert np.array_equal(pixels.transpose(1, 2, 0), COLOR)
        assert [note[:33] for note in notes] == ([] if profile is srgb else ["images have a color profile that "])


@pytest.mark.parametrize(("name", "dtype"), [("a.png", "<u2"), ("a.tif", "<u2"), ("b.tif", ">u2"), ("a.pgm", "<u2")])
def test_16_bit_gray_is_scaled_to_8_bits(tmp_path: Path, name: str, dtype: str) -> None:
    values = GRAY.astype(dtype) * 257
    if dtype == ">u2":
        Image.frombytes("I;16B", (8, 6), values.astype(dtype).tobytes()).save(tmp_path / name)
    else:
        save(tmp_path / name, values)
    assert np.array_equal(read(tmp_path / name)[0][0], GRAY)


def test_float_images_are_scaled_from_0_to_1_or_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "a.tif", (GRAY / 255).astype(np.float32))
    assert np.abs(read(path)[0][0] - GRAY).max() < 0.01
    for values in (GRAY.astype(np.float32), np.full((6, 8), np.nan, np.float32), -(GRAY / 255).astype(np.float32)):
        save(path, values)
        with pytest.raises(ValueError, match=r"a\.tif: .*its values of type float are from .* but must be from 0 to 1"):
            read(path)


def test_integers_beyond_16_bits_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "a.tif", GRAY.astype(np.int32) * 70_000)
    with pytest.raises(ValueError, match=r"its values of type integer are from .* but must be from 0 to 65535"):
        read(path)


@pytest.mark.parametrize("name", ["a.jpg", "a.tif"])
def test_cmyk_is_converted_to_rgb(tmp_path: Path, name: str) -> None:
    """Adobe stores CMYK in JPEG files inverted."""
    inks = np.zeros((8, 8, 4), np.uint8)
    inks[..., 0], inks[..., 3] = 200, 30
    Image.fromarray(inks, mode="CMYK").save(tmp_path / name)
    pixels, notes = read(tmp_path / name)
    assert notes == ["images in CMYK without a color profile were converted to RGB as Pillow does"]
    red, green, blue = pixels.reshape(3, -1).mean(1)
    assert (red, green, blue) == pytest.approx(((255 - 200) * (255 - 30) / 255, 225, 225), abs=3)


def test_cmyk_is_converted_by_its_profile(tmp_path: Path) -> None:
    inks = np.zeros((6, 8, 4), np.uint8)
    inks[:3, :, 0] = 255  # cyan
    Image.fromarray(inks, mode="CMYK").save(tmp_path / "a.tif", icc_profile=gray_ink_profile())
    pixels, notes = read(tmp_path / "a.tif")
    assert np.abs(pixels[:, :3].astype(int) - encode(np.array(((50 + 16) / 116) ** 3))).max() <= 3
    assert pixels[:, 3:].min() >= 253
    assert notes == ["images were converted from their color profile to sRGB"]


def test_one_bit_images_are_black_and_white(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", GRAY > 127)
    assert np.array_equal(read(path)[0][0], 255 * (GRAY > 127))


@pytest.mark.parametrize("suffix", ["gif", "png", "webp", "tif"])
def test_the_first_frame_is_read_and_reported(tmp_path: Path, suffix: str) -> None:
    frames = [Image.fromarray(np.full((6, 8, 3), level, np.uint8)) for level in (0, 120, 250)]
    frames[0].save(tmp_path / f"a.{suffix}", save_all=True, append_images=frames[1:])
    pixels, notes = read(tmp_path / f"a.{suffix}")
    assert pixels.max() <= 2
    assert notes == ["images have several frames or pages, of which the first one was read"]


@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "bmp", "webp", "tif", "avif", "jp2", "ppm"])
def test_truncated_files_are_refused_by_name(tmp_path: Path, suffix: str) -> None:
    path = save(tmp_path / f"a.{suffix}", np.repeat(np.repeat(COLOR, 4, 0), 4, 1))
    content = path.read_bytes()
    for size in (0, 1, 5, len(content) // 3, 2 * len(content) // 3):
        path.write_bytes(content[:size])
        advice = "copy it again" if size else "The file is empty"
        with pytest.raises(ValueError, match=rf"a\.{suffix}: cannot be read as an image .*{advice}"):
            read(path)


def test_huge_images_and_foreign_content_are_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "a.png", COLOR)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
    with pytest.raises(ValueError, match=r"a\.png: cannot be read as an image .*exceeds limit.*Make it smaller"):
        read(path)
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    with pytest.raises(ValueError, match=r"a\.heic: .* HEIC images are not supported: convert it to JPEG or PNG"):
        read(tmp_path / "a.heic")


def test_a_gamma_that_is_not_applied_is_reported(tmp_path: Path) -> None:
    content = save(tmp_path / "a.png", COLOR).read_bytes()
    for gamma, notes in ((100_000, ["images name a gamma (PNG chunk gAMA) that was not applied"]), (45_455, [])):
        chunk = b"gAMA" + struct.pack(">I", gamma)
        chunk = struct.pack(">I", 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
        (tmp_path / "a.png").write_bytes(content[:33] + chunk + content[33:])
        assert read(tmp_path / "a.png")[1] == notes


def test_16_bit_color_is_rounded_to_8_bits(tmp_path: Path) -> None:
    """A TIFF file with one strip; Pillow cannot write 16 bits of color."""
    samples = (COLOR.astype("<u2") * 257).tobytes()
    tags = [(256, 3, 1, 8), (257, 3, 1, 6), (258, 3, 3, 8), (259, 3, 1, 1), (262, 3, 1, 2), (273, 4, 1, 14)]
    tags += [(277, 3, 1, 3), (278, 3, 1, 6), (279, 4, 1, len(samples))]
    head = struct.pack("<2sHI3H", b"II", 42, 14 + len(samples), 16, 16, 16)
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    (tmp_path / "a.tif").write_bytes(head + samples + struct.pack("<H", len(tags)) + entries + bytes(4))
    pixels, notes = read(tmp_path / "a.tif")
    assert np.abs(pixels.transpose(1, 2, 0).astype(int) - COLOR).max() <= 1
    assert notes == ["images with 16 bits for each color were rounded to 8 bits"]


def test_lab_is_converted_to_srgb_and_counted(tmp_path: Path) -> None:
    lab = np.zeros((6, 8, 3), np.uint8)
    lab[..., 0] = 128  # L* = 50.2; a* and b* are 0
    Image.fromarray(lab, mode="LAB").save(tmp_path / "a.tif")
    pixels, notes = read(tmp_path / "a.tif")
    assert np.abs(pixels.astype(int) - encode(np.array(((50.2 + 16) / 116) ** 3))).max() <= 3
    assert notes == ["images were converted from L*a*b* to sRGB"]


def test_suffixes_may_be_wrong(tmp_path: Path) -> None:
    save(tmp_path / "a.png", COLOR).rename(tmp_path / "a.jpg")
    assert np.array_equal(read(tmp_path / "a.jpg")[0].transpose(1, 2, 0), COLOR)


def test_gray_images_among_colored_ones_are_read_as_color(tmp_path: Path) -> None:
    files = [save(tmp_path / "a.png", GRAY), save(tmp_path / "b.png", COLOR)]
    reader = ImageReader()
    images = read_images(files, reader)
    assert np.array_equal(images[0], np.stack([GRAY] * 3))
    assert np.array_equal(images[1].transpose(1, 2, 0), COLOR)
    assert reader.notes.lines() == [f"1 gray images were read as color (the first: {files[0]})"]
    with pytest.raises(ValueError, match=r"b\.png: is 8 by 6 pixels in color, but images in gray are needed"):
        read_images(files, reader, channels=1)
    save(files[1], np.stack([GRAY] * 3, axis=2))
    assert np.array_equal(read_images(files, reader, channels=1), [[GRAY], [GRAY]])


def test_other_sizes_are_refused_with_both_sizes(tmp_path: Path) -> None:
    files = [save(tmp_path / "a.png", GRAY), save(tmp_path / "b.png", GRAY.T)]
    with pytest.raises(ValueError, match=r"b\.png: is 6 by 8 .*a\.png is 8 by 6 pixels in gray: resize one of them"):
        read_images(files)
    reader = ImageReader()
    with pytest.raises(ValueError, match=r"b\.png: is 6 by 8 .* the model reads images of 8 by 6 pixels in color"):
        fit_size(reader.read(files[1]), (3, 6, 8), files[1], reader)


def test_runs_of_the_first_version_read_images_as_they_were_trained(tmp_path: Path) -> None:
    """0.3.0 dropped the alpha channel, and ignored orientation and profiles."""
    exif = Image.Exif()
    exif[0x0112] = 6
    profile = icc_profile("adobe", 2.2)
    rgba().save(tmp_path / "a.png", exif=exif, icc_profile=profile)
    Image.fromarray(np.dstack([GRAY, ALPHA])).save(tmp_path / "b.png")
    save(tmp_path / "c.tif", GRAY.astype(np.float32))
    for name, expected in (("a.png", COLOR), ("b.png", np.stack([GRAY] * 3, 2)), ("c.tif", np.stack([GRAY] * 3, 2))):
        pixels, notes = read(tmp_path / name, version=FIRST_READING_VERSION)
        assert np.array_equal(pixels.transpose(1, 2, 0), expected)
        assert notes == []
        content = io.BytesIO((tmp_path / name).read_bytes())
        assert np.array_equal(np.asarray(Image.open(content).convert("RGB")), expected)


def test_copies_are_counted(tmp_path: Path) -> None:
    images, notes = np.stack([GRAY, GRAY.T.reshape(6, 8), GRAY, GRAY])[:, None], ReadingNotes()
    note_copies(images, ["cat", "cat", "cat", "dog"], [Path(name) for name in "abcd"], notes)
    assert notes.lines() == ["1 images equal an earlier image (the first: c)", f"1 {CONTRADICTION_NOTE} (the first: d)"]


def test_integers_of_32_bits_in_the_range_of_8_are_refused(tmp_path: Path) -> None:
    values = np.arange(64, dtype=np.int32).reshape(8, 8)
    for name, pixels in (("a.tif", values * 4), ("b.tif", values * 1000)):
        Image.fromarray(pixels).save(tmp_path / name)
    with pytest.raises(ValueError, match=r"a\.tif: .*integers of 32 bits from 0 to 252"):
        ImageReader().read(tmp_path / "a.tif")
    np.testing.assert_allclose(ImageReader().read(tmp_path / "b.tif")[0], values * 1000 / 257, rtol=1e-6)
    older = ImageReader(version=FIRST_READING_VERSION)
    np.testing.assert_allclose(older.read(tmp_path / "a.tif")[0], values * 4 / 257, rtol=1e-6)


@pytest.mark.parametrize(
    ("content", "advice"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid", "a pointer of git-lfs"),
        (b"\n<!DOCTYPE html><html>", "a text with markup"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "a text with markup"),
    ],
)
def test_texts_in_place_of_images_are_named(content: bytes, advice: str, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(ValueError, match=advice):
        ImageReader().read(tmp_path / "a.png")
