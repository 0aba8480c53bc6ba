"""What positions say together with a language model: a beam from the first of them to the last.

Each position alone says what is likeliest there, so that two neighbours may be of different answers. What a language
model thinks of them side by side decides between these.

Shapes: N rows, P positions, K prefixes, C symbols of each position.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from seqlab.models.interfaces import IGNORE, NEG_INF, FrameOutput
from seqlab.search.fusion import PrefixLmScores, WeightedLm


def choose_candidates_with_lm(
    log_probs: Tensor, ids: Tensor, lengths: Tensor, lm: WeightedLm, beam_size: int
) -> Tensor:
    """Choose one of each position's symbols, so that the sum of all with what the language model adds is large.

    Of the beginnings that differ the best K are kept at each position; a beam that holds all finds the largest sum.

    Args:
        log_probs: (N, P, C), -inf for what is no choice; there is one at least.
        ids: (N, P, C): the symbols.
        lengths: (N,): positions of each row; others are not read.
        lm: a language model of few symbols.
        beam_size: K.

    Returns:
        Which of the C symbols each position says: (N, P), 0 behind the last.
    """
    rows, size, choices = ids.shape
    prefixes = PrefixLmScores(lm, rows, beam_size, ids.device)
    totals = log_probs.new_full((rows, beam_size), NEG_INF, dtype=torch.float64)
    totals[:, 0] = 0.0
    history = []
    for position in range(size):
        is_behind = (position >= lengths)[:, None]
        longer = (totals[..., None] + log_probs[:, None, position]).flatten(1)
        values = torch.cat((totals.masked_fill(~is_behind, NEG_INF), longer.masked_fill(is_behind, NEG_INF)), 1)
        # In fp32 and in their order where they are equal, as in `prefix_beam`: so no batch changes an answer.
        ranks = (values + prefixes.choices(ids[:, position])).float()
        places = ranks.sort(dim=1, descending=True, stable=True).indices[:, :beam_size]
        prefixes.keep(places)
        totals = values.gather(1, places)
        history.append(places)
    kept = (totals + prefixes.whole()).argmax(1, keepdim=True)
    said = []
    for places in reversed(history):
        place = places.gather(1, kept)
        is_longer = place >= beam_size
        said.append(torch.where(is_longer, (place - beam_size) % choices, 0))
        kept = torch.where(is_longer, (place - beam_size) // choices, place)
    return torch.cat(said[::-1], 1)


def predict_with_lm(
    output: FrameOutput, shown: Tensor, lm: WeightedLm, beam_size: int, never: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Choose among the likeliest 2K ids of the positions that are not shown, none of `never`, beside those that are.

    Args:
        output: what a model says of the positions.
        shown: (N, P), IGNORE for none.
        lm: a language model of few symbols.
        beam_size: K.
        never: ids that are not chosen.

    Returns:
        The ids (N, P) and their log-probabilities, which have no meaning where one is shown.
    """
    log_probs, ids = output.candidates(2 * beam_size, never)
    is_shown = (shown != IGNORE)[..., None]
    is_first = torch.arange(ids.size(2), device=ids.device) == 0
    ids = torch.where(is_shown & is_first, shown[..., None], ids)
    choices = torch.where(is_shown, torch.where(is_first, 0.0, NEG_INF), log_probs)
    places = choose_candidates_with_lm(choices, ids, output.lengths, lm, beam_size)[..., None]
    return ids.gather(2, places)[..., 0], log_probs.gather(2, places)[..., 0]
