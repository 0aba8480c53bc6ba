"""A language model of the characters of tinyshakespeare."""

import gzip
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.diagnosis.data_sets.data_set import DataSet, Row, Splits, linear_decay, training
from seqlab.corpora import locate
from seqlab.data import TextBatch
from seqlab.models import EncoderLmConfig, RecurrentEncoderConfig, TransformerLmConfig
from seqlab.models.config import ModelConfig
from seqlab.optim import AdamWConfig
from seqlab.runs.config import Config
from seqlab.runs.load import load_run
from seqlab.tasks.language_modelling.config import LanguageModellingConfig
from seqlab.text import CharactersConfig

TRAIN_LINES, VALID_LINES = 12_000, 1500
SCORED_ROWS, SCORED_LENGTH = 64, 65


def _load(seed: int) -> Splits:
    """Divide the text into successive parts, beginning at another line for each seed."""
    lines = Path(locate("tinyshakespeare")["all"]["text"]).read_text("utf-8").split("\n")
    start = 7919 * seed % len(lines)
    rows: list[Row] = [(line, None) for line in lines[start:] + lines[:start]]
    ends = TRAIN_LINES, TRAIN_LINES + VALID_LINES
    return Splits(rows[: ends[0]], rows[ends[0] : ends[1]], rows[ends[1] : ends[1] + VALID_LINES])


def _write(splits: Splits, folder: Path) -> None:
    for name, rows in (("train", splits.train), ("valid", splits.valid)):
        (folder / f"{name}.txt").write_text("".join(f"{line}\n" for line, _ in rows), "utf-8", newline="\n")


def _config(folder: Path, model: ModelConfig, lr: float, max_steps: int) -> Config:
    return Config(
        data=LanguageModellingConfig(
            train=[str(folder / "train.txt")],
            valid=[str(folder / "valid.txt")],
            documents="continuous",
            tokenizer=CharactersConfig(normalization="none"),
            block_length=64,
            batch_tokens=1024,
            micro_batch_tokens=1024,
        ),
        model=model,
        optim=linear_decay(AdamWConfig(lr=lr, weight_decay=0.1), 50),
        training=training(max_steps),
    )


def _transformer(folder: Path) -> Config:
    model = TransformerLmConfig(d_model=64, d_ff=256, num_layers=2, num_heads=4, activation="relu", dropout=0.05)
    return _config(folder, model, 5e-3, 2000)


def _gru(folder: Path) -> Config:
    encoder = RecurrentEncoderConfig(
        family="gru", hidden_size=128, bidirectional=False, dropout=0.0, output_dropout=0.1
    )
    model = EncoderLmConfig(encoder=encoder)
    return _config(folder, model, 5e-3, 1500)


def _score(run_dir: Path, rows: Sequence[Row]) -> float:
    """Return nats per character of blocks that the model reads one character after another, as in generation."""
    run = load_run(run_dir)
    tokenizer = run.codecs[1]
    lines = tokenizer.encode([line for line, _ in rows])
    ids = [int(token) for line in lines for token in (*line, tokenizer.eos_id)]  # eos ends a line
    blocks = torch.tensor(ids[: SCORED_ROWS * SCORED_LENGTH]).view(SCORED_ROWS, SCORED_LENGTH)
    total = torch.zeros(())
    with torch.inference_mode():
        last_ids, state = run.stepper.start(TextBatch(blocks[:, :1], blocks[:, 1:2], torch.arange(SCORED_ROWS), 0))
        for position in range(1, SCORED_LENGTH):
            step = run.stepper.step(last_ids, state)
            last_ids, state = blocks[:, position], step.state
            total -= step.scores.log_softmax(-1).gather(1, last_ids[:, None]).sum()
    return float(total) / (SCORED_ROWS * (SCORED_LENGTH - 1))


def _mismatch(splits: Splits) -> Splits:
    """Validate on questions of TREC instead of plays."""
    with gzip.open(locate("trec")["all"]["labelled"], "rt", encoding="utf-8") as file:
        questions: list[Row] = [(line.rstrip("\n").partition(" ")[2], None) for line in file]
    return replace(splits, valid=questions[:VALID_LINES])


def _upper_case_and_carriage_return(row: Row) -> Row:
    return f"{row[0].upper()}\r", None


TEXT = DataSet(
    "language_model",
    _load,
    _write,
    (_transformer, _gru),
    _score,
    ("batch_tokens", "micro_batch_tokens"),
    "nll_per_tgt_token",
    _mismatch,
    _upper_case_and_carriage_return,
    {
        "too_much_regularization": (
            {"model.dropout": 0.8, "optim.optimizer.weight_decay": 2.0},
            {"model.input_dropout": 0.8, "model.output_dropout": 0.8, "optim.optimizer.weight_decay": 2.0},
        ),
        "model_too_small": (
            {"model.d_model": 4, "model.d_ff": 4, "model.num_heads": 1, "model.num_layers": 1, "model.dropout": 0.0},
            {"model.hidden_size": 4, "model.output_dropout": 0.0},
        ),
    },
)
