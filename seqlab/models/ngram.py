"""An n-gram language model with modified Kneser-Ney smoothing: a trie in flat tensors, read from top to bottom.

An n-gram that the trie holds has its probability there. Any other has that of the n-gram without its first id, times
the backoff of its context where the trie holds that: so each probability is one entry and a sum of backoffs.

Shapes: B rows of ids, T positions, V vocabulary, E n-grams of one length, N rows while decoding.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import ClassVar, Literal, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import ArrayLike
from pydantic import model_validator
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from seqlab.data.batch import IGNORE, TextBatch
from seqlab.models.family import SETTINGS, Family
from seqlab.models.interfaces import Step
from seqlab.models.kneser_ney import Borders, TrieLevel, estimate

NONE = -1
"""The index of an n-gram that the trie does not hold."""


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class NgramConfig(Family):
    """An n-gram language model."""

    family: Literal["ngram_lm"] = "ngram_lm"
    """Which architecture this is."""
    order: int = 5
    """Ids of the longest n-grams: each id is predicted from up to `order - 1` before it."""
    min_counts: tuple[int, ...] = ()
    """How often an n-gram of 1, 2, ... ids must be seen to be kept; the last value counts for all longer ones. Begins
    with 1 and does not decrease: (1, 1, 2) leaves out n-grams of three ids and more that were seen once. Empty: all."""

    is_counted: ClassVar[bool] = True

    @model_validator(mode="after")
    def _check(self) -> "NgramConfig":
        if self.order < 1:
            raise ValueError(f"`order` must be at least 1, but is {self.order} instead.")
        if len(self.min_counts) > self.order:
            raise ValueError(f"`min_counts` must have at most `order` ({self.order}) values, but is {self.min_counts}.")
        if self.min_counts and (self.min_counts[0] != 1 or list(self.min_counts) != sorted(self.min_counts)):
            raise ValueError(f"`min_counts` must begin with 1 and not decrease, but is {self.min_counts} instead.")
        return self


class Level(nn.Module):
    """The n-grams of one length, as buffers: see `TrieLevel`."""

    keys: Tensor
    log_probs: Tensor
    backoffs: Tensor

    def __init__(self, vocab_size: int, keys: Tensor, log_probs: Tensor, backoffs: Tensor) -> None:
        super().__init__()
        self.register_buffer("keys", keys)
        self.register_buffer("log_probs", log_probs)
        self.register_buffer("backoffs", backoffs)
        self.vocab_size = vocab_size

    def find(self, contexts: Tensor, ids: Tensor) -> Tensor:
        """Look n-grams up by the index of their context in the level before, which may be `NONE`, and their last id."""
        wanted = contexts * self.vocab_size + ids  # below 0 where there is no context
        places = torch.searchsorted(self.keys, wanted).clamp_(max=len(self.keys) - 1)
        return torch.where(self.keys[places] == wanted, places, NONE)

    def continuations(self, contexts: Tensor) -> tuple[Tensor, Tensor]:
        """Find all n-grams that have one of these contexts (N,): the row of each (M,), and its index (M,)."""
        first = torch.searchsorted(self.keys, contexts * self.vocab_size)
        counts = torch.searchsorted(self.keys, (contexts + 1) * self.vocab_size) - first
        rows = torch.arange(len(contexts), device=contexts.device).repeat_interleave(counts)
        # Each entry's place: its context's first entry, plus its rank among those of its row.
        shift = first - (counts.cumsum(0) - counts)
        return rows, torch.arange(len(rows), device=contexts.device) + shift[rows]


class NgramState(NamedTuple):
    """Which of the trie's n-grams the ids read so far end with."""

    contexts: Tensor
    """(N, order) int64: column k is the index of the last k ids among the n-grams of k ids, or `NONE`; column 0 is 0,
    the empty context. Never written to."""

    def select(self, rows: Tensor) -> "NgramState":
        """Keep, reorder or repeat rows."""
        return NgramState(self.contexts[rows])

    def fork(self) -> "NgramState":
        """Give the same state: nothing changes it."""
        return self


