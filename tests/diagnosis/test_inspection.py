"""`seqlab inspect-data`: planted faults are found at their lines, and dropped; data without faults has no findings."""

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diagnosis.planted import pairs, write
from system.conftest import run_in_process

from seqlab.commands import FOUND
from seqlab.diagnosis.data_findings import KINDS


def run(*arguments: str | Path) -> tuple[int, str, str]:
    """Run a command; return its status, its output and its errors."""
    status, done = run_in_process(*arguments)
    return status, done.stdout.decode(), done.stderr.decode()


def inspect(src: str, tgt: str, *options: str) -> dict[str, Any]:
    """Run the command on a pair of files; return its JSON."""
    status, out, err = run("inspect-data", "--data.train_src", src, "--data.train_tgt", tgt, "--json", *options)
    assert status == 0, err
    return json.loads(out)


def lines_of(report: dict[str, Any], kind: str, split: str = "train") -> list[int]:
    """Return the last line numbers in the locations of a kind."""
    rows = [
        row for each in report["findings"] if (each["kind"], each["split"]) == (kind, split) for row in each["rows"]
    ]
    return sorted(int(row["location"].rpartition("line ")[2]) for row in rows)


def found_kinds(report: dict[str, Any]) -> set[str]:
    return {kind for kind, count in report["counts"].items() if count}


def plant(src: list[str], tgt: list[str]) -> dict[str, int]:
    """Plant one fault of each kind that concerns single rows; return the line of each."""
    src[40], tgt[40] = tgt[40], src[40]
    tgt[60] = tgt[60].replace("Der", "MÃ¼ller und der")
    src[80] = ""
    src[100], tgt[100] = src[20], tgt[20]
    tgt[120] = src[121]
    src[140] = src[140].replace("The", "The\u200b")
    tgt[160] = "Der Hund."
    src[180], tgt[180] = src[30].replace("The", "A"), tgt[30]
    return {
        "swapped": 41,
        "mojibake": 61,
        "empty": 81,
        "duplicate": 101,
        "language": 121,
        "character": 141,
        "length_ratio": 161,
        "near_duplicate": 181,
    }


def test_planted_faults_are_found_at_their_lines(tmp_path: Path) -> None:
    src, tgt = pairs(400)
    lines = plant(src, tgt)
    files = write(tmp_path / "a.en", src), write(tmp_path / "a.de", tgt)
    valid = pairs(30, seed=9)
    valid[0][5], valid[1][5] = src[200], tgt[200]
    valid_src, valid_tgt = write(tmp_path / "v.en", valid[0]), write(tmp_path / "v.de", valid[1])
    report = inspect(*files, "--data.valid_src", valid_src, "--data.valid_tgt", valid_tgt)
    for kind, line in lines.items():
        assert lines_of(report, kind) == [line], kind
    assert 201 in lines_of(report, "leak")
    assert found_kinds(report) - {"near_leak"} == {*lines, "leak"}
    location = next(each for each in report["findings"] if each["kind"] == "mojibake")["rows"][0]["location"]
    assert location == f"{files[0]} and {files[1]}, line 61"
    duplicate = next(each for each in report["findings"] if each["kind"] == "duplicate")["rows"][0]
    assert duplicate["note"].startswith("equal to line 21: ")
    leak = next(each for each in report["findings"] if each["kind"] == "leak")["rows"]
    assert any(row["note"].startswith(f"equal to {valid_src} and {valid_tgt}, line 6: ") for row in leak)


def test_data_without_faults_has_no_findings(tmp_path: Path) -> None:
    src, tgt = pairs(400, seed=3)
    report = inspect(write(tmp_path / "a.en", src), write(tmp_path / "a.de", tgt), "--kinds", *sorted(DISTINCT))
    assert found_kinds(report) == set()


DISTINCT = set(KINDS) - {"near_duplicate", "near_leak"}
"""Kinds that the templates of the corpus do not have; its sentences may be nearly equal."""


def test_kinds_that_were_not_requested_are_not_printed(tmp_path: Path) -> None:
    src, tgt = pairs(60)
    files = write(tmp_path / "a.en", src), write(tmp_path / "a.de", tgt)
    command = ("inspect-data", "--data.train_src", files[0], "--data.train_tgt", files[1], "--kinds", "empty")
    status, out, _ = run(*command)
    assert (status, out.splitlines()[1:]) == (0, ["nothing found: empty"])
    assert json.loads(run(*command, "--json")[1])["left_out"]["shift"] == "not requested"


def test_lines_in_a_third_language_are_found(tmp_path: Path) -> None:
    src, tgt = pairs(600, seed=11)
    rng = np.random.default_rng(11)
    planted = sorted(rng.permutation(600)[:30].tolist())
    words = ["enfants", "mangent", "leur", "soupe", "avec", "beaucoup", "plaisir", "pendant", "toute", "longue", "nuit"]
    for row in planted:
        tgt[row] = " ".join(rng.permutation(words)[:9])
    report = inspect(write(tmp_path / "a.en", src), write(tmp_path / "a.de", tgt), "--kinds", "swapped", "language")
    assert lines_of(report, "language") == [row + 1 for row in planted]
    assert report["counts"]["swapped"] == 0


