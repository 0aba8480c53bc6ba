"""Transformer language models of WikiText words (Merity et al. 2017); not run by us.

The data are `$SEQLAB_DATA/wikitext103/train.txt` and `valid.txt` (likewise `wikitext2`). Without such a folder,
`datasets` downloads `Salesforce/wikitext`.
"""

from pathlib import Path

from seqlab.corpora import path_specs
from seqlab.models import TransformerLmConfig
from seqlab.optim import AdamWConfig, CosineScheduleConfig, InverseSqrtScheduleConfig, OptimConfig
from seqlab.runs.config import Config, TrainingConfig
from seqlab.tasks.language_modelling.config import LanguageModellingConfig
from seqlab.text import WordsConfig


def _text(corpus: str, block_length: int, batch_tokens: int, micro_batch_tokens: int) -> LanguageModellingConfig:
    specs = path_specs(corpus)
    return LanguageModellingConfig(
        train=[specs["train"]["text"]],
        valid=[specs["valid"]["text"]],
        documents="continuous",
        tokenizer=WordsConfig(normalization="none"),
        block_length=block_length,
        batch_tokens=batch_tokens,
        micro_batch_tokens=micro_batch_tokens,
    )


def wikitext103_transformer(run_dir: str | Path) -> Config:
    """WikiText-103, fairseq's base Transformer: published perplexity per word 30.46 (test); not run by us.

    The README of fairseq gives the perplexity, with 400 words of context. 156 million parameters, of which 137
    million are the embeddings of 268,000 words. The settings are those of the README's command for `--arch
    transformer_lm` (Ott et al. 2019), with the tokens per step of its two GPUs. Differences: the weights are
    initialized differently, and blocks start at other positions in each epoch. Adaptive inputs, with which Baevski &
    Auli (2019) report 18.7, are not implemented.
    """
    return Config(
        data=_text("wikitext103", 512, batch_tokens=65_536, micro_batch_tokens=2048),
        model=TransformerLmConfig(
            d_model=512,
            d_ff=2048,
            num_heads=8,
            num_layers=6,
            dropout=0.1,
            norm_kind="layer_norm",
            positions="sinusoidal",
            activation="relu",
        ),
        optim=OptimConfig(
            optimizer=AdamWConfig(lr=5e-4, betas=(0.9, 0.98), weight_decay=0.01),
            schedule=InverseSqrtScheduleConfig(warmup_steps=4000),
            max_grad_norm=None,
        ),
        training=TrainingConfig(max_steps=50_000, log_every=100, save_every=1000, valid_every=2000),
    )


def wikitext2_transformer(run_dir: str | Path) -> Config:
    """WikiText-2, a small Transformer with settings of our own; not run by us.

    13 million parameters, of which 9 million are embeddings. Dropout is high, since Transformers overfit two million
    words. Compare with `wikitext2_lstm`.
    """
    return Config(
        data=_text("wikitext2", 256, batch_tokens=8192, micro_batch_tokens=2048),
        model=TransformerLmConfig(
            d_model=256, d_ff=1024, num_heads=4, num_layers=6, dropout=0.4, attention_dropout=0.1
        ),
        optim=OptimConfig(
            optimizer=AdamWConfig(lr=1e-3, betas=(0.9, 0.98), weight_decay=0.1),
            schedule=CosineScheduleConfig(warmup_steps=500, final_ratio=0.01),
        ),
        training=TrainingConfig(max_steps=15_000, log_every=50, save_every=250, valid_every=500),
    )
