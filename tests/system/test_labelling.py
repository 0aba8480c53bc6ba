"""Training of taggers and classifiers on the command line; unknown words are labeled by their spelling."""

import json
import random
from pathlib import Path

import pytest

from .conftest import run_command

pytestmark = pytest.mark.learning

SEED = 1
MIN_ACCURACY = 95.0
SUFFIXES = {"VERB": "ing", "ADV": "ly", "NOUN": "ness", "NUM": ""}
"""Part of speech -> ending of its words."""
TaggedSentence = list[tuple[str, str]]
"""(word, part of speech) of each word."""


def random_word(tag: str, rng: random.Random) -> str:
    if tag == "NUM":
        return str(rng.randint(0, 10**6))
    return "".join(rng.choices("abcdefghiklmnoprstuw", k=rng.randint(2, 6))) + SUFFIXES[tag]


def random_sentences(count: int, rng: random.Random) -> list[TaggedSentence]:
    """Draw sentences of mostly unique words whose endings determine their part of speech."""
    return [
        [(random_word(tag, rng), tag) for tag in rng.choices(list(SUFFIXES), k=rng.randint(1, 8))] for _ in range(count)
    ]


def to_conllu(sentences: list[TaggedSentence]) -> str:
    """Render sentences in the CoNLL-U format."""
    rows = (
        "".join(f"{i}\t{word}\t_\t{tag}\t_\t_\t_\t_\t_\t_\n" for i, (word, tag) in enumerate(sentence, start=1))
        for sentence in sentences
    )
    return "".join(f"# a sentence\n{row}\n" for row in rows)


def train(run_dir: Path, settings: dict[str, object]) -> None:
    print(f"seed {SEED}")
    common = {
        **{"data.kind": "labelling", "optim.optimizer.lr": 5e-3, "optim.average_last": 0, "data.batch_tokens": 256},
        **{"training.max_steps": 200, "training.valid_every": 200, "training.save_every": 200},
    }
    options = [part for key, value in (common | settings).items() for part in (f"--{key}", str(value))]
    run_command("train", "--run_dir", run_dir, "--threads", "1", *options)


def accuracy(hypotheses: Path, references: str) -> float:
    done = run_command("evaluate", hypotheses, "--ref", references, "--metrics", "accuracy", "--confusion", "--json")
    result = json.loads(done.stdout)
    print(result)
    assert sum(map(sum, result["confusion"]["counts"])) == result["accuracy"]["labels"]
    value: float = result["accuracy"]["value"]
    return value


@pytest.mark.parametrize("family", ["lstm_labeller", "transformer_labeller"])
def test_unseen_words_are_tagged_by_their_endings(family: str, tmp_path: Path) -> None:
    rng = random.Random(SEED)
    splits = {"train": random_sentences(600, rng), "test": random_sentences(100, rng)}
    for name, sentences in splits.items():
        (tmp_path / f"{name}.conllu").write_text(to_conllu(sentences), encoding="utf-8")
    size = {"lstm_labeller": {"model.hidden_size": 64}, "transformer_labeller": {"model.d_model": 64}}
    settings = {
        **{"data.train_src": f"{tmp_path}/train.conllu#form", "data.train_tgt": f"{tmp_path}/train.conllu#upos"},
        **{"data.labels_of": "words", "model.family": family, "model.spelling_size": 32, "model.dropout": 0.1},
        **{"model.unknown_share": 0.5},
    }
    train(tmp_path / "run", settings | size[family])
    untagged = to_conllu([[(word, "_") for word, _ in sentence] for sentence in splits["test"]]).encode()
    tagged = run_command("label", tmp_path / "run", "--conllu", "upos", stdin=untagged)
    (tmp_path / "untagged.conllu").write_bytes(untagged)
    from_file = ["--conllu", "upos", "--input", tmp_path / "untagged.conllu"]
    one_by_one = run_command("label", tmp_path / "run", *from_file, "--batch_tokens", "1")
    assert one_by_one.stdout == tagged.stdout
    (tmp_path / "tagged.conllu").write_bytes(tagged.stdout)
    assert tagged.stdout.count(b"\n") == untagged.count(b"\n")
    (tmp_path / "hyp").write_text("".join(" ".join(tags) + "\n" for tags in conllu_column(tagged.stdout.decode(), 3)))
    (tmp_path / "ref").write_text("".join(" ".join(tag for _, tag in sentence) + "\n" for sentence in splits["test"]))
    assert accuracy(tmp_path / "hyp", str(tmp_path / "ref")) >= MIN_ACCURACY
    lines = "".join(" ".join(word for word, _ in sentence) + "\n" for sentence in splits["test"]).encode()
    assert run_command("label", tmp_path / "run", stdin=lines).stdout == (tmp_path / "hyp").read_bytes()


def conllu_column(text: str, number: int) -> list[list[str]]:
    """Return one column of a CoNLL-U text by sentence."""
    sentences = [[row.split("\t") for row in rows.split("\n") if row[:1].isdigit()] for rows in text.split("\n\n")]
    return [[fields[number] for fields in sentence] for sentence in sentences if sentence]


@pytest.mark.parametrize("pooling", ["mean", "max"])
def test_lines_are_classified_by_one_word(pooling: str, tmp_path: Path) -> None:
    rng = random.Random(SEED)
    rows = []
    for _ in range(700):
        label, key_word = rng.choice([("praise", "good"), ("praise", "fine"), ("blame", "bad"), ("blame", "dull")])
        words = rng.choices(["the", "film", "was", "so", "and", "with", "its", "people", "story"], k=rng.randint(3, 12))
        words.insert(rng.randint(0, len(words)), key_word)
        rows.append((label, " ".join(words)))
    for name, split in (("train", rows[:600]), ("test", rows[600:])):
        with (tmp_path / f"{name}.jsonl").open("w", encoding="utf-8") as file:
            file.writelines(json.dumps({"label": label, "text": text}) + "\n" for label, text in split)
    train(
        tmp_path / "run",
        {
            **{"data.train_src": f"{tmp_path}/train.jsonl#text", "data.train_tgt": f"{tmp_path}/train.jsonl#label"},
            **{"model.family": "gru_labeller", "model.hidden_size": 32, "model.pooling": pooling, "model.dropout": 0.1},
        },
    )
    run_command("label", tmp_path / "run", "--input", f"{tmp_path}/test.jsonl#text", "--output", tmp_path / "hyp")
    (tmp_path / "ref").write_text("".join(f"{label}\n" for label, _ in rows[600:]))
    assert accuracy(tmp_path / "hyp", str(tmp_path / "ref")) >= MIN_ACCURACY
    held_out = tmp_path / "run/cache/valid.jsonl"
    run_command("label", tmp_path / "run", "--input", f"{held_out}#src", "--output", tmp_path / "valid")
    metrics = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text("utf-8").splitlines()]
    (logged_accuracy,) = (line["accuracy"] for line in metrics if line["kind"] == "valid")
    assert accuracy(tmp_path / "valid", f"{held_out}#tgt") == pytest.approx(logged_accuracy)
    json_lines = run_command(
        "label", tmp_path / "run", "--json", "--num_labels", "2", stdin=b"a good film\n\n"
    ).stdout.splitlines()
    first, empty = map(json.loads, json_lines)
    assert first["labels"] == ["praise"]
    assert [choice["label"] for choice in first["choices"][0]] == ["praise", "blame"]
    assert empty == {"labels": [], "truncated": False, "choices": [], "num_pieces": 0}
