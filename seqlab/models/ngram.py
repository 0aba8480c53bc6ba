"""An n-gram language model with modified Kneser-Ney smoothing: a trie in flat tensors, read from top to bottom.

An n-gram that the trie holds has its probability there. Any other has that of the n-gram without its first id, times
the backoff of its context where the trie holds that: so each probability is one entry and a sum of backoffs.

Shapes: B rows of ids, T positions, V vocabulary, E n-grams of all lengths and that of no ids, N rows while decoding.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate, chain
from typing import Annotated, ClassVar, Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike
from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from seqlab.base.bounds import Count
from seqlab.data.batch import IGNORE, TextBatch
from seqlab.models.config import SETTINGS, LanguageModelConfig, TokenSide
from seqlab.models.interfaces import Step
from seqlab.models.kneser_ney import Borders, TrieLevel, estimate

NONE = -1
"""The entry of an n-gram that the trie does not hold."""


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class NgramConfig(LanguageModelConfig):
    """An n-gram language model."""

    family: Literal["ngram_lm"] = "ngram_lm"
    """Which architecture this is."""
    order: Annotated[int, Field(ge=1, le=100)] = 5
    """Ids of the longest n-grams: each id is predicted from up to `order - 1` before it."""
    min_counts: tuple[Count, ...] = ()
    """How often an n-gram of 1, 2, ... ids must be seen to be kept; the last value counts for all longer ones. Begins
    with 1 and does not decrease: (1, 1, 2) leaves out n-grams of three ids and more that were seen once. Empty: all."""

    is_counted: ClassVar[bool] = True

    @property
    def memory_advice(self) -> str:
        """What to change where counting takes too much memory."""
        return f"lower `model.order` (now {self.order}), or count less text"

    def build(self, src: TokenSide, tgt: TokenSide) -> "NgramModel":
        """Build the model, which is uniform."""
        return NgramModel(self, tgt.vocab_size, pad_id=tgt.pad_id, bos_id=tgt.bos_id, eos_id=tgt.eos_id)

    @model_validator(mode="after")
    def _check(self) -> "NgramConfig":
        if len(self.min_counts) > self.order:
            raise ValueError(f"`min_counts` must have at most `order` ({self.order}) values, but is {self.min_counts}.")
        if self.min_counts and (self.min_counts[0] != 1 or list(self.min_counts) != sorted(self.min_counts)):
            raise ValueError(f"`min_counts` must begin with 1 and not decrease, but is {self.min_counts} instead.")
        return self


class Level(NamedTuple):
    """The n-grams of one length: `TrieLevel` in tensors."""

    keys: Tensor
    log_probs: Tensor
    backoffs: Tensor


class NgramState(NamedTuple):
    """Which of the trie's n-grams the ids read so far end with."""

    contexts: Tensor
    """(N, order) int64: column k is the entry of the last k ids, or `NONE`; column 0 is 0, the empty context. Never
    written to."""

    def select(self, rows: Tensor) -> "NgramState":
        """Keep, reorder or repeat rows."""
        return NgramState(self.contexts[rows])

    def fork(self) -> "NgramState":
        """Give the same state: nothing changes it."""
        return self


