"""Id rows in, hypotheses out, in the order of the rows: what translation and validation share."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from seqlab.base.world import OnRows
from seqlab.data.sampler import collate_rows
from seqlab.inference.engine import length_batches
from seqlab.models.interfaces import PositionModel, Stepper
from seqlab.search.config import SearchConfig
from seqlab.search.fusion import WeightedLm
from seqlab.search.hypothesis import Hypothesis
from seqlab.search.search import SearchRequest, select_search
from seqlab.text import Tokenizer, banned_ids

DECODING_BATCH_TOKENS = 10_240
"""Padded source tokens times `beam_size` that are searched together unless the caller says otherwise.

On a CPU fewer are slower (a quarter at a quarter as many), and more are no faster: the scores of a step no longer fit
into memory that is reused.
"""


@contextmanager
def evaluation_mode(model: Any) -> Iterator[None]:
    """Put a module into evaluation mode and back; other models have no modes."""
    was_training = isinstance(model, nn.Module) and model.training
    if was_training:
        model.eval()
    try:
        yield
    finally:
        if was_training:
            model.train()


@torch.inference_mode()
def decode_rows(
    model: Stepper | PositionModel,
    src_rows: Sequence[Sequence[int]],
    config: SearchConfig,
    tokenizer: Tokenizer,
    *,
    prefixes: Sequence[Sequence[int]] | None = None,
    batch_tokens: int = DECODING_BATCH_TOKENS,
    device: torch.device | str = "cpu",
    progress: OnRows | None = None,
    need_attention: bool = False,
    need_scores: bool = True,
    lm: WeightedLm | None = None,
) -> list[list[Hypothesis]]:
    """Search the best hypotheses of each row, best first, in the order of the rows.

    The rows are sorted by length and batched; neither changes an answer. An empty row gives the empty hypothesis
    without asking the model. A module is put into evaluation mode meanwhile.

    Args:
        model: a `Stepper` or a `PositionModel` on `device`.
        src_rows: source ids without special ids.
        config: how to search.
        tokenizer: names the special ids; hypotheses never hold `pad_id`, `bos_id` and tags.
        prefixes: ids that the hypotheses of each row must begin with.
        batch_tokens: padded source tokens (eos counted) times `beam_size` that are searched together.
        device: where the model is.
        progress: called after each batch with its number of rows.
        need_attention: whether hypotheses come with what they attended to.
        need_scores: whether scores and log-probabilities will be looked at: if not, they may be rough or NaN.
        lm: a language model that decides too: what is added to all scores.

    Raises:
        ValueError: `config` asks for what the model cannot do, or attention is needed of one that has none.
    """
    found = [[Hypothesis(ids=[], score=0.0, log_prob=0.0, finished=True, token_log_probs=[])] for _ in src_rows]
    banned = banned_ids(tokenizer)
    src_tokens = -(-batch_tokens // config.beam_size)
    with evaluation_mode(model):
        for indices in _batches(src_rows, prefixes, src_tokens):
            batch = collate_rows(src_rows, None, indices, tokenizer).to(device)
            forced = [prefixes[i] for i in indices] if prefixes is not None and len(prefixes[indices[0]]) else None
            request = SearchRequest(batch, forced, banned, need_attention, need_scores, lm)
            hypotheses = select_search(model, config)(model, config, request)
            for i, best in zip(indices, hypotheses, strict=True):
                found[i] = best
            if progress is not None:
                progress(len(indices))
    if progress is not None and not all(map(len, src_rows)):
        progress(sum(not len(row) for row in src_rows))
    return found


def _batches(
    src_rows: Sequence[Sequence[int]], prefixes: Sequence[Sequence[int]] | None, src_tokens: int
) -> Iterator[list[int]]:
    """Divide the rows that are not empty, those with a prefix apart: they may have to be searched otherwise."""
    filled = [i for i, row in enumerate(src_rows) if len(row)]
    is_free = [prefixes is None or not len(prefixes[i]) for i in filled]
    for group in (True, False):
        rows = [i for i, free in zip(filled, is_free, strict=True) if free is group]
        for places in length_batches([len(src_rows[i]) + 1 for i in rows], src_tokens):
            yield [rows[place] for place in places]


def decode_text(
    model: Stepper | PositionModel,
    src_rows: Sequence[Sequence[int]],
    config: SearchConfig,
    tokenizer: Tokenizer,
    *,
    unknown: Sequence[Sequence[str]] | None = None,
    batch_tokens: int = DECODING_BATCH_TOKENS,
    device: torch.device | str = "cpu",
) -> list[tuple[str, bool]]:
    """Return the text of the best hypothesis of each row, and whether the hypothesis is finished.

    `tokenizer` is the target side's; `unknown`: for each row the words that the ids from the size of the vocabulary on
    stand for. The other arguments are those of `decode_rows`.
    """
    found = decode_rows(model, src_rows, config, tokenizer, batch_tokens=batch_tokens, device=device, need_scores=False)
    texts = tokenizer.decode([best[0].ids for best in found], unknown)
    return [(text, best[0].finished) for text, best in zip(texts, found, strict=True)]
