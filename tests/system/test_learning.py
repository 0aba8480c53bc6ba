"""Training, translation and evaluation of a small task on the command line: reversing words."""

import json
import random
from pathlib import Path

import pytest
from reference.tiny_runs import tiny_config

from seqlab.optim import AdamConfig, LinearScheduleConfig, OptimConfig
from seqlab.runs.config import write_config
from seqlab.text import CharactersConfig

from .conftest import run_command

pytestmark = pytest.mark.learning

SEED = 1
MIN_EXACT_MATCH = 90.0


def reversed_words(count: int, rng: random.Random) -> list[tuple[str, str]]:
    """Draw distinct words of 3 to 6 letters, paired with the reversed word in capital letters."""
    words: dict[str, None] = {}
    while len(words) < count:
        words["".join(rng.choices("abcdefgh", k=rng.randint(3, 6)))] = None
    return [(word, word[::-1].upper()) for word in words]


def test_train_translate_evaluate(tmp_path: Path) -> None:
    print(f"seed {SEED}")
    pairs = reversed_words(2100, random.Random(SEED))
    for name, part in (("train", pairs[:2000]), ("test", pairs[2000:])):
        for side, index in (("en", 0), ("de", 1)):
            (tmp_path / f"{name}.{side}").write_text("".join(f"{pair[index]}\n" for pair in part))
    config = tiny_config(
        tmp_path,
        model={"d_model": 64, "d_ff": 128, "num_heads": 4, "dropout": 0.0},
        data={
            **{"tokenizer": CharactersConfig(), "subword_sampling": 0.0, "batch_tokens": 512},
            **{"micro_batch_tokens": 512, "chunk_pairs": 131_072, "valid_max_pairs": 50},
        },
        optim=OptimConfig(
            optimizer=AdamConfig(lr=5e-3), schedule=LinearScheduleConfig(warmup_steps=30), average_last=3
        ),
        seed=SEED,
        **{"max_steps": 300, "log_every": 50, "save_every": 10, "valid_every": 300, "valid_metric": "exact_match"},
    )
    write_config(config, tmp_path / "reverse.yaml")
    run_dir = tmp_path / "run"
    trained = run_command("train", tmp_path / "reverse.yaml", "--run_dir", run_dir, "--threads", "1")
    assert trained.stdout == b""
    source = (tmp_path / "test.en").read_bytes()
    translated = run_command("translate", run_dir, "--threads", "1", stdin=source)
    assert translated.stdout.count(b"\n") == 100
    (tmp_path / "hyp").write_bytes(translated.stdout)
    evaluated = run_command(
        "evaluate", tmp_path / "hyp", "--ref", tmp_path / "test.de", "--metrics", "exact_match", "--json"
    )
    result = json.loads(evaluated.stdout)["exact_match"]
    print(result)
    assert result["value"] >= MIN_EXACT_MATCH
