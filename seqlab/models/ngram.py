"""N-gram language model with modified Kneser-Ney smoothing, as a backoff trie in flat tensors.

The trie holds the log-probabilities of its n-grams. The probability of any other n-gram is that of the n-gram without
its first id, times the backoff of its context if the trie holds this context. A log-probability is therefore one entry
of the trie plus a sum of log backoffs.

Shapes: B rows of ids, T positions, V vocabulary, E n-grams of all orders and the empty n-gram, N rows while decoding.
"""

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate, chain
from typing import Annotated, ClassVar, Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike
from pydantic import Field, model_validator
from torch import Tensor, nn

from seqlab.base.bounds import Count
from seqlab.base.config_class import dataclass
from seqlab.data.batch import IGNORE, TextBatch
from seqlab.models.config import SETTINGS, Ability, LanguageModelConfig, TokenSide
from seqlab.models.interfaces import Step
from seqlab.models.kneser_ney import TextBoundaries, TrieLevel, estimate

ABSENT = -1
"""Index of n-grams that the trie does not hold."""


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class NgramConfig(LanguageModelConfig):
    """An n-gram language model."""

    family: Literal["ngram_lm"] = "ngram_lm"
    """Name of the model family."""
    order: Annotated[int, Field(ge=1, le=100)] = 5
    """Maximum length of n-grams in tokens: each token is predicted from at most `order - 1` tokens before it."""
    min_counts: tuple[Count, ...] = ()
    """Minimum count of n-grams of 1, 2, ... tokens; the last value also applies to longer ones. The first must be 1,
    and the values must not decrease. (1, 1, 2) drops n-grams of three or more tokens that occur once; empty keeps
    all."""

    is_count_based: ClassVar[bool] = True

    @property
    def abilities(self) -> frozenset[Ability]:
        """All layouts of a text, since counting reads no batches."""
        return frozenset({"packed", "contiguous"})

    @property
    def memory_advice(self) -> str:
        """Advice for the error message when counting runs out of memory."""
        return f"lower `model.order` (now {self.order}), or count less text"

    def build(self, src: TokenSide, tgt: TokenSide) -> "NgramModel":
        """Build the model with a uniform distribution."""
        return NgramModel(self, tgt.vocab_size, pad_id=tgt.pad_id, bos_id=tgt.bos_id, eos_id=tgt.eos_id)

    @model_validator(mode="after")
    def _check(self) -> "NgramConfig":
        if len(self.min_counts) > self.order:
            raise ValueError(f"`min_counts` must have at most `order` ({self.order}) values, but is {self.min_counts}.")
        if self.min_counts and (self.min_counts[0] != 1 or list(self.min_counts) != sorted(self.min_counts)):
            raise ValueError(f"`min_counts` must start with 1 and not decrease, but is {self.min_counts} instead.")
        return self


class Level(NamedTuple):
    """The n-grams of one order: `TrieLevel` in tensors."""

    keys: Tensor
    log_probs: Tensor
    backoffs: Tensor


class NgramState(NamedTuple):
    """Contexts of an n-gram model while decoding, as indices of trie entries."""

    contexts: Tensor
    """(N, order) int64: column k is the index of the n-gram of the last k ids, or `ABSENT`; column 0 is 0, the index of
    the empty n-gram. Never changed in place."""

    def select(self, rows: Tensor) -> "NgramState":
        """Keep, reorder or repeat rows."""
        return NgramState(self.contexts[rows])

    def fork(self) -> "NgramState":
        """Return the same state, which is immutable."""
        return self


