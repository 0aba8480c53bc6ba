"""CTC prefix beam search, frame by frame (Graves et al. 2006; Hannun et al. 2014).

A prefix represents all paths over the frames so far that output it. Their probabilities are summed, separately for
paths that end in a blank and paths that end in the prefix's last id, because only a blank allows the same id to follow
as a new token. In each frame the best K prefixes are kept, among the previous prefixes and each of them extended by one
id. If an extended prefix equals one in the beam, their probabilities are added.

The alternative is token-by-token beam search with prefix probabilities (`seqlab.models.ctc`). It sums over all frames
for each id of the vocabulary. Ensembles, forced prefixes and most language models need it. Prefix beam search considers
only the most probable ids of one frame at a time. Its prefixes have different lengths, so it supports only language
models that can extend rows independently, such as n-gram models (Hannun et al. 2014).

Shapes: B sentences, F frames, K prefixes, C candidate ids.
"""

from collections.abc import Sequence
from operator import add
from typing import Any, NamedTuple

import torch
from torch import Tensor

from seqlab.models.outputs import NEG_INF, FrameLogProbs
from seqlab.search.beam import BeamSearch
from seqlab.search.config import SearchConfig
from seqlab.search.ctc import best_path_search, max_ids_without_eos, scored_hypothesis
from seqlab.search.fusion import PrefixLmScores, WeightedLm, lm_token_scores
from seqlab.search.hypothesis import Hypothesis
from seqlab.search.length import length_penalty
from seqlab.search.protocols import FrameModel
from seqlab.search.rules import refuse_nan
from seqlab.search.search import SearchRequest
from seqlab.search.top import top_ids

HASH_FACTOR = 6364136223846793005
"""Factor in the hash of a prefix, hash(parent) * HASH_FACTOR + id + 1 modulo 2^64 (Knuth's multiplier for MMIX)."""
NO_ID, NO_HASH = -1, -2
"""Values of the appended id of a prefix that was not extended, and of the hash of a prefix that does not exist."""


class PrefixBeam(NamedTuple):
    """The best prefixes of each sentence. Fields (B, K); log-probabilities are float64."""

    ends_in_blank: Tensor
    """Log-probability of the paths that end in a blank."""
    ends_in_id: Tensor
    """Log-probability of the paths that end in the last id."""
    last_ids: Tensor
    hashes: Tensor
    """Hash of the prefix; equal hashes mean equal prefixes, except for 64-bit collisions."""
    parent_hashes: Tensor
    """Hash of the prefix without its last id."""
    lengths: Tensor
    """Number of ids."""

    @property
    def log_probs(self) -> Tensor:
        """Log-probability of all paths: (B, K)."""
        return torch.logaddexp(self.ends_in_blank, self.ends_in_id)

    def cut(self, is_cut: Tensor) -> "PrefixBeam":
        """Move the paths of the prefixes `is_cut` (B, K), which have the maximum length, to `ends_in_blank`."""
        return self._replace(
            ends_in_blank=torch.where(is_cut, self.log_probs, self.ends_in_blank),
            ends_in_id=self.ends_in_id.masked_fill(is_cut, NEG_INF),
        )


class BackPointers(NamedTuple):
    """Origin of the prefixes after a frame. Fields (B, K)."""

    indices: Tensor
    """Index in the K previous prefixes followed by the KC extended ones."""
    parents: Tensor
    """Index of the previous prefix that was kept or extended."""
    ids: Tensor
    """Id that was appended, or `NO_ID`."""


