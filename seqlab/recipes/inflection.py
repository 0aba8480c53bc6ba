"""A lemma and features to the inflected form in six languages (Cotterell et al. 2017): an LSTM or a Transformer."""

from collections.abc import Callable
from pathlib import Path

from seqlab.corpora import locate
from seqlab.corpora.inflection2017 import LANGUAGES
from seqlab.data.config import ParallelConfig
from seqlab.models import LstmConfig, TransformerConfig, TranslatorConfig
from seqlab.objectives import CrossEntropyConfig
from seqlab.optim.config import AdamConfig, LinearScheduleConfig, OptimConfig
from seqlab.runs.config import Config, TrainingConfig
from seqlab.text import CharactersConfig

MODELS: dict[str, tuple[TranslatorConfig, float, str]] = {
    "": (
        LstmConfig(hidden_size=256, embedding_size=128, num_encoder_layers=2, dropout=0.4, copying=True),
        2e-3,
        "a bidirectional LSTM that attends and copies",
    ),
    "_transformer": (
        TransformerConfig(d_model=128, d_ff=512, num_heads=4, dropout=0.3, copying=True),
        1e-3,
        "a Transformer that copies",
    ),
}
"""By the end of the recipe's name: the model, its learning rate, and what it is."""


def _words(language: str) -> ParallelConfig:
    """Characters of both sides, and a tag for each feature."""
    splits = locate("inflection2017")
    train, valid = (str(splits[split][language]) for split in ("train", "valid"))
    return ParallelConfig(
        train_src=[f"{train}#0+2"],
        train_tgt=[f"{train}#1"],
        valid_src=f"{valid}#0+2",
        valid_tgt=f"{valid}#1",
        tokenizer=CharactersConfig(normalization="none", tags=True),
        max_length_ratio=20.0,
        batch_tokens=1024,
        micro_batch_tokens=2048,
    )


def _recipe(language: str, kind: str) -> Callable[[Path], Config]:
    model, lr, what = MODELS[kind]

    def recipe(run_dir: Path) -> Config:
        return Config(
            data=_words(language),
            model=model,
            objective=CrossEntropyConfig(label_smoothing=0.1, guided_attention=1.0),
            optim=OptimConfig(
                optimizer=AdamConfig(lr=lr),
                schedule=LinearScheduleConfig(warmup_steps=400),
                average_last=5,
            ),
            training=TrainingConfig(
                max_steps=6000, log_every=100, save_every=250, valid_every=500, valid_metric="exact_match"
            ),
        )

    recipe.__name__ = f"inflection_{language}{kind}"
    recipe.__doc__ = f"{language.capitalize()}, from lemma and features to the form: {what}."
    return recipe


INFLECTION_RECIPES = [_recipe(language, kind) for kind in MODELS for language in LANGUAGES]
