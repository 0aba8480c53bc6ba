"""Run each example as a user would, from another folder, and check its results."""

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
FOLDER = ROOT / "examples"
EXAMPLES = sorted(FOLDER.glob("*.py"))
IDS = [path.stem for path in EXAMPLES]


def run(folder: Path, name: str, *arguments: str) -> str:
    """Run an example in another folder and return its standard output."""
    done = subprocess.run(
        [sys.executable, str(FOLDER / f"{name}.py"), *arguments], cwd=folder, capture_output=True, encoding="utf-8"
    )
    assert done.returncode == 0, done.stderr
    print(done.stdout)
    return done.stdout


def number(pattern: str, text: str) -> float:
    """Return the number that the only match of a pattern contains."""
    [found] = re.findall(pattern, text)
    return float(found)


def test_custom_objective(tmp_path: Path) -> None:
    output = run(tmp_path, "custom_objective")
    assert number(r"gamma=2.0\): (\S+) nats", output) < 4.5  # log 600 = 6.4 by chance
    folder = tmp_path / "runs" / "custom_objective"
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    losses = [(line["loss"], line["nll"]) for line in lines if line["kind"] == "train"]
    assert all(0 < loss < nll for loss, nll in losses)  # (1 - p)^gamma < 1
    plugin = ["--plugin", str(FOLDER / "custom_objective.py")]
    command = [sys.executable, "-m", "seqlab", "translate", str(folder), *plugin]
    done = subprocess.run(command, input="the seventh of May\n", capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    assert done.stdout == output.splitlines(keepends=True)[-1]


def test_custom_schedule(tmp_path: Path) -> None:
    output = run(tmp_path, "custom_schedule")
    printed = {int(step): float(rate) for step, rate in re.findall(r"step +(\d+)  rate (\S+)", output)}
    assert sorted(printed) == list(range(0, 100, 10))
    metrics = (tmp_path / "runs" / "custom_schedule" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    trained = [line for line in map(json.loads, metrics) if line["kind"] == "train"]
    for line in trained:  # the rate of a line is that of the last of its steps, which are counted from 1
        step = line["step"] - 1
        share = (step + 1) / 21 if step < 20 else min(1.0, (100 - step) / (0.4 * 100))
        assert line["lr"] == pytest.approx(5e-3 * share)
    assert trained[-1]["nll"] < trained[0]["nll"] - 1
    assert "Run(TorchEngine([LoadedRun('runs/custom_schedule', transformer, step 100)], " in output


def test_custom_model(tmp_path: Path) -> None:
    output = run(tmp_path, "custom_model")
    assert number(r"perplexity (\S+) per token", output) < 10  # 257 words, so about 257 by chance
    generated = output.splitlines()[1:]
    assert len(generated) == 5
    text = (tmp_path / "number_words" / "train.en").read_text(encoding="utf-8").splitlines()
    pairs = {pair for line in text for pair in pairwise(line.split())}
    known = [pair in pairs for line in generated for pair in pairwise(line.split())]
    assert sum(known) > 0.8 * len(known) > 0


def test_translator(tmp_path: Path) -> None:
    output = run(tmp_path, "train_translator")
    assert number(r"BLEU\|\S+ = (\S+)", output) > 15
    assert number(r"chrF2\|\S+ = (\S+)", output) > 45
    assert len(re.findall(r"^[^|\n]+ \| [^|\n]+ \| [^|\n]+$", output, re.MULTILINE)) == 5


def test_language_model(tmp_path: Path) -> None:
    output = run(tmp_path, "train_language_model")
    tokens, words, size = (
        int(each.replace(",", "")) for each in re.findall(r"([\d,]+) (?:tokens|words|bytes)", output)
    )
    per_token, per_word = (number(rf"per {unit} ([\d.]+\d)", output) for unit in ("token", "word"))
    assert 4 < per_token < 40  # 1,945 by chance
    assert math.log(per_word) * words == pytest.approx(math.log(per_token) * tokens, rel=1e-3)
    assert number(r"bits per byte (\S+)", output) * size == pytest.approx(math.log2(per_token) * tokens, rel=1e-2)
    assert output.count("\nam siebten") == output.count("\nneunzehn") == 2


def test_scheduled_sampling(tmp_path: Path) -> None:
    output = run(tmp_path, "scheduled_sampling")
    found = re.findall(r"(\w+): step \d+, nll (\S+), predicted inputs (\d+)%", output)
    shares = {name: [int(share) for each, _, share in found if each == name] for name, _, _ in found}
    nlls = {name: [float(nll) for each, nll, _ in found if each == name] for name, _, _ in found}
    assert shares["teacher_forcing"] == [0] * 5
    assert shares["scheduled_sampling"] == sorted(shares["scheduled_sampling"])
    assert shares["scheduled_sampling"][0] < 15
    assert 50 < shares["scheduled_sampling"][-1] < 90  # 1 - k / (k + exp(i / k)) is 0.75 for i of 80 to 100, k of 20
    assert all(losses[-1] < losses[0] - 1 for losses in nlls.values())
    assert output.count("chrF2|") == 2


def test_beam_search_finds_the_best_word(tmp_path: Path) -> None:
    output = run(tmp_path, "beam_search_over_your_own_step")
    found = re.findall(r"^(beam|greedy|of all) +(\w*) +(-\S+)$", output, re.MULTILINE)
    assert [kind for kind, _, _ in found] == ["beam"] * 4 + ["greedy", "of all"]
    assert found[0][1:] == found[-1][1:]
    scores = [float(score) for _, _, score in found]
    assert scores[:4] == sorted(scores[:4], reverse=True)
    assert scores[4] < scores[0]  # greedy search does not find it


def test_table(tmp_path: Path) -> None:
    output = run(tmp_path, "fit_a_table")
    errors = {name: float(error) for name, error in re.findall(r"^(\w+): RMSE (\S+) ±", output, re.MULTILINE)}
    assert 10 < errors["mlp"] < 0.5 * errors["linear_model"]
    prices = {city: float(price) for city, price in re.findall(r"in (\w+): (\S+)", output)}
    assert prices["Aachen"] == pytest.approx(0.02 * 100 * 120 - 20, abs=60)
    assert prices["Berlin"] == pytest.approx(0.02 * 100 * 200 - 20, abs=60)


def test_cnn(tmp_path: Path) -> None:
    output = run(tmp_path, "train_cnn")
    accuracy = {name: float(value) for name, value in re.findall(r"^(\w+): test accuracy (\S+)%", output, re.MULTILINE)}
    assert accuracy["cnn"] > 90 > accuracy["mlp"] + 5
    assert "output size 10 for input size 10, receptive field 5" in output


def test_layers_in_your_own_loop(tmp_path: Path) -> None:
    output = run(tmp_path, "layers_in_your_own_loop")
    losses = [float(loss) for loss in re.findall(r"loss (\S+)", output)]
    assert losses[-1] < 0.3 * losses[0]
    assert number(r"(\d+) of 200 sequences are correct", output) > 120


@pytest.mark.parametrize("path", EXAMPLES, ids=IDS)
def test_example_is_short_and_shows_its_command(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 60
    docstring = ast.get_docstring(ast.parse(text))
    assert docstring is not None
    assert f"python {path.name}" in docstring


@pytest.mark.parametrize("path", EXAMPLES, ids=IDS)
def test_example_imports_public_names(path: Path) -> None:
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
        assert (FOLDER / name).is_file(), name


def test_speech(tmp_path: Path) -> None:
    output = run(tmp_path, "train_asr")
    assert number(r"(?m)^wer\S+ = (\S+)", output) < 25
    times = [tuple(map(float, found)) for found in re.findall(r"(?m)^ +(\S+) to +(\S+) s", output)]
    assert len(times) >= 3
    assert all(start < end for start, end in times)
