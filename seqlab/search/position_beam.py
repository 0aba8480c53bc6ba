"""Shallow fusion for non-autoregressive models: beam search over the positions with a Markov language model.

A non-autoregressive model predicts each position independently, so neighboring tokens may belong to different
translations. The language model scores the tokens in sequence.

Shapes: N rows, P positions, K prefixes, C candidate ids of each position.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from seqlab.data.batch import IGNORE
from seqlab.models.outputs import NEG_INF, FrameOutput
from seqlab.search.fusion import PrefixLmScores, WeightedLm


def choose_candidates_with_lm(
    log_probs: Tensor, ids: Tensor, lengths: Tensor, lm: WeightedLm, beam_size: int
) -> Tensor:
    """Choose one candidate id for each position, by beam search for the highest sum of both models' scores.

    The best K prefixes are kept at each position; a beam that holds all prefixes finds the highest sum.

    Args:
        log_probs: (N, P, C), -inf for an invalid candidate; each position has at least one valid candidate.
        ids: (N, P, C), the candidates.
        lengths: (N,), number of positions of each row; the others are padding.
        lm: a Markov language model (`FixedContextModel`).
        beam_size: K.

    Returns:
        Index of the chosen candidate among the C of each position: (N, P), 0 for padding.
    """
    rows, size, choices = ids.shape
    prefixes = PrefixLmScores(lm, rows, beam_size, ids.device)
    totals = log_probs.new_full((rows, beam_size), NEG_INF, dtype=torch.float64)
    totals[:, 0] = 0.0
    history = []
    for position in range(size):
        is_padding = (position >= lengths)[:, None]
        extended = (totals[..., None] + log_probs[:, None, position]).flatten(1)
        values = torch.cat((totals.masked_fill(~is_padding, NEG_INF), extended.masked_fill(is_padding, NEG_INF)), 1)
        # Sorted in fp32, with a stable order, as in `prefix_beam`: then the batch does not change the result.
        ranks = (values + prefixes.extend(ids[:, position])).float()
        indices = ranks.sort(dim=1, descending=True, stable=True).indices[:, :beam_size]
        prefixes.keep(indices)
        totals = values.gather(1, indices)
        history.append(indices)
    kept = (totals + prefixes.final_scores()).argmax(1, keepdim=True)
    columns = []
    for indices in reversed(history):
        index = indices.gather(1, kept)
        is_extended = index >= beam_size
        columns.append(torch.where(is_extended, (index - beam_size) % choices, 0))
        kept = torch.where(is_extended, (index - beam_size) // choices, index)
    return torch.cat(columns[::-1], 1)


def predict_with_lm(
    output: FrameOutput, fixed: Tensor, lm: WeightedLm, beam_size: int, banned_ids: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Predict the positions that are not fixed, among the 2K most probable ids of each, with a language model.

    Args:
        output: a model's output for the positions.
        fixed: (N, P), ids of the fixed positions, IGNORE for the others.
        lm: a Markov language model (`FixedContextModel`).
        beam_size: K.
        banned_ids: ids that are not predicted.

    Returns:
        The ids (N, P) and their log-probabilities (N, P), which are undefined for fixed positions.
    """
    log_probs, ids = output.candidates(2 * beam_size, banned_ids)
    is_fixed = (fixed != IGNORE)[..., None]
    is_first = torch.arange(ids.size(2), device=ids.device) == 0
    ids = torch.where(is_fixed & is_first, fixed[..., None], ids)
    choices = torch.where(is_fixed, torch.where(is_first, 0.0, NEG_INF), log_probs)
    indices = choose_candidates_with_lm(choices, ids, output.lengths, lm, beam_size)[..., None]
    return ids.gather(2, indices)[..., 0], log_probs.gather(2, indices)[..., 0]
