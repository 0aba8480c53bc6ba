"""Commands and the Python API with a run that uses parts of a plugin."""

import json
from pathlib import Path

import pytest

from .conftest import PLUGIN_OPTION, PLUGIN_PATH, CommandResult, run_commands, run_script


@pytest.fixture(scope="module")
def results(trained: Path, corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, CommandResult]:
    """Run each command that a translator supports."""
    lines = tmp_path_factory.mktemp("lines") / "lines.en"
    lines.write_text("\n".join((corpus / "train.en").read_text("utf-8").splitlines()[:9]) + "\n", "utf-8")
    commands = {
        "greedy": ["translate", trained, "--input", lines, "--beam_size", "1"],
        "beam": ["translate", trained, "--input", lines, "--beam_size", "5"],
        "several": ["translate", trained, "--input", lines, "--beam_size", "5", "--num_hypotheses", "3", "--json"],
        "ensemble": ["translate", trained, trained.with_name("transformer"), "--input", lines, "--beam_size", "3"],
        "score": ["score", trained, "--src", corpus / "train.en", "--tgt", corpus / "train.de"],
        "info": ["info", trained],
    }
    results = run_commands([*command, *PLUGIN_OPTION] for command in commands.values())
    return dict(zip(commands, results, strict=True))


def test_all_commands_of_translators(results: dict[str, CommandResult]) -> None:
    assert {name: done.err for name, done in results.items() if done.status != 0} == {}
    assert all(len(results[name].out.splitlines()) == 9 for name in ("greedy", "beam", "ensemble"))
    several = [json.loads(line)["hypotheses"] for line in results["several"].out.splitlines()]
    texts = [[each["text"] for each in hypotheses] for hypotheses in several]
    assert len(texts) == 9
    assert all(1 <= len(set(each)) == len(each) <= 3 for each in texts)  # equal texts are listed once
    assert len(results["score"].out.splitlines()) == 129
    assert "objective.gamma: 1.5" in results["info"].out


def test_python_api_equals_the_command_line(results: dict[str, CommandResult], trained: Path, corpus: Path) -> None:
    script = f"""
import seqlab
run = seqlab.load({str(trained)!r}, plugins=["seqlab_outside.table"])
for line in run.translate(open({str(corpus / "train.en")!r}).read().splitlines()[:9], beam_size=5):
    print(line)
"""
    assert run_script(script, PLUGIN_PATH) == results["beam"].out
