"""Parts from outside are in help and listings, and are what misspelt names are compared with."""

from pathlib import Path

import pytest

from .conftest import HERE, Done, run_all


@pytest.fixture(scope="module")
def shown(installed: tuple[Path, Path], config_file: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Done]:
    """Run commands in one process in which the package is installed, those that need no torch first."""
    hypotheses = tmp_path_factory.mktemp("shown") / "lines"
    hypotheses.write_text("a b a b\nc\n", "utf-8")
    words = hypotheses.with_name("words")
    words.write_text("one\ntwo\n", "utf-8")
    train = ["train", config_file, "--run_dir", hypotheses.with_name("run")]
    commands = {
        "seqlab": ["--help"],
        "train": ["train", "--help"],
        "translate": ["translate", "--help"],
        "recipes": ["recipes"],
        "bigrams": ["bigrams", "--help"],
        "run bigrams": ["bigrams", hypotheses, "--most", "1"],
        "no bigram": ["bigrams", words],
        "no such option": ["bigrams", hypotheses, "--moste", "1"],
        "no such command": ["bigrms"],
        "evaluate": ["evaluate", "--help"],
        "distinct": ["evaluate", hypotheses, "--ref", hypotheses, "--metrics", "distinct"],
        "no such metric": ["evaluate", hypotheses, "--ref", hypotheses, "--metrics", "distinctt"],
        "bad value": ["bigrams", hypotheses, "--most", "none"],
        "all fields": ["train", config_file, "--help", "all"],
        "no such family": [*train, "--model.family", "convolutionl"],
        "no such key": [*train, "--objective.gama", "1"],
        "another's key": [*train, "--objective.label_smoothing", "0.1"],
        "impossible": [*train, "--model.kernel_size", "2"],
        "no such metric to validate by": [*train, "--training.valid_metric", "distinkt"],
    }
    return dict(zip(commands, run_all(commands.values(), path=installed), strict=True))


def test_help_is_free_of_torch(shown: dict[str, Done]) -> None:
    names = ("seqlab", "train", "translate", "recipes", "bigrams", "run bigrams")
    assert {name: (shown[name].status, shown[name].torch, shown[name].err) for name in names} == dict.fromkeys(
        names, (0, False, "")
    )


def test_listed(shown: dict[str, Done]) -> None:
    assert "of plugins:\n  bigrams        list the most frequent bigrams of a file\n" in shown["seqlab"].out
    assert "distinct" in shown["evaluate"].out
    fields = shown["all fields"].out
    for line in ("--objective.family cross_entropy |", "| focal = ", "--model.kernel_size int = 3", "| triangle = "):
        assert line in fields
    assert "Each token's loss is multiplied by (1 - p)^gamma" in fields


def test_a_declared_command(shown: dict[str, Done]) -> None:
    assert "List the most frequent bigrams of a file." in shown["bigrams"].out
    assert "--most N" in shown["bigrams"].out
    assert shown["run bigrams"].out == "2 a b\n"
    assert (shown["bad value"].status, shown["bad value"].out) == (2, "")
    assert "`--most` must be a valid integer" in shown["bad value"].err
    assert "the nearest is `--most`" in shown["no such option"].err


def test_the_metric(shown: dict[str, Done]) -> None:
    assert shown["distinct"].out.startswith("distinct|n:2|case:mixed|unit:token = 66.67 (different = 2, bigrams = 3)")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("no bigram", "words has no line of two words.\n"),
        ("no such command", "the nearest is `bigrams`"),
        ("no such metric", "distinct, but is 'distinctt' instead; the nearest is `distinct`."),
        ("no such family", "; the nearest is `convolutional`"),
        ("no such key", "the nearest is `objective.gamma`"),
        ("another's key", "There is no `objective.label_smoothing` with `objective.family: focal`"),
        ("impossible", "`kernel_size` must be odd, but is 2 instead."),
        ("no such metric to validate by", "or distinct."),
    ],
)
def test_mistakes(shown: dict[str, Done], name: str, said: str) -> None:
    assert shown[name].status == 2
    assert said in shown[name].err


def test_none_is_loaded_where_that_is_asked_for(
    installed: tuple[Path, Path], config_file: Path, tmp_path: Path
) -> None:
    commands = [["--help"], ["train", config_file, "--run_dir", tmp_path / "run"]]
    listed, trained = run_all(commands, path=installed, variables={"SEQLAB_NO_PLUGINS": "1"})
    assert "bigrams" not in listed.out
    assert trained.status == 2
    assert "`model.family` must be one of " in trained.err


def test_options_before_the_command_and_files(corpus: Path, tmp_path: Path) -> None:
    """A plugin may be named before the command; a file is loaded under its own name, with nothing else on the path."""
    file, taken = HERE / "seqlab_outside" / "distinct.py", tmp_path / "torch.py"
    (tmp_path / "registers.py").write_text(
        f"import seqlab\nfrom seqlab.plugins import load_plugin\n"
        f"seqlab.register('metric', summary='many')(load_plugin({str(file)!r}).distinct)\n"
    )
    (tmp_path / "taken.py").write_text("PARTS = {'metric': {'new': ('x:y', ''), 'bleu': ('x:z', '')}}\n")
    taken.write_text("raise SystemExit\n")
    lines = corpus / "train.en"
    evaluate = ["evaluate", lines, "--ref", lines, "--metrics"]
    before, collided, unknown, shadowing = run_all(
        [
            ["--plugin", tmp_path / "registers.py", *evaluate, "distinct"],
            [*evaluate, "bleu", "--plugin", tmp_path / "taken.py"],
            [*evaluate, "new"],
            [*evaluate, "bleu", "--plugin", taken],
        ],
        path=[],
    )
    assert (before.status, before.out.partition("|")[0]) == (0, "distinct"), before.err
    assert collided.status == 2
    assert "taken.py registers the metric 'bleu', but that name is taken by seqlab" in collided.err
    assert "is 'new' instead" in unknown.err
    assert "which is another module: rename it" in shadowing.err