class NgramModel(nn.Module):
    """N-gram language model; a `Stepper`, `Scorer`, `CarryingScorer`, `FixedContextModel` and `CountBasedModel`.

    The distribution is uniform until `fit`, `load_weights` or `set_levels` is called. The model has buffers and no
    parameters. Ids must be below `vocab_size`; `pad_id` and `bos_id` are never predicted (-inf).

    One table holds the n-grams of all orders, sorted by key, so that a single search looks up an id after contexts of
    all lengths. Entry 0 is the empty n-gram.
    """

    keys: Tensor
    """(E,) int64 ascending: `context * V + last id`; `context` is the index of the n-gram without its last id."""
    log_probs: Tensor
    """(E,) fp64, in nats."""
    backoffs: Tensor
    """fp64, in nats, for all n-grams except those of the highest order."""

    embeddings: ClassVar[dict[str, str]] = {}
    """The model has no embeddings."""

    def __init__(self, config: NgramConfig, vocab_size: int, pad_id: int, bos_id: int, eos_id: int) -> None:
        super().__init__()
        self.config, self.vocab_size = config, vocab_size
        self.pad_id, self.bos_id, self.eos_id = pad_id, bos_id, eos_id
        log_probs = np.full(vocab_size, -math.log(vocab_size - 2))
        log_probs[[pad_id, bos_id]] = -math.inf
        self.set_levels([TrieLevel(np.arange(vocab_size), log_probs, np.zeros(0))])

    def fit(
        self,
        documents: Iterable[ArrayLike],
        boundaries: TextBoundaries = "lines",
        fallback_level: int = logging.WARNING,
    ) -> None:
        """Fit the model to rows of ids without pad, bos and eos; see `estimate` for the arguments and errors."""
        self.set_levels(
            estimate(
                documents,
                order=self.config.order,
                vocab_size=self.vocab_size,
                pad_id=self.pad_id,
                bos_id=self.bos_id,
                eos_id=self.eos_id,
                boundaries=boundaries,
                min_counts=self.config.min_counts,
                fallback_level=fallback_level,
            )
        )

    @property
    def trie(self) -> list[Level]:
        """The levels of the trie, from order 1 to at most `config.order`."""
        levels = []
        for lower, first, end in zip(self.starts, self.starts[1:], self.starts[2:], strict=False):
            keys = self.keys[first:end] - lower * self.vocab_size
            levels.append(Level(keys, self.log_probs[first:end], self.backoffs[first:end]))
        return levels

    @property
    def impossible_ids(self) -> list[int]:
        """Ids, other than pad and bos, with a probability of 0 in every context: those missing from an ARPA file."""
        possible = self.keys[1:][self.log_probs[1:] > -torch.inf] % self.vocab_size  # entry 0 is the empty n-gram
        is_impossible = torch.ones(self.vocab_size, dtype=torch.bool)
        is_impossible[[self.pad_id, self.bos_id]] = False
        is_impossible[possible.cpu()] = False
        impossible_ids: list[int] = is_impossible.nonzero().flatten().tolist()
        return impossible_ids

    def set_levels(self, levels: Sequence[TrieLevel]) -> None:
        """Replace the trie."""
        self._set_tables([Level(*map(torch.from_numpy, level)) for level in levels])

    def _set_tables(self, levels: Sequence[Level]) -> None:
        self.starts = list(accumulate((len(level.keys) for level in levels), initial=1))
        """Index of the first entry of each order, from order 0; the last element is the number of entries."""
        self.starts.insert(0, 0)
        keys = [level.keys + lower * self.vocab_size for level, lower in zip(levels, self.starts, strict=False)]
        empty_key, zero = keys[0].new_full((1,), torch.iinfo(torch.int64).min), levels[0].log_probs.new_zeros(1)
        tables = {
            "keys": torch.cat([empty_key, *keys]),
            "log_probs": torch.cat([zero, *(level.log_probs for level in levels)]),
            "backoffs": torch.cat([zero, *(level.backoffs for level in levels)]),
        }
        for name, table in tables.items():
            self.register_buffer(name, table, persistent=False)

    def weights(self) -> dict[str, Tensor]:
        """Return the trie as named tensors, for `load_weights`."""
        levels = enumerate(self.trie)
        return {f"levels.{i}.{field}": tensor for i, level in levels for field, tensor in level._asdict().items()}

    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Load tensors that `weights` returned; raises ValueError if they do not fit the config or vocabulary."""
        num_levels = len(weights) // len(Level._fields)
        names = [[f"levels.{i}.{field}" for field in Level._fields] for i in range(num_levels)]
        if not weights or set(weights) != set(chain.from_iterable(names)):
            raise ValueError(f"Expected the tensors of an n-gram model, but found {', '.join(sorted(weights))}.")
        num_ids = len(weights["levels.0.keys"])
        if num_ids != self.vocab_size or num_levels > self.config.order:
            raise ValueError(
                f"The weights have order {num_levels} and {num_ids} ids, but the config has order {self.config.order} "
                f"and the vocabulary {self.vocab_size} ids."
            )
        self._set_tables([Level(*(weights[name] for name in level)) for level in names])

    def start(self, batch: TextBatch, need_attention: bool = False) -> tuple[Tensor, NgramState]:
        """Read the prompts `batch.tgt_in` (B, T) except their last ids, which the first step reads.

        Prompts have equal lengths of at least 1 and no padding. The first id is bos, or eos if the model was fitted to
        a continuous text. There is no attention.
        """
        contexts = self._read_rows(batch.tgt_in[:, :-1], self._empty_contexts(batch.tgt_in))
        return batch.tgt_in[:, -1], NgramState(contexts[:, -1])

    def step(self, last_ids: Tensor, state: NgramState) -> Step:
        """Read one id per row (N,) and score the next: (N, V) in fp32."""
        _, contexts = self.read(last_ids, state.contexts)  # (N, order)
        backoffs = self._backoff_sums(contexts)
        scores = self.log_probs[self.starts[1] : self.starts[2]] + backoffs[:, :1]
        for length in range(1, contexts.size(1)):
            rows, entries = self._continuations(contexts[:, length])
            scores[rows, self.keys[entries] % self.vocab_size] = self.log_probs[entries] + backoffs[rows, length]
        return Step(scores.float(), NgramState(contexts), None)

    def score(self, batch: TextBatch) -> Tensor:
        """Return the log-probabilities (B, T) in nats, in fp64, of `batch.tgt_out`, 0 at ignored positions.

        The context of an id consists of the ids before it in its row.
        """
        return self.score_with_carry(batch, None)[0]

    def score_with_carry(self, batch: TextBatch, carry: dict[str, Tensor] | None) -> tuple[Tensor, dict[str, Tensor]]:
        """Score rows that continue those of the previous batch; also return the contexts after the last ids."""
        start = self._empty_contexts(batch.tgt_in) if carry is None else carry["contexts"]
        contexts = self._read_rows(batch.tgt_in, start)  # (B, T + 1, order)
        ignored = batch.tgt_out == IGNORE
        ids = batch.tgt_out.masked_fill(ignored, self.eos_id)
        return self.read(ids, contexts[:, 1:])[0].masked_fill(ignored, 0.0), {"contexts": contexts[:, -1]}

    def contexts_after(self, batch: TextBatch) -> Tensor:
        """Return the contexts (B, order) after the prompts `batch.tgt_in` (B, T), which have equal lengths."""
        return self._read_rows(batch.tgt_in, self._empty_contexts(batch.tgt_in))[:, -1]

    def read(self, ids: Tensor, contexts: Tensor) -> tuple[Tensor, Tensor]:
        """Score ids (...) after contexts (..., order): log-probabilities (...) in fp64, and the new contexts."""
        entries = self._find(contexts, ids[..., None])
        orders = torch.arange(contexts.size(-1), device=ids.device)
        longest = torch.where(entries == ABSENT, 0, orders).amax(-1, keepdim=True)
        backoffs = self._backoff_sums(contexts).expand(entries.shape).gather(-1, longest)
        log_probs = self.log_probs[entries.gather(-1, longest)] + backoffs
        return log_probs[..., 0], F.pad(entries[..., :-1], (1, 0))

    def _empty_contexts(self, ids: Tensor) -> Tensor:
        """Return the contexts (B, order) at the start of rows (B, T)."""
        contexts = ids.new_full((len(ids), len(self.starts) - 2), ABSENT)
        contexts[:, 0] = 0
        return contexts

    def _read_rows(self, ids: Tensor, contexts: Tensor) -> Tensor:
        """Read ids (B, T) after contexts (B, order): return the contexts (B, T + 1, order) before and after each id."""
        columns = [ids.new_zeros(len(ids), ids.size(1) + 1)]
        for length in range(1, contexts.size(1)):
            ends = self._find(columns[-1][:, :-1], ids)
            columns.append(torch.cat([contexts[:, length : length + 1], ends], dim=1))
        return torch.stack(columns, dim=-1)

    def _find(self, contexts: Tensor, ids: Tensor) -> Tensor:
        """Look up the entries of contexts extended by an id, with broadcasting; both may be `ABSENT`."""
        wanted = contexts * self.vocab_size + ids  # negative for an absent context
        entries = torch.searchsorted(self.keys, wanted).clamp_(max=len(self.keys) - 1)
        return torch.where(self.keys[entries] == wanted, entries, ABSENT)

    def _continuations(self, contexts: Tensor) -> tuple[Tensor, Tensor]:
        """Find all M n-grams that extend a context of contexts (N,): return the row (M,) and the index (M,) of each."""
        first = torch.searchsorted(self.keys, contexts * self.vocab_size)
        counts = torch.searchsorted(self.keys, (contexts + 1) * self.vocab_size) - first
        rows = torch.arange(len(contexts), device=contexts.device).repeat_interleave(counts)
        # The index is that of the first n-gram of the row's context plus the rank within the row.
        shift = first - (counts.cumsum(0) - counts)
        return rows, torch.arange(len(rows), device=contexts.device) + shift[rows]

    def _backoff_sums(self, contexts: Tensor) -> Tensor:
        """Sum the log backoffs to add when backing off from contexts (..., order) to 1, 2, ... ids: (..., order).

        For an n-gram of k ids these are the backoffs of the contexts of k or more ids.
        """
        longer = contexts[..., 1:]
        backoffs = self.backoffs[longer].masked_fill(longer == ABSENT, 0.0)
        return F.pad(backoffs.flip(-1).cumsum(-1).flip(-1), (0, 1))
