"""Multi30k: 29,000 image descriptions, English and German (Elliott et al. 2016); translation and a masked model."""

from dataclasses import replace
from pathlib import Path

from seqlab.corpora import locate
from seqlab.corpora.multi30k.names import write as write_names
from seqlab.models import EncoderLmConfig, RecurrentConfig, TransformerConfig, TransformerEncoderConfig
from seqlab.objectives import CrossEntropyConfig
from seqlab.optim import AdamConfig, LinearScheduleConfig, OptimConfig
from seqlab.recipes.run_data import generated_data
from seqlab.runs.config import Config, TrainingConfig
from seqlab.tasks.language_modelling.config import LanguageModellingConfig
from seqlab.tasks.translation.config import TranslationConfig
from seqlab.text import SentencePieceBpeConfig


def _pairs() -> TranslationConfig:
    splits = locate("multi30k")
    return TranslationConfig(
        train_src=[str(splits["train"]["en"])],
        train_tgt=[str(splits["train"]["de"])],
        valid_src=str(splits["valid"]["en"]),
        valid_tgt=[str(splits["valid"]["de"])],
        test_src=[str(splits["test"]["en"])],
        test_tgt=[str(splits["test"]["de"])],
        tokenizer=SentencePieceBpeConfig(vocab_size=8000),
        batch_tokens=2048,
        micro_batch_tokens=2400,  # one micro-step per step
    )


def multi30k_en_de(run_dir: str | Path) -> Config:
    """Multi30k English-German: a small Transformer, the best size for this corpus (Wu et al. 2021)."""
    return Config(
        data=_pairs(),
        model=TransformerConfig(d_model=128, d_ff=256, num_heads=4, dropout=0.3),
        objective=CrossEntropyConfig(label_smoothing=0.1),
        optim=OptimConfig(
            optimizer=AdamConfig(lr=4e-3),
            schedule=LinearScheduleConfig(warmup_steps=1000),
            average_last=10,
        ),
        training=TrainingConfig(max_steps=15_000, log_every=100, save_every=250, valid_every=1000),
    )


def multi30k_en_de_rnn(run_dir: str | Path) -> Config:
    """Multi30k English-German: a bidirectional LSTM encoder and an LSTM decoder with attention (Luong et al. 2015)."""
    return Config(
        data=_pairs(),
        model=RecurrentConfig(family="lstm", hidden_size=512, embedding_size=256, dropout=0.3),
        objective=CrossEntropyConfig(label_smoothing=0.1),
        optim=OptimConfig(
            optimizer=AdamConfig(lr=2e-3),
            schedule=LinearScheduleConfig(warmup_steps=500),
            average_last=10,
        ),
        training=TrainingConfig(max_steps=6000, log_every=100, save_every=250, valid_every=1000),
    )


def multi30k_en_de_names(run_dir: str | Path) -> Config:
    """Multi30k English-German with made-up names and numbers in some pairs: an LSTM that copies them."""
    splits = locate("multi30k")

    def write(folder: Path) -> None:
        write_names(folder, list(splits["train"].values()), list(splits["valid"].values()))

    folder = generated_data(run_dir, write)
    config = multi30k_en_de_rnn(run_dir)
    return replace(
        config,
        data=replace(_pairs(), train_src=[str(folder / "train.en")], train_tgt=[str(folder / "train.de")]),
        model=RecurrentConfig(family="lstm", hidden_size=256, embedding_size=256, dropout=0.3, copying=True),
        training=replace(config.training, max_steps=4000),
    )


def multi30k_mlm(run_dir: str | Path) -> Config:
    """Multi30k English and German: a masked language model, to fine-tune `multi30k_en_de` from.

    Start from it with `--init_from runs/multi30k_mlm --init_parts matching`. It is trained on both languages, since the
    translator takes over its tokenizer.
    """
    splits = locate("multi30k")
    return Config(
        data=LanguageModellingConfig(
            train=[str(path) for path in splits["train"].values()],
            valid=[str(path) for path in splits["valid"].values()],
            tokenizer=SentencePieceBpeConfig(vocab_size=8000),
            mask_share=0.15,
        ),
        model=EncoderLmConfig(encoder=TransformerEncoderConfig(d_model=128, d_ff=256, num_heads=4)),
        optim=OptimConfig(optimizer=AdamConfig(lr=4e-3), schedule=LinearScheduleConfig(warmup_steps=500)),
        training=TrainingConfig(max_steps=6000, log_every=100, save_every=500, valid_every=500),
    )
