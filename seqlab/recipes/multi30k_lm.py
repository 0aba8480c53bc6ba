"""Language models of English image descriptions (Multi30k, Elliott et al. 2016), one per family.

`--data.tokenizer.kind words --data.tokenizer.min_count 2` trains them on words instead of subwords. `min_count` makes
rare words unknown, so that the training text has unknown words, which the model can then predict.
"""

from pathlib import Path
from typing import Literal

from seqlab.corpora import locate
from seqlab.models import EncoderLmConfig, NgramConfig, RecurrentEncoderConfig, TransformerLmConfig
from seqlab.optim import CosineScheduleConfig, MuonConfig, OptimConfig
from seqlab.runs.config import Config, TrainingConfig
from seqlab.tasks.language_modelling.config import LanguageModellingConfig
from seqlab.text import SentencePieceBpeConfig


def _text() -> LanguageModellingConfig:
    splits = locate("multi30k")
    return LanguageModellingConfig(
        train=[str(splits["train"]["en"])],
        valid=[str(splits["valid"]["en"])],
        documents="lines",
        tokenizer=SentencePieceBpeConfig(vocab_size=4000),
        block_length=128,
        batch_tokens=2048,
        micro_batch_tokens=2400,  # one micro-step per step
    )


def _neural_config(model: TransformerLmConfig | EncoderLmConfig, optimizer: MuonConfig) -> Config:
    return Config(
        data=_text(),
        model=model,
        optim=OptimConfig(
            optimizer=optimizer,
            schedule=CosineScheduleConfig(warmup_steps=200, final_ratio=0.02),
        ),
        training=TrainingConfig(max_steps=6000, max_minutes=10, log_every=50, save_every=200, valid_every=200),
    )


def _recurrent(family: Literal["lstm", "gru"], lr: float) -> Config:
    encoder = RecurrentEncoderConfig(
        family=family,
        hidden_size=512,
        num_layers=2,
        bidirectional=False,
        input_dropout=0.2,
        dropout=0.15,
        output_dropout=0.2,
        weight_dropout=0.15,
    )
    model = EncoderLmConfig(encoder=encoder, embedding_dropout=0.05)
    return _neural_config(model, MuonConfig(lr=lr, weight_decay=0.3))


def multi30k_lm_en(run_dir: str | Path) -> Config:
    """Multi30k English descriptions: a decoder-only Transformer."""
    model = TransformerLmConfig(d_model=256, d_ff=1024, num_layers=4, num_heads=4, dropout=0.2)
    return _neural_config(model, MuonConfig(lr=5e-3, weight_decay=0.1))


def multi30k_lm_en_lstm(run_dir: str | Path) -> Config:
    """Multi30k English descriptions: an LSTM with the dropouts of AWD-LSTM."""
    return _recurrent("lstm", lr=2e-2)


def multi30k_lm_en_gru(run_dir: str | Path) -> Config:
    """Multi30k English descriptions: a GRU with the dropouts of AWD-LSTM."""
    return _recurrent("gru", lr=1e-2)


def multi30k_lm_en_ngram(run_dir: str | Path) -> Config:
    """Multi30k English descriptions: a 5-gram model of subwords with modified Kneser-Ney smoothing."""
    return Config(data=_text(), model=NgramConfig(order=5))
