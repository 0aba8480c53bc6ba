"""IWSLT14 and WMT14, the benchmarks of non-autoregressive translation; published settings, not run by us.

The data are in `$SEQLAB_DATA/iwslt14` and `$SEQLAB_DATA/wmt14` (`train.en` and so on). Without the latter, `datasets`
downloads `wmt/wmt14`. The students need the translations of their teachers; if these are missing, the error message
lists the commands that create them.

Published results are tokenized BLEU on the test sets. IWSLT14 German-English: 33.3 to 34.5 for such a Transformer (Xia
et al. 2019, and fairseq). WMT14 English-German: 27.3 for the base Transformer (Vaswani et al. 2017, table 2); for
students of a larger teacher, 27.20 by CTC with glancing (Gu & Kong 2021, repository `shawnkx/Fully-NAT`), and 27.03 by
mask-predict with 10 passes and 5 lengths, about 24 without distillation (Ghazvininejad et al. 2019, and an issue of
their repository). `seqlab evaluate` computes BLEU of detokenized text, which is lower for WMT14. The files of IWSLT14
are lower-cased tokens with Moses escapes (`&apos;`), which sacreBLEU would tokenize again: score them with `sacrebleu
--tokenize none`.
"""

from pathlib import Path
from typing import Any

from seqlab.corpora import path_specs
from seqlab.models import TransformerCmlmConfig, TransformerConfig, TransformerCtcConfig
from seqlab.objectives import CmlmConfig, CrossEntropyConfig, CtcConfig
from seqlab.optim import AdamWConfig, InverseSqrtScheduleConfig, OptimConfig
from seqlab.recipes.distilled import distilled_config
from seqlab.runs.config import Config, TrainingConfig
from seqlab.tasks.translation.config import TranslationConfig
from seqlab.text import SentencePieceBpeConfig

IWSLT: dict[str, Any] = {"d_model": 512, "d_ff": 1024, "num_heads": 4}
WMT: dict[str, Any] = {"d_model": 512, "d_ff": 2048, "num_heads": 8}
DEPTH: dict[str, Any] = {"num_encoder_layers": 6, "num_decoder_layers": 6}


def _pairs(corpus: str, src: str, tgt: str, vocab_size: int, batch_tokens: int) -> TranslationConfig:
    specs = path_specs(corpus)
    return TranslationConfig(
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


def _sections(
    lr: float, warmup_steps: int, weight_decay: float, max_steps: int, beta2: float = 0.98, eps: float = 1e-8
) -> dict[str, Any]:
    """Return the sections `optim` and `training`."""
    return {
        "optim": OptimConfig(
            optimizer=AdamWConfig(lr=lr, betas=(0.9, beta2), eps=eps, weight_decay=weight_decay),
            schedule=InverseSqrtScheduleConfig(warmup_steps=warmup_steps),
            average_last=5,
        ),
        "training": TrainingConfig(max_steps=max_steps, log_every=100, save_every=1000, valid_every=5000),
    }


def iwslt14_de_en(run_dir: str | Path) -> Config:
    """IWSLT14 German-English, a Transformer with fairseq's settings (`transformer_iwslt_de_en`); not run by us."""
    return Config(
        data=_pairs("iwslt14", "de", "en", vocab_size=10_000, batch_tokens=4096),
        model=TransformerConfig(**IWSLT, **DEPTH, dropout=0.3),
        objective=CrossEntropyConfig(label_smoothing=0.1),
        **_sections(5e-4, 4000, 1e-4, max_steps=50_000),
    )


def iwslt14_de_en_nat(run_dir: str | Path) -> Config:
    """IWSLT14 German-English, non-autoregressive: CTC with glancing, distilled from `iwslt14_de_en`; not run by us."""
    return distilled_config(
        iwslt14_de_en,
        run_dir,
        "en",
        model=TransformerCtcConfig(**IWSLT, **DEPTH, dropout=0.3, upsampling=3),
        objective=CtcConfig(glancing=0.5, least_glancing=0.3, decay_steps=50_000),
        **_sections(5e-4, 4000, 0.01, max_steps=100_000),
    )


def iwslt14_de_en_cmlm(run_dir: str | Path) -> Config:
    """IWSLT14 German-English, non-autoregressive: mask-predict, distilled from `iwslt14_de_en`; not run by us."""
    return distilled_config(
        iwslt14_de_en,
        run_dir,
        "en",
        model=TransformerCmlmConfig(**IWSLT, **DEPTH, dropout=0.3),
        objective=CmlmConfig(),
        **_sections(5e-4, 4000, 0.01, max_steps=100_000),
    )


def wmt14_en_de(run_dir: str | Path) -> Config:
    """WMT14 English-German, the base Transformer (Vaswani et al. 2017): BLEU 27.3 in the paper; not run by us."""
    return Config(
        data=_pairs("wmt14", "en", "de", vocab_size=32_000, batch_tokens=25_000),
        model=TransformerConfig(**WMT, **DEPTH, dropout=0.1),
        objective=CrossEntropyConfig(label_smoothing=0.1),
        **_sections(7e-4, 4000, 0.0, max_steps=100_000),
    )


def wmt14_en_de_nat(run_dir: str | Path) -> Config:
    """WMT14 English-German, non-autoregressive: CTC with glancing, distilled from `wmt14_en_de`; not run by us.

    Settings of Gu & Kong (2021).
    """
    return distilled_config(
        wmt14_en_de,
        run_dir,
        "de",
        batch_tokens=131_072,
        model=TransformerCtcConfig(**WMT, **DEPTH, dropout=0.3, upsampling=3),
        objective=CtcConfig(glancing=0.5, least_glancing=0.3, decay_steps=150_000),
        **_sections(5e-4, 10_000, 0.01, max_steps=300_000, beta2=0.999, eps=1e-6),
    )


def wmt14_en_de_cmlm(run_dir: str | Path) -> Config:
    """WMT14 English-German, non-autoregressive: mask-predict, distilled from `wmt14_en_de`; not run by us.

    Settings of Ghazvininejad et al. (2019).
    """
    return distilled_config(
        wmt14_en_de,
        run_dir,
        "de",
        batch_tokens=131_072,
        model=TransformerCmlmConfig(**WMT, **DEPTH, dropout=0.3),
        objective=CmlmConfig(),
        **_sections(5e-4, 10_000, 0.01, max_steps=300_000, beta2=0.999, eps=1e-6),
    )


IWSLT_WMT_RECIPES = [
    iwslt14_de_en,
    iwslt14_de_en_nat,
    iwslt14_de_en_cmlm,
    wmt14_en_de,
    wmt14_en_de_nat,
    wmt14_en_de_cmlm,
]
