"""Language models that decide with a recogniser: over its own vocabulary, or n-gram models of words over characters."""

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
"""What a run is that can decide with a recogniser."""
LM_WEIGHT = 0.5


def load_language_model(
    path: str | Path,
    tokenizer: Tokenizer,
    device: torch.device,
    dtype: torch.dtype,
    *,
    weight: float | None = None,
    length_reward: float | None = None,
) -> WeightedLm:
    """Load a language model for a recogniser's vocabulary.

    Args:
        path: the run: an n-gram model over the same vocabulary, or one of words where the recogniser's vocabulary is
            characters.
        tokenizer: the recogniser's.
        device: where it computes.
        dtype: of its matrix products.
        weight: of its log-probabilities; `LM_WEIGHT` unless given.
        length_reward: what is added for each token; 0 unless given.

    Raises:
        FileNotFoundError, ValueError: there is no such run, or its vocabulary does not fit.
    """
    run = load_run(path, product=LANGUAGE_MODEL)
    data = run.config.data
    assert isinstance(data, TextConfig), "its product says so"
    model: Stepper = run.stepper
    if _vocabulary(run.tgt_tokenizer) == _vocabulary(tokenizer):
        first = start_id(data, tokenizer)
        prepare_inference(run.model, device, dtype)
    else:
        model, first = _spelled_words(run, data, tokenizer), tokenizer.bos_id
        prepare_inference(model, device, dtype)
    return WeightedLm(
        model,
        weight=LM_WEIGHT if weight is None else weight,
        length_reward=length_reward or 0.0,
        start_lm=lambda rows, device: collate_prompts([[first]] * rows).to(device),
    )


def _spelled_words(run: LoadedRun, data: TextConfig, characters: Tokenizer) -> SpelledWordsLm:
    lm, words = run.stepper, run.tgt_tokenizer
    space = characters.encode([" "])[0]
    if not isinstance(lm, FixedContextModel) or not words.has_words or len(space) != 1 or space[0] == characters.unk_id:
        raise ValueError(
            f"{run.folder.path} has neither the recogniser's vocabulary (train it with `data.tokenizer.kind: saved` "
            "and `data.tokenizer.folder: RUN/tgt_tokenizer`) nor is it an n-gram model of words beside a recogniser "
            "of characters (`model.family: ngram_lm`, `data.tokenizer.kind: words`)."
        )
    ids = range(words.unk_id + 1, words.vocab_size)
    spellings = dict(zip(ids, characters.encode(words.decode([[word] for word in ids])), strict=True))
    known = {word: each for word, each in spellings.items() if each and characters.unk_id not in each}
    if len(known) < len(spellings):
        logger.info("%d of the %d words of %s can be spelled", len(known), len(spellings), run.folder.path)
    return SpelledWordsLm(
        lm, known, words=words, characters=characters, space_id=space[0], start_id=start_id(data, words)
    )


def _vocabulary(tokenizer: Tokenizer) -> list[str]:
    return tokenizer.tokens(range(tokenizer.vocab_size))
