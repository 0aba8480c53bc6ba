"""Runs on images: transparent ones in training and prediction, runs of the first version, validation in gray."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reference.shared import SharedFolder

import seqlab
from seqlab.models import (
    EncoderPredictorConfig,
    LinearEncoderConfig,
)
from seqlab.runs.folder import RunFolder
from seqlab.tasks.prediction.config import PredictionConfig
from seqlab.tasks.prediction.examples import fit_codecs, prepare_examples, read_examples
from seqlab.tasks.prediction.zero_config import from_examples
from seqlab.training import train

from .conftest import tiny

Image = pytest.importorskip("PIL.Image")
RNG = np.random.default_rng(1)


def drawing(is_dark: bool) -> Any:
    """Return a transparent image of 4 by 4 pixels with an opaque border."""
    pixels = RNG.integers(0, 60, (4, 4, 4)) + (0 if is_dark else 150)
    pixels[..., 3] = 255
    pixels[1:3, 1:3, 3] = RNG.integers(0, 255, (2, 2))
    return Image.fromarray(pixels.astype(np.uint8))


def save_classes(folder: Path, mode: str, count: int = 20) -> Path:
    for name in ("dark", "light"):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            drawing(name == "dark").convert(mode).save(folder / name / f"{number}.png")
    return folder


def config(folder: Path, **options: Any) -> Any:
    return tiny(
        str(folder),
        "class",
        "class",
        EncoderPredictorConfig(encoder=LinearEncoderConfig()),
        inputs=[],
        max_steps=8,
        **options,
    )


@pytest.fixture
def opaque_run(shared: SharedFolder, tmp_path: Path) -> Path:
    """Return a copy of a run that was trained on opaque images."""
    built = shared.build(
        "opaque_images", lambda folder: train(config(save_classes(folder / "data", "RGB")), folder / "run")
    )
    return Path(shutil.copytree(built / "run", tmp_path / "run"))


def started_by_version_1(run_dir: Path) -> None:
    description = RunFolder(run_dir).read_description()
    RunFolder(run_dir).write_description({key: value for key, value in description.items() if key != "reading"})


def predict(run_dir: Path, image: Any, path: Path) -> dict[str, float]:
    image.save(path)
    [prediction] = seqlab.load(run_dir).predict_images([path])
    return prediction.values


def test_a_run_predicts_transparent_images_as_it_was_trained(opaque_run: Path, tmp_path: Path) -> None:
    """Version 1 dropped the alpha channel; later runs put the image on white."""
    image = drawing(True)
    on_white = Image.alpha_composite(Image.new("RGBA", (4, 4), "white"), image).convert("RGB")
    expected = predict(opaque_run, on_white, tmp_path / "white.png")
    without_alpha = predict(opaque_run, image.convert("RGB"), tmp_path / "b.png")
    assert predict(opaque_run, image, tmp_path / "a.png") == pytest.approx(expected, rel=0.05)
    started_by_version_1(opaque_run)
    assert predict(opaque_run, image, tmp_path / "a.png") == without_alpha
    assert without_alpha != pytest.approx(expected, rel=0.05)


def test_a_run_of_version_1_on_transparent_images_is_not_resumed(tmp_path: Path) -> None:
    start = config(save_classes(tmp_path / "data", "RGBA"))
    run_dir = train(start, tmp_path / "run")
    started_by_version_1(run_dir)
    with pytest.raises(ValueError, match=r"differently: 40 transparent images were put on white \(the first: .*0\.png"):
        train(start, run_dir)


def test_a_run_of_version_1_on_other_files_of_the_folder_is_not_resumed(tmp_path: Path) -> None:
    """Version 1 also hashed hidden images, and no .tif files."""
    start = config(save_classes(tmp_path / "data", "RGB"))
    run_dir = train(start, tmp_path / "run")
    folder = RunFolder(run_dir)
    folder.write_description(folder.read_description() | {"reading": 1, "data_sha256": ["0" * 64]})
    with pytest.raises(ValueError, match=r"data differs .* \(or other files of the folder were data for the earlier"):
        train(start, run_dir)


def test_the_ground_is_kept_with_the_run(tmp_path: Path) -> None:
    run_dir = train(config(save_classes(tmp_path / "data", "RGBA"), ground="#204060"), tmp_path / "run")
    image = drawing(False)
    on_ground = Image.alpha_composite(Image.new("RGBA", (4, 4), "#204060"), image).convert("RGB")
    expected = predict(run_dir, on_ground, tmp_path / "b.png")
    assert predict(run_dir, image, tmp_path / "a.png") == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("ground", ["pink", "#fff", "#12345g", 336699, None])
def test_unknown_grounds_are_refused(ground: Any) -> None:
    with pytest.raises(ValueError, match=r"choose white, black, gray or a color such as '#336699', not "):
        PredictionConfig(train=["a"], ground=ground)


def test_gray_images_validate_a_model_of_color(tmp_path: Path) -> None:
    color, gray = save_classes(tmp_path / "color", "RGB"), save_classes(tmp_path / "gray", "L")
    data = PredictionConfig(train=[str(color)], valid=str(gray), predicts="class")
    examples = prepare_examples(data, fit_codecs(data, read_examples(data, data.train)), tmp_path / "cache")
    inputs = examples.valid.read(np.arange(len(examples.valid)))
    assert inputs.shape == (40, 3, 4, 4)
    assert "40 gray images were read as color" in " ".join(examples.reading.lines())


def test_folders_may_differ_in_color_but_not_in_kind(tmp_path: Path) -> None:
    color, gray = save_classes(tmp_path / "color", "RGB", 3), save_classes(tmp_path / "gray", "L", 3)
    data = PredictionConfig(train=[str(color), str(gray)], predicts="class")
    assert read_examples(data, data.train).arrays.shape == (12, 3, 4, 4)
    np.savez(tmp_path / "a.npz", x=np.zeros((3, 4)), y=np.arange(3))
    with pytest.raises(ValueError, match=r"gray and .*a\.npz are folders of images and files of arrays"):
        read_examples(data, [str(gray), str(tmp_path / "a.npz")])


def test_names_of_class_folders_are_no_numbers(tmp_path: Path) -> None:
    """25 folders with numbers as names are 25 classes."""
    for number in range(25):
        (tmp_path / "data" / f"{number:05}").mkdir(parents=True)
        for copy in range(3):
            pixels = RNG.integers(0, 9, (4, 4)) + 10 * number
            Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "data" / f"{number:05}" / f"{copy}.png")
    found = from_examples([("data.train", str(tmp_path / "data")), ("model.family", "linear_model")])
    assert (found.data.predicts, found.objective.family) == ("class", "softmax")


@pytest.mark.parametrize("names", [("none", "some"), ("NA", "null"), ("1", "1.5"), ("yes", "no"), ("1e3", "1000")])
def test_folders_of_any_name_are_classes(tmp_path: Path, names: tuple[str, str]) -> None:
    for name in names:
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(5):
            drawing(name == names[0]).save(tmp_path / "data" / name / f"{number}.png")
    data = PredictionConfig(train=[str(tmp_path / "data")], predicts="class")
    raw = read_examples(data, data.train)
    target = fit_codecs(data, raw)[1]
    assert sorted(target.values) == sorted(names)
    labels = target.lines(target.encode(raw.table))
    assert labels == [Path(raw.table.locate(row)).parent.name for row in range(len(raw))]
