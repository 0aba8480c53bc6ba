"""`seqlab train` and `seqlab predict`: predictions, intervals and thresholds, independent of the batch."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import seqlab
from seqlab.models import (
    CnnConfig,
    EncoderPredictorConfig,
    LinearEncoderConfig,
    MlpEncoderConfig,
    RecurrentEncoderConfig,
)
from seqlab.nn.recurrent import RecurrentKind
from seqlab.training import train

from .conftest import ONCE, run, tiny, write_csv

LINES = ["size,age,city,more", "100,10,Berlin,x", "", '120,5,"Köln",', "90,1,Paris,?"]


def test_predict_prints_one_line_per_row(houses: Path) -> None:
    status, out, err = run("predict", houses, stdin="\n".join(LINES) + "\n")
    assert status == 0, err
    first, empty, third, unknown = out.splitlines()
    assert empty == ""
    assert float(first) == pytest.approx(3 * 100 - 2 * 10 + 200, abs=60)
    assert float(third) == pytest.approx(3 * 120 - 2 * 5 + 50, abs=60)
    assert float(unknown) > 0  # a city that is not in the training data
    assert "1 cells of 'city' are not in the training data" in err
    assert "(the first: 'Paris', standard input, line 5)" in err
    records = ['{"city": "Berlin", "age": 10, "size": 100}', "", '{"city": "Köln", "size": 120.0, "age": 5}']
    assert run("predict", houses, stdin="\n".join(records) + "\n")[1].splitlines() == [first, "", third]
    assert run("predict", houses, stdin="\n".join(LINES[:4]).replace(",", "\t") + "\n")[1].splitlines() == [
        first,
        "",
        third,
    ]
    found = json.loads(run("predict", houses, "--json", stdin="\n".join(LINES[:2]))[1])
    assert found["values"] == {"price": pytest.approx(float(first))}


def test_predictions_do_not_depend_on_the_batch(houses: Path, table: str) -> None:
    expected = run("predict", houses, "--input", table)[1].splitlines()
    assert len(expected) == 240
    assert run("predict", houses, "--input", table, "--batch_rows", "7")[1].splitlines() == expected
    header, *rows = Path(table).read_text("utf-8").splitlines()
    reversed_rows = "\n".join([header, *rows[::-1]])
    assert run("predict", houses, stdin=reversed_rows)[1].splitlines() == expected[::-1]
    assert run("predict", houses, stdin="\n".join([header, rows[17]]))[1].splitlines() == [expected[17]]


def test_predicting_in_python(houses: Path) -> None:
    predictor = seqlab.load(houses)
    record = {"size": 100, "age": 10, "city": "Berlin"}
    [text] = predictor.predict([record])
    [detailed] = predictor.predict_detailed([record])
    assert detailed.text == text
    assert detailed.values == {"price": pytest.approx(float(text))}
    assert predictor.predict([]) == []
    two = seqlab.load([houses, houses]).predict_detailed([record])
    assert two[0].values == {"price": pytest.approx(float(text))}
    with pytest.raises(ValueError, match="`examples`, entry 2: has no 'age'"):
        predictor.predict([record, {"size": 1, "city": "Köln"}])
    with pytest.raises(ValueError, match="reads rows of a table: size, age, city"):
        predictor.predict(np.zeros((2, 3)))


def test_intervals_cover_90_percent(tmp_path: Path) -> None:
    """For new examples with exponential noise, and two targets."""
    rng = np.random.default_rng(6)

    def rows(count: int) -> list[list[float]]:
        x = rng.normal(0, 1, count)
        noise = rng.exponential(1.0, count)
        return [[a, 2 * a + b, -a + 3 * b] for a, b in zip(x.tolist(), noise.tolist(), strict=True)]

    path = write_csv(tmp_path / "t.csv", ["x", "y", "z"], rows(1000))
    config = tiny(
        path,
        "y",
        model=EncoderPredictorConfig(encoder=LinearEncoderConfig()),
        inputs=["x"],
        max_steps=200,
        valid_fraction=0.4,
        **ONCE,
    )
    config = replace(config, data=replace(config.data, target=["y", "z"]))
    run_dir = train(config, tmp_path / "run")
    new = rows(2000)
    found = seqlab.load(run_dir).predict_detailed([{"x": row[0]} for row in new])
    for column, name in ((1, "y"), (2, "z")):
        is_covered = [
            e.interval[name][0] <= row[column] <= e.interval[name][1] for e, row in zip(found, new, strict=True)
        ]
        assert 0.86 < np.mean(is_covered) < 0.94
    line = json.loads(run("predict", run_dir, "--json", stdin="x\n0.5\n")[1])
    assert line["interval"]["y"][0] < line["values"]["y"] < line["interval"]["y"][1]


@pytest.mark.parametrize(("target", "predicts"), [("class", "class"), ("labels", "labels")])
def test_predicted_classes_and_labels_agree_with_their_probabilities(
    target: str, predicts: str, table: str, tmp_path: Path
) -> None:
    config = tiny(
        table,
        target,
        predicts,
        EncoderPredictorConfig(encoder=MlpEncoderConfig(hidden_sizes=(32,))),
        max_steps=300,
        **ONCE,
    )
    run_dir = train(config, tmp_path / "run")
    out = run("predict", run_dir, "--input", table)[1]
    (tmp_path / "hyp").write_text(out, "utf-8")
    metric = "accuracy" if predicts == "class" else "micro_f1"
    evaluated = run("evaluate", tmp_path / "hyp", "--ref", f"{table}#{target}", "--metrics", metric, "--json")
    assert json.loads(evaluated[1])[metric]["value"] > 90
    found = [json.loads(line) for line in run("predict", run_dir, "--json", "--input", table)[1].splitlines()]
    thresholds = thresholds_of(run_dir)
    for line, each in zip(out.splitlines(), found, strict=True):
        assert each["prediction"] == line
        if predicts == "class":
            assert sum(each["values"].values()) == pytest.approx(1)
            assert max(each["values"], key=each["values"].get) == line
        else:
            assert line.split() == [name for name, value in each["values"].items() if value > thresholds[name]]


def test_ensemble_members_may_have_targets_of_different_scale(tmp_path: Path) -> None:
    """Each member scales its predictions by the mean and standard deviation of its training data."""
    runs = []
    for number, shift in enumerate((0, 1000)):
        path = write_csv(tmp_path / f"{number}.csv", ["x", "y"], [[k % 9, 2 * (k % 9) + shift] for k in range(90)])
        runs.append(
            train(
                tiny(path, "y", model=EncoderPredictorConfig(encoder=LinearEncoderConfig()), inputs=["x"]),
                tmp_path / f"run{number}",
            )
        )
    [first], [second], [both], [reversed_order] = (
        [each.values["y"] for each in seqlab.load(members).predict_detailed([{"x": 4}])]
        for members in ([runs[0]], [runs[1]], runs, runs[::-1])
    )
    assert both == pytest.approx((first + second) / 2)
    assert reversed_order == pytest.approx(both)


def thresholds_of(run_dir: Path) -> dict[str, float]:
    lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text("utf-8").splitlines()]
    best = min((line for line in lines if line["kind"] == "valid"), key=lambda line: line["loss"])
    thresholds = {
        name.removeprefix("threshold."): value for name, value in best.items() if name.startswith("threshold.")
    }
    assert all(0 < value < 1 for value in thresholds.values())
    return thresholds


def test_label_thresholds_are_chosen_on_validation_data(tmp_path: Path) -> None:
    """The best threshold of a label with probabilities below 0.5 is far below 0.5."""

    def rows(count: int, seed: int) -> list[list[Any]]:
        rng = np.random.default_rng(seed)
        x = rng.normal(0, 1, count)
        draw = rng.random((count, 2))
        probs = np.stack([0.4 / (1 + np.exp(3 - 2 * x)), 1 / (1 + np.exp(-3 * x))], axis=1)
        return [[each, *map(int, labels)] for each, labels in zip(x.tolist(), (draw < probs).tolist(), strict=True)]

    path = write_csv(tmp_path / "t.csv", ["x", "rare", "common"], rows(4000, 1))
    config = tiny(
        path,
        "rare",
        "labels",
        EncoderPredictorConfig(encoder=MlpEncoderConfig()),
        inputs=["x"],
        max_steps=300,
        valid_fraction=0.5,
        **ONCE,
    )
    config = replace(config, data=replace(config.data, target=["rare", "common"]))
    run_dir = train(config, tmp_path / "run")
    assert thresholds_of(run_dir)["rare"] < 0.35
    new = rows(4000, 2)
    found = seqlab.load(run_dir).predict_detailed([{"x": row[0]} for row in new])
    predicted = np.array([[name in each.text.split() for name in ("rare", "common")] for each in found])
    right = np.array([row[1:] for row in new], bool)
    probs = np.array([each.values["rare"] for each in found])

    def f1(predicted_rare: np.ndarray) -> float:
        return 2 * (predicted_rare & right[:, 0]).sum() / (predicted_rare.sum() + right[:, 0].sum())

    best = max(f1(probs > threshold) for threshold in np.linspace(0.01, 0.5, 50))
    assert f1(predicted[:, 0]) > 0.9 * best > f1(probs > 0.5)
    lines = ["rare " * is_rare + "common" * is_common for is_rare, is_common in predicted.tolist()]
    assert [each.text for each in found] == [line.strip() for line in lines]


def test_thresholds_are_half_with_too_few_validation_examples(tmp_path: Path) -> None:
    rows = [[k % 7, int(k % 7 > 2), int(k % 7 > 4)] for k in range(150)]
    path = write_csv(tmp_path / "t.csv", ["x", "a", "b"], rows)
    config = tiny(
        path,
        "a",
        "labels",
        EncoderPredictorConfig(encoder=LinearEncoderConfig()),
        inputs=["x"],
        max_steps=20,
        valid_every=20,
    )
    config = replace(config, data=replace(config.data, target=["a", "b"]))
    assert thresholds_of(train(config, tmp_path / "run")) == {"a": 0.5, "b": 0.5}


def test_class_names_of_several_words(tmp_path: Path) -> None:
    """Validation compares complete names, not words."""
    names = ["New York", "New Jersey", "Ohio"]
    rng = np.random.default_rng(8)
    rows = [[rng.normal(0, 1) + k % 3, names[k % 3]] for k in range(300)]
    path = write_csv(tmp_path / "t.csv", ["x", "state"], rows)
    config = tiny(
        path,
        "state",
        "class",
        EncoderPredictorConfig(encoder=LinearEncoderConfig()),
        inputs=["x"],
        valid=path,
        max_steps=48,
        **ONCE,
    )
    run_dir = train(config, tmp_path / "run")
    predicted = run("predict", run_dir, "--input", path)[1].splitlines()
    right = np.mean([name == row[1] for name, row in zip(predicted, rows, strict=True)])
    lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text("utf-8").splitlines()]
    assert lines[-1]["accuracy"] == pytest.approx(100 * right)


def test_a_class_name_of_several_lines_is_one_output_line(tmp_path: Path) -> None:
    rows = [[k % 2, ["very\ngood", "bad, really"][k % 2]] for k in range(200)]
    path = write_csv(tmp_path / "t.csv", ["x", "grade"], rows)
    config = tiny(
        path,
        "grade",
        "class",
        EncoderPredictorConfig(encoder=LinearEncoderConfig()),
        inputs=["x"],
        max_steps=100,
        **ONCE,
    )
    run_dir = train(config, tmp_path / "run")
    status, out, _ = run("predict", run_dir, "--json", stdin="x\n0\n1\n")
    assert (status, [json.loads(line)["prediction"] for line in out.splitlines()]) == (0, ["very\ngood", "bad, really"])
    assert run("predict", run_dir, stdin="x\n0\n1\n")[:2] == (0, "very good\nbad, really\n")


@pytest.mark.parametrize("family", ["rnn", "lstm", "gru"])
def test_recurrent_models_classify_by_the_first_frame(family: RecurrentKind, tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    x = rng.normal(0, 1, (600, 6, 2))
    np.savez(tmp_path / "t.npz", x=x, y=(x[:, 0, 0] > 0).astype(int))
    options = {"inputs": ["x"], "layout": "frames", "batch_rows": 64, "micro_batch_rows": 64, "max_steps": 160, **ONCE}
    model = EncoderPredictorConfig(
        encoder=RecurrentEncoderConfig(family=family, hidden_size=16, bidirectional=False, dropout=0.0)
    )
    run_dir = train(tiny(str(tmp_path / "t.npz"), "y", "class", model, **options), tmp_path / "run")
    new = rng.normal(0, 1, (300, 6, 2))
    predicted = seqlab.load(run_dir).predict(new)
    assert np.mean([name == str(int(right)) for name, right in zip(predicted, new[:, 0, 0] > 0, strict=True)]) > 0.95


def test_recurrent_models_refuse_images(tmp_path: Path) -> None:
    np.savez(tmp_path / "t.npz", x=np.random.default_rng(4).normal(0, 1, (60, 6, 6)), y=np.arange(60) % 2)
    config = tiny(
        str(tmp_path / "t.npz"),
        "y",
        "class",
        EncoderPredictorConfig(
            encoder=RecurrentEncoderConfig(
                family="lstm", hidden_size=64, bidirectional=False, dropout=0.0, input_dropout=0.0
            )
        ),
        inputs=["x"],
    )
    with pytest.raises(ValueError, match=r"`model\.encoder\.family: lstm` reads sequences, but the inputs are images"):
        train(config, tmp_path / "run")


def test_a_folder_of_images_without_classes_is_predicted(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    rng = np.random.default_rng(3)
    (tmp_path / "new").mkdir()
    np.savez(tmp_path / "t.npz", x=rng.integers(0, 255, (40, 6, 6)), y=rng.integers(0, 2, 40))
    for number in range(3):
        image.fromarray(rng.integers(0, 255, (6, 6)).astype(np.uint8)).save(tmp_path / "new" / f"{number}.png")
    model = CnnConfig(channels=(4,))
    run_dir = train(tiny(str(tmp_path / "t.npz"), "y", "class", model, inputs=["x"], max_steps=5), tmp_path / "run")
    assert len(run("predict", run_dir, "--input", tmp_path / "new")[1].splitlines()) == 3


def test_training_and_predicting_image_folders(tmp_path: Path) -> None:
    """Train on one folder of PNG files per class; predict the classes of image paths."""
    image = pytest.importorskip("PIL.Image")
    rng = np.random.default_rng(3)
    for number in range(60):
        name = ["dark", "light"][number % 2]
        (tmp_path / "shapes" / name).mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 120, (8, 8)) + 120 * (number % 2)
        image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "shapes" / name / f"{number}.png")
    model = CnnConfig(channels=(8,), norm="batch")
    config = tiny(str(tmp_path / "shapes"), "class", "class", model, inputs=[], max_steps=60, **ONCE)
    run_dir = train(config, tmp_path / "run")
    files = sorted((tmp_path / "shapes").glob("*/*.png"))
    out = run("predict", run_dir, stdin="".join(f"{file}\n" for file in [*files[:3], files[-1]]) + "\n")[1]
    assert out.splitlines() == ["dark", "dark", "dark", "light", ""]
    found = run("predict", run_dir, "--input", tmp_path / "shapes")[1].splitlines()
    assert found == [file.parent.name for file in files]
    assert run("predict", run_dir, "--input", files[-1])[1] == "light\n"
    image.fromarray(np.zeros((9, 8), np.uint8)).save(tmp_path / "odd.png")
    status, out, err = run("predict", run_dir, stdin=f"{files[0]}\n{tmp_path / 'odd.png'}\n{files[-1]}\n")
    assert status == 3
    assert out.splitlines() == ["dark", "", "light"]
    assert "odd.png: is 8 by 9 pixels in gray, but" in err
    (tmp_path / "shapes" / "dark" / "broken.png").write_bytes(b"no image")
    assert "broken.png: cannot be read as an image" in run("predict", run_dir, "--input", tmp_path / "shapes")[2]


def test_training_and_predicting_a_time_series(tmp_path: Path) -> None:
    """Line i is the prediction from the window that ends at row i; lines before the first full window are empty."""
    series = [[float(np.sin(0.3 * step))] for step in range(300)]
    path = write_csv(tmp_path / "sine.csv", ["x"], series)
    config = tiny(
        path,
        "x",
        inputs=["x"],
        window=6,
        ahead=2,
        model=EncoderPredictorConfig(encoder=MlpEncoderConfig(hidden_sizes=(32,))),
        max_steps=300,
        **ONCE,
    )
    run_dir = train(config, tmp_path / "run")
    out = run("predict", run_dir, "--input", path)[1].splitlines()
    assert len(out) == 300
    assert out[:5] == [""] * 5
    errors = [float(out[row]) - series[row + 2][0] for row in range(5, 298)]
    assert np.abs(errors).max() < 0.25
    assert run("predict", run_dir, "--input", path, "--batch_rows", "11")[1].splitlines() == out
    short = run("predict", run_dir, stdin="x\n0\n0.1\n")[1].splitlines()
    assert short == ["", ""]


def test_ensemble_members_with_different_ahead_are_refused(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "sine.csv", ["x"], [[float(np.sin(0.3 * step))] for step in range(100)])
    runs = [
        train(tiny(path, "x", inputs=["x"], window=6, ahead=ahead, max_steps=4), tmp_path / str(ahead))
        for ahead in (1, 2)
    ]
    with pytest.raises(ValueError, match=r"predict 1 and 2 rows ahead \(`data\.ahead`\)"):
        seqlab.load(runs)


def test_classes_without_images_are_reported(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    for name in ("dark", "light", "none"):
        (tmp_path / "shapes" / name).mkdir(parents=True)
    for number in range(20):
        name = ["dark", "light"][number % 2]
        image.fromarray(np.full((4, 4), number, np.uint8)).save(tmp_path / "shapes" / name / f"{number}.png")
    config = tiny(
        str(tmp_path / "shapes"),
        "class",
        "class",
        EncoderPredictorConfig(encoder=LinearEncoderConfig()),
        inputs=[],
        max_steps=4,
    )
    with pytest.raises(ValueError, match=r"none: has no images .*, so its class has no examples"):
        train(config, tmp_path / "run")
