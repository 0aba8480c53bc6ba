"""A task of a plugin, with its own data section, model, objective, metrics, inference class and command."""

import json
import shutil
import signal
from pathlib import Path

import pytest
from reference.shared import SharedFolder
from reference.tiny_runs import assert_equal_runs, comparable_metrics, write_numbers

from seqlab.runs.folder import RunFolder

from .conftest import PLUGIN_OPTION, CommandResult, run_commands, run_commands_without_torch, run_script
from .test_resume import run_until

SETTINGS = {
    **{"data.tokenizer_left.vocab_size": 300, "data.tokenizer_right.vocab_size": 320, "data.group_pairs": 24},
    **{"data.groups": 2, "data.valid_fraction": 0.1, "optim.optimizer.lr": 0.05, "optim.schedule.warmup_steps": 4},
    **{"training.max_steps": 30, "training.log_every": 5, "training.save_every": 10, "training.valid_every": 10},
    **{"training.device": "cpu", "training.precision": "fp32", "training.threads": 1, "model.d_model": 32},
}
ZERO_CONFIG = ["train", "--data.kind", "similarity"]


@pytest.fixture(scope="module")
def pairs(shared: SharedFolder) -> Path:
    return shared.build("similarity-corpus", lambda folder: write_numbers(folder, range(1, 700)))


def training_command(pairs: Path, run: Path, **more: str | int) -> list[str]:
    sides = (("left", "en"), ("right", "de"))
    files = [text for side, end in sides for text in (f"--data.train_{side}", str(pairs / f"train.{end}"))]
    options = [text for key, value in (SETTINGS | more).items() for text in (f"--{key}", str(value))]
    return [*ZERO_CONFIG, *files, *options, "--run_dir", str(run)]


@pytest.fixture(scope="module")
def trained(pairs: Path, shared: SharedFolder) -> Path:
    """Train a run with `--plugin`, and return its folder."""

    def build(folder: Path) -> None:
        [done] = run_commands([[*training_command(pairs, folder / "run"), *PLUGIN_OPTION]])
        assert done.status == 0, done.err

    return shared.build("similarity-trained", build) / "run"


@pytest.fixture(scope="module")
def results(pairs: Path, trained: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, CommandResult]:
    """Run commands with the trained run; the first two need no torch."""
    folder = tmp_path_factory.mktemp("similarity")
    left, right, no_run = folder / "left", folder / "right.tsv", folder / "no"
    left.write_bytes("one hundred\x85and one\n\ntwo\nthree\n".encode())
    right.write_bytes(b"text\tno\nzwei\t1\neins\t1\nzwei\t1\ndrei\t1\n")
    short = folder / "short"
    short.write_text("eins\n", "utf-8")
    listings = {"seqlab": ["--help"], "help": ["similarity", "--help"]}
    commands = {
        "misspelt": ["similarty", trained],
        "misspelt kind": ["train", "--data.kind", "similarty", "--data.train_left", left, "--run_dir", no_run],
        "missing": [*ZERO_CONFIG, "--data.train_left", left],
        "nothing named": [*ZERO_CONFIG],
        "metric of lines": [*training_command(pairs, no_run), "--training.valid_metric", "distinct"],
        "another's family": [*training_command(pairs, no_run), "--model.family", "transformer"],
        "compared": ["similarity", trained, left, f"{right}#text"],
        "unequal": ["similarity", trained, left, short],
        "translate": ["translate", trained, "--input", left],
        "label": ["label", trained, "--input", left],
        "info": ["info", trained],
        "fields": ["train", *ZERO_CONFIG[1:], "--data.train_left", left, "--data.train_right", left, "--help", "all"],
    }
    results = run_commands_without_torch([*command, *PLUGIN_OPTION] for command in listings.values())
    results += run_commands([*command, *PLUGIN_OPTION] for command in commands.values())
    return dict(zip(listings | commands, results, strict=True))


def test_training_improves_retrieval(trained: Path) -> None:
    """On held-out numbers with 70 candidates; random ranks would give an MRR of 7."""
    scores = [line["mrr"] for line in comparable_metrics(trained, ["valid"])]
    assert len(scores) == 3
    assert scores[-1] > 40
    [first, *_, last] = [line["loss"] for line in comparable_metrics(trained, ["train"])]
    assert last < first / 2


