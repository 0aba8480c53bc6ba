"""Random segmentations under a sentencepiece model, drawn with numpy: the same from the same seed in every process.

sentencepiece's own sampling is not that: since its version 0.2.2 the draws also depend on a number that each process
takes from the operating system, so that no resumed run would see the same text again. Here a line is cut at its spaces,
which no piece of ours crosses, and all words of all lines are segmented side by side, one decision for each of them at
a time.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import accumulate, chain

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]
_MAX_CACHED_WORDS = 100_000
# A lattice: a row for each piece in a word, ordered by where it ends, with that position, the probability that a way to
# there ends in this piece or in one of those before it, and the piece's length (both counted in symbols) and id.
Lattice = NDArray[np.float64]  # (pieces, 4)

_NO_MERGE = np.iinfo(np.int64).max


class _WordTable:
    """The words of some lines: each distinct one once, and for each occurrence which one it is."""

    def __init__(self, lines: Sequence[str]) -> None:
        words = [["▁" + word for word in line.split(" ")] if line else [] for line in lines]
        index: dict[str, int] = {}
        self.occurrences: Ids = np.array([index.setdefault(w, len(index)) for w in chain(*words)], dtype=np.int64)
        self.distinct = list(index)
        self.line_ends: Ids = np.cumsum([len(row) for row in words], dtype=np.int64)

    def rows(self, owners: Ids, ids: Ids) -> list[list[int]]:
        """Put each occurrence's ids, which are in order but mixed with those of others, back into its line."""
        flat: list[int] = ids[np.argsort(owners, kind="stable")].tolist()
        sizes = np.bincount(owners, minlength=len(self.occurrences))
        ends = np.concatenate([[0], np.cumsum(sizes)])[self.line_ends].tolist()
        return [flat[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)]