class NgramModel(nn.Module):
    """A trie of n-grams; a `Stepper` and a `Scorer`. Uniform until `fit`, `load_weights` or `set_levels` fills it.

    It has buffers and no parameters. Ids must lie below `vocab_size`; `pad_id` and `bos_id` are never predicted (-inf).
    """

    embeddings: ClassVar[dict[str, str]] = {}
    """The parameter that the ids of each side are looked up in: there is none."""

    def __init__(self, config: NgramConfig, vocab_size: int, pad_id: int, bos_id: int, eos_id: int) -> None:
        super().__init__()
        self.config, self.vocab_size = config, vocab_size
        self.pad_id, self.bos_id, self.eos_id = pad_id, bos_id, eos_id
        log_probs = np.full(vocab_size, -math.log(vocab_size - 2))
        log_probs[[pad_id, bos_id]] = -math.inf
        self.set_levels([TrieLevel(np.arange(vocab_size), log_probs, np.zeros(0))])

    def fit(self, documents: Iterable[ArrayLike], borders: Borders = "lines") -> None:
        """Estimate the model from rows of ids without pad, bos and eos; see `estimate`, also for what it raises."""
        self.set_levels(
            estimate(
                documents,
                order=self.config.order,
                vocab_size=self.vocab_size,
                pad_id=self.pad_id,
                bos_id=self.bos_id,
                eos_id=self.eos_id,
                borders=borders,
                min_counts=self.config.min_counts,
            )
        )

    @property
    def trie(self) -> Sequence[Level]:
        """List the levels, shortest n-grams first; at most `config.order`."""
        return cast(Sequence[Level], self.levels)

    def set_levels(self, levels: Sequence[TrieLevel]) -> None:
        """Replace the whole trie."""
        self._set([[torch.from_numpy(array) for array in level] for level in levels])

    def _set(self, levels: Sequence[Sequence[Tensor]]) -> None:
        self.levels = nn.ModuleList(Level(self.vocab_size, *tensors) for tensors in levels)

    def weights(self) -> dict[str, Tensor]:
        """The trie as named tensors, for `load_weights`; the same as `state_dict()`."""
        return dict(self.named_buffers())

    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Replace the trie by one that `weights` gave; raises ValueError where it does not fit config or vocabulary."""
        num_levels = len(weights) // len(TrieLevel._fields)
        names = [[f"levels.{i}.{field}" for field in TrieLevel._fields] for i in range(num_levels)]
        if not weights or set(weights) != set(chain.from_iterable(names)):
            raise ValueError(f"These are not the weights of an n-gram model, but {', '.join(sorted(weights))}.")
        found = len(weights["levels.0.keys"])
        if found != self.vocab_size or num_levels > self.config.order:
            raise ValueError(
                f"The weights are of order {num_levels} over {found} ids, but config and vocabulary say order "
                f"{self.config.order} over {self.vocab_size} ids."
            )
        self._set([[weights[name] for name in level] for level in names])

    def start(self, batch: TextBatch, need_attention: bool = False) -> tuple[Tensor, NgramState]:
        """Read the prompts `batch.tgt_in` (B, T) but for their last ids, which the first step reads.

        They have equal lengths of at least 1 and no padding; the first id is bos, or eos where the model was fitted to
        a stream. There is no attention.
        """
        contexts = self._read(batch.tgt_in[:, :-1], self._empty(batch.tgt_in))
        return batch.tgt_in[:, -1], NgramState(contexts[:, -1])

    def step(self, last_ids: Tensor, state: NgramState) -> Step:
        """Read one id per row (N,) and score the next: (N, V) in fp32."""
        contexts = self.read(last_ids, state.contexts)  # (N, order)
        backoffs = self._backoffs(contexts)
        scores = self.trie[0].log_probs + backoffs[0][:, None]
        for length, level in enumerate(self.trie[1:], start=1):
            rows, entries = level.continuations(contexts[:, length])
            scores[rows, level.keys[entries] % self.vocab_size] = level.log_probs[entries] + backoffs[length][rows]
        return Step(scores.float(), NgramState(contexts), None)

    def score(self, batch: TextBatch) -> Tensor:
        """(B, T) fp64: log-probabilities in nats of `batch.tgt_out` after `batch.tgt_in`, 0 where it is `IGNORE`.

        The context of an id is what stands before it in its row.
        """
        return self.score_on(batch, None)[0]

    def score_on(self, batch: TextBatch, carry: dict[str, Tensor] | None) -> tuple[Tensor, dict[str, Tensor]]:
        """Score rows that go on where those before them ended; give what the next ones go on from."""
        before = self._empty(batch.tgt_in) if carry is None else carry["contexts"]
        read = self._read(batch.tgt_in, before)
        contexts = read[:, 1:]  # (B, T, order)
        ignored = batch.tgt_out == IGNORE
        ids = batch.tgt_out.masked_fill(ignored, self.eos_id)
        return self.look_up(ids, contexts).masked_fill(ignored, 0.0), {"contexts": read[:, -1]}

    def contexts_behind(self, batch: TextBatch) -> Tensor:
        """Read the prompts `batch.tgt_in` (B, T), of equal lengths: the contexts (B, order) behind them."""
        return self._read(batch.tgt_in, self._empty(batch.tgt_in))[:, -1]

    def look_up(self, ids: Tensor, contexts: Tensor) -> Tensor:
        """Give the log-probabilities (...) in fp64 of ids (...) behind contexts (..., order), which are broadcast."""
        scores = torch.zeros(ids.shape, dtype=torch.float64, device=ids.device)
        for length, (level, backoffs) in enumerate(zip(self.trie, self._backoffs(contexts), strict=True)):
            entries = level.find(contexts[..., length], ids)
            scores = torch.where(entries == NONE, scores, level.log_probs[entries] + backoffs)
        return scores

    def read(self, ids: Tensor, contexts: Tensor) -> Tensor:
        """Read an id (...) after each context (..., order): the contexts (..., order) behind it."""
        longer = [level.find(contexts[..., length], ids) for length, level in enumerate(self.trie[:-1])]
        return torch.stack([torch.zeros_like(ids), *longer], dim=-1)

    def _empty(self, ids: Tensor) -> Tensor:
        """Make the contexts (B, order) of rows (B, T) before anything is read."""
        contexts = ids.new_full((len(ids), len(self.levels)), NONE)
        contexts[:, 0] = 0
        return contexts

    def _read(self, ids: Tensor, before: Tensor) -> Tensor:
        """Read ids (B, T) after contexts (B, order), which come first in what this gives: (B, T + 1, order)."""
        columns = [ids.new_zeros(len(ids), ids.size(1) + 1)]
        for length, level in enumerate(self.trie[:-1], start=1):
            ends = level.find(columns[-1][:, :-1], ids)
            columns.append(torch.cat([before[:, length : length + 1], ends], dim=1))
        return torch.stack(columns, dim=-1)

    def _backoffs(self, contexts: Tensor) -> list[Tensor]:
        """Sum what is added to the log-probability of an n-gram of 1, 2, ... ids that ends after contexts (..., order).

        That is the backoffs of the contexts which are longer than its own, (...) for each length.
        """
        total = torch.zeros(contexts.shape[:-1], dtype=torch.float64, device=contexts.device)
        sums = [total]
        for length in range(len(self.levels) - 1, 0, -1):
            entries = contexts[..., length]
            total = total + self.trie[length - 1].backoffs[entries].masked_fill(entries == NONE, 0.0)
            sums.append(total)
        return sums[::-1]
