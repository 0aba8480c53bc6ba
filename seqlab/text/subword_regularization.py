"""Subword regularization with numpy: reproducible sampling of segmentations under a sentencepiece model.

The same seed gives the same segmentations in every process, which an exact resume needs. sentencepiece's own sampling
does not: since version 0.2.2, its random numbers also depend on the process. Here, lines are split into words at
spaces, which no piece crosses. All words of all lines are segmented in parallel, with one decision per word at a time.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import accumulate, chain

import numpy as np
from numpy.typing import NDArray

IdArray = NDArray[np.int64]
_MAX_CACHED_LATTICES = 100_000
Lattice = NDArray[np.float64]
"""Segmentation lattice of a word, (pieces, 4): one row per possible piece, in the order of their end positions.

The columns are the end position, the cumulative probability (over the pieces with the same end, up to this one) that a
segmentation of the prefix ends with it, the length, and the id. Positions and lengths count characters or bytes.
"""
_NO_MERGE = np.iinfo(np.int64).max


class _WordTable:
    """The distinct words of lines, and for each word in the lines its index among the distinct words."""

    def __init__(self, lines: Sequence[str]) -> None:
        words = [["▁" + word for word in line.split(" ")] if line else [] for line in lines]
        index: dict[str, int] = {}
        self.occurrences: IdArray = np.array([index.setdefault(w, len(index)) for w in chain(*words)], dtype=np.int64)
        self.distinct = list(index)
        self.line_ends: IdArray = np.cumsum([len(row) for row in words], dtype=np.int64)

    def rows(self, owners: IdArray, ids: IdArray) -> list[list[int]]:
        """Group ids by line; `owners` is the word occurrence of each id. The ids of an occurrence must be in order."""
        flat: list[int] = ids[np.argsort(owners, kind="stable")].tolist()
        sizes = np.bincount(owners, minlength=len(self.occurrences))
        ends = np.concatenate([[0], np.cumsum(sizes)])[self.line_ends].tolist()
        return [flat[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)]


class BpeDropout:
    """BPE-dropout: BPE that skips each possible merge with some probability (Provilkov et al., 2020).

    `ids` maps pieces to ids, which are in the order of the merges. `byte_ids` are the ids of the bytes 0 to 255, for
    characters that are not pieces.
    """

    def __init__(self, ids: Mapping[str, int], byte_ids: Sequence[int]) -> None:
        self._ids, self._byte_ids = ids, byte_ids
        self._base = max(chain(ids.values(), byte_ids)) + 1
        merges = {
            ids[piece[:cut]] * self._base + ids[piece[cut:]]: merged
            for piece, merged in ids.items()
            for cut in range(1, len(piece))
            if piece[:cut] in ids and piece[cut:] in ids
        }
        self._pairs: IdArray = np.array([*sorted(merges), _NO_MERGE], dtype=np.int64)
        self._merged: IdArray = np.array([*(merges[pair] for pair in sorted(merges)), _NO_MERGE], dtype=np.int64)

    def __call__(self, lines: Sequence[str], generator: np.random.Generator, strength: float) -> list[list[int]]:
        """Sample a segmentation of each line; each merge is skipped with probability `strength`."""
        words = _WordTable(lines)
        if not len(words.occurrences):
            return [[] for _ in lines]
        owners, units, merges = self._spell_words(words)
        done: list[tuple[IdArray, IdArray]] = []
        while len(owners):  # apply or skip one merge in every word that still has possible merges
            starts = np.flatnonzero(np.diff(owners, prepend=-1))
            lengths = np.diff(starts, append=len(owners))
            best = np.minimum.reduceat(merges, starts)
            finished = np.repeat(best == _NO_MERGE, lengths)
            done.append((owners[finished], units[finished]))
            candidates = np.flatnonzero((merges == np.repeat(best, lengths)) & ~finished)
            # One per word: the leftmost of equal merges.
            leftmost = candidates[np.diff(owners[candidates], prepend=-1) != 0]
            skipped = generator.random(len(leftmost)) < strength
            merges[leftmost[skipped]] = _NO_MERGE
            leftmost = leftmost[~skipped]
            units[leftmost] = merges[leftmost]
            keep = ~finished
            keep[leftmost + 1] = False
            changed = np.zeros(len(owners), dtype=bool)
            changed[leftmost] = True
            owners, units, merges, changed = owners[keep], units[keep], merges[keep], changed[keep]
            self._update(owners, units, merges, np.flatnonzero(changed))
        return words.rows(np.concatenate([o for o, _ in done]), np.concatenate([s for _, s in done]))

    def _spell_words(self, words: _WordTable) -> tuple[IdArray, IdArray, IdArray]:
        """Return each character's (or byte's) word occurrence, its id, and the id of its merge with the next one."""
        spelled = [_spell_word(word, self._ids, self._byte_ids) for word in words.distinct]
        sizes: IdArray = np.array([len(ids) for ids in spelled], dtype=np.int64)
        units: IdArray = np.fromiter(chain(*spelled), dtype=np.int64)
        merges: IdArray = np.full(len(units), _NO_MERGE)
        self._update(np.repeat(np.arange(len(sizes)), sizes), units, merges, np.arange(len(units)))
        # From the distinct words to their occurrences: the index in `units` from which each occurrence is copied.
        lengths = sizes[words.occurrences]
        shifts = (np.cumsum(sizes) - sizes)[words.occurrences] - (np.cumsum(lengths) - lengths)
        sources = np.arange(lengths.sum()) + np.repeat(shifts, lengths)
        return np.repeat(np.arange(len(lengths)), lengths), units[sources], merges[sources]

    def _update(self, owners: IdArray, units: IdArray, merges: IdArray, changed: IdArray) -> None:
        """Update the merges of the changed units with their left and right neighbors."""
        left = np.concatenate([changed, changed[changed > 0] - 1])
        merges[left] = _NO_MERGE
        left = left[left + 1 < len(owners)]
        left = left[owners[left] == owners[left + 1]]
        pairs = units[left] * self._base + units[left + 1]
        positions = np.searchsorted(self._pairs, pairs)
        merges[left] = np.where(self._pairs[positions] == pairs, self._merged[positions], _NO_MERGE)


class UnigramSampler:
    """Unigram sampling: segmentations with a probability proportional to a power of the model's (Kudo, 2018).

    `log_probs` are the log-probabilities of the ids. The segmentations of a word are the paths through its lattice.
    Paths are sampled backward from the end of the word (forward filtering, backward sampling).
    """

    def __init__(self, ids: Mapping[str, int], byte_ids: Sequence[int], log_probs: Sequence[float]) -> None:
        self._ids, self._byte_ids, self._log_probs = ids, byte_ids, log_probs
        self._longest = max(map(len, ids))
        self._lattices: dict[tuple[str, float], Lattice] = {}

    def __call__(self, lines: Sequence[str], generator: np.random.Generator, strength: float) -> list[list[int]]:
        """Sample a segmentation of each line in proportion to its probability to the power of `1 - strength`."""
        words = _WordTable(lines)
        if not len(words.occurrences):
            return [[] for _ in lines]
        lattices = [self._lattice(word, 1 - strength) for word in words.distinct]
        # Nodes are the concatenated positions of all words; a word of n characters or bytes has n + 1 nodes.
        node_counts: IdArray = np.array([lattice[-1, 0] + 1 for lattice in lattices], dtype=np.int64)
        first_nodes = np.cumsum(node_counts) - node_counts
        position, cumulative, length, ids = np.concatenate(lattices).T
        edge_nodes = np.repeat(first_nodes, [len(lattice) for lattice in lattices]) + position.astype(np.int64)
        # The sort key of a piece is the number of the node at its end plus its cumulative probability. Searching the
        # keys for a node number plus a uniform random number finds the sampled piece. The random number has 24 bits, so
        # that the sum is not rounded up to the next node.
        keys = edge_nodes + cumulative
        start_nodes = edge_nodes - length.astype(np.int64)
        is_first = np.zeros(node_counts.sum(), dtype=bool)
        is_first[first_nodes] = True

        owners: IdArray = np.arange(len(words.occurrences))
        nodes = (first_nodes + node_counts - 1)[words.occurrences]
        drawn: list[tuple[IdArray, IdArray]] = []
        while len(owners):
            indices = np.searchsorted(keys, nodes + generator.random(len(nodes), np.float32), side="right")
            drawn.append((owners, ids[indices].astype(np.int64)))
            nodes = start_nodes[indices]
            owners, nodes = owners[~is_first[nodes]], nodes[~is_first[nodes]]
        drawn.reverse()  # they were drawn from the end of each word to its start
        return words.rows(np.concatenate([o for o, _ in drawn]), np.concatenate([i for _, i in drawn]))

    def _lattice(self, word: str, power: float) -> Lattice:
        """Return the lattice of a word from the cache, or build it."""
        lattice = self._lattices.get((word, power))
        if lattice is None:
            if len(self._lattices) >= _MAX_CACHED_LATTICES:
                self._lattices.clear()
            lattice = self._lattices[word, power] = self._build_lattice(word, power)
        return lattice

    def _build_lattice(self, word: str, power: float) -> Lattice:
        """Build the lattice of a word by the forward algorithm, with piece probabilities to the power of `power`."""
        units = _spell_word(word, self._ids, self._byte_ids)
        # Characters without an id are encoded as bytes. Longer pieces contain no bytes: replace each byte by NUL.
        text = "".join(c if c in self._ids else "\0" * len(c.encode()) for c in word)
        log_totals = [0.0]  # log of the total weight of all segmentations up to each position
        rows: list[tuple[int, float, int, int]] = []
        for end in range(1, len(units) + 1):
            lengths = range(1, min(end, self._longest) + 1)
            pieces = [(n, self._ids[text[end - n : end]]) for n in lengths[1:] if text[end - n : end] in self._ids]
            pieces.append((1, units[end - 1]))
            weights = [log_totals[end - n] + power * self._log_probs[index] for n, index in pieces]
            top = max(weights)
            sums = list(accumulate([math.exp(weight - top) for weight in weights]))
            log_totals.append(top + math.log(sums[-1]))
            rows.extend((end, total / sums[-1], n, index) for total, (n, index) in zip(sums, pieces, strict=True))
        return np.array(rows)


def _spell_word(word: str, ids: Mapping[str, int], byte_ids: Sequence[int]) -> list[int]:
    """Return the ids of the characters of a word; a character without an id gives the ids of its bytes."""
    spelled: list[int] = []
    for character in word:
        index = ids.get(character)
        if index is None:
            spelled.extend(byte_ids[byte] for byte in character.encode())
        else:
            spelled.append(index)
    return spelled
