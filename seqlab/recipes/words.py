"""What the recipes for single words have in common: small models, many short steps, how many words are right."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from seqlab.models import (
    LstmConfig,
    ModelConfig,
    TransformerCmlmConfig,
    TransformerConfig,
    TransformerCtcConfig,
)
from seqlab.objectives import CmlmConfig, CrossEntropyConfig, CtcConfig, ObjectiveConfig
from seqlab.optim import AdamConfig, LinearScheduleConfig, OptimConfig
from seqlab.runs.config import Config, TrainingConfig
from seqlab.tasks.translation.config import TranslationConfig

LSTM = LstmConfig(hidden_size=256, embedding_size=128, num_encoder_layers=2, rotary_cross_attention=True)
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
"""What writes words from words, in nearly the same order: symbol after symbol, or all at once."""
CROSS_ENTROPY = CrossEntropyConfig(label_smoothing=0.1)


@dataclass(frozen=True)
class WordModel:
    """A model that a task is learnt with."""

    ending: str
    """Of the recipe's name."""
    config: ModelConfig
    lr: float
    max_steps: int
    batch_tokens: int
    """Target tokens of a step, where the corpus does not ask for more."""
    what: str
    """What it is, for the recipe's description."""
    objective: ObjectiveConfig = CROSS_ENTROPY


def all_at_once(dropout: float, max_steps: int, batch_tokens: int) -> list[WordModel]:
    """Give the models that predict all symbols of a word at once; gaps need twice as many steps to be learned."""
    model = partial(WordModel, lr=2e-3, batch_tokens=batch_tokens)
    return [
        model(
            "_ctc",
            replace(CTC, dropout=dropout),
            max_steps=max_steps,
            what="a Transformer that says all at once, by CTC with glancing",
            objective=CtcConfig(glancing=0.5, least_glancing=0.3, decay_steps=max_steps),
        ),
        model(
            "_cmlm",
            replace(CMLM, dropout=dropout),
            max_steps=2 * max_steps,
            what="a Transformer that fills gaps, for mask-predict",
            objective=CmlmConfig(),
        ),
    ]


def word_recipes(
    task: str,
    languages: Iterable[tuple[str, str]],
    models: Iterable[WordModel],
    data: Callable[[str, str | Path], TranslationConfig],
) -> list[Callable[[str | Path], Config]]:
    """Make a recipe for each model and language, called `TASK_LANGUAGE` and the model's ending.

    Args:
        task: the beginning of the names.
        languages: the language's code, and what the recipe does with it.
        models: what learns.
        data: the corpus of a language, by its code; it may write into the run folder.
    """
    languages = list(languages)
    return [
        _recipe(f"{task}_{code}{model.ending}", f"{what}: {model.what}.", model, partial(data, code))
        for model in models
        for code, what in languages
    ]


def _recipe(
    name: str,
    text: str,
    model: WordModel,
    data: Callable[[str | Path], TranslationConfig],
) -> Callable[[str | Path], Config]:
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

    recipe.__name__, recipe.__doc__ = name, text
    return recipe