class CtcSearch:
    """Search with any `FrameModel`: best path, prefix beam search or token-by-token beam search."""

    def fits(self, model: Any) -> bool:
        """Return whether the model scores all frames at once."""
        return isinstance(model, FrameModel)

    def __call__(self, model: Any, config: SearchConfig, request: SearchRequest) -> list[list[Hypothesis]]:
        """Decode a batch; constraints that CTC paths do not support need the token-by-token beam search."""
        if request.need_attention:
            raise ValueError(
                "A CTC model (`transformer_ctc`) has no alignment: its attention belongs to frames, of which several, "
                "or none, make one token."
            )
        lm, banned_ids, need_scores = request.lm, request.banned_ids, request.need_scores
        is_constrained = request.prefixes or config.no_repeat_ngram_size or config.min_length_ratio
        if is_constrained or (lm is not None and lm.context_model is None):
            config.check_frame_model()
            return BeamSearch()(model, config, request)
        if config.beam_size == 1 and lm is None:
            best = best_path_search(model, request.batch, config, banned_ids=banned_ids, need_scores=need_scores)
            return [[hypothesis] for hypothesis in best]
        return prefix_beam_search(model, request.batch, config, banned_ids=banned_ids, need_scores=need_scores, lm=lm)


def prefix_beam_search(
    model: FrameModel,
    batch: Any,
    config: SearchConfig,
    *,
    banned_ids: Sequence[int] = (),
    need_scores: bool = True,
    lm: WeightedLm | None = None,
) -> list[list[Hypothesis]]:
    """Find the best outputs of each sentence: at most `num_hypotheses`, best first.

    Only the 2K most probable ids of each frame are considered. Without a language model this does not change the
    result, because no other id can be among the best. A prefix of the maximum length is not finished: its probability
    includes all of its continuations, as in token-by-token search.

    Args:
        model: a model that scores all frames at once.
        batch: input of the model.
        config: beam size, number of hypotheses, maximum lengths and length penalty.
        banned_ids: ids that no hypothesis may contain.
        need_scores: whether to compute log-probabilities over all paths of an output, as in other searches. If not, a
            single hypothesis has the log-probability of its paths in the beam, which takes less time. The paths in the
            beam always determine which hypotheses are returned. Log-probabilities over all paths determine their order.
        lm: a `FixedContextModel` for shallow fusion, whose scores are added to the log-probabilities.

    Raises:
        ValueError: a field of `config` does not apply to such a model, or the model gives NaN.
    """
    config.check_frame_model()
    frames = model.frames(batch)
    beam_size = config.beam_size
    log_probs, ids = _candidates(frames, model, banned_ids, 2 * beam_size)
    padding = frames.padding
    blank_log_probs = frames.log_probs[:, :, model.blank_id].double().masked_fill(padding, 0.0)
    log_probs = log_probs.double().masked_fill(padding[..., None], NEG_INF)
    refuse_nan(log_probs, "in a frame")
    limits = max_ids_without_eos(batch, len(ids), config)
    max_ids = torch.tensor(limits, device=ids.device)[:, None]
    beam, history = _empty_prefixes(len(ids), beam_size, model.blank_id, ids.device), []
    lm_scores = None if lm is None else PrefixLmScores(lm, len(ids), beam_size, ids.device)
    for frame in range(log_probs.size(1)):
        repeat_log_probs = frames.log_probs[:, frame].gather(1, beam.last_ids).double()
        repeat_log_probs = repeat_log_probs.masked_fill(padding[:, frame, None], NEG_INF)
        is_cut = beam.lengths > max_ids
        id_log_probs = log_probs[:, None, frame].masked_fill(is_cut[..., None], NEG_INF)
        in_blank = blank_log_probs[:, frame, None].masked_fill(is_cut, 0.0)
        beam = beam.cut(is_cut)
        frame_scores = None if lm_scores is None else lm_scores.extend(ids[:, frame])
        beam, pointers = _advance(beam, in_blank, repeat_log_probs, id_log_probs, ids[:, frame], frame_scores)
        if lm_scores is not None:
            lm_scores.keep(pointers.indices)
        history.append(pointers)
    totals = beam.log_probs
    if lm_scores is not None:
        totals = totals + torch.where(beam.lengths > max_ids, lm_scores.scores, lm_scores.final_scores())
    return _best(_trace(history), totals.float().tolist(), limits, frames, model, config, need_scores, lm)


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
    """Choose the best prefixes of each sentence, rows (B, K), by their paths in the beam, and score these exactly.

    A prefix of more ids than its limit in `limits` (B,) is not finished.
    """
    hypotheses: list[list[Hypothesis]] = []
    for prefixes, prefix_log_probs, limit in zip(rows, log_probs, limits, strict=True):
        pairs = zip(prefixes, prefix_log_probs, strict=True)
        approximate = [_score_in_beam(ids, log_prob, limit, config) for ids, log_prob in pairs if log_prob > NEG_INF]
        hypotheses.append(sorted(approximate, key=lambda h: -h.score)[: config.num_hypotheses])
    if not need_scores and config.num_hypotheses == 1:
        return hypotheses
    for rank in range(max(map(len, hypotheses), default=0)):  # one per sentence at a time, so frames are not copied
        outputs = [best[rank].ids if rank < len(best) else [] for best in hypotheses]
        token_log_probs = model.score_sequences(frames, outputs)
        if lm is not None:
            token_log_probs = _add_lm_scores(token_log_probs, outputs, lm, frames.lengths.device)
        for best, log_probs_of_best in zip(hypotheses, token_log_probs, strict=True):
            if rank < len(best):
                used = log_probs_of_best if best[rank].finished else log_probs_of_best[:-1]
                best[rank] = scored_hypothesis(best[rank].ids, used, config)
    return [sorted(best, key=lambda h: -h.score) for best in hypotheses]


