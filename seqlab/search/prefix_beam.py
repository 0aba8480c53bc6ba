"""Beam search over what paths through frames say, frame by frame (Graves et al. 2006; Hannun et al. 2014).

A prefix is what all paths so far say that say the same: their probabilities are summed up, apart for those that end in
a blank and those that end in the prefix's last symbol, as only behind a blank may that symbol follow itself. In each
frame the best K of all prefixes are kept: those there are, and each with one symbol more. One that is there already,
because its beginning is still kept too, takes in what that adds to it.

A step of a left-to-right model over frames (`seqlab.models.ctc`) sums over all of them for each symbol of the
vocabulary. It is what ensembles, forced prefixes and most language models need; this search only looks at likely
symbols of one frame at a time. A language model whose prefixes may be of different lengths, as an n-gram model, can
decide with it (Hannun et al. 2014).

Shapes: B sentences, F frames, K prefixes, C symbols that may follow.
"""

from collections.abc import Sequence
from operator import add
from typing import Any, NamedTuple

import torch
from torch import Tensor

from seqlab.models.interfaces import NEG_INF, FrameLogProbs, FrameModel
from seqlab.search.beam import BeamSearch
from seqlab.search.config import SearchConfig
from seqlab.search.ctc import best_path_search, most_symbols, scored
from seqlab.search.fusion import PrefixLmScores, WeightedLm, lm_token_scores
from seqlab.search.hypothesis import Hypothesis
from seqlab.search.length import length_penalty
from seqlab.search.rules import refuse_nan
from seqlab.search.search import SearchRequest
from seqlab.search.top import top_ids

FACTOR = 6364136223846793005
"""Of the hashes that tell prefixes apart: hash * FACTOR + id, modulo 2^64 (Knuth's multiplier for MMIX)."""
NOTHING, NO_HASH = -1, -2
"""In place of a symbol where none is added; and of the hash of a prefix that there is not."""


class Prefixes(NamedTuple):
    """The best prefixes of each sentence, all of these (B, K); log-probabilities in float64."""

    blank: Tensor
    """Of the paths that end in a blank."""
    symbol: Tensor
    """Of those that end in the last symbol."""
    last_ids: Tensor
    hashes: Tensor
    """Which prefix it is: equal ones are equal, others differ as surely as 64 bits do."""
    beginnings: Tensor
    """The hash of the prefix without its last symbol."""
    sizes: Tensor
    """How many symbols it has."""

    @property
    def whole(self) -> Tensor:
        """Of all paths."""
        return torch.logaddexp(self.blank, self.symbol)

    def settled(self, is_cut: Tensor) -> "Prefixes":
        """Put all paths of some prefixes (B, K) into `blank`."""
        return self._replace(
            blank=torch.where(is_cut, self.whole, self.blank), symbol=self.symbol.masked_fill(is_cut, NEG_INF)
        )


class Grown(NamedTuple):
    """Where the prefixes of a frame come from, each (B, K)."""

    places: Tensor
    """Which of the K prefixes that there were, or of the KC with a symbol more behind them."""
    parents: Tensor
    """Which of the frame before."""
    ids: Tensor
    """The symbol that it has more, or `NOTHING`."""


class CtcSearch:
    """Search with any `FrameModel`: the likeliest path, a beam over prefixes, or else token by token."""

    def fits(self, model: Any) -> bool:
        """Tell whether the model scores all frames at once."""
        return isinstance(model, FrameModel)

    def __call__(self, model: Any, config: SearchConfig, request: SearchRequest) -> list[list[Hypothesis]]:
        """Search a batch; constraints that paths through frames cannot keep are for the beam over tokens."""
        if request.need_attention:
            raise ValueError(
                "What a model of frames (`transformer_ctc`) attends to belongs to its frames, of which several say one "
                "symbol or none: there is no alignment of it."
            )
        lm, banned, needed = request.lm, request.banned_ids, request.need_scores
        is_constrained = request.prefixes or config.no_repeat_ngram_size or config.min_length_ratio
        if is_constrained or (lm is not None and lm.context_model is None):
            config.check_frame_model()
            return BeamSearch()(model, config, request)
        if config.beam_size == 1 and lm is None:
            best = best_path_search(model, request.batch, config, banned_ids=banned, need_scores=needed)
            return [[each] for each in best]
        return prefix_beam_search(model, request.batch, config, banned_ids=banned, need_scores=needed, lm=lm)


