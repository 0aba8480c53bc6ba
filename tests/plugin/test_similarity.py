"""A task from outside, with data, model, objective, metric, inference class and command of its own."""

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from reference.tiny_runs import assert_equal_runs, comparable_metrics, write_numbers

from seqlab.runs.checkpoint import checkpoint_steps
from seqlab.runs.folder import RunFolder

from .conftest import TABLE, Done, environment, run_all, run_script
from .test_resume import TORCHRUN, end_at, has_checkpoint

SETTINGS = {
    **{"data.tokenizer_left.vocab_size": 300, "data.tokenizer_right.vocab_size": 320, "data.group_pairs": 24},
    **{"data.groups": 2, "data.valid_fraction": 0.1, "optim.optimizer.lr": 0.02, "optim.schedule.warmup_steps": 4},
    **{"training.max_steps": 120, "training.log_every": 5, "training.save_every": 4, "training.valid_every": 40},
    **{"training.device": "cpu", "training.precision": "fp32", "training.threads": 1, "model.d_model": 32},
}
ZERO_CONFIG = ["train", "--data.kind", "similarity"]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("similarity")
    write_numbers(folder, range(1, 700))
    return folder


def command(pairs: Path, run: Path, **more: str | int) -> list[str]:
    sides = (("left", "en"), ("right", "de"))
    files = [text for side, end in sides for text in (f"--data.train_{side}", str(pairs / f"train.{end}"))]
    options = [text for key, value in (SETTINGS | more).items() for text in (f"--{key}", str(value))]
    return [*ZERO_CONFIG, *files, *options, "--run_dir", str(run)]


@pytest.fixture(scope="module")
def trained(pairs: Path) -> Path:
    """Return a run that was trained from the command line, with `--plugin`."""
    [done] = run_all([[*command(pairs, pairs / "run"), *TABLE]])
    assert done.status == 0, done.err
    return pairs / "run"


@pytest.fixture(scope="module")
def used(pairs: Path, trained: Path) -> dict[str, Done]:
    """Use the run with commands, without torch first."""
    left, right = pairs / "left", pairs / "right.tsv"
    left.write_bytes("one hundred\x85and one\n\ntwo\nthree\n".encode())
    right.write_bytes(b"text\tno\nzwei\t1\neins\t1\nzwei\t1\ndrei\t1\n")
    short = pairs / "short"
    short.write_text("eins\n", "utf-8")
    commands = {
        "seqlab": ["--help"],
        "help": ["similarity", "--help"],
        "misspelt": ["similarty", trained],
        "misspelt kind": ["train", "--data.kind", "similarty", "--data.train_left", left, "--run_dir", pairs / "no"],
        "missing": [*ZERO_CONFIG, "--data.train_left", left],
        "nothing named": [*ZERO_CONFIG],
        "metric of lines": [*command(pairs, pairs / "no"), "--training.valid_metric", "distinct"],
        "another's family": [*command(pairs, pairs / "no"), "--model.family", "transformer"],
        "compared": ["similarity", trained, left, f"{right}#text"],
        "unequal": ["similarity", trained, left, short],
        "translate": ["translate", trained, "--input", left],
        "label": ["label", trained, "--input", left],
        "info": ["info", trained],
        "fields": ["train", *ZERO_CONFIG[1:], "--data.train_left", left, "--data.train_right", left, "--help", "all"],
    }
    found = run_all([*each, *TABLE] for each in commands.values())
    return dict(zip(commands, found, strict=True))


def test_learns(trained: Path) -> None:
    """Held-out numbers: of 70 candidates one is right by chance, an MRR of 7."""
    scores = [line["mrr"] for line in comparable_metrics(trained, ["valid"])]
    assert len(scores) == 3
    assert scores[-1] > 40
    [first, *_, last] = [line["loss"] for line in comparable_metrics(trained, ["train"])]
    assert last < first / 2


