"""The examples: results of each script, run from another folder, and rules for all scripts."""

import ast
import importlib
import json
import math
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES_FOLDER = ROOT / "examples"
EXAMPLES = sorted(EXAMPLES_FOLDER.glob("*.py"))
IDS = [path.stem for path in EXAMPLES]


def run(folder: Path, name: str, *arguments: str) -> str:
    """Run an example in a working folder; return its standard output."""
    done = subprocess.run(
        [sys.executable, str(EXAMPLES_FOLDER / f"{name}.py"), *arguments],
        cwd=folder,
        capture_output=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    print(done.stdout)
    return done.stdout


def number(pattern: str, text: str) -> float:
    """Return the number in the group of a pattern, which must match exactly once."""
    [match] = re.findall(pattern, text)
    return float(match)


@pytest.mark.learning
def test_custom_objective(tmp_path: Path) -> None:
    output = run(tmp_path, "custom_objective")
    assert number(r"gamma=2.0\): (\S+) nats", output) < 4.5  # a uniform distribution has log 600 = 6.4
    folder = tmp_path / "runs" / "custom_objective"
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    losses = [(line["loss"], line["nll"]) for line in lines if line["kind"] == "train"]
    assert all(0 < loss < nll for loss, nll in losses)  # (1 - p)^gamma < 1
    plugin = ["--plugin", str(EXAMPLES_FOLDER / "custom_objective.py")]
    command = [sys.executable, "-m", "seqlab", "translate", str(folder), *plugin]
    done = subprocess.run(command, input="the seventh of May\n", capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    assert done.stdout == output.splitlines(keepends=True)[-1]


@pytest.mark.learning
def test_custom_schedule(tmp_path: Path) -> None:
    output = run(tmp_path, "custom_schedule")
    printed = {int(step): float(lr) for step, lr in re.findall(r"step +(\d+)  lr (\S+)", output)}
    assert sorted(printed) == list(range(0, 100, 10))
    metrics = (tmp_path / "runs" / "custom_schedule" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    trained = [line for line in map(json.loads, metrics) if line["kind"] == "train"]
    for line in trained:  # `lr` is that of the line's last step; steps in metrics.jsonl are counted from 1
        step = line["step"] - 1
        share = (step + 1) / 21 if step < 20 else min(1.0, (100 - step) / (0.4 * 100))
        assert line["lr"] == pytest.approx(5e-3 * share)
    assert trained[-1]["nll"] < trained[0]["nll"] - 1
    assert "Run(TorchEngine([LoadedRun('runs/custom_schedule', transformer, step 100)], " in output


@pytest.mark.learning
def test_custom_reward(tmp_path: Path) -> None:
    assert len(run(tmp_path, "custom_reward").splitlines()) == 1
    metrics = (tmp_path / "runs" / "custom_reward" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    [trained] = [line for line in map(json.loads, metrics) if line["kind"] == "train"]
    assert trained["step"] == 30
    assert -1 < trained["reward"] <= 1
    assert trained["nll"] < 3  # the start has been trained


@pytest.mark.learning
def test_custom_model(tmp_path: Path) -> None:
    output = run(tmp_path, "custom_model")
    assert number(r"perplexity (\S+) per token", output) < 10  # a uniform distribution over 257 words has 257
    generated = output.splitlines()[1:]
    assert len(generated) == 5
    text = (tmp_path / "number_words" / "train.en").read_text(encoding="utf-8").splitlines()
    pairs = {pair for line in text for pair in pairwise(line.split())}
    is_known = [pair in pairs for line in generated for pair in pairwise(line.split())]
    assert sum(is_known) > 0.8 * len(is_known) > 0


@pytest.mark.learning
def test_custom_encoder(tmp_path: Path) -> None:
    assert run(tmp_path, "custom_encoder").splitlines()[-1] == "['smaller', 'thousands']"


@pytest.mark.learning
def test_translator(tmp_path: Path) -> None:
    output = run(tmp_path, "train_translator")
    assert number(r"BLEU\|\S+ = (\S+)", output) > 15
    assert number(r"chrF2\|\S+ = (\S+)", output) > 45
    assert len(re.findall(r"^[^|\n]+ \| [^|\n]+ \| [^|\n]+$", output, re.MULTILINE)) == 5


@pytest.mark.learning
def test_language_model(tmp_path: Path) -> None:
    output = run(tmp_path, "train_language_model")
    tokens, words, size = (
        int(each.replace(",", "")) for each in re.findall(r"([\d,]+) (?:tokens|words|bytes)", output)
    )
    per_token, per_word = (number(rf"per {unit} ([\d.]+\d)", output) for unit in ("token", "word"))
    assert 4 < per_token < 40  # a uniform distribution has 1,945
    assert math.log(per_word) * words == pytest.approx(math.log(per_token) * tokens, rel=1e-3)
    assert number(r"bits per byte (\S+)", output) * size == pytest.approx(math.log2(per_token) * tokens, rel=1e-2)
    assert output.count("\nam siebten") == output.count("\nneunzehn") == 2


@pytest.mark.learning
def test_scheduled_sampling(tmp_path: Path) -> None:
    output = run(tmp_path, "scheduled_sampling")
    validations = re.findall(r"(\w+): step \d+, nll (\S+), predicted inputs (\d+)%", output)
    shares = {name: [int(share) for each, _, share in validations if each == name] for name, _, _ in validations}
    nlls = {name: [float(nll) for each, nll, _ in validations if each == name] for name, _, _ in validations}
    assert shares["teacher_forcing"] == [0] * 5
    assert shares["scheduled_sampling"] == sorted(shares["scheduled_sampling"])
    assert shares["scheduled_sampling"][0] < 15
    assert 50 < shares["scheduled_sampling"][-1] < 90  # 1 - k / (k + exp(i / k)) is 0.75 for i of 80 to 100, k of 20
    assert all(losses[-1] < losses[0] - 1 for losses in nlls.values())
    assert output.count("chrF2|") == 2


@pytest.mark.learning
def test_beam_search_over_your_own_step(tmp_path: Path) -> None:
    output = run(tmp_path, "beam_search_over_your_own_step")
    rows = re.findall(r"^(beam|greedy|optimum) +(\w*) +(-\S+)$", output, re.MULTILINE)
    assert [search for search, _, _ in rows] == ["beam"] * 4 + ["greedy", "optimum"]
    assert rows[0][1:] == rows[-1][1:]  # beam search finds the best of all words
    scores = [float(score) for _, _, score in rows]
    assert scores[:4] == sorted(scores[:4], reverse=True)
    assert scores[4] < scores[0]  # greedy search does not find the best word


@pytest.mark.learning
def test_table(tmp_path: Path) -> None:
    output = run(tmp_path, "fit_a_table")
    errors = {name: float(error) for name, error in re.findall(r"^(\w+): RMSE (\S+) ±", output, re.MULTILINE)}
    assert 10 < errors["mlp"] < 0.5 * errors["linear"]
    prices = {city: float(price) for city, price in re.findall(r"in (\w+): (\S+)", output)}
    assert prices["Aachen"] == pytest.approx(0.02 * 100 * 120 - 20, abs=60)
    assert prices["Berlin"] == pytest.approx(0.02 * 100 * 200 - 20, abs=60)


@pytest.mark.learning
def test_cnn(tmp_path: Path) -> None:
    output = run(tmp_path, "train_cnn")
    accuracy = {name: float(value) for name, value in re.findall(r"^(\w+): test accuracy (\S+)%", output, re.MULTILINE)}
    assert accuracy["cnn"] > 90 > accuracy["mlp"] + 5
    assert "output size 10 for input size 10, receptive field 5" in output


@pytest.mark.learning
def test_layers_in_your_own_loop(tmp_path: Path) -> None:
    output = run(tmp_path, "layers_in_your_own_loop")
    losses = [float(loss) for loss in re.findall(r"loss (\S+)", output)]
    assert losses[-1] < 0.3 * losses[0]
    assert number(r"(\d+) of 200 sequences are correct", output) > 120


@pytest.mark.parametrize("path", EXAMPLES, ids=IDS)
def test_examples_are_short_and_show_their_command(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 60
    docstring = ast.get_docstring(ast.parse(text))
    assert docstring is not None
    assert f"python {path.name}" in docstring


@pytest.mark.parametrize("path", EXAMPLES, ids=IDS)
def test_examples_use_only_public_names(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imported = [
        (node.module, alias.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("seqlab")
        for alias in node.names
    ]
    used = [
        ("seqlab", node.attr)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "seqlab"
    ]
    for module, name in imported + used:
        assert name in importlib.import_module(module or "").__all__, f"{module}.{name}"
    assert imported or used


def test_each_example_has_a_test_and_a_link() -> None:
    tests = Path(__file__).read_text(encoding="utf-8")
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    for path in EXAMPLES:
        assert f'run(tmp_path, "{path.stem}")' in tests
        assert f"examples/{path.name})" in text, path.name
    for name in re.findall(r"examples/(\w+\.py)", text):
        assert (EXAMPLES_FOLDER / name).is_file(), name


@pytest.mark.learning
def test_agent(tmp_path: Path) -> None:
    output = run(tmp_path, "agent")
    assert number(r"mean return (\S+)", output) > -45  # about -110 without training
    actions = dict(re.findall(r"20 degrees inside, (\S+) outside: (\w+)", output))
    assert actions == {"-8": "high", "5": "low", "16": "off"}  # the nearest to 20 degrees after an hour


@pytest.mark.learning
def test_speech(tmp_path: Path) -> None:
    output = run(tmp_path, "train_asr")
    assert number(r"(?m)^wer\S+ = (\S+)", output) < 25
    times = [tuple(map(float, match)) for match in re.findall(r"(?m)^ +(\S+) to +(\S+) s", output)]
    assert len(times) >= 3
    assert all(start < end for start, end in times)