def prefix_beam_search(
    model: FrameModel,
    batch: Any,
    config: SearchConfig,
    *,
    banned_ids: Sequence[int] = (),
    need_scores: bool = True,
    lm: WeightedLm | None = None,
) -> list[list[Hypothesis]]:
    """Give the best hypotheses of each sentence by the paths in the beam, at most `num_hypotheses`, best first.

    Of `config` the beam, the number of hypotheses, the longest lengths and the length penalty of the scores are read.
    All symbols count: no more than 2K of them can be among the best in a frame. With a language model only these 2K
    are looked up. A prefix as long as the longest length has no end: whatever follows it counts for it, as in a search
    that goes from symbol to symbol.

    Args:
        model: scores all frames at once.
        batch: what it reads.
        config: how to search.
        banned_ids: ids that no hypothesis may hold.
        need_scores: whether log-probabilities are those of all paths that say the symbols, as those of every other
            search; else a single hypothesis has that of the paths in the beam, which takes less time. These choose what
            is returned in either case; those of all paths put that in order, so that more hypotheses may have another
            first one.
        lm: a language model that decides too, a `FixedContextModel`; log-probabilities are then sums with its shares.

    Raises:
        ValueError: `config` asks for what such a model cannot do, or the model gives NaN.
    """
    config.check_frame_model()
    frames = model.frames(batch)
    beam_size = config.beam_size
    log_probs, ids = _candidates(frames, model, banned_ids, 2 * beam_size)
    behind = frames.padding
    of_blanks = frames.log_probs[:, :, model.blank_id].double().masked_fill(behind, 0.0)
    log_probs = log_probs.double().masked_fill(behind[..., None], NEG_INF)
    refuse_nan(log_probs, "in a frame")
    limits = most_symbols(batch, len(ids), config)
    most = torch.tensor(limits, device=ids.device)[:, None]
    prefixes, history = _empty(len(ids), beam_size, model.blank_id, ids.device), []
    fused = None if lm is None else PrefixLmScores(lm, len(ids), beam_size, ids.device)
    for frame in range(log_probs.size(1)):
        again = frames.log_probs[:, frame].gather(1, prefixes.last_ids).double()
        again = again.masked_fill(behind[:, frame, None], NEG_INF)
        is_cut = prefixes.sizes > most
        following = log_probs[:, None, frame].masked_fill(is_cut[..., None], NEG_INF)
        of_blank = of_blanks[:, frame, None].masked_fill(is_cut, 0.0)
        prefixes = prefixes.settled(is_cut)
        fluency = None if fused is None else fused.choices(ids[:, frame])
        prefixes, grown = _advance(prefixes, of_blank, again, following, ids[:, frame], fluency)
        if fused is not None:
            fused.keep(grown.places)
        history.append(grown)
    totals = prefixes.whole
    if fused is not None:
        totals = totals + torch.where(prefixes.sizes > most, fused.added, fused.whole())
    return _best(_said(history), totals.float().tolist(), limits, frames, model, config, need_scores, lm)


def _best(
    rows: Sequence[Sequence[list[int]]],
    log_probs: Sequence[Sequence[float]],
    limits: Sequence[int],
    frames: FrameLogProbs,
    model: FrameModel,
    config: SearchConfig,
    need_scores: bool,
    lm: WeightedLm | None,
) -> list[list[Hypothesis]]:
    """Sort what each sentence's prefixes say, rows (B, K), by the paths in the beam, and score what is returned.

    What has more symbols than `limits` (B,) has no end.
    """
    found: list[list[Hypothesis]] = []
    for of_row, own, limit in zip(rows, log_probs, limits, strict=True):
        said = [_rough(ids, each, limit, config) for ids, each in zip(of_row, own, strict=True) if each > NEG_INF]
        found.append(sorted(said, key=lambda each: -each.score)[: config.num_hypotheses])
    if not need_scores and config.num_hypotheses == 1:
        return found
    for rank in range(max(map(len, found), default=0)):  # one of each sentence at a time: frames are never copied
        said_here = [best[rank].ids if rank < len(best) else [] for best in found]
        shares = model.score_sequences(frames, said_here)
        if lm is not None:
            shares = _with_lm(shares, said_here, lm, frames.lengths.device)
        for best, own in zip(found, shares, strict=True):
            if rank < len(best):
                best[rank] = scored(best[rank].ids, own if best[rank].finished else own[:-1], config)
    return [sorted(best, key=lambda each: -each.score) for best in found]


def _with_lm(
    shares: Sequence[Sequence[float]], rows: Sequence[Sequence[int]], lm: WeightedLm, device: torch.device
) -> list[list[float]]:
    """Add what a language model adds for each symbol, and for the end."""
    lengths = torch.tensor([len(row) for row in rows], device=device)
    ids = torch.full((len(rows), int(lengths.max())), lm.eos_id, device=device)
    for padded, row in zip(ids, rows, strict=True):
        padded[: len(row)] = torch.tensor(row, dtype=torch.int64)
    of_symbols, of_ends = lm_token_scores(lm, ids, lengths)
    theirs = zip(of_symbols.tolist(), of_ends.tolist(), map(len, rows), strict=True)
    return [
        list(map(add, own, [*symbols[:length], end]))
        for own, (symbols, end, length) in zip(shares, theirs, strict=True)
    ]


def _rough(ids: list[int], log_prob: float, limit: int, config: SearchConfig) -> Hypothesis:
    """Score by the paths in the beam."""
    finished = len(ids) <= limit
    return Hypothesis(ids, log_prob / length_penalty(len(ids) + finished, config), log_prob, finished, [])


