"""Shared settings of the recipes for character-level tasks (pronunciation, inflection): small models, exact match."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from seqlab.models import ModelConfig, RecurrentConfig, TransformerCmlmConfig, TransformerConfig, TransformerCtcConfig
from seqlab.objectives import CmlmConfig, CrossEntropyConfig, CtcConfig, ObjectiveConfig
from seqlab.optim import AdamConfig, LinearScheduleConfig, OptimConfig
from seqlab.runs.config import Config, TrainingConfig
from seqlab.tasks.translation.config import TranslationConfig

LSTM = RecurrentConfig(
    family="lstm", hidden_size=256, embedding_size=128, num_encoder_layers=2, rotary_cross_attention=True
)
TRANSFORMER = TransformerConfig(d_model=128, d_ff=512, num_heads=4, positions="rotary", rotary_cross_attention=True)
CTC = TransformerCtcConfig(
    d_model=128, d_ff=512, num_heads=4, positions="rotary", tied_embeddings="decoder", upsampling=2
)
CMLM = TransformerCmlmConfig(
    d_model=128,
    d_ff=512,
    num_heads=4,
    positions="rotary",
    tied_embeddings="decoder",
    decoder_input="uniform_copy",
)
"""Models whose source and target have nearly the same order: LSTM and Transformer are autoregressive, CTC and CMLM
are not."""
CROSS_ENTROPY = CrossEntropyConfig(label_smoothing=0.1)


@dataclass(frozen=True)
class WordModel:
    """A model with its training settings, from which a recipe is made for each language."""

    ending: str
    """Ending of the recipe's name."""
    config: ModelConfig
    lr: float
    max_steps: int
    batch_tokens: int
    """Target tokens per step; the corpus may set more."""
    summary: str
    """Name of the model in the recipe's docstring."""
    objective: ObjectiveConfig = CROSS_ENTROPY


def non_autoregressive_models(dropout: float, max_steps: int, batch_tokens: int) -> list[WordModel]:
    """Return the CTC model and the conditional masked model, which is trained for twice as many steps."""
    model = partial(WordModel, lr=2e-3, batch_tokens=batch_tokens)
    return [
        model(
            "_ctc",
            replace(CTC, dropout=dropout),
            max_steps=max_steps,
            summary="a non-autoregressive Transformer with CTC and glancing",
            objective=CtcConfig(glancing=0.5, least_glancing=0.3, decay_steps=max_steps),
        ),
        model(
            "_cmlm",
            replace(CMLM, dropout=dropout),
            max_steps=2 * max_steps,
            summary="a conditional masked Transformer, for mask-predict",
            objective=CmlmConfig(),
        ),
    ]


def word_recipes(
    task: str,
    languages: Iterable[tuple[str, str]],
    models: Iterable[WordModel],
    data: Callable[[str, str | Path], TranslationConfig],
) -> list[Callable[[str | Path], Config]]:
    """Make a recipe for each model and language, named `TASK_LANGUAGE` plus the model's ending.

    Args:
        task: prefix of the names.
        languages: code of each language, and the summary of its task.
        models: models with their training settings.
        data: function from a language's code and the run folder to the data config.
    """
    languages = list(languages)
    return [
        _recipe(f"{task}_{code}{model.ending}", f"{summary}: {model.summary}.", model, partial(data, code))
        for model in models
        for code, summary in languages
    ]


def _recipe(
    name: str,
    docstring: str,
    model: WordModel,
    data: Callable[[str | Path], TranslationConfig],
) -> Callable[[str | Path], Config]:
    """Make the recipe of one model and language."""

    def recipe(run_dir: str | Path) -> Config:
        corpus = data(run_dir)
        batch_tokens = max(model.batch_tokens, corpus.batch_tokens)
        return Config(
            data=replace(corpus, batch_tokens=batch_tokens, micro_batch_tokens=max(1024, 2 * batch_tokens)),
            model=model.config,
            objective=model.objective,
            optim=OptimConfig(
                optimizer=AdamConfig(lr=model.lr),
                schedule=LinearScheduleConfig(warmup_steps=400),
                average_last=5,
            ),
            training=TrainingConfig(
                max_steps=model.max_steps, log_every=100, save_every=250, valid_every=500, valid_metric="exact_match"
            ),
        )

    recipe.__name__, recipe.__doc__ = name, docstring
    return recipe
