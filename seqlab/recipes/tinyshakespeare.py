"""Character language models of tinyshakespeare, one per family."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

from seqlab.corpora import locate
from seqlab.corpora import tinyshakespeare as corpus
from seqlab.models import EncoderLmConfig, NgramConfig, RecurrentEncoderConfig, TransformerLmConfig
from seqlab.optim import CosineScheduleConfig, MuonConfig, OptimConfig
from seqlab.recipes.run_data import generated_data
from seqlab.runs.config import Config, TrainingConfig
from seqlab.tasks.language_modelling.config import LanguageModellingConfig
from seqlab.text import CharactersConfig

CONTEXT_LENGTH = 256


def _text(run_dir: str | Path) -> LanguageModellingConfig:
    """Write the training and validation text to `run_dir/data`, and return the data config."""
    folder = generated_data(
        run_dir, lambda folder: corpus.write_split(locate("tinyshakespeare")["all"]["text"], folder)
    )
    return LanguageModellingConfig(
        train=[str(folder / "train.txt")],
        valid=[str(folder / "valid.txt")],
        documents="continuous",
        tokenizer=CharactersConfig(normalization="none"),
        block_length=CONTEXT_LENGTH,
        batch_tokens=4096,
        micro_batch_tokens=4096,
    )


def tinyshakespeare(run_dir: str | Path) -> Config:
    """tinyshakespeare characters: a decoder-only Transformer, trained for 55 minutes.

    Layer norm and relu are the fastest on a CPU, and Muon needs few steps. For a run of a few minutes, use
    `--training.max_minutes 3 --model.num_layers 4 --model.dropout 0.1`.
    """
    return Config(
        data=replace(_text(run_dir), batch_tokens=2048),
        model=TransformerLmConfig(
            d_model=256,
            d_ff=1024,
            num_layers=6,
            num_heads=4,
            dropout=0.2,
            norm_kind="layer_norm",
            activation="relu",
        ),
        optim=OptimConfig(
            optimizer=MuonConfig(lr=5e-3, weight_decay=0.1),
            schedule=CosineScheduleConfig(warmup_steps=100, final_ratio=0.02),
        ),
        training=TrainingConfig(max_steps=40_000, max_minutes=55, log_every=50, save_every=500, valid_every=500),
    )


def _recurrent(
    run_dir: str | Path,
    family: Literal["lstm", "gru"],
    optimizer: MuonConfig,
    weight_dropout: float,
) -> Config:
    """Build the config of a recurrent model: 32 streams of text, with the state carried from step to step.

    For a run of a few minutes, use less dropout: 0 for the input and the weights, 0.1 between layers and for the
    output.
    """
    return Config(
        data=replace(_text(run_dir), order="contiguous", block_length=128),
        model=EncoderLmConfig(
            encoder=RecurrentEncoderConfig(
                family=family,
                hidden_size=512,
                num_layers=2,
                bidirectional=False,
                input_dropout=0.1,
                dropout=0.25,
                output_dropout=0.25,
                weight_dropout=weight_dropout,
            )
        ),
        optim=OptimConfig(
            optimizer=optimizer,
            schedule=CosineScheduleConfig(warmup_steps=100, final_ratio=0.02),
            max_grad_norm=1.0,
        ),
        training=TrainingConfig(max_steps=20_000, max_minutes=55, log_every=50, save_every=250, valid_every=250),
    )


def tinyshakespeare_lstm(run_dir: str | Path) -> Config:
    """tinyshakespeare characters: an LSTM, trained for 55 minutes.

    With a weight dropout of 0.3 the gradients exploded in bf16 within 150 steps.
    """
    return _recurrent(run_dir, "lstm", MuonConfig(lr=2e-2, weight_decay=0.3), weight_dropout=0.2)


def tinyshakespeare_gru(run_dir: str | Path) -> Config:
    """tinyshakespeare characters: a GRU, trained for 55 minutes.

    With less weight decay the gradients explode after some hundred steps.
    """
    return _recurrent(run_dir, "gru", MuonConfig(lr=1e-2, weight_decay=0.3), weight_dropout=0.0)


def tinyshakespeare_ngram(run_dir: str | Path) -> Config:
    """tinyshakespeare characters: a 7-gram model with modified Kneser-Ney smoothing, the best order in validation."""
    return Config(data=_text(run_dir), model=NgramConfig(order=7))