class BpeDropout:
    """BPE that leaves out each possible merge with some probability (Provilkov et al., 2020).

    `ids` maps pieces to ids, which rise in the order in which the pieces were learned; `byte_ids` are those of the
    bytes 0 to 255, for characters that are no piece.
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
        self._pairs: Ids = np.array([*sorted(merges), _NO_MERGE], dtype=np.int64)
        self._merged: Ids = np.array([*(merges[pair] for pair in sorted(merges)), _NO_MERGE], dtype=np.int64)

    def __call__(self, lines: Sequence[str], generator: np.random.Generator, strength: float) -> list[list[int]]:
        """Draw a segmentation of each line, each merge left out with probability `strength`."""
        words = _WordTable(lines)
        if not len(words.occurrences):
            return [[] for _ in lines]
        owners, symbols, merges = self._spell(words)
        done: list[tuple[Ids, Ids]] = []
        while len(owners):  # one merge, done or left out, in every word that still has one
            starts = np.flatnonzero(np.diff(owners, prepend=-1))
            lengths = np.diff(starts, append=len(owners))
            best = np.minimum.reduceat(merges, starts)
            finished = np.repeat(best == _NO_MERGE, lengths)
            done.append((owners[finished], symbols[finished]))
            candidates = np.flatnonzero((merges == np.repeat(best, lengths)) & ~finished)
            chosen = candidates[np.diff(owners[candidates], prepend=-1) != 0]  # one a word, the leftmost of equals
            left_out = generator.random(len(chosen)) < strength
            merges[chosen[left_out]] = _NO_MERGE
            chosen = chosen[~left_out]
            symbols[chosen] = merges[chosen]
            keep = ~finished
            keep[chosen + 1] = False
            changed = np.zeros(len(owners), dtype=bool)
            changed[chosen] = True
            owners, symbols, merges, changed = owners[keep], symbols[keep], merges[keep], changed[keep]
            self._update(owners, symbols, merges, np.flatnonzero(changed))
        return words.rows(np.concatenate([o for o, _ in done]), np.concatenate([s for _, s in done]))

    def _spell(self, words: _WordTable) -> tuple[Ids, Ids, Ids]:
        """Return for each character (or byte) its occurrence, its id, and what it makes with the one after it."""
        spelt = [_spell(word, self._ids, self._byte_ids) for word in words.distinct]
        sizes: Ids = np.array([len(ids) for ids in spelt], dtype=np.int64)
        symbols: Ids = np.fromiter(chain(*spelt), dtype=np.int64)
        merges: Ids = np.full(len(symbols), _NO_MERGE)
        self._update(np.repeat(np.arange(len(sizes)), sizes), symbols, merges, np.arange(len(symbols)))
        # From the distinct words to their occurrences: where in `symbols` each one's copy comes from.
        lengths = sizes[words.occurrences]
        shifts = (np.cumsum(sizes) - sizes)[words.occurrences] - (np.cumsum(lengths) - lengths)
        sources = np.arange(lengths.sum()) + np.repeat(shifts, lengths)
        return np.repeat(np.arange(len(lengths)), lengths), symbols[sources], merges[sources]

    def _update(self, owners: Ids, symbols: Ids, merges: Ids, changed: Ids) -> None:
        """Look up again what the changed symbols make with their neighbours on both sides."""
        left = np.concatenate([changed, changed[changed > 0] - 1])
        merges[left] = _NO_MERGE
        left = left[left + 1 < len(owners)]
        left = left[owners[left] == owners[left + 1]]
        pairs = symbols[left] * self._base + symbols[left + 1]
        found = np.searchsorted(self._pairs, pairs)
        merges[left] = np.where(self._pairs[found] == pairs, self._merged[found], _NO_MERGE)


class UnigramSampling:
    """Segmentations in proportion to a power of their probability under a unigram model (Kudo, 2018).

    `log_probs` holds each id's log-probability. A word's segmentations are the paths through a lattice of its
    character positions, drawn from the end by the mass that leads to each position.
    """

    def __init__(self, ids: Mapping[str, int], byte_ids: Sequence[int], log_probs: Sequence[float]) -> None:
        self._ids, self._byte_ids, self._log_probs = ids, byte_ids, log_probs
        self._longest = max(map(len, ids))
        self._lattices: dict[tuple[str, float], Lattice] = {}

    def __call__(self, lines: Sequence[str], generator: np.random.Generator, strength: float) -> list[list[int]]:
        """Draw a segmentation of each line by its probability to the power of `1 - strength`."""
        words = _WordTable(lines)
        if not len(words.occurrences):
            return [[] for _ in lines]
        lattices = [self._lattice(word, 1 - strength) for word in words.distinct]
        # Nodes are the positions of all words, end to end; a word of n symbols has n + 1 of them.
        node_counts: Ids = np.array([lattice[-1, 0] + 1 for lattice in lattices], dtype=np.int64)
        first_nodes = np.cumsum(node_counts) - node_counts
        position, cumulated, length, ids = np.concatenate(lattices).T
        edge_nodes = np.repeat(first_nodes, [len(lattice) for lattice in lattices]) + position.astype(np.int64)
        # A node's pieces lie at the node's number plus their cumulated probabilities: one search finds the piece for
        # the number plus a draw (which has 24 bits, so that no sum is rounded up to the next node).
        bounds = edge_nodes + cumulated
        origins = edge_nodes - length.astype(np.int64)
        is_first = np.zeros(node_counts.sum(), dtype=bool)
        is_first[first_nodes] = True

        owners: Ids = np.arange(len(words.occurrences))
        nodes = (first_nodes + node_counts - 1)[words.occurrences]
        drawn: list[tuple[Ids, Ids]] = []
        while len(owners):
            chosen = np.searchsorted(bounds, nodes + generator.random(len(nodes), np.float32), side="right")
            drawn.append((owners, ids[chosen].astype(np.int64)))
            nodes = origins[chosen]
            owners, nodes = owners[~is_first[nodes]], nodes[~is_first[nodes]]
        drawn.reverse()  # from the end of each word to its start
        return words.rows(np.concatenate([o for o, _ in drawn]), np.concatenate([i for _, i in drawn]))

    def _lattice(self, word: str, power: float) -> Lattice:
        lattice = self._lattices.get((word, power))
        if lattice is None:
            if len(self._lattices) >= _MAX_CACHED_WORDS:
                self._lattices.clear()
            lattice = self._lattices[word, power] = self._build_lattice(word, power)
        return lattice

    def _build_lattice(self, word: str, power: float) -> Lattice:
        symbols = _spell(word, self._ids, self._byte_ids)
        # No piece spans a byte: text with NUL, which no piece has, in the place of each.
        text = "".join(c if c in self._ids else "\0" * len(c.encode()) for c in word)
        masses = [0.0]  # log of the summed weight of all ways to each position
        rows: list[tuple[int, float, int, int]] = []
        for end in range(1, len(symbols) + 1):
            lengths = range(1, min(end, self._longest) + 1)
            pieces = [(n, self._ids[text[end - n : end]]) for n in lengths[1:] if text[end - n : end] in self._ids]
            pieces.append((1, symbols[end - 1]))
            weights = [masses[end - n] + power * self._log_probs[index] for n, index in pieces]
            top = max(weights)
            sums = list(accumulate([math.exp(weight - top) for weight in weights]))
            masses.append(top + math.log(sums[-1]))
            rows.extend((end, mass / sums[-1], n, index) for mass, (n, index) in zip(sums, pieces, strict=True))
        return np.array(rows)


def _spell(word: str, ids: Mapping[str, int], byte_ids: Sequence[int]) -> list[int]:
    """Return the word's characters as ids, and the bytes of those that have none."""
    spelt: list[int] = []
    for character in word:
        index = ids.get(character)
        if index is None:
            spelt.extend(byte_ids[byte] for byte in character.encode())
        else:
            spelt.append(index)
    return spelt