def test_shifted_pairs_are_found_at_their_line(tmp_path: Path) -> None:
    src, tgt = pairs(400, seed=4)
    report = inspect(write(tmp_path / "a.en", src[:-1]), write(tmp_path / "a.de", tgt[:249] + tgt[250:]))
    assert abs(lines_of(report, "shift")[0] - 250) <= 2
    assert lines_of(report, "shift")[-1] == 399


def test_dropping_leaves_parallel_files_without_findings(tmp_path: Path) -> None:
    src, tgt = pairs(400)
    lines = plant(src, tgt)
    kept = [row for row in range(400) if row + 1 not in lines.values()]
    packed = tmp_path / "a.en.gz"
    packed.write_bytes(gzip.compress("".join(f"{line}\r\n" for line in src).encode()))
    files = str(packed), write(tmp_path / "a.de", tgt)
    before = [Path(file).read_bytes() for file in files]
    out = tmp_path / "rest"
    inspect(*files, "--drop", str(out))
    assert gzip.decompress((out / "a.en.gz").read_bytes()).decode() == "".join(f"{src[row]}\r\n" for row in kept)
    assert (out / "a.de").read_text("utf-8").split("\n")[:-1] == [tgt[row] for row in kept]
    assert [Path(file).read_bytes() for file in files] == before
    report = json.loads((out / "dropped.json").read_text())
    assert report["by_kind"] == dict.fromkeys(lines, 1)
    assert (report["kept"], report["dropped"]) == (392, 8)
    assert report["dropped_rows"][0] == {"location": f"{files[0]} and {files[1]}, line 41", "kinds": ["swapped"]}
    assert found_kinds(inspect(str(out / "a.en.gz"), str(out / "a.de"))) == set()
    status, _, err = run("inspect-data", "--data.train_src", files[0], "--data.train_tgt", files[1], "--drop", out)
    assert (status, "exists: name a new folder" in err) == (2, True)


def test_the_order_of_the_rows_changes_only_the_lines(tmp_path: Path) -> None:
    src, tgt = pairs(400)
    plant(src, tgt)
    order = np.random.default_rng(1).permutation(400).tolist()
    kinds = ("empty", "mojibake", "character", "swapped", "language", "length_ratio")
    reports = [
        inspect(
            write(tmp_path / f"{name}.en", [src[row] for row in rows]),
            write(tmp_path / f"{name}.de", [tgt[row] for row in rows]),
            "--kinds",
            *kinds,
        )
        for name, rows in (("a", range(400)), ("b", order))
    ]
    for kind in kinds:
        moved = [order[line - 1] + 1 for line in lines_of(reports[1], kind)]
        assert lines_of(reports[0], kind) == sorted(moved), kind
        assert moved


def test_lines_that_are_not_utf8_are_found_and_dropped(tmp_path: Path) -> None:
    src, tgt = pairs(100, seed=5)
    files = write(tmp_path / "a.en", src), write(tmp_path / "a.de", tgt)
    raw = Path(files[1]).read_bytes().split(b"\n")
    raw[10] = "Der müde König schläft schön.".encode("cp1252")
    Path(files[1]).write_bytes(b"\n".join(raw))
    report = inspect(*files, "--kinds", "encoding", "character", "--drop", str(tmp_path / "rest"))
    assert lines_of(report, "encoding") == [11]
    assert found_kinds(report) == {"encoding"}
    assert (tmp_path / "rest" / "a.de").read_bytes() == b"\n".join(raw[:10] + raw[11:])


def test_wrong_and_contradictory_labels_are_found(tmp_path: Path) -> None:
    src = pairs(300, seed=6)[0]
    labels = ["even" if "sees" in line or "paints" in line else "odd" for line in src]
    labels[50] = "odd" if labels[50] == "even" else "even"
    src.append(src[7])
    labels.append("other" if labels[7] == "odd" else "odd")
    report = inspect(write(tmp_path / "a.txt", src), write(tmp_path / "a.labels", labels), "--data.kind", "labelling")
    assert lines_of(report, "label_conflict") == [301]
    assert lines_of(report, "label_noise")[:1] == [51]


def table_of(path: Path, rows: Sequence[Sequence[object]]) -> str:
    return write(path, ["a,b,c,kind", *(",".join(map(str, row)) for row in rows)])


