"""Training of translators that copy unseen names, and of translators with tags for the output form."""

import json
import random
from pathlib import Path

import pytest

from .conftest import run_command

pytestmark = pytest.mark.learning

SEED = 1
MIN_COPIED = 90.0
MIN_INFLECTED = 90.0
SMALL_TRANSFORMER = [
    *("--model.d_model", "64", "--model.d_ff", "128"),
    *("--model.num_encoder_layers", "1", "--model.num_decoder_layers", "1"),
]
TEMPLATES = [
    ("my name is {}", "ich heiße {}"),
    ("{} sees {}", "{} sieht {}"),
    ("does {} know {} ?", "kennt {} den {} ?"),
]


def random_name(rng: random.Random) -> str:
    return "".join(rng.choices("bcdfgklmnprst", k=2)).capitalize() + str(rng.randint(0, 10**9))


def exact_match(tmp_path: Path, hypotheses: bytes, references: list[str]) -> float:
    """Return the percentage of hypotheses that equal their reference."""
    (tmp_path / "hyp").write_bytes(hypotheses)
    (tmp_path / "ref").write_text("".join(f"{line}\n" for line in references), encoding="utf-8")
    evaluated = run_command(
        "evaluate", tmp_path / "hyp", "--ref", tmp_path / "ref", "--metrics", "exact_match", "--json"
    )
    result: dict[str, float] = json.loads(evaluated.stdout)["exact_match"]
    print(result)
    return result["value"]


@pytest.mark.parametrize("family", ["lstm", "transformer"])
def test_unseen_names_are_copied(family: str, tmp_path: Path) -> None:
    print(f"seed {SEED}")
    rng = random.Random(SEED)
    pairs = []
    for _ in range(1060):
        template = rng.choice(TEMPLATES)
        names = [random_name(rng) for _ in range(template[0].count("{}"))]
        pairs.append(tuple(side.format(*names) for side in template))
    with (tmp_path / "train.tsv").open("w", encoding="utf-8") as file:
        file.writelines(f"{src}\t{tgt}\n" for src, tgt in pairs[:1000])
    size = {"lstm": ["--model.hidden_size", "64"], "transformer": SMALL_TRANSFORMER}
    settings = {
        **{"data.train_src": f"{tmp_path}/train.tsv#0", "data.train_tgt": f"{tmp_path}/train.tsv#1"},
        **{"data.tokenizer.kind": "words", "data.tokenizer.min_count": 3, "data.joint_vocabulary": "true"},
        **{"data.copy_unknown": "true", "model.family": family, "model.copying": "true", "model.dropout": 0.1},
        **{"data.batch_tokens": 512, "training.max_steps": 200, "optim.optimizer.lr": 5e-3},
        **{"training.valid_every": 200, "training.save_every": 200, "optim.average_last": 0},
    }
    options = [part for key, value in settings.items() for part in (f"--{key}", str(value))]
    run_dir = tmp_path / "run"
    run_command("train", "--run_dir", run_dir, "--threads", "1", *options, *size[family])
    source = "".join(f"{src}\n" for src, _ in pairs[1000:]).encode()
    translated = run_command("translate", run_dir, "--threads", "1", stdin=source)
    assert exact_match(tmp_path, translated.stdout, [tgt for _, tgt in pairs[1000:]]) >= MIN_COPIED
    one_by_one = run_command("translate", run_dir, "--threads", "1", "--batch_tokens", "1", stdin=source)
    assert one_by_one.stdout == translated.stdout
    name_first = [(src, tgt) for src, tgt in pairs[1000:] if " sees " in src]
    (tmp_path / "prefixes").write_text("".join(f"{tgt.split()[0]}\n" for _, tgt in name_first), encoding="utf-8")
    source = "".join(f"{src}\n" for src, _ in name_first).encode()
    with_prefix = run_command("translate", run_dir, "--threads", "1", "--prefix", tmp_path / "prefixes", stdin=source)
    for line, (_, tgt) in zip(with_prefix.stdout.decode().splitlines(), name_first, strict=True):
        assert line.split()[0] == tgt.split()[0]


@pytest.mark.parametrize("use", ["symbols", "sum"])
def test_tags_select_the_form(use: str, tmp_path: Path) -> None:
    print(f"seed {SEED}")
    rng = random.Random(SEED)
    forms = {"PST": "{}ed", "PRS;3": "{}s", "PTCP;PST": "ge{}t", "INF": "{}"}
    lemmas = ["".join(rng.choices("abdeiklmnorst", k=rng.randint(3, 6))) for _ in range(650)]
    rows = [(lemma, form.format(lemma), tags) for lemma in lemmas for tags, form in forms.items()]
    (tmp_path / "train.tsv").write_text("".join("\t".join(row) + "\n" for row in rows[:2400]), encoding="utf-8")
    settings = {
        **{"data.train_src": f"{tmp_path}/train.tsv#0+2", "data.train_tgt": f"{tmp_path}/train.tsv#1"},
        **{"data.tokenizer.kind": "characters", "data.tokenizer.tags": "true", "data.joint_vocabulary": "true"},
        **{"model.family": "gru", "model.hidden_size": 64, "model.tags": use, "model.copying": "true"},
        **{"objective.guided_attention": 1, "data.batch_tokens": 1024, "training.max_steps": 400},
        **{"model.dropout": 0.1, "optim.optimizer.lr": 8e-3, "training.valid_every": 400},
        **{"training.save_every": 400, "optim.average_last": 0},
    }
    options = [part for key, value in settings.items() for part in (f"--{key}", str(value))]
    run_command("train", "--run_dir", tmp_path / "run", "--threads", "1", *options)
    source = "".join(f"{lemma}\t{tags}\n" for lemma, _, tags in rows[2400:]).encode()
    translated = run_command("translate", tmp_path / "run", "--threads", "1", stdin=source)
    assert exact_match(tmp_path, translated.stdout, [form for _, form, _ in rows[2400:]]) >= MIN_INFLECTED