def _candidates(
    frames: FrameLogProbs, model: FrameModel, banned_ids: Sequence[int], count: int
) -> tuple[Tensor, Tensor]:
    """Give the likeliest symbols of each frame: log-probabilities and ids (B, F, C)."""
    never = torch.tensor(sorted({*banned_ids, model.eos_id, model.blank_id}), device=frames.lengths.device)
    # Those that are never said are dropped of a few more: no copy of all frames without them is made.
    size = frames.log_probs.size(2)
    values, ids = top_ids(frames.log_probs.flatten(0, 1), min(count + len(never), size))
    values = values.masked_fill(torch.isin(ids, never), NEG_INF)
    values, order = values.sort(dim=1, descending=True, stable=True)
    shape = *frames.log_probs.shape[:2], -1
    return values[:, :count].view(shape), ids.gather(1, order)[:, :count].view(shape)


def _empty(sentences: int, beam_size: int, blank_id: int, device: torch.device) -> Prefixes:
    """Begin with the prefix that says nothing."""
    shape = sentences, beam_size
    blank = torch.full(shape, NEG_INF, dtype=torch.float64, device=device)
    hashes = torch.full(shape, NO_HASH, device=device)
    beginnings = torch.full(shape, NOTHING, device=device)
    symbol = blank.clone()
    blank[:, 0], hashes[:, 0] = 0.0, 0
    last_ids, sizes = torch.full(shape, blank_id, device=device), torch.zeros_like(hashes)
    return Prefixes(blank, symbol, last_ids, hashes, beginnings, sizes)


def _advance(
    prefixes: Prefixes, of_blank: Tensor, again: Tensor, log_probs: Tensor, ids: Tensor, fluency: Tensor | None
) -> tuple[Prefixes, Grown]:
    """Go on by a frame: of_blank (B, K), again (B, K) of last symbols; ids (B, C) may follow with log_probs (B, K, C).

    `fluency` (B, K + KC), of the prefixes as they are and of the longer ones, counts too when the best are chosen.
    """
    whole, size = prefixes.whole, prefixes.hashes.size(1)
    last, symbols = prefixes.last_ids[..., None], ids[:, None]
    # A prefix with its beginning in the beam (B, K, K): what its last symbol adds to that.
    is_beginning = prefixes.beginnings[..., None] == prefixes.hashes[:, None]
    is_twice = last == prefixes.last_ids[:, None]
    added = torch.where(is_twice, prefixes.blank[:, None], whole[:, None])
    added = added.masked_fill(~is_beginning, NEG_INF).amax(2)
    in_blank, in_symbol = whole + of_blank, torch.logaddexp(prefixes.symbol, added) + again
    # Longer ones (B, K, C), but for those that are there.
    is_same = last == symbols
    longer = torch.where(is_same, prefixes.blank[..., None], whole[..., None]) + log_probs
    is_there = (is_beginning[..., None] & is_same[:, :, None]).any(1)
    longer = longer.masked_fill(is_there, NEG_INF)
    values = torch.cat((torch.logaddexp(in_blank, in_symbol), longer.flatten(1)), 1)
    # In fp32, so that what is equal but for the last bits, which depend on the place in a batch, is equal; such values
    # stay in order, so that frames behind the last one change nothing.
    ranks = values if fluency is None else values + fluency
    index = ranks.float().sort(dim=1, descending=True, stable=True).indices[:, :size]
    values = values.gather(1, index)
    is_longer = index >= size
    place = (index - size).clamp_min(0)
    parents = torch.where(is_longer, place // ids.size(1), index)
    new_ids = ids.gather(1, place % ids.size(1))
    hashes = prefixes.hashes.gather(1, parents)
    is_none = values == NEG_INF
    chosen = Prefixes(
        in_blank.gather(1, parents).masked_fill(is_longer, NEG_INF),
        torch.where(is_longer, values, in_symbol.gather(1, parents)),
        torch.where(is_longer, new_ids, prefixes.last_ids.gather(1, parents)),
        torch.where(is_longer, hashes * FACTOR + new_ids + 1, hashes).masked_fill(is_none, NO_HASH),
        torch.where(is_longer, hashes, prefixes.beginnings.gather(1, parents)).masked_fill(is_none, NOTHING),
        prefixes.sizes.gather(1, parents) + is_longer,
    )
    return chosen, Grown(index, parents, new_ids.masked_fill(~is_longer, NOTHING))


def _said(history: Sequence[Grown]) -> list[list[list[int]]]:
    """Read the prefixes of the last frame from their ends to their beginnings: for each sentence K."""
    parents = torch.stack([grown.parents for grown in history]).tolist()
    ids = torch.stack([grown.ids for grown in history]).tolist()
    found = []
    for row in range(len(parents[0])):
        of_row = []
        for kept in range(len(parents[0][row])):
            said, place = [], kept
            for frame in reversed(range(len(history))):
                if ids[frame][row][place] != NOTHING:
                    said.append(ids[frame][row][place])
                place = parents[frame][row][place]
            of_row.append(said[::-1])
        found.append(of_row)
    return found