def _add_lm_scores(
    token_log_probs: Sequence[Sequence[float]], rows: Sequence[Sequence[int]], lm: WeightedLm, device: torch.device
) -> list[list[float]]:
    """Add the language model's scores to the log-probabilities of each token and of eos."""
    lengths = torch.tensor([len(row) for row in rows], device=device)
    ids = torch.full((len(rows), int(lengths.max())), lm.eos_id, device=device)
    for padded, row in zip(ids, rows, strict=True):
        padded[: len(row)] = torch.tensor(row, dtype=torch.int64)
    lm_scores, eos_scores = lm_token_scores(lm, ids, lengths)
    lm_rows = zip(lm_scores.tolist(), eos_scores.tolist(), map(len, rows), strict=True)
    return [
        list(map(add, log_probs, [*scores[:length], eos_score]))
        for log_probs, (scores, eos_score, length) in zip(token_log_probs, lm_rows, strict=True)
    ]


def _score_in_beam(ids: list[int], log_prob: float, limit: int, config: SearchConfig) -> Hypothesis:
    """Convert a prefix to a hypothesis, scored by its paths in the beam."""
    finished = len(ids) <= limit
    return Hypothesis(ids, log_prob / length_penalty(len(ids) + finished, config), log_prob, finished, [])


def _candidates(
    frames: FrameLogProbs, model: FrameModel, banned_ids: Sequence[int], count: int
) -> tuple[Tensor, Tensor]:
    """Return the most probable ids of each frame: log-probabilities and ids (B, F, C)."""
    excluded = torch.tensor(sorted({*banned_ids, model.eos_id, model.blank_id}), device=frames.lengths.device)
    # Find a few more ids and drop the excluded ones: this saves a copy of all frames without them.
    size = frames.log_probs.size(2)
    values, ids = top_ids(frames.log_probs.flatten(0, 1), min(count + len(excluded), size))
    values = values.masked_fill(torch.isin(ids, excluded), NEG_INF)
    values, order = values.sort(dim=1, descending=True, stable=True)
    shape = *frames.log_probs.shape[:2], -1
    return values[:, :count].view(shape), ids.gather(1, order)[:, :count].view(shape)


def _empty_prefixes(sentences: int, beam_size: int, blank_id: int, device: torch.device) -> PrefixBeam:
    """Return a beam with one empty prefix for each sentence."""
    shape = sentences, beam_size
    ends_in_blank = torch.full(shape, NEG_INF, dtype=torch.float64, device=device)
    hashes = torch.full(shape, NO_HASH, device=device)
    parent_hashes = torch.full(shape, NO_ID, device=device)
    ends_in_id = ends_in_blank.clone()
    ends_in_blank[:, 0], hashes[:, 0] = 0.0, 0
    last_ids, lengths = torch.full(shape, blank_id, device=device), torch.zeros_like(hashes)
    return PrefixBeam(ends_in_blank, ends_in_id, last_ids, hashes, parent_hashes, lengths)


