"""Parts from outside of seqlab are trained, loaded and used like its own."""

import json
from pathlib import Path

import pytest

from .conftest import HERE, TABLE, Done, run_all, run_script


@pytest.fixture(scope="module")
def used(trained: Path, corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Done]:
    """Use the run with each command."""
    few = tmp_path_factory.mktemp("used") / "few.en"
    few.write_text("\n".join((corpus / "train.en").read_text("utf-8").splitlines()[:9]) + "\n", "utf-8")
    commands = {
        "greedy": ["translate", trained, "--input", few, "--beam_size", "1"],
        "beam": ["translate", trained, "--input", few, "--beam_size", "5"],
        "several": ["translate", trained, "--input", few, "--beam_size", "5", "--num_hypotheses", "3", "--json"],
        "ensemble": ["translate", trained, trained.with_name("transformer"), "--input", few, "--beam_size", "3"],
        "score": ["score", trained, "--src", corpus / "train.en", "--tgt", corpus / "train.de"],
        "info": ["info", trained],
    }
    found = run_all([*command, *TABLE] for command in commands.values())
    return dict(zip(commands, found, strict=True))


def test_every_command_takes_it(used: dict[str, Done]) -> None:
    assert {name: done.err for name, done in used.items() if done.status != 0} == {}
    assert all(len(used[name].out.splitlines()) == 9 for name in ("greedy", "beam", "ensemble"))
    several = [json.loads(line) for line in used["several"].out.splitlines()]
    assert [len(each["hypotheses"]) for each in several] == [3] * 9
    assert len(used["score"].out.splitlines()) == 129
    assert "objective.gamma: 1.5" in used["info"].out


def test_python_gives_the_same(used: dict[str, Done], trained: Path, corpus: Path) -> None:
    script = f"""
import seqlab
run = seqlab.load({str(trained)!r}, plugins=["seqlab_outside.table"])
for line in run.translate(open({str(corpus / "train.en")!r}).read().splitlines()[:9], beam_size=5):
    print(line)
"""
    assert run_script(script, HERE) == used["beam"].out
