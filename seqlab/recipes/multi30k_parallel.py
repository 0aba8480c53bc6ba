"""Multi30k by models that predict all symbols at once, taught by `multi30k_en_de`, and by one that is quick in turn.

A teacher's translations differ less among each other than those of many people do, and its weights are where the
student's begin: both have the same encoder, and layers of the same names in the decoder.
"""

from dataclasses import replace
from pathlib import Path

from seqlab.corpora import locate
from seqlab.data.config import ParallelConfig
from seqlab.models import (
    ModelConfig,
    TransformerCmlmConfig,
    TransformerConfig,
    TransformerCtcConfig,
    TransformerNatConfig,
)
from seqlab.objectives import CmlmConfig, CtcConfig, ParallelCrossEntropyConfig
from seqlab.objectives.config import ObjectiveConfig
from seqlab.optim.config import AdamConfig, LinearScheduleConfig, OptimConfig
from seqlab.recipes.multi30k import multi30k_en_de
from seqlab.runs.config import Config, TrainingConfig

TEACHER = Path("runs/multi30k_en_de")
TAUGHT = TEACHER / "distilled.de"


def _taught(run_dir: Path, model: ModelConfig, objective: ObjectiveConfig, max_steps: int) -> Config:
    """Learn what the teacher said of the training set; validation has the references of people."""
    config = multi30k_en_de(run_dir)
    if not TAUGHT.exists():
        src, ref = locate("multi30k")["train"].values()
        raise FileNotFoundError(
            f"There is no {TAUGHT}, what a teacher says: make it with `seqlab train multi30k_en_de` and `seqlab "
            f"distill {TEACHER} --src {src} --ref {ref} --out {TAUGHT}`."
        )
    assert isinstance(config.data, ParallelConfig)
    return Config(
        data=replace(config.data, train_tgt=[str(TAUGHT)]),
        model=model,
        objective=objective,
        optim=OptimConfig(
            optimizer=AdamConfig(lr=2e-3), schedule=LinearScheduleConfig(warmup_steps=500), average_last=10
        ),
        training=TrainingConfig(max_steps=max_steps, log_every=100, save_every=100, valid_every=500),
        init_from=str(TEACHER),
        init_parts="matching",
    )


def multi30k_en_de_nat(run_dir: Path) -> Config:
    """English to German, all symbols at once: CTC with glancing (Qian et al. 2021), taught by `multi30k_en_de`."""
    return _taught(
        run_dir,
        TransformerCtcConfig(d_model=128, d_ff=256, num_heads=4, dropout=0.3, upsampling=2),
        CtcConfig(glancing=0.5, least_glancing=0.3, decay_steps=5000),
        max_steps=5000,
    )


def multi30k_en_de_cmlm(run_dir: Path) -> Config:
    """English to German by mask-predict (Ghazvininejad et al. 2019), taught by `multi30k_en_de`."""
    return _taught(
        run_dir,
        TransformerCmlmConfig(d_model=128, d_ff=256, num_heads=4, dropout=0.3),
        CmlmConfig(),
        max_steps=8000,
    )


def multi30k_en_de_nat_vanilla(run_dir: Path) -> Config:
    """English to German by the first such model (Gu et al. 2018), taught by `multi30k_en_de`: a length, then symbols.

    With `--model.length end_mark` the first end that is said ends a target.
    """
    return _taught(
        run_dir,
        TransformerNatConfig(d_model=128, d_ff=256, num_heads=4, dropout=0.3),
        ParallelCrossEntropyConfig(),
        max_steps=3000,
    )


def multi30k_en_de_deep_shallow(run_dir: Path) -> Config:
    """English to German, one symbol after the other, but quickly: a deep encoder and one layer of a decoder (Kasai et
    al. 2021), narrower inside so that it has as many parameters as `multi30k_en_de`."""
    model = TransformerConfig(
        d_model=128, d_ff=128, num_heads=4, dropout=0.3, num_encoder_layers=12, num_decoder_layers=1
    )
    return replace(multi30k_en_de(run_dir), model=model)