def test_task_is_listed_and_suggested_for_misspelled_names(results: dict[str, CommandResult]) -> None:
    assert "  similarity     compute the similarity of pairs of texts\n" in results["seqlab"].out
    assert (results["help"].status, results["help"].has_torch, results["seqlab"].has_torch) == (0, False, False)
    assert "Compute the similarity of the texts of two files" in results["help"].out
    for name in ("misspelt", "misspelt kind"):
        assert "the nearest is `similarity`" in results[name].err
    for line in ("--data.train_left list of str", "| similarity =", "--objective.temperature ", "--data.group_pairs "):
        assert line in results["fields"].out


@pytest.mark.parametrize(
    ("name", "message"),
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
def test_invalid_options_and_commands_of_other_tasks_are_refused(
    results: dict[str, CommandResult], name: str, message: str
) -> None:
    assert (results[name].status, results[name].out) == (2, "")
    assert message in results[name].err


def test_similarity_command_prints_a_number_per_line(results: dict[str, CommandResult]) -> None:
    first, empty, *others = results["compared"].out.splitlines()
    assert results["compared"].status == 0, results["compared"].err
    assert empty == ""
    assert all(-1 <= float(line) <= 1 for line in (first, *others))
    assert min(map(float, others)) > float(first)


def test_info_and_run_json_describe_the_run(results: dict[str, CommandResult], trained: Path) -> None:
    for line in ("model        bags, ", "pairs        629 train, 70 valid", "best         step ", "mrr "):
        assert line in results["info"].out
    plugins = RunFolder(trained).read_description()["plugins"]
    assert {(plugin["kind"], plugin["name"]) for plugin in plugins} == {
        ("task", "similarity"),
        ("model", "bags"),
        ("objective", "contrastive"),
    }
    assert {"units_per_second"} == {
        name for line in RunFolder(trained).read_metrics() for name in line if name.endswith("_per_second")
    }


def test_resuming_after_sigkill_is_bit_exact(trained: Path, pairs: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    first = [*training_command(pairs, run), *PLUGIN_OPTION]
    assert run_until(first, 14, signal.SIGKILL) is None
    for end in ("en", "de"):  # runs can be resumed with moved files
        shutil.copy(pairs / f"train.{end}", tmp_path / f"train.{end}")
    [done] = run_commands([[*training_command(tmp_path, run), *PLUGIN_OPTION]])
    assert done.status == 0, done.err
    assert "Continuing" in done.err
    assert "not bit for bit" not in done.err
    assert_equal_runs(run, trained)


SCRIPT = """
import json, sys
import seqlab
fields, run_dir, trained = json.loads(sys.argv[1])
run = seqlab.load(seqlab.train(seqlab.config_for(fields), run_dir))
left, right = ["one", "two hundred and one", "six"] * 3, ["eins", "zweihunderteins", "sieben"] * 3
batched = run.similarity(left, right)
single = [run.similarity([one], [other])[0] for one, other in zip(left, right)]
from_cli_run = seqlab.load(trained).similarity(left, right)
try:
    seqlab.load(trained, lm="none")
except ValueError as error:
    message = str(error)
print(json.dumps([batched, single, from_cli_run, repr(run), message, run.similarity([], [])]))
"""


def test_python_with_the_entry_point_equals_the_command_line(
    trained: Path, pairs: Path, installed: tuple[Path, Path], tmp_path: Path
) -> None:
    """Training gives the same run, and similarities do not depend on the batch."""
    fields = {"data.kind": "similarity", "data.train_left": f"{pairs / 'train.en'}", **SETTINGS}
    fields["data.train_right"] = f"{pairs / 'train.de'}"
    arguments = json.dumps([fields, str(tmp_path / "python"), str(trained)])
    script = f"import sys\nsys.argv[1:] = [{arguments!r}]\n{SCRIPT}"
    batched, single, from_cli_run, shown, message, empty = json.loads(run_script(script, *installed))
    assert batched == single == from_cli_run
    assert empty == []
    assert shown.startswith("Similarity(LoadedRun(")
    assert message.endswith("is a measure of similarity, which has no option `lm`.")
    assert_equal_runs(tmp_path / "python", trained)


def test_error_names_the_missing_plugin(trained: Path) -> None:
    for done in run_commands([["info", trained], ["translate", trained]]):
        assert done.status == 2
        assert "The run was trained with the plugin 'seqlab_outside.table'" in done.err
