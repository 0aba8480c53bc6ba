"""Fast translation of Multi30k: non-autoregressive students of `multi30k_en_de`, and a deep encoder, shallow decoder.

The students are trained on the teacher's translations of two sets of sources: the training set, and ten times as many
sentences that a language model generates. To train on only one set, give its files as `--data.train_src` and
`--data.train_tgt`.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from seqlab.models import (
    ModelConfig,
    TransformerCmlmConfig,
    TransformerConfig,
    TransformerCtcConfig,
    TransformerNatConfig,
)
from seqlab.objectives import CmlmConfig, CtcConfig, ObjectiveConfig, ParallelCrossEntropyConfig
from seqlab.optim import AdamConfig, LinearScheduleConfig, OptimConfig
from seqlab.recipes.distilled import GeneratedSources, distilled_config
from seqlab.recipes.multi30k import multi30k_en_de
from seqlab.recipes.multi30k_lm import multi30k_lm_en
from seqlab.runs.config import Config, TrainingConfig
from seqlab.search.config import SearchConfig

SIZES: dict[str, Any] = {"d_model": 128, "d_ff": 256, "num_heads": 4}
"""Sizes of the teacher."""
TEACHER_SEARCH = "--length_alpha 2.5"
"""Makes the teacher's translations longer. Students of its default translations omit 7% of the words."""
GENERATED_SOURCES = GeneratedSources(multi30k_lm_en, "en", lines=300_000)
"""Sources for the teacher, in addition to the 29,000 of the training set."""


def _distilled(run_dir: str | Path, model: ModelConfig, objective: ObjectiveConfig, max_steps: int) -> Config:
    return distilled_config(
        multi30k_en_de,
        run_dir,
        "de",
        search=TEACHER_SEARCH,
        generated=GENERATED_SOURCES,
        model=model,
        objective=objective,
        optim=OptimConfig(
            optimizer=AdamConfig(lr=2e-3), schedule=LinearScheduleConfig(warmup_steps=500), average_last=10
        ),
        training=TrainingConfig(max_steps=max_steps, log_every=100, save_every=100, valid_every=500),
    )


def multi30k_en_de_nat(run_dir: str | Path) -> Config:
    """Multi30k English-German, non-autoregressive: CTC with glancing, distilled from `multi30k_en_de`.

    Glancing as in Qian et al. (2021).
    """
    model = TransformerCtcConfig(**SIZES, dropout=0.1, upsampling=2)
    return _distilled(run_dir, model, CtcConfig(glancing=0.5, least_glancing=0.3, decay_steps=8000), 11_000)


def multi30k_en_de_cmlm(run_dir: str | Path) -> Config:
    """Multi30k English-German, non-autoregressive: mask-predict, distilled from `multi30k_en_de`.

    Mask-predict as in Ghazvininejad et al. (2019). Half of the training targets contain the model's predictions, for
    `--revise true` (Ghazvininejad et al. 2020). Validation uses `--revise true`, too. With the teacher's `d_ff` the
    model underfits, so `d_ff` is larger.
    """
    model = TransformerCmlmConfig(**SIZES | {"d_ff": 1024}, dropout=0.05, decoder_input="uniform_copy")
    config = _distilled(run_dir, model, CmlmConfig(own_words=0.5), 20_000)
    search = SearchConfig(beam_size=1, revise=True)
    return replace(config, training=replace(config.training, valid_every=1000, valid_search=search))


def multi30k_en_de_nat_vanilla(run_dir: str | Path) -> Config:
    """Multi30k English-German, non-autoregressive: no glancing or CTC, distilled from `multi30k_en_de`.

    As in Gu et al. (2018), the model predicts the length, then the tokens. With `--model.length end_mark` the first end
    mark ends the target.
    """
    return _distilled(run_dir, TransformerNatConfig(**SIZES, dropout=0.2), ParallelCrossEntropyConfig(), 3000)


def multi30k_en_de_deep_shallow(run_dir: str | Path) -> Config:
    """Multi30k English-German, autoregressive but fast: 12 encoder layers and one decoder layer.

    Kasai et al. (2021). `d_ff` is smaller, so that it has as many parameters as `multi30k_en_de`. It is trained on the
    human translations; `--data.train_tgt runs/multi30k_en_de/distilled.de` trains it on the teacher's.
    """
    model = TransformerConfig(
        d_model=128, d_ff=128, num_heads=4, dropout=0.3, num_encoder_layers=12, num_decoder_layers=1
    )
    return replace(multi30k_en_de(run_dir), model=model)
