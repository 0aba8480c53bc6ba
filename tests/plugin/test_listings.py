"""Help and listings with parts of plugins, and suggestions for misspelled names."""

from pathlib import Path

import pytest

from seqlab.plugins import PluginError, load_plugin

from .conftest import PLUGIN_PATH, CommandResult, run_commands, run_commands_without_torch


@pytest.fixture(scope="module")
def results(
    installed: tuple[Path, Path], config_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, CommandResult]:
    """Run commands with the package installed: those that need no torch in a process of their own."""
    hypotheses = tmp_path_factory.mktemp("shown") / "lines"
    hypotheses.write_text("a b a b\nc\n", "utf-8")
    words = hypotheses.with_name("words")
    words.write_text("one\ntwo\n", "utf-8")
    train = ["train", config_file, "--run_dir", hypotheses.with_name("run")]
    without_torch = {
        "seqlab": ["--help"],
        "train": ["train", "--help"],
        "translate": ["translate", "--help"],
        "recipes": ["recipes"],
        "bigrams": ["bigrams", "--help"],
        "run bigrams": ["bigrams", hypotheses, "--count", "1"],
    }
    commands = {
        "no bigram": ["bigrams", words],
        "no such option": ["bigrams", hypotheses, "--cuont", "1"],
        "no such command": ["bigrms"],
        "evaluate": ["evaluate", "--help"],
        "distinct": ["evaluate", hypotheses, "--ref", hypotheses, "--metrics", "distinct"],
        "no such metric": ["evaluate", hypotheses, "--ref", hypotheses, "--metrics", "distinctt"],
        "bad value": ["bigrams", hypotheses, "--count", "none"],
        "all fields": ["train", config_file, "--help", "all"],
        "no such family": [*train, "--model.family", "convolutionl"],
        "no such key": [*train, "--objective.gama", "1"],
        "another's key": [*train, "--objective.label_smoothing", "0.1"],
        "impossible": [*train, "--model.kernel_size", "2"],
        "no such metric to validate by": [*train, "--training.valid_metric", "distinkt"],
    }
    results = run_commands_without_torch(without_torch.values(), path=installed)
    results += run_commands(commands.values(), path=installed)
    return dict(zip(without_torch | commands, results, strict=True))


def test_help_does_not_import_torch(results: dict[str, CommandResult]) -> None:
    names = ("seqlab", "train", "translate", "recipes", "bigrams", "run bigrams")
    assert {
        name: (results[name].status, results[name].has_torch, results[name].err) for name in names
    } == dict.fromkeys(names, (0, False, ""))


def test_parts_of_plugins_are_listed(results: dict[str, CommandResult]) -> None:
    assert "of plugins:\n  bigrams        list the most frequent bigrams of a file\n" in results["seqlab"].out
    assert "distinct" in results["evaluate"].out
    fields = results["all fields"].out
    for line in ("--objective.family cross_entropy |", "| focal = ", "--model.kernel_size int = 3", "| triangle = "):
        assert line in fields
    assert "Each token's loss is multiplied by (1 - p)^gamma" in fields


def test_command_of_a_plugin(results: dict[str, CommandResult]) -> None:
    assert "List the most frequent bigrams of a file." in results["bigrams"].out
    assert "--count N" in results["bigrams"].out
    assert results["run bigrams"].out == "2 a b\n"
    assert (results["bad value"].status, results["bad value"].out) == (2, "")
    assert "`--count` must be a valid integer" in results["bad value"].err
    assert "the nearest is `--count`" in results["no such option"].err


def test_metric_of_a_plugin(results: dict[str, CommandResult]) -> None:
    assert results["distinct"].out.startswith("distinct|n:2|case:mixed|unit:token = 66.67 (different = 2, bigrams = 3)")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no bigram", "words has no line with two or more words.\n"),
        ("no such command", "the nearest is `bigrams`"),
        ("no such metric", "distinct, but is 'distinctt' instead; the nearest is `distinct`."),
        ("no such family", "; the nearest is `convolutional`"),
        ("no such key", "the nearest is `objective.gamma`"),
        ("another's key", "There is no `objective.label_smoothing` with `objective.family: focal`"),
        ("impossible", "`kernel_size` must be odd, but is 2 instead."),
        ("no such metric to validate by", "or distinct."),
    ],
)
def test_invalid_names_and_values_are_refused(results: dict[str, CommandResult], name: str, message: str) -> None:
    assert results[name].status == 2
    assert message in results[name].err


def test_no_installed_plugin_is_loaded_with_seqlab_no_plugins(
    installed: tuple[Path, Path], config_file: Path, tmp_path: Path
) -> None:
    commands = [["--help"], ["train", config_file, "--run_dir", tmp_path / "run"]]
    listed, trained = run_commands(commands, path=installed, variables={"SEQLAB_NO_PLUGINS": "1"})
    assert "bigrams" not in listed.out
    assert trained.status == 2
    assert "`model.family` must be one of " in trained.err


def test_a_module_name_of_a_file_in_this_folder_gets_a_hint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "focal_loss.py").touch()
    with pytest.raises(PluginError, match=r"This folder has focal_loss\.py: give `--plugin focal_loss\.py`\."):
        load_plugin("focal_loss")


def test_plugin_files_and_plugin_option_before_the_command(corpus: Path, tmp_path: Path) -> None:
    """A plugin file is imported as a module of its own name, without its folder on the path."""
    file, taken = PLUGIN_PATH / "seqlab_outside" / "distinct.py", tmp_path / "torch.py"
    (tmp_path / "registers.py").write_text(
        f"import seqlab\nfrom seqlab.plugins import load_plugin\n"
        f"seqlab.register('metric', summary='many')(load_plugin({str(file)!r}).distinct)\n"
    )
    (tmp_path / "taken.py").write_text("PARTS = {'metric': {'new': ('x:y', ''), 'bleu': ('x:z', '')}}\n")
    taken.write_text("raise SystemExit\n")
    lines = corpus / "train.en"
    evaluate = ["evaluate", lines, "--ref", lines, "--metrics"]
    option_first, name_taken, unknown, shadowing = run_commands(
        [
            ["--plugin", tmp_path / "registers.py", *evaluate, "distinct"],
            [*evaluate, "bleu", "--plugin", tmp_path / "taken.py"],
            [*evaluate, "new"],
            [*evaluate, "bleu", "--plugin", taken],
        ],
        path=[],
    )
    assert (option_first.status, option_first.out.partition("|")[0]) == (0, "distinct"), option_first.err
    assert name_taken.status == 2
    assert "taken.py registers the metric 'bleu', but that name is taken by seqlab" in name_taken.err
    assert "is 'new' instead" in unknown.err
    assert "which is another module: rename it" in shadowing.err
