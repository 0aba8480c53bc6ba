"""Load a language model for shallow fusion with a recogniser: over its vocabulary, or an n-gram model of words."""

from __future__ import annotations

import logging
from pathlib import Path

import torch

from seqlab.data.batch import collate_prompts
from seqlab.data.text_config import TextConfig
from seqlab.data.text_sampler import start_id
from seqlab.models.interfaces import FixedContextModel, Stepper
from seqlab.models.spelled_words_lm import SpelledWordsLm
from seqlab.nn.precision import prepare_inference
from seqlab.runs.load import LoadedRun, load_run
from seqlab.search.fusion import WeightedLm
from seqlab.text import Tokenizer

logger = logging.getLogger(__name__)
LANGUAGE_MODEL = "a language model"
"""`DataConfig.model_noun` of the runs that fit."""
DEFAULT_LM_WEIGHT = 0.5


def load_language_model(
    path: str | Path,
    tokenizer: Tokenizer,
    device: torch.device,
    dtype: torch.dtype,
    *,
    weight: float | None = None,
    length_reward: float | None = None,
) -> WeightedLm:
    """Load a language model that scores the tokens of a recogniser.

    Args:
        path: a run: an n-gram model over the recogniser's vocabulary, or over words if this vocabulary is characters.
        tokenizer: the recogniser's tokenizer.
        device: device to compute on.
        dtype: dtype of matrix products.
        weight: weight of the log-probabilities; None is `DEFAULT_LM_WEIGHT`.
        length_reward: score added for each token; None is 0.

    Raises:
        FileNotFoundError: there is no such run.
        ValueError: the run is not a language model, or its vocabulary does not fit.
    """
    run = load_run(path, model_noun=LANGUAGE_MODEL)
    data = run.config.data
    assert isinstance(data, TextConfig), "runs with this noun have a TextConfig"
    model: Stepper = run.stepper
    if _vocabulary(run.tgt_tokenizer) == _vocabulary(tokenizer):
        first = start_id(data, tokenizer)
        prepare_inference(run.model, device, dtype)
    else:
        model, first = _spelled_words_lm(run, data, tokenizer), tokenizer.bos_id
        prepare_inference(model, device, dtype)
    return WeightedLm(
        model,
        weight=DEFAULT_LM_WEIGHT if weight is None else weight,
        length_reward=length_reward or 0.0,
        start_lm=lambda rows, device: collate_prompts([[first]] * rows).to(device),
    )


def _spelled_words_lm(run: LoadedRun, data: TextConfig, characters: Tokenizer) -> SpelledWordsLm:
    """Make a word n-gram model score characters; raises ValueError if the vocabularies do not allow it."""
    lm, words = run.stepper, run.tgt_tokenizer
    space = characters.encode([" "])[0]
    if not isinstance(lm, FixedContextModel) or not words.has_words or len(space) != 1 or space[0] == characters.unk_id:
        raise ValueError(
            f"{run.folder.path} does not fit the recogniser. Either train the language model on the recogniser's "
            "vocabulary (`data.tokenizer.kind: saved`, `data.tokenizer.folder: RUN/tgt_tokenizer`), or, for a "
            "recogniser of characters, an n-gram model of words (`model.family: ngram_lm`, `data.tokenizer.kind: "
            "words`)."
        )
    ids = range(words.unk_id + 1, words.vocab_size)
    spellings = dict(zip(ids, characters.encode(words.decode([[word] for word in ids])), strict=True))
    usable = {word: each for word, each in spellings.items() if each and characters.unk_id not in each}
    if len(usable) < len(spellings):
        logger.info(
            "%d of the %d words of %s consist of the recogniser's characters",
            len(usable),
            len(spellings),
            run.folder.path,
        )
    return SpelledWordsLm(
        lm, usable, words=words, characters=characters, space_id=space[0], start_id=start_id(data, words)
    )


def _vocabulary(tokenizer: Tokenizer) -> list[str]:
    """Return the token of each id."""
    return tokenizer.tokens(range(tokenizer.vocab_size))
