"""seqlab's side of the benchmark of language models: the text, the config, and runs that start from given weights."""

import shutil
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks.lm_shapes import LmShape
from seqlab.corpora import locate, tinyshakespeare
from seqlab.corpora.number_words.phrases import cardinal_phrase
from seqlab.data.readers import read_lines
from seqlab.models import GruLmConfig, LstmLmConfig, TransformerLmConfig
from seqlab.objectives import CrossEntropyConfig
from seqlab.optim import AdamWConfig, ConstantScheduleConfig, OptimConfig
from seqlab.runs.config import Config, TrainingConfig
from seqlab.tasks.language_modelling.config import LanguageModellingConfig
from seqlab.text import CharactersConfig
from seqlab.training import train

TEXTS = ("tinyshakespeare", "number_words")
"""The first needs SEQLAB_DATA, the second is generated."""
OPTIMIZER = AdamWConfig(lr=1e-3, betas=(0.9, 0.99), weight_decay=0.1)
MAX_GRAD_NORM = 1.0
LR_WARMUP_STEPS = 10
"""So few that the updates whose losses are compared move the weights."""
GENERATED_LINES = 20_000
FEW_LINES = 16
"""Validation lines of a run that is only timed: training validates once, when it ends."""


def write_text(name: str, folder: Path) -> None:
    """Write `train.txt` and a short `valid.txt` of one of `TEXTS` into a folder, unless it is there.

    Raises:
        FileNotFoundError: the text is not where SEQLAB_DATA says.
    """
    if folder.exists():
        return
    building = folder.with_name(f"{folder.name}.tmp")
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True)
    if name == "tinyshakespeare":
        tinyshakespeare.write_split(locate(name)["all"]["text"], building)
    else:
        lines = [cardinal_phrase(number).en for number in range(GENERATED_LINES)]
        for part, those in (("train", lines[FEW_LINES:]), ("valid", lines[:FEW_LINES])):
            (building / f"{part}.txt").write_text("\n".join(those) + "\n", encoding="utf-8")
    few = list(islice(read_lines(building / "valid.txt"), FEW_LINES))
    (building / "valid.txt").write_text("\n".join(few) + "\n", encoding="utf-8")
    building.rename(folder)


def text_config(shape: LmShape, text: Path) -> LanguageModellingConfig:
    """Describe how the text of `write_text` is read: characters, in blocks of random or of the text's own order."""
    return LanguageModellingConfig(
        train=[str(text / "train.txt")],
        valid=[str(text / "valid.txt")],
        documents="continuous",
        order="shuffled" if shape.family == "transformer" else "contiguous",
        tokenizer=CharactersConfig(normalization="none"),
        block_length=shape.block_length,
        batch_tokens=shape.batch_tokens,
        # A step may have a row more than the others; it is one micro-step all the same.
        micro_batch_tokens=2 * shape.batch_tokens,
    )


def lm_config(shape: LmShape, text: Path, dropout: float, **training: Any) -> Config:
    """Describe training one of the models on a text with the settings that all systems share."""
    return Config(
        data=text_config(shape, text),
        model=_model_config(shape, dropout),
        objective=CrossEntropyConfig(label_smoothing=0.0),
        optim=OptimConfig(
            optimizer=OPTIMIZER,
            schedule=ConstantScheduleConfig(warmup_steps=LR_WARMUP_STEPS),
            max_grad_norm=MAX_GRAD_NORM,
        ),
        training=TrainingConfig(**training),
    )


def _model_config(shape: LmShape, dropout: float) -> TransformerLmConfig | LstmLmConfig | GruLmConfig:
    """Give what the others can be too: GPT-2's norms, positions and non-linearity, dropout of a plain LSTM."""
    if shape.family == "transformer":
        return TransformerLmConfig(
            d_model=shape.width,
            d_ff=4 * shape.width,
            num_heads=shape.num_heads,
            num_layers=shape.num_layers,
            dropout=dropout,
            norm_kind="layer_norm",
            positions="learned",
            max_length=shape.block_length,
            activation="gelu",
        )
    recurrent = LstmLmConfig if shape.family == "lstm" else GruLmConfig
    return recurrent(
        hidden_size=shape.width,
        num_layers=shape.num_layers,
        input_dropout=dropout,
        hidden_dropout=dropout,
        output_dropout=dropout,
    )


def train_from_weights(start: Path, config: Config, folder: Path) -> None:
    """Train a new run from the weights of another, whose encoded text it takes over; its dropout may be another."""
    folder.mkdir(parents=True)
    shutil.copytree(start / "cache", folder / "cache")
    train(replace(config, init_from=str(start), init_parts="matching"), folder)
