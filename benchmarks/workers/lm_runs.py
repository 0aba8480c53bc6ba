"""Text, config and runs of seqlab for the benchmark of language models."""

import shutil
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks.lm_shapes import LmShape
from seqlab.corpora import locate, tinyshakespeare
from seqlab.corpora.number_words.phrases import cardinal_phrase
from seqlab.data.readers import read_lines
from seqlab.models import EncoderLmConfig, RecurrentEncoderConfig, TransformerLmConfig
from seqlab.objectives import CrossEntropyConfig
from seqlab.optim import AdamWConfig, ConstantScheduleConfig, OptimConfig
from seqlab.runs.config import Config, TrainingConfig
from seqlab.tasks.language_modelling.config import LanguageModellingConfig
from seqlab.text import CharactersConfig
from seqlab.training import train

TEXTS = ("tinyshakespeare", "number_words")
"""Available texts: tinyshakespeare needs SEQLAB_DATA, number_words is generated."""
OPTIMIZER = AdamWConfig(lr=1e-3, betas=(0.9, 0.99), weight_decay=0.1)
MAX_GRAD_NORM = 1.0
LR_WARMUP_STEPS = 10
"""Few steps, so that the compared updates change the weights."""
GENERATED_LINES = 20_000
VALID_LINES = 16
"""Validation lines of a timed run, which is validated once at its end."""


def write_text(name: str, folder: Path) -> None:
    """Write `train.txt` and a short `valid.txt` of one of `TEXTS` into a folder, unless they exist.

    Raises:
        FileNotFoundError: the text is not in the folder of SEQLAB_DATA.
    """
    if folder.exists():
        return
    temporary = folder.with_name(f"{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    if name == "tinyshakespeare":
        tinyshakespeare.write_split(locate(name)["all"]["text"], temporary)
    else:
        lines = [cardinal_phrase(number).en for number in range(GENERATED_LINES)]
        for split, split_lines in (("train", lines[VALID_LINES:]), ("valid", lines[:VALID_LINES])):
            (temporary / f"{split}.txt").write_text("\n".join(split_lines) + "\n", encoding="utf-8")
    first_lines = list(islice(read_lines(temporary / "valid.txt"), VALID_LINES))
    (temporary / "valid.txt").write_text("\n".join(first_lines) + "\n", encoding="utf-8")
    temporary.rename(folder)


def text_config(shape: LmShape, text: Path) -> LanguageModellingConfig:
    """Return the data config for the text of `write_text`: characters, in random or consecutive blocks."""
    return LanguageModellingConfig(
        train=[str(text / "train.txt")],
        valid=[str(text / "valid.txt")],
        documents="continuous",
        order="shuffled" if shape.family == "transformer" else "contiguous",
        tokenizer=CharactersConfig(normalization="none"),
        block_length=shape.block_length,
        batch_tokens=shape.batch_tokens,
        # A step may have one more row than the others and is still one micro-step.
        micro_batch_tokens=2 * shape.batch_tokens,
    )


def lm_config(shape: LmShape, text: Path, dropout: float, **training: Any) -> Config:
    """Return the training config of a model on a text, with the settings that all systems share."""
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


def _model_config(shape: LmShape, dropout: float) -> TransformerLmConfig | EncoderLmConfig:
    """Return a model config that other systems can match: norms, positions and activation of GPT-2, plain dropout."""
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
    return EncoderLmConfig(
        encoder=RecurrentEncoderConfig(
            family="lstm" if shape.family == "lstm" else "gru",
            hidden_size=shape.width,
            num_layers=shape.num_layers,
            bidirectional=False,
            dropout=dropout,
            output_dropout=dropout,
        )
    )


def train_from_weights(start: Path, config: Config, folder: Path) -> None:
    """Train a new run from the weights and the encoded text of another one, with the dropout of its config."""
    folder.mkdir(parents=True)
    shutil.copytree(start / "cache", folder / "cache")
    train(replace(config, init_from=str(start), init_parts="matching"), folder)
