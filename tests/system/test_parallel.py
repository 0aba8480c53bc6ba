"""Translators that predict all symbols at once, through the command line."""

import json
import random
from pathlib import Path

import pytest

from .conftest import seqlab

SEED = 1
MIN_EXACT = 80.0
DIGITS = ["null", "eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun"]


@pytest.mark.parametrize("glancing", ["0", "0.5"])
def test_digits_are_spelt_in_another_order(glancing: str, tmp_path: Path) -> None:
    """Pairs of digits, the second one of each spelt before the first; what is repeated needs blanks between."""
    print(f"seed {SEED}")
    rng = random.Random(SEED)
    rows = [[rng.randrange(10) for _ in range(2 * rng.randint(1, 2))] for _ in range(3100)]
    pairs = []
    for row in rows:
        swapped = [row[place ^ 1] for place in range(len(row))]
        pairs.append((" ".join(map(str, row)), " ".join(DIGITS[digit] for digit in swapped)))
    train = [*pairs[:3000], ("7", " ".join(["sieben"] * 9))]  # with more words than frames
    for side in (0, 1):
        (tmp_path / f"train{side}").write_text("".join(f"{pair[side]}\n" for pair in train), encoding="utf-8")
        (tmp_path / f"test{side}").write_text("".join(f"{pair[side]}\n" for pair in pairs[3000:]), encoding="utf-8")
    settings = {
        **{"data.train_src": tmp_path / "train0", "data.train_tgt": tmp_path / "train1", "data.batch_tokens": 512},
        **{"data.tokenizer.kind": "words", "model.family": "transformer_ctc", "model.d_model": 64, "model.d_ff": 128},
        **{"model.num_encoder_layers": 2, "model.num_decoder_layers": 2},
        **{"objective.glancing": glancing, "training.max_steps": 300, "training.valid_every": 300},
        **{"optim.optimizer.lr": 5e-3, "training.save_every": 300, "model.dropout": 0},
    }
    options = [part for key, value in settings.items() for part in (f"--{key}", str(value))]
    run_dir = tmp_path / "run"
    trained = seqlab("train", "--run_dir", run_dir, "--threads", "1", *options)
    assert b"1 of " in trained.stderr
    assert b"have too many target tokens for the frames" in trained.stderr
    source = (tmp_path / "test0").read_bytes()
    for search in (("--beam_size", "1"), ("--beam_size", "4", "--length_alpha", "0")):
        translated = seqlab("translate", run_dir, "--threads", "1", *search, stdin=source)
        (tmp_path / "hyp").write_bytes(translated.stdout)
        evaluated = seqlab(
            "evaluate", tmp_path / "hyp", "--ref", tmp_path / "test1", "--metrics", "exact_match", "--json"
        )
        result = json.loads(evaluated.stdout)["exact_match"]
        print(search, result)
        assert result["value"] >= MIN_EXACT
        alone = seqlab("translate", run_dir, "--threads", "1", "--batch_tokens", "1", *search, stdin=source)
        assert alone.stdout == translated.stdout
    best = seqlab("translate", run_dir, "--threads", "1", "--length_alpha", "0", "--json", stdin=source)
    likely = [json.loads(line)["hypotheses"][0]["log_prob"] for line in best.stdout.splitlines()]
    scored = seqlab("score", run_dir, "--threads", "1", "--src", tmp_path / "test0", "--tgt", tmp_path / "hyp")
    assert [float(line.split()[0]) for line in scored.stdout.splitlines()] == pytest.approx(likely, abs=2e-3)