class NgramModel(nn.Module):
    """A trie of n-grams; a `Stepper` and a `Scorer`. Uniform until `fit`, `load_weights` or `set_levels` fills it.

    It has buffers and no parameters. Ids must lie below `vocab_size`; `pad_id` and `bos_id` are never predicted (-inf).

    All n-grams stand in one table, the shorter before the longer, so that an id is looked up behind contexts of all
    lengths at once. Entry 0 is that of no ids.
    """

    keys: Tensor
    """(E,) int64 ascending: `context * V + last id`, where `context` is the entry of the n-gram without its last id."""
    log_probs: Tensor
    """(E,) fp64"""
    backoffs: Tensor
    """(E without the longest n-grams,) fp64"""

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
    def trie(self) -> list[Level]:
        """List the levels, shortest n-grams first; at most `config.order`."""
        levels = []
        for before, first, end in zip(self.starts, self.starts[1:], self.starts[2:], strict=False):
            keys = self.keys[first:end] - before * self.vocab_size
            levels.append(Level(keys, self.log_probs[first:end], self.backoffs[first:end]))
        return levels

    @property
    def impossible_ids(self) -> list[int]:
        """List the ids but pad and bos whose probability is 0 in every context, as those an ARPA file may lack."""
        possible = self.keys[1:][self.log_probs[1:] > -torch.inf] % self.vocab_size  # the first entry is no n-gram
        is_impossible = torch.ones(self.vocab_size, dtype=torch.bool)
        is_impossible[[self.pad_id, self.bos_id]] = False
        is_impossible[possible.cpu()] = False
        found: list[int] = is_impossible.nonzero().flatten().tolist()
        return found

    def set_levels(self, levels: Sequence[TrieLevel]) -> None:
        """Replace the whole trie."""
        self._set([Level(*map(torch.from_numpy, level)) for level in levels])

    def _set(self, levels: Sequence[Level]) -> None:
        self.starts = list(accumulate((len(level.keys) for level in levels), initial=1))
        """The first entry of each length, and behind the last one."""
        self.starts.insert(0, 0)
        keys = [level.keys + before * self.vocab_size for level, before in zip(levels, self.starts, strict=False)]
        no_ids, none = keys[0].new_full((1,), torch.iinfo(torch.int64).min), levels[0].log_probs.new_zeros(1)
        tables = {
            "keys": torch.cat([no_ids, *keys]),
            "log_probs": torch.cat([none, *(level.log_probs for level in levels)]),
            "backoffs": torch.cat([none, *(level.backoffs for level in levels)]),
        }
        for name, table in tables.items():
            self.register_buffer(name, table, persistent=False)

    def weights(self) -> dict[str, Tensor]:
        """The trie as named tensors, for `load_weights`."""
        levels = enumerate(self.trie)
        return {f"levels.{i}.{field}": tensor for i, level in levels for field, tensor in level._asdict().items()}

    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Replace the trie by one that `weights` gave; raises ValueError where it does not fit config or vocabulary."""
        num_levels = len(weights) // len(Level._fields)
        names = [[f"levels.{i}.{field}" for field in Level._fields] for i in range(num_levels)]
        if not weights or set(weights) != set(chain.from_iterable(names)):
            raise ValueError(f"These are not the weights of an n-gram model, but {', '.join(sorted(weights))}.")
        found = len(weights["levels.0.keys"])
        if found != self.vocab_size or num_levels > self.config.order:
            raise ValueError(
                f"The weights are of order {num_levels} over {found} ids, but config and vocabulary say order "
                f"{self.config.order} over {self.vocab_size} ids."
            )
        self._set([Level(*(weights[name] for name in level)) for level in names])

    def start(self, batch: TextBatch, need_attention: bool = False) -> tuple[Tensor, NgramState]:
        """Read the prompts `batch.tgt_in` (B, T) but for their last ids, which the first step reads.

        They have equal lengths of at least 1 and no padding; the first id is bos, or eos where the model was fitted to
        a stream. There is no attention.
        """
        contexts = self._read(batch.tgt_in[:, :-1], self._empty(batch.tgt_in))
        return batch.tgt_in[:, -1], NgramState(contexts[:, -1])

    def step(self, last_ids: Tensor, state: NgramState) -> Step:
        """Read one id per row (N,) and score the next: (N, V) in fp32."""
        _, contexts = self.read(last_ids, state.contexts)  # (N, order)
        backoffs = self._backoffs(contexts)
        scores = self.log_probs[self.starts[1] : self.starts[2]] + backoffs[:, :1]
        for length in range(1, contexts.size(1)):
            rows, entries = self._continuations(contexts[:, length])
            scores[rows, self.keys[entries] % self.vocab_size] = self.log_probs[entries] + backoffs[rows, length]
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
        return self.read(ids, contexts)[0].masked_fill(ignored, 0.0), {"contexts": read[:, -1]}

    def contexts_behind(self, batch: TextBatch) -> Tensor:
        """Read the prompts `batch.tgt_in` (B, T), of equal lengths: the contexts (B, order) behind them."""
        return self._read(batch.tgt_in, self._empty(batch.tgt_in))[:, -1]

    def read(self, ids: Tensor, contexts: Tensor) -> tuple[Tensor, Tensor]:
        """Read an id (...) behind each context (..., order): log-probabilities (...) in fp64, and the contexts then."""
        entries = self._find(contexts, ids[..., None])
        places = torch.arange(contexts.size(-1), device=ids.device)
        longest = torch.where(entries == NONE, 0, places).amax(-1, keepdim=True)
        backoffs = self._backoffs(contexts).expand(entries.shape).gather(-1, longest)
        log_probs = self.log_probs[entries.gather(-1, longest)] + backoffs
        return log_probs[..., 0], F.pad(entries[..., :-1], (1, 0))

    def _empty(self, ids: Tensor) -> Tensor:
        """Make the contexts (B, order) of rows (B, T) before anything is read."""
        contexts = ids.new_full((len(ids), len(self.starts) - 2), NONE)
        contexts[:, 0] = 0
        return contexts

    def _read(self, ids: Tensor, before: Tensor) -> Tensor:
        """Read ids (B, T) after contexts (B, order), which come first in what this gives: (B, T + 1, order)."""
        columns = [ids.new_zeros(len(ids), ids.size(1) + 1)]
        for length in range(1, before.size(1)):
            ends = self._find(columns[-1][:, :-1], ids)
            columns.append(torch.cat([before[:, length : length + 1], ends], dim=1))
        return torch.stack(columns, dim=-1)

    def _find(self, contexts: Tensor, ids: Tensor) -> Tensor:
        """Give the entries of contexts with one id more, or `NONE`, which contexts may be too; both are broadcast."""
        wanted = contexts * self.vocab_size + ids  # below 0 where there is no context
        entries = torch.searchsorted(self.keys, wanted).clamp_(max=len(self.keys) - 1)
        return torch.where(self.keys[entries] == wanted, entries, NONE)

    def _continuations(self, contexts: Tensor) -> tuple[Tensor, Tensor]:
        """Find all n-grams that have one of these contexts (N,): the row of each (M,), and its entry (M,)."""
        first = torch.searchsorted(self.keys, contexts * self.vocab_size)
        counts = torch.searchsorted(self.keys, (contexts + 1) * self.vocab_size) - first
        rows = torch.arange(len(contexts), device=contexts.device).repeat_interleave(counts)
        # Each entry's place: its context's first entry, plus its rank among those of its row.
        shift = first - (counts.cumsum(0) - counts)
        return rows, torch.arange(len(rows), device=contexts.device) + shift[rows]

    def _backoffs(self, contexts: Tensor) -> Tensor:
        """Sum what is added to the log-probability of an n-gram that ends after contexts (..., order): (..., order).

        That is, for n-grams of 1, 2, ... ids, the backoffs of the contexts which are longer than its own.
        """
        longer = contexts[..., 1:]
        backoffs = self.backoffs[longer].masked_fill(longer == NONE, 0.0)
        return F.pad(backoffs.flip(-1).cumsum(-1).flip(-1), (0, 1))
