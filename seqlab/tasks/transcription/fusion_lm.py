"""Language models for shallow fusion with a speech recognizer: over its vocabulary, or n-gram models of words."""

from __future__ import annotations

import logging
from pathlib import Path

import torch

from seqlab.data.batch import collate_prompts
from seqlab.data.text_config import TextConfig
from seqlab.data.text_sampler import start_id
from seqlab.models.interfaces import FixedContextModel
from seqlab.models.spelled_words_lm import SpelledWordsLm
from seqlab.nn.precision import prepare_inference
from seqlab.runs.load import LoadedRun, load_run
from seqlab.search.fusion import WeightedLm
from seqlab.search.protocols import Stepper
from seqlab.text import Tokenizer

logger = logging.getLogger(__name__)
LANGUAGE_MODEL = "a language model"
"""`DataConfig.model_noun` of the runs that can be fused with a speech recognizer."""
DEFAULT_LM_WEIGHT = 0.5


def load_fusion_lm(
    path: str | Path,
    tokenizer: Tokenizer,
    device: torch.device,
    dtype: torch.dtype,
    *,
    weight: float | None = None,
    length_reward: float | None = None,
) -> WeightedLm:
    """Load a language model that scores the tokens of a speech recognizer.

    Args:
        path: run of a language model over the recognizer's vocabulary or, if that consists of characters, of an n-gram
            model of words.
        tokenizer: the recognizer's tokenizer.
        device: device to compute on.
        dtype: dtype of matrix products.
        weight: weight of the log-probabilities; `DEFAULT_LM_WEIGHT` if None.
        length_reward: score added per token; 0 if None.

    Raises:
        FileNotFoundError: the run does not exist.
        ValueError: the run is not a language model, or its vocabulary does not match.
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
    """Make a model that scores characters from an n-gram model of words; raise ValueError if that is not possible."""
    lm, words = run.stepper, run.tgt_tokenizer
    space = characters.encode([" "])[0]
    if not isinstance(lm, FixedContextModel) or not words.has_words or len(space) != 1 or space[0] == characters.unk_id:
        raise ValueError(
            f"{run.folder.path} has another vocabulary than the speech recognizer. Train a language model with "
            "`data.tokenizer.kind: saved`, `data.tokenizer.folder: RUN/tgt_tokenizer`; for a recognizer of characters "
            "also `model.family: ngram_lm` of words."
        )
    ids = range(words.unk_id + 1, words.vocab_size)
    spellings = dict(zip(ids, characters.encode(words.decode([[word] for word in ids])), strict=True))
    usable = {word: spelling for word, spelling in spellings.items() if spelling and characters.unk_id not in spelling}
    if len(usable) < len(spellings):
        logger.info(
            "%d of the %d words of %s consist of characters in the recognizer's vocabulary",
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
