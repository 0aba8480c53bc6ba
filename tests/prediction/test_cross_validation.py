"""Cross-validation (`--folds N`): each row is predicted once by a run not trained on it; interrupted runs resume."""

import json
from pathlib import Path
from statistics import mean, stdev

import pytest
from reference.tiny_runs import assert_equal_runs, tiny_config, write_numbers

import seqlab
import seqlab.training.cross_validation
from seqlab.evaluation import evaluate
from seqlab.runs.config import write_config
from seqlab.training import train, train_folds

from .conftest import run, tiny, write_csv


def test_each_row_is_predicted_once_and_the_report_has_mean_scores(table: str, tmp_path: Path) -> None:
    write_config(tiny(table, "class", "class", max_steps=12), tmp_path / "config.yaml")
    arguments = ("train", tmp_path / "config.yaml", "--folds", "4", "--run_dir", tmp_path / "runs")
    status, out, err = run(*arguments)
    assert status == 0, err
    report = json.loads((tmp_path / "runs" / "folds.json").read_text("utf-8"))
    accuracies = [fold["accuracy"] for fold in report["folds"]]
    assert len(accuracies) == 4
    means = report["means"]["accuracy"]
    assert means["mean"] == pytest.approx(mean(accuracies))
    assert means["standard_error"] == pytest.approx(stdev(accuracies) / 2)
    assert f"accuracy {mean(accuracies):.3f} ± " in out
    lines = (tmp_path / "runs" / "predictions.jsonl").read_text("utf-8").splitlines()
    predictions = [json.loads(line) for line in lines]
    assert sorted(each["example"] for each in predictions) == sorted(f"{table}, line {n}" for n in range(2, 242))
    for fold, accuracy in enumerate(accuracies, start=1):
        of_fold = [each for each in predictions if each["fold"] == fold]
        right = sum(each["prediction"] == each["target"] for each in of_fold)
        assert 100 * right / len(of_fold) == pytest.approx(accuracy)
    assert run(*arguments)[1] == out
    message = "runs is not a run folder: it has no run.json. It contains 4 run folders: name one of them, "
    message += f"such as {tmp_path / 'runs/fold_01'}."
    assert message in run("info", tmp_path / "runs")[2]


def test_interrupted_folds_resume(table: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config, trained = tiny(table, "price", max_steps=12), []

    def train_one_fold(*arguments: object, **options: object) -> Path:
        if len(trained) == 1:
            raise KeyboardInterrupt
        trained.append(arguments)
        return train(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(seqlab.training.cross_validation, "train", train_one_fold)
    with pytest.raises(KeyboardInterrupt):
        train_folds(config, tmp_path / "resumed", 3)
    monkeypatch.undo()
    assert not (tmp_path / "resumed" / "folds.json").exists()
    resumed = train_folds(config, tmp_path / "resumed", 3)
    assert resumed == train_folds(config, tmp_path / "uninterrupted", 3)
    for fold in ("fold_01", "fold_02", "fold_03"):
        assert_equal_runs(tmp_path / "resumed" / fold, tmp_path / "uninterrupted" / fold)


def test_invalid_cross_validation_is_refused(table: str, tmp_path: Path) -> None:
    config = tiny(table, "price", max_steps=2)
    train(config, tmp_path / "run")
    with pytest.raises(ValueError, match="is a run, not the folder of one run for each fold"):
        train_folds(config, tmp_path / "run", 3)
    with pytest.raises(ValueError, match="`folds` must be at least 2, but is 1 instead"):
        train_folds(config, tmp_path / "new", 1)
    with pytest.raises(ValueError, match=r"Folds are parts of the training data: remove `data\.valid`"):
        train_folds(tiny(table, "price", valid=table), tmp_path / "new", 3)


def test_files_of_folds_keep_the_digits_of_large_numbers(tmp_path: Path) -> None:
    """Targets are those of the table, predictions differ, and their error is that of metrics.jsonl."""
    times = [1700000000.25 + 900 * i + i * i % 17 for i in range(60)]
    path = write_csv(tmp_path / "t.csv", ["x", "y"], [[i, time] for i, time in enumerate(times)])
    report = train_folds(tiny(path, "y", inputs=["x"], max_steps=8), tmp_path / "runs", 2)
    lines = (tmp_path / "runs" / "predictions.jsonl").read_text("utf-8").splitlines()
    found = [json.loads(line) for line in lines]
    assert sorted(float(each["target"]) for each in found) == times
    assert len({each["prediction"] for each in found}) == 60
    for fold, scores in enumerate(report.folds, start=1):
        of_fold = [each for each in found if each["fold"] == fold]
        hypotheses, references = ([each[name] for each in of_fold] for name in ("prediction", "target"))
        assert evaluate(hypotheses, [references], ["rmse"])["rmse"].value == scores["rmse"]
    fold_01 = seqlab.load(tmp_path / "runs" / "fold_01")
    [detailed] = fold_01.predict_detailed([{"x": 7}])
    assert detailed.values == {"y": float(detailed.text)}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--folds", "1"], "`folds` must be at least 2, but is 1 instead"),
        (
            ["--folds", "3", "--data.valid_src", "a", "--data.valid_tgt", "b"],
            "remove `data.valid_src` and",
        ),
    ],
)
def test_a_cross_validation_is_checked_before_a_recipe_writes(options: list[str], message: str, tmp_path: Path) -> None:
    status, _, err = run("train", "number_words", *options, "--run_dir", tmp_path / "runs")
    assert (status, message in err) == (2, True), err
    assert not (tmp_path / "runs").exists()


