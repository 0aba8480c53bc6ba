"""Spelling to sound in six languages (Ashby et al. 2021): a bidirectional LSTM that attends, or a Transformer."""

from collections.abc import Callable
from pathlib import Path

from seqlab.corpora import locate
from seqlab.corpora.g2p2021 import LANGUAGES
from seqlab.data.config import ParallelConfig
from seqlab.models import LstmConfig, TransformerConfig, TranslatorConfig
from seqlab.objectives import CrossEntropyConfig
from seqlab.optim.config import AdamConfig, LinearScheduleConfig, OptimConfig
from seqlab.runs.config import Config, TrainingConfig
from seqlab.text import CharactersConfig, WordsConfig

MODELS: dict[str, tuple[TranslatorConfig, float, str]] = {
    "": (
        LstmConfig(hidden_size=256, embedding_size=128, num_encoder_layers=2, tied_embeddings="decoder", dropout=0.4),
        2e-3,
        "a bidirectional LSTM that attends",
    ),
    "_transformer": (
        TransformerConfig(d_model=128, d_ff=512, num_heads=4, tied_embeddings="decoder", dropout=0.3),
        1e-3,
        "a Transformer",
    ),
}
"""By the end of the recipe's name: the model, its learning rate, and what it is."""


def _words(language: str) -> ParallelConfig:
    """Letters, taken apart where Unicode knows their parts, and sounds."""
    splits = locate("g2p2021")
    files = {split: str(splits[split][language]) for split in ("train", "valid", "test")}
    return ParallelConfig(
        train_src=[f"{files['train']}#0"],
        train_tgt=[f"{files['train']}#1"],
        valid_src=f"{files['valid']}#0",
        valid_tgt=f"{files['valid']}#1",
        test_src=[f"{files['test']}#0"],
        test_tgt=[f"{files['test']}#1"],
        tokenizer=CharactersConfig(normalization="nfd"),
        tokenizer_tgt=WordsConfig(normalization="none"),
        joint_vocabulary=False,
        max_length_ratio=20.0,
        batch_tokens=512,
        micro_batch_tokens=1024,
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

    recipe.__name__ = f"g2p_{language}{kind}"
    recipe.__doc__ = f"{LANGUAGES[language]}, from spelling to sound: {what}."
    return recipe


G2P_RECIPES = [_recipe(language, kind) for kind in MODELS for language in LANGUAGES]
