"""Multi30k by models that predict all symbols at once, taught by `multi30k_en_de`, and by one that is quick in turn.

They learn what the teacher says of the training set, and of ten times as many sources that a language model makes up;
of one corpus alone with `--data.train_src` and `--data.train_tgt`.
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
from seqlab.recipes.distilled import MadeUp, taught_by
from seqlab.recipes.multi30k import multi30k_en_de
from seqlab.recipes.multi30k_lm import multi30k_lm_en
from seqlab.runs.config import Config, TrainingConfig
from seqlab.search.config import SearchConfig

SIZES: dict[str, Any] = {"d_model": 128, "d_ff": 256, "num_heads": 4}
"""Those of the teacher."""
TEACHERS_SEARCH = "--length_alpha 2.5"
"""Students say less than they are taught: from translations that are as short as the teacher's best they learn to leave
out 7% of the words."""
MADE_UP = MadeUp(multi30k_lm_en, "en", lines=300_000)
"""What the teacher is asked beside the 29,000 sources of the training set."""


def _taught(run_dir: str | Path, model: ModelConfig, objective: ObjectiveConfig, max_steps: int) -> Config:
    return taught_by(
        multi30k_en_de,
        run_dir,
        "de",
        search=TEACHERS_SEARCH,
        made_up=MADE_UP,
        model=model,
        objective=objective,
        optim=OptimConfig(
            optimizer=AdamConfig(lr=2e-3), schedule=LinearScheduleConfig(warmup_steps=500), average_last=10
        ),
        training=TrainingConfig(max_steps=max_steps, log_every=100, save_every=100, valid_every=500),
    )


def multi30k_en_de_nat(run_dir: str | Path) -> Config:
    """English to German, all symbols at once: CTC with glancing (Qian et al. 2021), taught by `multi30k_en_de`."""
    model = TransformerCtcConfig(**SIZES, dropout=0.1, upsampling=2)
    return _taught(run_dir, model, CtcConfig(glancing=0.5, least_glancing=0.3, decay_steps=8000), 11_000)


def multi30k_en_de_cmlm(run_dir: str | Path) -> Config:
    """English to German by mask-predict (Ghazvininejad et al. 2019), taught by `multi30k_en_de`.

    Half of the targets are learned beside words of its own, for `--revise true` (Ghazvininejad et al. 2020), with which
    it is validated, too. It is wider inside than its teacher: as narrow as that it underfits.
    """
    model = TransformerCmlmConfig(**SIZES | {"d_ff": 1024}, dropout=0.05, decoder_input="uniform_copy")
    config = _taught(run_dir, model, CmlmConfig(own_words=0.5), 20_000)
    search = SearchConfig(beam_size=1, revise=True)
    return replace(config, training=replace(config.training, valid_every=1000, valid_search=search))


def multi30k_en_de_nat_vanilla(run_dir: str | Path) -> Config:
    """English to German with neither glancing nor CTC (cf. Gu et al. 2018), taught by `multi30k_en_de`.

    First a length, then its symbols; with `--model.length end_mark` the first end that is said ends a target.
    """
    return _taught(run_dir, TransformerNatConfig(**SIZES, dropout=0.2), ParallelCrossEntropyConfig(), 3000)


def multi30k_en_de_deep_shallow(run_dir: str | Path) -> Config:
    """English to German, one symbol after the other, but quickly: a deep encoder and one layer of a decoder.

    Kasai et al. 2021; narrower inside, so that it has as many parameters as `multi30k_en_de`. It learns from people;
    with `--data.train_tgt runs/multi30k_en_de/distilled.de` from what that says, as the models do that say all at once.
    """
    model = TransformerConfig(
        d_model=128, d_ff=128, num_heads=4, dropout=0.3, num_encoder_layers=12, num_decoder_layers=1
    )
    return replace(multi30k_en_de(run_dir), model=model)
