"""Translation: generated number, date and time phrases, English-German."""

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import seqlab
from benchmarks.diagnosis.data_sets.data_set import DataSet, Row, Splits, accuracy, linear_decay, training
from seqlab.corpora.number_words.generator import generate
from seqlab.models import RecurrentConfig, TransformerConfig
from seqlab.models.config import ModelConfig
from seqlab.objectives import CrossEntropyConfig
from seqlab.optim import AdamConfig
from seqlab.runs.config import Config
from seqlab.tasks.translation.config import TranslationConfig
from seqlab.text import SentencePieceBpeConfig

MONTHS = {"january", "february", "march", "april", "may", "june", "july"}
MONTHS |= {"august", "september", "october", "november", "december"}
MAX_WORDS = 5
"""Maximum length of an English phrase: short phrases need few steps."""
NUM_VALID = 300


def _load(seed: int) -> Splits:
    """Return the distinct short phrases; the splits of the corpus have no line in common."""
    rng = random.Random(seed)
    rows: dict[str, list[Row]] = {}
    for name, phrases in generate().items():
        distinct = dict.fromkeys((phrase.en, phrase.de) for phrase in phrases if len(phrase.en.split()) <= MAX_WORDS)
        rows[name] = rng.sample(list(distinct), len(distinct))
    return Splits(rows["train"], rows["valid"][:NUM_VALID], rows["test"][:NUM_VALID])


def _write(splits: Splits, folder: Path) -> None:
    for name, rows in (("train", splits.train), ("valid", splits.valid)):
        for language, lines in zip(("en", "de"), zip(*rows, strict=True), strict=True):
            text = "".join(f"{line}\n" for line in lines)
            (folder / f"{name}.{language}").write_text(text, "utf-8", newline="\n")


def _config(folder: Path, model: ModelConfig, lr: float, max_steps: int) -> Config:
    return Config(
        data=TranslationConfig(
            train_src=[str(folder / "train.en")],
            train_tgt=[str(folder / "train.de")],
            valid_src=str(folder / "valid.en"),
            valid_tgt=[str(folder / "valid.de")],
            tokenizer=SentencePieceBpeConfig(vocab_size=400),
            batch_tokens=512,
            micro_batch_tokens=1600,
        ),
        model=model,
        objective=CrossEntropyConfig(label_smoothing=0.1),
        optim=linear_decay(AdamConfig(lr=lr), 100),
        training=training(max_steps, valid_metric="exact_match"),
    )


def _transformer(folder: Path) -> Config:
    model = TransformerConfig(
        d_model=64, d_ff=256, num_heads=4, num_encoder_layers=2, num_decoder_layers=2, dropout=0.1
    )
    return _config(folder, model, 4e-3, 800)


def _gru(folder: Path) -> Config:
    return _config(folder, RecurrentConfig(family="gru", hidden_size=128, input_feeding=False, dropout=0.1), 3e-3, 1000)


def _score(run_dir: Path, rows: Sequence[Row]) -> float:
    return accuracy(seqlab.load(str(run_dir)).translate([src for src, _ in rows], beam_size=1), rows)


def _mismatch(splits: Splits) -> Splits:
    """Train on numbers and times, and validate on dates with a month."""
    rows = splits.train + splits.valid
    has_month = [not MONTHS.isdisjoint(src.lower().replace(",", "").split()) for src, _ in rows]
    train = [row for row, is_date in zip(rows, has_month, strict=True) if not is_date]
    valid = [row for row, is_date in zip(rows, has_month, strict=True) if is_date]
    return replace(splits, train=train, valid=valid[:NUM_VALID])


def _upper_case(row: Row) -> Row:
    return row[0].upper(), row[1]


TRANSLATION = DataSet(
    "translation",
    _load,
    _write,
    (_transformer, _gru),
    _score,
    ("batch_tokens", "micro_batch_tokens"),
    "exact_match",
    _mismatch,
    _upper_case,
    {
        "too_much_regularization": {"model.dropout": 0.8, "objective.label_smoothing": 0.5},
        "model_too_small": (
            {"model.d_model": 8, "model.d_ff": 8, "model.num_heads": 1, "model.dropout": 0.0},
            {"model.hidden_size": 8, "model.dropout": 0.0},
        ),
    },
)