def _advance(
    beam: PrefixBeam,
    blank_log_probs: Tensor,
    repeat_log_probs: Tensor,
    log_probs: Tensor,
    ids: Tensor,
    lm_scores: Tensor | None,
) -> tuple[PrefixBeam, BackPointers]:
    """Advance the prefixes by one frame.

    Args:
        beam: the prefixes before the frame.
        blank_log_probs: (B, K), of a blank.
        repeat_log_probs: (B, K), of each prefix's last id.
        log_probs: (B, K, C), of the candidate ids after each prefix.
        ids: (B, C), the candidate ids.
        lm_scores: (B, K + KC), of the unchanged and of the extended prefixes; they are added to choose the best.
    """
    all_paths, size = beam.log_probs, beam.hashes.size(1)
    last_ids, candidates = beam.last_ids[..., None], ids[:, None]
    # (B, K, K): True where the second prefix is the parent of the first; it can be extended to the first.
    is_parent = beam.parent_hashes[..., None] == beam.hashes[:, None]
    repeats_parent = last_ids == beam.last_ids[:, None]
    from_parent = torch.where(repeats_parent, beam.ends_in_blank[:, None], all_paths[:, None])
    from_parent = from_parent.masked_fill(~is_parent, NEG_INF).amax(2)
    in_blank = all_paths + blank_log_probs
    in_id = torch.logaddexp(beam.ends_in_id, from_parent) + repeat_log_probs
    # Extended prefixes (B, K, C), except those that are already in the beam.
    is_repeat = last_ids == candidates
    extended = torch.where(is_repeat, beam.ends_in_blank[..., None], all_paths[..., None]) + log_probs
    is_in_beam = (is_parent[..., None] & is_repeat[:, :, None]).any(1)
    extended = extended.masked_fill(is_in_beam, NEG_INF)
    values = torch.cat((torch.logaddexp(in_blank, in_id), extended.flatten(1)), 1)
    # Sorted in fp32: values that differ only in their last bits, which depend on the position in a batch, become equal.
    # Equal values keep their order, so padding frames change nothing.
    ranks = values if lm_scores is None else values + lm_scores
    indices = ranks.float().sort(dim=1, descending=True, stable=True).indices[:, :size]
    values = values.gather(1, indices)
    is_extended = indices >= size
    extended_indices = (indices - size).clamp_min(0)
    parents = torch.where(is_extended, extended_indices // ids.size(1), indices)
    new_ids = ids.gather(1, extended_indices % ids.size(1))
    hashes = beam.hashes.gather(1, parents)
    is_none = values == NEG_INF
    best_prefixes = PrefixBeam(
        in_blank.gather(1, parents).masked_fill(is_extended, NEG_INF),
        torch.where(is_extended, values, in_id.gather(1, parents)),
        torch.where(is_extended, new_ids, beam.last_ids.gather(1, parents)),
        torch.where(is_extended, hashes * HASH_FACTOR + new_ids + 1, hashes).masked_fill(is_none, NO_HASH),
        torch.where(is_extended, hashes, beam.parent_hashes.gather(1, parents)).masked_fill(is_none, NO_ID),
        beam.lengths.gather(1, parents) + is_extended,
    )
    return best_prefixes, BackPointers(indices, parents, new_ids.masked_fill(~is_extended, NO_ID))


def _trace(history: Sequence[BackPointers]) -> list[list[list[int]]]:
    """Follow the back-pointers of the K prefixes of the last frame: ids, for each sentence and prefix."""
    parents = torch.stack([pointers.parents for pointers in history]).tolist()
    ids = torch.stack([pointers.ids for pointers in history]).tolist()
    traced = []
    for row in range(len(parents[0])):
        prefixes = []
        for kept in range(len(parents[0][row])):
            reversed_ids, index = [], kept
            for frame in reversed(range(len(history))):
                if ids[frame][row][index] != NO_ID:
                    reversed_ids.append(ids[frame][row][index])
                index = parents[frame][row][index]
            prefixes.append(reversed_ids[::-1])
        traced.append(prefixes)
    return traced
