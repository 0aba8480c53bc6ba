"""Arrays of .npz files: the position of the channels, types of numbers, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seqlab.data.arrays import ArrayCodec, read_arrays

RNG = np.random.default_rng(1)


def save(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


def axes(path: Path, shape: tuple[int, ...], channels: Any = None) -> tuple[int, ...]:
    """Return the shape of images of a shape as the model receives them, after checking their values."""
    values = RNG.normal(size=(3, *shape)).astype(np.float32)
    read = read_arrays(save(path, x=values), "x", [], "images", channels)
    assert np.array_equal(read.inputs, values if read.channels == "first" else np.moveaxis(values, 3, 1))
    return read.inputs.shape[1:]


LAST = [(16, 16, 6), (28, 28, 1), (4, 4, 3), (2, 2, 1), (20, 30, 3), (8, 8, 64), (100, 80, 12)]
FIRST = [(6, 16, 16), (1, 28, 28), (3, 4, 4), (1, 2, 2), (3, 20, 30), (64, 8, 8), (12, 100, 80)]


@pytest.mark.parametrize("shape", [*LAST, *FIRST])
def test_channels_are_recognized_by_the_shape(tmp_path: Path, shape: tuple[int, ...]) -> None:
    expected = (shape[2], *shape[:2]) if shape in LAST else shape
    assert axes(tmp_path / "a.npz", shape) == expected


@pytest.mark.parametrize("shape", [(8, 8, 8), (8, 32, 16), (16, 32, 8)])
def test_shapes_that_fit_both_are_refused_without_the_option(tmp_path: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"a\.npz: images of the shape .* set `data\.channels` to `last` or `first`"):
        axes(tmp_path / "a.npz", shape)
    assert axes(tmp_path / "a.npz", shape, "first") == shape
    assert axes(tmp_path / "a.npz", shape, "last") == (shape[2], *shape[:2])


def test_a_codec_knows_the_position_of_the_channels(tmp_path: Path) -> None:
    """The codec of a run before version 2 has none: it accepts what it accepted, also where the run misread it."""
    values = RNG.normal(size=(3, 16, 16, 6))
    misread = ArrayCodec((16, 16, 6), [0.0] * 16, [1.0] * 16, "x")
    path = save(tmp_path / "a.npz", x=values)
    assert np.array_equal(read_arrays(path, "x", [], "images", codec=misread).inputs, values)
    cube = ArrayCodec.fit(np.zeros((3, 8, 8, 8)), np.arange(3), "x", "images", "last")
    assert cube.channel_axis(np.zeros((3, 8, 8, 8))) == "last"
    color = ArrayCodec((3, 9, 8), [0.0] * 3, [1.0] * 3, "x")
    assert color.channel_axis(np.zeros((2, 9, 8, 3))) == "last"
    assert color.channel_axis(np.zeros((2, 3, 9, 8))) == "first"


def test_changed_positions_are_reported_with_the_version(tmp_path: Path) -> None:
    path = save(tmp_path / "a.npz", x=np.zeros((3, 16, 16, 6)))
    [note] = read_arrays(path, "x", [], "images").notes
    assert str(note) == f"1 arrays of images were read as (height, width, channels) (the first: {path})"
    assert note.since == 2
    assert not list(read_arrays(save(path, x=np.zeros((3, 16, 16, 3))), "x", [], "images").notes)


@pytest.mark.parametrize("dtype", ["bool", "uint16", "float16", ">f4", "int64", "uint8"])
def test_types_of_numbers_keep_their_values(tmp_path: Path, dtype: str) -> None:
    values = RNG.integers(0, 200 if dtype != "bool" else 2, (40, 5)).astype(dtype)
    read = read_arrays(save(tmp_path / "a.npz", x=values), "x", [], "images").inputs
    encoded = ArrayCodec.fit(read, np.arange(40), "x", "images").encode(read, "x")[:, 0]
    exact = values.astype(np.float64)
    assert np.allclose(encoded, (exact - exact.mean(0)) / exact.std(0), atol=1e-5)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.zeros((3, 2), complex)}, r"inputs must be numbers, but have the type complex128"),
        ({"x": np.array([{}, 1, 2], object)}, r"Arrays of Python objects are refused: save numbers or strings"),
        ({"x": np.array(["a"] * 3)}, r"must have two to four dimensions, but have 1"),
        ({"x": np.float64(3)}, r"must have two to four dimensions, but have 0"),
        ({"x": np.zeros((3, 2)), "y": np.float64(3)}, r"'y' must have one dimension or two, but has 0"),
        (
            {"x": np.zeros((3, 2)), "y": np.zeros(3, complex)},
            r"'y' must hold numbers or strings, but has the",
        ),
        ({"z": np.zeros((3, 2))}, r"has no array 'x', only y, z"),
    ],
)
def test_other_arrays_are_refused_by_name(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    path = save(tmp_path / "a.npz", **{"y": np.arange(3)} | arrays)
    with pytest.raises(ValueError, match=rf"a\.npz: .*{message}"):
        read_arrays(path, "x", ["y"], "images")


def test_arrays_that_are_not_needed_may_hold_anything(tmp_path: Path) -> None:
    path = save(tmp_path / "a.npz", x=np.zeros((3, 2)), names=np.array([{}, 1, 2], object))
    assert read_arrays(path, "x", [], "images").inputs.shape == (3, 2)


def test_other_files_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    for content in (b"", b"text", b"\x93NUMPY"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"a\.npz: cannot be read as numpy arrays"):
            read_arrays(path, "x", [], "images")
    np.save(tmp_path / "b.npy", np.zeros((3, 2)))
    (tmp_path / "b.npy").rename(path)
    with pytest.raises(ValueError, match=r"a\.npz: cannot be read as numpy arrays"):
        read_arrays(path, "x", [], "images")


def test_targets_of_bytes_are_text(tmp_path: Path) -> None:
    path = save(tmp_path / "a.npz", x=np.zeros((2, 2)), y=np.array([b"cat", "Köln".encode()]))
    assert read_arrays(path, "x", ["y"], "images").targets["y"].tolist() == ["cat", "Köln"]


@pytest.mark.filterwarnings("error")
def test_numbers_that_are_too_large_are_refused() -> None:
    values = RNG.normal(size=(10, 3)) * np.array([1, 1e300, 1])
    with pytest.raises(ValueError, match="The array 'x' has numbers that are too large: correct or scale them"):
        ArrayCodec.fit(values, np.arange(10), "x", "images")
