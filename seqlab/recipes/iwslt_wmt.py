"""The corpora that non-autoregressive translation is compared on, IWSLT14 and WMT14. Nobody has run these recipes here.

Their text is in `$SEQLAB_DATA/iwslt14` and `$SEQLAB_DATA/wmt14` (`train.en` and so on); of WMT14 otherwise in the
dataset `wmt/wmt14`, which `datasets` downloads. Each student needs its teacher: where it is missing, it is said how to
make it.

What others report, as BLEU of tokenised text: of IWSLT14 34.5 for fairseq's Transformer from German to English; of
WMT14 from English to German, on the test set of 2014, 27.3 for the basic Transformer (Vaswani et al. 2017), and of
students of a larger one 27.20 for CTC with glancing (Gu & Kong 2021, in their repository), 27.03 for mask-predict with
10 passes and 5 lengths (Ghazvininejad et al. 2019; about 24 on raw data), 25.19 for glancing with lengths (ParaGen;
24.58 by sacreBLEU). Students here have a teacher of their own size.
"""

from pathlib import Path

from seqlab.corpora import path_specs
from seqlab.data.config import ParallelConfig
from seqlab.models import TransformerCmlmConfig, TransformerConfig, TransformerCtcConfig
from seqlab.objectives import CmlmConfig, CrossEntropyConfig, CtcConfig
from seqlab.optim.config import AdamWConfig, InverseSqrtScheduleConfig, OptimConfig
from seqlab.recipes.distilled import taught_by
from seqlab.runs.config import Config, TrainingConfig
from seqlab.text import SentencePieceBpeConfig


def _pairs(corpus: str, src: str, tgt: str, vocab_size: int, batch_tokens: int) -> ParallelConfig:
    specs = path_specs(corpus)
    return ParallelConfig(
        train_src=[specs["train"][src]],
        train_tgt=[specs["train"][tgt]],
        valid_src=specs["valid"][src],
        valid_tgt=[specs["valid"][tgt]],
        test_src=[specs["test"][src]],
        test_tgt=[specs["test"][tgt]],
        tokenizer=SentencePieceBpeConfig(vocab_size=vocab_size),
        max_length=175,
        batch_tokens=batch_tokens,
        micro_batch_tokens=4096,
    )


def _optim(lr: float, warmup_steps: int, weight_decay: float) -> OptimConfig:
    return OptimConfig(
        optimizer=AdamWConfig(lr=lr, betas=(0.9, 0.98), weight_decay=weight_decay),
        schedule=InverseSqrtScheduleConfig(warmup_steps=warmup_steps),
        average_last=5,
    )


def _training(max_steps: int) -> TrainingConfig:
    return TrainingConfig(max_steps=max_steps, log_every=100, save_every=1000, valid_every=5000)


def iwslt14_de_en(run_dir: Path) -> Config:
    """German to English, the Transformer of fairseq's `transformer_iwslt_de_en`: others report 34.5; not run by us."""
    return Config(
        data=_pairs("iwslt14", "de", "en", vocab_size=10_000, batch_tokens=4096),
        model=TransformerConfig(
            d_model=512, d_ff=1024, num_heads=4, num_encoder_layers=6, num_decoder_layers=6, dropout=0.3
        ),
        objective=CrossEntropyConfig(label_smoothing=0.1),
        optim=_optim(5e-4, 4000, 1e-4),
        training=_training(50_000),
    )


def iwslt14_de_en_nat(run_dir: Path) -> Config:
    """German to English, all at once: CTC with glancing, taught by `iwslt14_de_en`; not run by us."""
    return taught_by(
        iwslt14_de_en,
        run_dir,
        "en",
        model=TransformerCtcConfig(
            d_model=512, d_ff=1024, num_heads=4, num_encoder_layers=6, num_decoder_layers=6, dropout=0.3, upsampling=3
        ),
        objective=CtcConfig(glancing=0.5, least_glancing=0.3, decay_steps=50_000),
        optim=_optim(5e-4, 4000, 0.01),
        training=_training(100_000),
    )


def iwslt14_de_en_cmlm(run_dir: Path) -> Config:
    """German to English by mask-predict, taught by `iwslt14_de_en`; not run by us."""
    return taught_by(
        iwslt14_de_en,
        run_dir,
        "en",
        model=TransformerCmlmConfig(
            d_model=512, d_ff=1024, num_heads=4, num_encoder_layers=6, num_decoder_layers=6, dropout=0.3
        ),
        objective=CmlmConfig(),
        optim=_optim(5e-4, 4000, 0.01),
        training=_training(100_000),
    )


def wmt14_en_de(run_dir: Path) -> Config:
    """English to German, the basic Transformer (Vaswani et al. 2017), which reports 27.3; not run by us."""
    return Config(
        data=_pairs("wmt14", "en", "de", vocab_size=32_000, batch_tokens=25_000),
        model=TransformerConfig(
            d_model=512, d_ff=2048, num_heads=8, num_encoder_layers=6, num_decoder_layers=6, dropout=0.1
        ),
        objective=CrossEntropyConfig(label_smoothing=0.1),
        optim=_optim(7e-4, 4000, 0.0),
        training=_training(100_000),
    )


def wmt14_en_de_nat(run_dir: Path) -> Config:
    """English to German, all at once: CTC with glancing, taught by `wmt14_en_de`; others have 27.20; not run by us."""
    return taught_by(
        wmt14_en_de,
        run_dir,
        "de",
        batch_tokens=65_536,
        model=TransformerCtcConfig(
            d_model=512, d_ff=2048, num_heads=8, num_encoder_layers=6, num_decoder_layers=6, dropout=0.1, upsampling=3
        ),
        objective=CtcConfig(glancing=0.5, least_glancing=0.3, decay_steps=150_000),
        optim=_optim(5e-4, 10_000, 0.01),
        training=_training(300_000),
    )


def wmt14_en_de_cmlm(run_dir: Path) -> Config:
    """English to German by mask-predict, taught by `wmt14_en_de`; others have 27.03; not run by us."""
    return taught_by(
        wmt14_en_de,
        run_dir,
        "de",
        batch_tokens=65_536,
        model=TransformerCmlmConfig(
            d_model=512, d_ff=2048, num_heads=8, num_encoder_layers=6, num_decoder_layers=6, dropout=0.1
        ),
        objective=CmlmConfig(),
        optim=_optim(5e-4, 10_000, 0.01),
        training=_training(300_000),
    )


IWSLT_WMT_RECIPES = [
    iwslt14_de_en,
    iwslt14_de_en_nat,
    iwslt14_de_en_cmlm,
    wmt14_en_de,
    wmt14_en_de_nat,
    wmt14_en_de_cmlm,
]