def test_listed_and_suggested(used: dict[str, Done]) -> None:
    assert "  similarity     tell how similar texts are\n" in used["seqlab"].out
    assert (used["help"].status, used["help"].torch, used["seqlab"].torch) == (0, False, False)
    assert "Tell how similar the texts of two files are" in used["help"].out
    for name in ("misspelt", "misspelt kind"):
        assert "the nearest is `similarity`" in used[name].err
    for line in ("--data.train_left list of str", "| similarity =", "--objective.temperature ", "--data.group_pairs "):
        assert line in used["fields"].out


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("missing", "name a corpus by --data.train_left and --data.train_right: 'data.train_right' is missing"),
        ("nothing named", "'data.train_left' is missing"),
        ("metric of lines", "choose nll or mrr or recall_at_1."),
        ("another's family", "choose one of bags."),
        ("unequal", "left has 4 lines"),
        ("translate", "run is not a translator; it compares texts: use `seqlab similarity`."),
        ("label", "run compares texts: use `seqlab similarity`. It cannot be used with `seqlab label`."),
    ],
)
def test_mistakes(used: dict[str, Done], name: str, said: str) -> None:
    assert (used[name].status, used[name].out) == (2, "")
    assert said in used[name].err


def test_the_command_gives_a_number_a_line(used: dict[str, Done]) -> None:
    first, empty, *others = used["compared"].out.splitlines()
    assert used["compared"].status == 0, used["compared"].err
    assert empty == ""
    assert all(-1 <= float(line) <= 1 for line in (first, *others))
    assert min(map(float, others)) > float(first)


def test_described(used: dict[str, Done], trained: Path) -> None:
    for line in ("model        bags, ", "pairs        629 train, 70 valid", "best         step ", "mrr "):
        assert line in used["info"].out
    notes = RunFolder(trained).read_description()["plugins"]
    assert {(note["kind"], note["name"]) for note in notes} == {
        ("task", "similarity"),
        ("model", "bags"),
        ("objective", "contrastive"),
    }
    assert {"units_per_second"} == {
        name for line in RunFolder(trained).read_metrics() for name in line if name.endswith("_per_second")
    }


def test_ended_and_continued(trained: Path, pairs: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    begun = [*command(pairs, run), *TABLE]
    assert end_at(run, begun, signal.SIGKILL, has_checkpoint(run, 4)) == -signal.SIGKILL
    assert checkpoint_steps(run / "checkpoints")[-1] < 120
    for end in ("en", "de"):  # the files may have moved
        shutil.copy(pairs / f"train.{end}", tmp_path / f"train.{end}")
    [done] = run_all([[*command(tmp_path, run), *TABLE]])
    assert done.status == 0, done.err
    assert "Continuing" in done.err
    assert "not bit for bit" not in done.err
    assert_equal_runs(run, trained)


PYTHON = """
import json, sys
import seqlab
fields, run_dir, trained = json.loads(sys.argv[1])
run = seqlab.load(seqlab.train(seqlab.config_for(fields), run_dir))
left, right = ["one", "two hundred and one", "six"] * 3, ["eins", "zweihunderteins", "sieben"] * 3
together = run.similarity(left, right)
alone = [run.similarity([one], [other])[0] for one, other in zip(left, right)]
again = seqlab.load(trained).similarity(left, right)
try:
    seqlab.load(trained, lm="none")
except ValueError as error:
    message = str(error)
print(json.dumps([together, alone, again, repr(run), message, run.similarity([], [])]))
"""


def test_from_python_by_the_entry_point(trained: Path, pairs: Path, installed: tuple[Path, Path]) -> None:
    """Training is the same, and no batch changes an answer."""
    fields = {"data.kind": "similarity", "data.train_left": f"{pairs / 'train.en'}", **SETTINGS}
    fields["data.train_right"] = f"{pairs / 'train.de'}"
    arguments = json.dumps([fields, str(pairs / "python"), str(trained)])
    script = f"import sys\nsys.argv[1:] = [{arguments!r}]\n{PYTHON}"
    together, alone, again, shown, message, none = json.loads(run_script(script, *installed))
    assert together == alone == again
    assert none == []
    assert shown.startswith("Similarity(LoadedRun(")
    assert message.endswith("is a measure of similarity, for which there is no `lm`.")
    assert_equal_runs(pairs / "python", trained)


def test_missing_plugin(trained: Path) -> None:
    for done in run_all([["info", trained], ["translate", trained]]):
        assert done.status == 2
        assert "The run was trained with the plugin 'seqlab_outside.table'" in done.err


def test_two_ranks_train_like_one(trained: Path, pairs: Path, installed: tuple[Path, Path], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, *TORCHRUN, *command(pairs, tmp_path / "both", **{"training.max_steps": 20})],
        env=environment(*installed),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found, wanted = (
        [line["loss"] for line in comparable_metrics(run, ["train"])] for run in (tmp_path / "both", trained)
    )
    assert len(found) == 4
    assert found == pytest.approx(wanted[:4], rel=1e-4)
