"""seqlab's side of the benchmark: its config, the files of the corpus, and a run folder to start from."""

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
from seqlab.models import LstmConfig, TransformerConfig
from seqlab.objectives import CrossEntropyConfig
from seqlab.optim import AdamConfig, InverseSqrtScheduleConfig, OptimConfig
from seqlab.runs.config import Config, TrainingConfig
from seqlab.tasks.translation.config import TranslationConfig
from seqlab.text import SentencePieceBpeConfig
from seqlab.training import train

LABEL_SMOOTHING = 0.1
OPTIMIZER = AdamConfig(lr=1e-3, betas=BETAS, eps=EPS)
FEW_LINES = 16
"""Validation lines of a run that is only timed: training validates once, when it ends."""


def corpus_files(corpus: str, folder: Path) -> dict[str, dict[str, Path]]:
    """Find a corpus, or write one that is generated into `folder`; split -> language -> file."""
    if corpus == GENERATED:
        write_corpus(folder)
        return {split: {side: folder / f"{split}.{side}" for side in ("en", "de")} for split in PAIRS}
    if corpus != "number_words":
        return locate(corpus)
    if not folder.exists():
        number_words_corpus.write(folder)
    return locate(corpus, folder)


def transformer_config(sizes: ModelSizes, dropout: float) -> TransformerConfig:
    """Give seqlab's config of the benchmark's model."""
    return TransformerConfig(
        d_model=sizes.d_model,
        d_ff=sizes.d_ff,
        num_heads=sizes.num_heads,
        num_encoder_layers=sizes.num_encoder_layers,
        num_decoder_layers=sizes.num_decoder_layers,
        norm=sizes.norm,
        dropout=dropout,
    )


def model_config(sizes: Sizes, dropout: float) -> TransformerConfig | LstmConfig:
    """Give seqlab's config of the model that is measured.

    An LSTM's decoder starts from zeros, as the bridge of JoeyNMT has hidden state and cell share what seqlab's has not.
    """
    if isinstance(sizes, ModelSizes):
        return transformer_config(sizes, dropout)
    return LstmConfig(
        hidden_size=sizes.hidden_size,
        input_feeding=sizes.input_feeding,
        bridge="zero",
        dropout=dropout,
    )


def benchmark_config(
    scale: Scale, folder: Path, dropout: float = 0.1, lr_warmup_steps: int = 100, **training: Any
) -> Config:
    """Describe training the benchmark's model on its corpus with the settings that all systems share.

    The warmup of the learning rate is short unless quality is wanted: the first updates should move the weights, so
    that comparing their losses compares gradients too.
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
    """Validate on the first lines of the validation set, so that the end of a timed run is short."""
    few, data = {}, pairs_section(config)
    for side, path in (("src", data.valid_src), ("tgt", data.valid_tgt[0])):
        assert path is not None
        few[side] = folder / f"valid_{side}.txt"
        lines = islice(read_lines(Path(path)), FEW_LINES)
        few[side].write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return replace(config, data=replace(data, valid_src=str(few["src"]), valid_tgt=[str(few["tgt"])]))


def pairs_section(config: Config) -> TranslationConfig:
    """Return the data section of a translator."""
    assert isinstance(config.data, TranslationConfig)
    return config.data


def translator_section(config: Config) -> TransformerConfig:
    """Return the model section of a Transformer."""
    assert isinstance(config.model, TransformerConfig)
    return config.model


def start_run(config: Config, folder: Path) -> None:
    """Train one update, so that other runs can start from its tokenizer, its weights and its encoded corpus."""
    limits = replace(config.training, max_steps=1, precision="fp32")
    train(replace(config, training=limits), folder)


def train_from(start: Path, config: Config, folder: Path) -> None:
    """Train a new run from the weights of another, whose encoded corpus it takes over."""
    folder.mkdir(parents=True)
    shutil.copytree(start / "cache", folder / "cache")
    train(replace(config, init_from=str(start)), folder)
