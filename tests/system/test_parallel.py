"""Training and search of non-autoregressive translators on the command line."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from .conftest import run_command, run_in_process

pytestmark = pytest.mark.learning

SEED = 1
MIN_EXACT_MATCH = 80.0
DIGITS = ["null", "eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun"]


def write_digits(folder: Path, extra: tuple[tuple[str, str], ...] = ()) -> None:
    """Write training and test pairs: digits, and their names with each two neighbors swapped."""
    print(f"seed {SEED}")
    rng = random.Random(SEED)
    rows = [[rng.randrange(10) for _ in range(2 * rng.randint(1, 2))] for _ in range(3060)]
    pairs = []
    for row in rows:
        swapped = [row[position ^ 1] for position in range(len(row))]
        pairs.append((" ".join(map(str, row)), " ".join(DIGITS[digit] for digit in swapped)))
    for name, part in (("train", [*pairs[:3000], *extra]), ("test", pairs[3000:])):
        for side in (0, 1):
            text = "".join(f"{pair[side]}\n" for pair in part)
            (folder / f"{name}{side}").write_text(text, encoding="utf-8")


def train(folder: Path, family: str, **more: Any) -> bytes:
    """Train a small model for a few seconds; return its standard error."""
    settings = {
        **{"data.train_src": folder / "train0", "data.train_tgt": folder / "train1", "data.batch_tokens": 512},
        **{"data.tokenizer.kind": "words", "model.family": family, "model.d_model": 64, "model.d_ff": 128},
        **{"model.num_encoder_layers": 1, "model.num_decoder_layers": 1},
        **{"training.max_steps": 200, "training.valid_every": 200},
        **{"optim.optimizer.lr": 5e-3, "training.save_every": 200, "model.dropout": 0},
        **{key.replace("__", "."): value for key, value in more.items()},
    }
    options = [part for key, value in settings.items() for part in (f"--{key}", str(value))]
    return run_command("train", "--run_dir", folder / "run", "--threads", "1", *options).stderr


def exact_match(folder: Path, *search: str) -> float:
    """Translate the test set; return the exact match in percent."""
    source = (folder / "test0").read_bytes()
    translated = run_command("translate", folder / "run", "--threads", "1", *search, stdin=source)
    (folder / "hyp").write_bytes(translated.stdout)
    evaluated = run_command("evaluate", folder / "hyp", "--ref", folder / "test1", "--metrics", "exact_match", "--json")
    value = float(json.loads(evaluated.stdout)["exact_match"]["value"])
    print(search, value)
    return value


@pytest.mark.parametrize("glancing", ["0", "0.5"])
def test_ctc_translators_reorder_and_warn_of_long_targets(glancing: str, tmp_path: Path) -> None:
    too_long = ("7", " ".join(["sieben"] * 6))  # as many words as frames, but repeated tokens need blanks between them
    write_digits(tmp_path, (too_long,))
    stderr = train(tmp_path, "transformer_ctc", objective__glancing=glancing)
    assert b"1 of " in stderr
    assert b"have more target tokens than `model.upsampling" in stderr
    for search in (("--beam_size", "1"), ("--beam_size", "4", "--length_alpha", "0")):
        assert exact_match(tmp_path, *search) >= MIN_EXACT_MATCH
    source = (tmp_path / "test0").read_bytes()
    options = ("--threads", "1", "--precision", "fp32", "--length_alpha", "0", "--json")
    best = run_command("translate", tmp_path / "run", *options, stdin=source)
    log_probs = [json.loads(line)["hypotheses"][0]["log_prob"] for line in best.stdout.splitlines()]
    scored = run_command(
        "score", tmp_path / "run", "--threads", "1", "--src", tmp_path / "test0", "--tgt", tmp_path / "hyp"
    )
    assert [float(line.split()[0]) for line in scored.stdout.splitlines()] == pytest.approx(log_probs, abs=1e-4)


@pytest.mark.parametrize(
    ("family", "options", "searches"),
    [
        ("transformer_nat", {"model__length": "classifier"}, [("--beam_size", "4")]),
        ("transformer_nat", {"model__length": "end_mark", "objective__glancing": 0.5}, [()]),
        ("transformer_nat", {"model__length": "ratio"}, [("--length_alpha", "0")]),
        ("transformer_cmlm", {"training__max_steps": 400}, [("--iterations", "4"), ("--beam_size", "1")]),
    ],
    ids=["classifier", "end mark", "ratio", "cmlm"],
)
def test_length_predictors_and_mask_predict(
    family: str, options: dict[str, Any], searches: list[tuple[str, ...]], tmp_path: Path
) -> None:
    write_digits(tmp_path)
    train(tmp_path, family, **options)
    for search in searches:
        assert exact_match(tmp_path, *search) >= MIN_EXACT_MATCH


def test_options_and_commands_of_autoregressive_models_are_refused(tmp_path: Path) -> None:
    write_digits(tmp_path, (("7", " ".join(["sieben"] * 9)),))
    stderr = train(
        tmp_path, "transformer_nat", training__max_steps=2, training__valid_every=2, model__max_length_difference=4
    )
    assert b"1 of " in stderr
    assert b"have lengths that are never predicted" in stderr
    run, src, tgt = tmp_path / "run", tmp_path / "test0", tmp_path / "test1"
    for command in (
        ("translate", run, run, "--input", src),
        ("exposure", run, "--src", src, "--tgt", tgt),
        ("search-errors", run, "--src", src, "--tgt", tgt),
    ):
        status, output = run_in_process(*command)
        assert status != 0
        assert b"need a model that predicts one token after another" in output.stderr
        assert output.stdout == b""
    autoregressive = ("--training.valid_search.no_repeat_ngram_size", "2", "--model.family", "transformer_nat")
    mask_predict = ("--training.valid_search.iterations", "2")
    ctc = ("--training.valid_search.coverage_penalty", "0.2", "--model.family", "transformer_ctc")
    for options in (autoregressive, mask_predict, ctc):
        status, output = run_in_process("train", "--data.train_src", src, "--data.train_tgt", tgt, *options)
        assert status != 0
        assert b"`training.valid_search`" in output.stderr
