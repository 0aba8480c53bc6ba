"""Batched decoding of rows of ids, for translation and validation."""

from collections.abc import Iterator, Sequence

import torch

from seqlab.base.world import ProgressCallback
from seqlab.data.sampler import collate_rows
from seqlab.inference.engine import length_batches
from seqlab.search.config import SearchConfig
from seqlab.search.fusion import WeightedLm
from seqlab.search.hypothesis import Hypothesis
from seqlab.search.protocols import PositionModel, Stepper
from seqlab.search.search import SearchRequest, evaluation_mode, select_search
from seqlab.text import Tokenizer, banned_ids

DECODING_BATCH_TOKENS = 10_240
"""Default batch size of decoding, in padded source tokens times `beam_size`.

On a CPU, batches of a quarter of this size are a quarter slower. Larger batches are not faster, because the scores of a
step then exceed the memory that the allocator reuses.
"""


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
    progress: ProgressCallback | None = None,
    need_attention: bool = False,
    need_scores: bool = True,
    lm: WeightedLm | None = None,
) -> list[list[Hypothesis]]:
    """Decode rows of source ids; return the best hypotheses of each row, best first, in the order of the rows.

    The rows are sorted by length and batched, which does not change the results. An empty row gives the empty
    hypothesis without running the model. A module is put into evaluation mode.

    Args:
        model: a `Stepper` or a `PositionModel` on `device`.
        src_rows: source ids without special ids.
        config: search config.
        tokenizer: target tokenizer, for the special ids; hypotheses never contain `pad_id`, `bos_id` or tags.
        prefixes: forced prefix of each row's hypotheses, as ids.
        batch_tokens: batch size in padded source tokens (eos included) times `beam_size`.
        device: device of the model.
        progress: called after each batch with its number of rows.
        need_attention: whether to return the attention weights of each hypothesis.
        need_scores: whether scores and log-probabilities must be exact; if not, they may be approximate or NaN.
        lm: language model whose scores are added (shallow fusion).

    Raises:
        ValueError: the model does not support a field of `config`, or `need_attention` is set for a model without
            attention.
    """
    results = [[Hypothesis(ids=[], score=0.0, log_prob=0.0, finished=True, token_log_probs=[])] for _ in src_rows]
    banned = banned_ids(tokenizer)
    src_tokens = -(-batch_tokens // config.beam_size)
    with evaluation_mode(model):
        for indices in _batches(src_rows, prefixes, src_tokens):
            batch = collate_rows(src_rows, None, indices, tokenizer).to(device)
            forced = [prefixes[i] for i in indices] if prefixes is not None and len(prefixes[indices[0]]) else None
            request = SearchRequest(batch, forced, banned, need_attention, need_scores, lm)
            hypotheses = select_search(model, config)(model, config, request)
            for i, best in zip(indices, hypotheses, strict=True):
                results[i] = best
            if progress is not None:
                progress(len(indices))
    if progress is not None and not all(map(len, src_rows)):
        progress(sum(not len(row) for row in src_rows))
    return results


def _batches(
    src_rows: Sequence[Sequence[int]], prefixes: Sequence[Sequence[int]] | None, src_tokens: int
) -> Iterator[list[int]]:
    """Batch the non-empty rows. Rows with a prefix form other batches, as they may need another search algorithm."""
    filled = [i for i, row in enumerate(src_rows) if len(row)]
    has_prefix = [prefixes is not None and len(prefixes[i]) > 0 for i in filled]
    for group in (False, True):
        rows = [i for i, is_forced in zip(filled, has_prefix, strict=True) if is_forced is group]
        for indices in length_batches([len(src_rows[i]) + 1 for i in rows], src_tokens):
            yield [rows[index] for index in indices]


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

    `unknown` holds for each row the words that have ids outside the vocabulary, starting at the vocabulary size. The
    other arguments are those of `decode_rows`.
    """
    results = decode_rows(
        model, src_rows, config, tokenizer, batch_tokens=batch_tokens, device=device, need_scores=False
    )
    texts = tokenizer.decode([best[0].ids for best in results], unknown)
    return [(text, best[0].finished) for text, best in zip(texts, results, strict=True)]
