"""Tagging and classification on the command line; unknown words are labelled by their spelling."""

import json
import random
from pathlib import Path

import pytest

from .conftest import seqlab

SEED = 1
MIN_ACCURACY = 95.0
KINDS = {"VERB": "ing", "ADV": "ly", "NOUN": "ness", "NUM": ""}


def word(kind: str, rng: random.Random) -> str:
    if kind == "NUM":
        return str(rng.randint(0, 10**6))
    return "".join(rng.choices("abcdefghiklmnoprstuw", k=rng.randint(2, 6))) + KINDS[kind]


def sentences(count: int, rng: random.Random) -> list[list[tuple[str, str]]]:
    """Make sentences of made-up words, almost all of them unique, whose endings determine their labels."""
    return [[(word(kind, rng), kind) for kind in rng.choices(list(KINDS), k=rng.randint(1, 8))] for _ in range(count)]


def conllu(found: list[list[tuple[str, str]]]) -> str:
    rows = (
        "".join(f"{i}\t{form}\t_\t{kind}\t_\t_\t_\t_\t_\t_\n" for i, (form, kind) in enumerate(line, start=1))
        for line in found
    )
    return "".join(f"# a sentence\n{row}\n" for row in rows)


def train(run_dir: Path, settings: dict[str, object]) -> None:
    print(f"seed {SEED}")
    common = {
        **{"data.kind": "labelling", "optim.optimizer.lr": 5e-3, "optim.average_last": 0, "data.batch_tokens": 256},
        **{"training.max_steps": 200, "training.valid_every": 200, "training.save_every": 200},
    }
    options = [part for key, value in (common | settings).items() for part in (f"--{key}", str(value))]
    seqlab("train", "--run_dir", run_dir, "--threads", "1", *options)


def accuracy(hypotheses: Path, references: str) -> float:
    done = seqlab("evaluate", hypotheses, "--ref", references, "--metrics", "accuracy", "--confusion", "--json")
    result = json.loads(done.stdout)
    print(result)
    assert sum(map(sum, result["confusion"]["counts"])) == result["accuracy"]["labels"]
    value: float = result["accuracy"]["value"]
    return value


@pytest.mark.parametrize("family", ["lstm_labeller", "transformer_labeller"])
def test_unseen_words_are_tagged_by_their_endings(family: str, tmp_path: Path) -> None:
    rng = random.Random(SEED)
    parts = {"train": sentences(600, rng), "test": sentences(100, rng)}
    for name, part in parts.items():
        (tmp_path / f"{name}.conllu").write_text(conllu(part), encoding="utf-8")
    size = {"lstm_labeller": {"model.hidden_size": 64}, "transformer_labeller": {"model.d_model": 64}}
    settings = {
        **{"data.train_src": f"{tmp_path}/train.conllu#form", "data.train_tgt": f"{tmp_path}/train.conllu#upos"},
        **{"data.labels_of": "words", "model.family": family, "model.spelling_size": 32, "model.dropout": 0.1},
        **{"model.unknown_share": 0.5},
    }
    train(tmp_path / "run", settings | size[family])
    hidden = conllu([[(form, "_") for form, _ in line] for line in parts["test"]]).encode()
    tagged = seqlab("label", tmp_path / "run", "--conllu", "upos", stdin=hidden)
    (tmp_path / "hidden.conllu").write_bytes(hidden)
    from_file = ["--conllu", "upos", "--input", tmp_path / "hidden.conllu"]
    one_by_one = seqlab("label", tmp_path / "run", *from_file, "--batch_tokens", "1")
    assert one_by_one.stdout == tagged.stdout
    (tmp_path / "tagged.conllu").write_bytes(tagged.stdout)
    assert tagged.stdout.count(b"\n") == hidden.count(b"\n")
    (tmp_path / "hyp").write_text("".join(" ".join(tags) + "\n" for tags in columns(tagged.stdout.decode(), 3)))
    (tmp_path / "ref").write_text("".join(" ".join(kind for _, kind in line) + "\n" for line in parts["test"]))
    assert accuracy(tmp_path / "hyp", str(tmp_path / "ref")) >= MIN_ACCURACY
    lines = "".join(" ".join(form for form, _ in line) + "\n" for line in parts["test"]).encode()
    assert seqlab("label", tmp_path / "run", stdin=lines).stdout == (tmp_path / "hyp").read_bytes()


def columns(text: str, number: int) -> list[list[str]]:
    parts = [[row.split("\t") for row in part.split("\n") if row[:1].isdigit()] for part in text.split("\n\n")]
    return [[fields[number] for fields in part] for part in parts if part]


@pytest.mark.parametrize("pooling", ["mean", "max"])
def test_lines_are_classified_by_a_word_in_them(pooling: str, tmp_path: Path) -> None:
    rng = random.Random(SEED)
    rows = []
    for _ in range(700):
        label, key = rng.choice([("praise", "good"), ("praise", "fine"), ("blame", "bad"), ("blame", "dull")])
        words = rng.choices(["the", "film", "was", "so", "and", "with", "its", "people", "story"], k=rng.randint(3, 12))
        words.insert(rng.randint(0, len(words)), key)
        rows.append((label, " ".join(words)))
    for name, part in (("train", rows[:600]), ("test", rows[600:])):
        with (tmp_path / f"{name}.jsonl").open("w", encoding="utf-8") as file:
            file.writelines(json.dumps({"label": label, "text": text}) + "\n" for label, text in part)
    train(
        tmp_path / "run",
        {
            **{"data.train_src": f"{tmp_path}/train.jsonl#text", "data.train_tgt": f"{tmp_path}/train.jsonl#label"},
            **{"model.family": "gru_labeller", "model.hidden_size": 32, "model.pooling": pooling, "model.dropout": 0.1},
        },
    )
    seqlab("label", tmp_path / "run", "--input", f"{tmp_path}/test.jsonl#text", "--output", tmp_path / "hyp")
    (tmp_path / "ref").write_text("".join(f"{label}\n" for label, _ in rows[600:]))
    assert accuracy(tmp_path / "hyp", str(tmp_path / "ref")) >= MIN_ACCURACY
    split_off = tmp_path / "run/cache/valid.jsonl"
    seqlab("label", tmp_path / "run", "--input", f"{split_off}#src", "--output", tmp_path / "valid")
    journal = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text("utf-8").splitlines()]
    (validated,) = (record["accuracy"] for record in journal if record["kind"] == "valid")
    assert accuracy(tmp_path / "valid", f"{split_off}#tgt") == pytest.approx(validated)
    shown = seqlab(
        "label", tmp_path / "run", "--json", "--num_labels", "2", stdin=b"a good film\n\n"
    ).stdout.splitlines()
    first, empty = map(json.loads, shown)
    assert first["labels"] == ["praise"]
    assert [choice["label"] for choice in first["choices"][0]] == ["praise", "blame"]
    assert empty == {"labels": [], "truncated": False, "choices": [], "num_pieces": 0}