def test_tables_have_duplicates_shifts_and_wrong_labels(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    values = np.round(rng.standard_normal((400, 3)), 4)
    labels = ["high" if row[0] > 0 else "low" for row in values]
    values[99], labels[99] = values[10], labels[10]
    shifted = labels[:250] + labels[251:] + ["low"]
    clean = table_of(tmp_path / "clean.csv", [[*row, label] for row, label in zip(values, labels, strict=True)])
    moved = table_of(tmp_path / "moved.csv", [[*row, label] for row, label in zip(values, shifted, strict=True)])
    reports = []
    for file in (clean, moved):
        status, out, err = run("inspect-data", "--data.train", file, "--data.target", "kind", "--json")
        assert status == 0, err
        reports.append(json.loads(out))
    assert lines_of(reports[0], "duplicate") == [101]
    assert reports[0]["counts"]["shift"] == 0
    assert reports[0]["left_out"]["mojibake"] == "the rows are not text"
    assert abs(lines_of(reports[1], "shift")[0] - 252) <= 15


@pytest.mark.parametrize("name", ["rows.csv", "rows.csv.gz", "rows.jsonl"])
def test_rows_of_tables_are_dropped_with_all_of_their_lines(tmp_path: Path, name: str) -> None:
    rng = np.random.default_rng(8)
    rows = [dict(zip("abc", np.round(each, 4).tolist(), strict=True)) for each in rng.standard_normal((300, 3))]
    for row in rows:
        row |= {"note": 'of "two"\nlines' if row["b"] > 0 else "short", "kind": "high" if row["a"] > 0 else "low"}
    rows[100] = rows[10]
    head = "" if "jsonl" in name else "a,b,c,note,kind\n"
    texts = [json.dumps(row) + "\n" if "jsonl" in name else _csv_row(row) for row in rows]
    opened = gzip.open if name.endswith(".gz") else open
    with opened(tmp_path / name, "wt", newline="") as file:
        file.write("".join([head, *texts]))
    options = ["--data.train", tmp_path / name, "--data.target", "kind", "--data.valid_fraction", "0.01"]
    status, _, err = run("inspect-data", *options, "--kinds", "duplicate", "--drop", tmp_path / "rest")
    assert status == 0, err
    with opened(tmp_path / "rest" / name, "rt", newline="") as file:
        assert file.read() == "".join([head, *texts[:100], *texts[101:]])


def _csv_row(row: dict[str, Any]) -> str:
    return ",".join(f'"{value}"'.replace('of "two"', 'of ""two""') for value in row.values()) + "\r\n"


def test_arrays_cannot_be_dropped_but_are_reported(tmp_path: Path) -> None:
    rest = tmp_path / "rest"
    np.savez(tmp_path / "rows.npz", x=np.random.default_rng(1).random((40, 4), np.float32), y=np.arange(40) % 2)
    status, out, err = run(
        "inspect-data", "--data.train", tmp_path / "rows.npz", "--data.predicts", "class", "--drop", rest
    )
    assert (status, "only rows of tables" in err) == (2, True)
    assert out.startswith("train: 36 rows, valid: 4 rows\n")
    assert not rest.exists()


def test_fail_on_sets_the_exit_status_only_for_its_kinds(tmp_path: Path) -> None:
    src, tgt = pairs(100, seed=8)
    src[3] = ""
    options = ["inspect-data", "--data.train_src", write(tmp_path / "a.en", src)]
    options += ["--data.train_tgt", write(tmp_path / "a.de", tgt)]
    assert run(*options)[0] == 0
    assert run(*options, "--fail-on", "shift")[0] == 0
    status, out, _ = run(*options, "--fail-on", "shift", "empty")
    assert status == FOUND
    assert "empty: 1 in train (an empty source, target or line)" in out
    status, _, err = run(*options, "--fail-on", "empties")
    assert (status, "There is no kind of finding 'empties'" in err) == (2, True)


def test_a_run_ranks_its_rows_by_out_of_fold_losses(trained_row: Any) -> None:
    trained = trained_row("transformer")
    status, out, err = run("inspect-data", trained.run, "--steps", "2", "--folds", "2", "--json")
    assert status == 0, err
    losses = [each["loss"] for each in json.loads(out)["out_of_fold_losses"]]
    assert losses == sorted(losses, reverse=True)
    assert len(losses) > 10


@pytest.mark.parametrize("documents", ["lines", "continuous"])
def test_monolingual_text_has_no_checks_of_pairs(documents: str, tmp_path: Path) -> None:
    text = write(tmp_path / "a.txt", [*pairs(100)[0], "", pairs(100)[0][0]])
    status, out, err = run("inspect-data", "--data.train", text, "--data.documents", documents, "--json")
    assert status == 0, err
    report = json.loads(out)
    assert report["left_out"]["shift"] == "there are no pairs"
    if documents == "lines":
        assert (lines_of(report, "empty"), lines_of(report, "duplicate")) == ([101], [102])
    else:
        assert "continuous" in report["left_out"]["empty"]


def test_a_run_of_a_count_based_model_is_inspected_without_losses(trained_row: Any) -> None:
    status, out, err = run("inspect-data", trained_row("ngram_lm").run, "--json")
    assert status == 0, err
    assert json.loads(out)["out_of_fold_losses"] == []
    assert "the model is estimated by counting" in err