def test_files_of_others_are_not_overwritten_by_a_cross_validation(table: str, tmp_path: Path) -> None:
    (tmp_path / "predictions.jsonl").write_text("mine\n")
    with pytest.raises(ValueError, match=r"predictions\.jsonl exists, but not the runs of a cross-validation"):
        train_folds(tiny(table, "price", max_steps=2), tmp_path, 3)
    assert (tmp_path / "predictions.jsonl").read_text() == "mine\n"


def test_equal_rows_and_groups_in_several_folds_are_named_before_training(tmp_path: Path) -> None:
    rows = [[i // 2, i % 3, f"p{i // 4}"] for i in range(24)]
    path = write_csv(tmp_path / "t.csv", ["x", "y", "patient"], [*rows, *rows[:3]])
    config = tiny(path, "y", inputs=["x", "patient"], folds="plain").data
    [equal, groups] = config.check_folds(3)
    num_equal = int(equal.split()[0])
    assert num_equal % 2 == 0
    assert 0 < num_equal <= 6
    assert "rows equal a row of another fold (the first: " in equal
    assert "values of the column 'patient' are in several folds: p0, " in groups
    assert "`data.fold_column: patient`" in groups
    assert tiny(path, "y", inputs=["x"], folds="grouped", fold_column="patient").data.check_folds(3) == []


def test_all_folds_are_checked_before_the_first_is_written(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "t.csv", ["x", "y", "fold"], [[i, i % 7, i % 2] for i in range(20)])
    config = tiny(path, "y", inputs=["x"], folds="given", fold_column="fold", max_steps=2)
    with pytest.raises(ValueError, match="names 2 folds"):
        train_folds(config, tmp_path / "runs", 3)
    path = write_csv(tmp_path / "u.csv", ["x", "y", "site"], [[i, i % 7, "a" if i else "b"] for i in range(20)])
    with pytest.raises(ValueError, match="2 groups, too few for 3 folds"):
        train_folds(tiny(path, "y", inputs=["x"], folds="grouped", fold_column="site"), tmp_path / "runs", 3)
    assert not (tmp_path / "runs").exists()


def test_folds_of_a_parallel_corpus(tmp_path: Path) -> None:
    """Each sentence pair is in the validation data of one fold, and predictions have the reported chrF."""
    write_numbers(tmp_path / "corpus", range(1, 60))
    report = train_folds(
        tiny_config(tmp_path / "corpus", max_steps=2, save_every=2, valid_every=2), tmp_path / "runs", 3
    )
    assert len(report.folds) == 3
    assert all(fold["nll_per_tgt_token"] > 0 for fold in report.folds)
    lines = (tmp_path / "runs" / "predictions.jsonl").read_text("utf-8").splitlines()
    predictions = [json.loads(line) for line in lines]
    assert sorted(each["src"] for each in predictions) == sorted(
        (tmp_path / "corpus" / "train.en").read_text().splitlines()
    )
    for fold, scores in enumerate(report.folds, start=1):
        of_fold = [each for each in predictions if each["fold"] == fold]
        found = evaluate([each["prediction"] for each in of_fold], [[each["target"] for each in of_fold]], ["chrf"])
        assert found["chrf"].value == pytest.approx(scores["chrf"])


def test_folds_of_labelled_lines(tmp_path: Path) -> None:
    """The saved predictions have the reported accuracy."""
    lines = [(f"{'good' if n % 2 else 'bad'} {n}", str(n % 2)) for n in range(60)]
    (tmp_path / "t.tsv").write_text("".join(f"{label}\t{line}\n" for line, label in lines), "utf-8")
    options = ("--data.train_src", f"{tmp_path / 't.tsv'}#1", "--data.train_tgt", f"{tmp_path / 't.tsv'}#0")
    steps = ("--data.labels_of", "lines", "--training.max_steps", "20", "--device", "cpu", "--folds", "2")
    status, _, err = run("train", "--data.kind", "labelling", *options, *steps, "--run_dir", tmp_path / "runs")
    assert status == 0, err
    found = [json.loads(line) for line in (tmp_path / "runs" / "predictions.jsonl").read_text("utf-8").splitlines()]
    assert sorted((each["src"], each["target"]) for each in found) == sorted(lines)
    report = json.loads((tmp_path / "runs" / "folds.json").read_text("utf-8"))
    for fold, scores in enumerate(report["folds"], start=1):
        is_correct = [each["prediction"] == each["target"] for each in found if each["fold"] == fold]
        assert 100 * sum(is_correct) / len(is_correct) == pytest.approx(scores["accuracy"])
