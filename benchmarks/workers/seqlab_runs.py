"""Configs, corpus files and runs of seqlab for the translation benchmarks."""

import shutil
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks.scale import GENERATED, ModelSizes, Scale, Sizes
from benchmarks.workers.generated_corpus import PAIRS, write_corpus
from benchmarks.workers.plain_loop import BETAS, EPS, MAX_GRAD_NORM
from seqlab.corpora import locate
from seqlab.corpora import number_words as number_words_corpus
from seqlab.data.readers import read_lines
from seqlab.models import RecurrentConfig, TransformerConfig
from seqlab.objectives import CrossEntropyConfig
from seqlab.optim import AdamConfig, InverseSqrtScheduleConfig, OptimConfig
from seqlab.runs.config import Config, TrainingConfig
from seqlab.tasks.translation.config import TranslationConfig
from seqlab.text import SentencePieceBpeConfig
from seqlab.training import train

LABEL_SMOOTHING = 0.1
OPTIMIZER = AdamConfig(lr=1e-3, betas=BETAS, eps=EPS)
VALID_LINES = 16
"""Validation lines of a timed run, which is validated once at its end."""


def corpus_files(corpus: str, folder: Path) -> dict[str, dict[str, Path]]:
    """Locate a corpus, or generate it in `folder`; return its files by split and language."""
    if corpus == GENERATED:
        write_corpus(folder)
        return {split: {side: folder / f"{split}.{side}" for side in ("en", "de")} for split in PAIRS}
    if corpus != "number_words":
        return locate(corpus)
    if not folder.exists():
        number_words_corpus.write(folder)
    return locate(corpus, folder)


def transformer_config(sizes: ModelSizes, dropout: float) -> TransformerConfig:
    """Return seqlab's config of the Transformer."""
    return TransformerConfig(
        d_model=sizes.d_model,
        d_ff=sizes.d_ff,
        num_heads=sizes.num_heads,
        num_encoder_layers=sizes.num_encoder_layers,
        num_decoder_layers=sizes.num_decoder_layers,
        norm=sizes.norm,
        dropout=dropout,
    )


def model_config(sizes: Sizes, dropout: float) -> TransformerConfig | RecurrentConfig:
    """Return seqlab's config of the model.

    The initial state of an LSTM decoder is zero, because the bridges of JoeyNMT and seqlab differ.
    """
    if isinstance(sizes, ModelSizes):
        return transformer_config(sizes, dropout)
    return RecurrentConfig(
        family="lstm",
        hidden_size=sizes.hidden_size,
        input_feeding=sizes.input_feeding,
        bridge="zero",
        dropout=dropout,
    )


def benchmark_config(
    scale: Scale, folder: Path, dropout: float = 0.1, lr_warmup_steps: int = 100, **training: Any
) -> Config:
    """Return the training config of the model on its corpus, with the settings that all systems share.

    The learning-rate warmup is short except for `quality`, so that the first updates change the weights and comparing
    their losses also compares gradients.
    """
    files = corpus_files(scale.corpus, folder / "corpus")
    return Config(
        data=TranslationConfig(
            train_src=[str(files["train"]["en"])],
            train_tgt=[str(files["train"]["de"])],
            valid_src=str(files["valid"]["en"]),
            valid_tgt=[str(files["valid"]["de"])],
            tokenizer=SentencePieceBpeConfig(vocab_size=scale.model.vocab_size),
            batch_tokens=scale.batch_tokens,
            micro_batch_tokens=scale.micro_batch_tokens[0],
        ),
        model=model_config(scale.model, dropout),
        objective=CrossEntropyConfig(label_smoothing=LABEL_SMOOTHING),
        optim=OptimConfig(
            optimizer=OPTIMIZER,
            schedule=InverseSqrtScheduleConfig(warmup_steps=lr_warmup_steps),
            max_grad_norm=MAX_GRAD_NORM,
        ),
        training=TrainingConfig(**training),
    )


def with_few_validation_lines(config: Config, folder: Path) -> Config:
    """Shorten the validation set to its first lines, so that the final validation is short."""
    files, data = {}, pairs_section(config)
    for side, path in (("src", data.valid_src), ("tgt", data.valid_tgt[0])):
        assert path is not None
        files[side] = folder / f"valid_{side}.txt"
        lines = islice(read_lines(Path(path)), VALID_LINES)
        files[side].write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return replace(config, data=replace(data, valid_src=str(files["src"]), valid_tgt=[str(files["tgt"])]))


def pairs_section(config: Config) -> TranslationConfig:
    """Return the data section of a translator."""
    assert isinstance(config.data, TranslationConfig)
    return config.data


def translator_section(config: Config) -> TransformerConfig:
    """Return the model section of a Transformer."""
    assert isinstance(config.model, TransformerConfig)
    return config.model


def start_run(config: Config, folder: Path) -> None:
    """Train one update; other runs start from its tokenizer, weights and encoded corpus."""
    limits = replace(config.training, max_steps=1, precision="fp32")
    train(replace(config, training=limits), folder)


def train_from(start: Path, config: Config, folder: Path) -> None:
    """Train a new run from the weights and the encoded corpus of another one."""
    folder.mkdir(parents=True)
    shutil.copytree(start / "cache", folder / "cache")
    train(replace(config, init_from=str(start)), folder)
