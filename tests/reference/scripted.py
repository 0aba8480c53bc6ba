"""A scripted autoregressive model: fixed random scores per (sentence, prefix), and checks of the calls of a search."""

import random
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from seqlab.models.interfaces import Step

NEG_INF = float("-inf")


@dataclass(frozen=True)
class ScriptedBatch:
    keys: Tensor
    """(B,) int64: key of each sentence. Equal keys have equal scores in every batch."""
    src_lengths: Tensor | None = None


def batch_of(keys: list[int], src_lengths: list[int] | None = None) -> ScriptedBatch:
    return ScriptedBatch(torch.tensor(keys), None if src_lengths is None else torch.tensor(src_lengths))


class ScriptedState:
    """Prefixes of all rows. Each sentence must have the same number of contiguous rows."""

    def __init__(self, keys: Tensor, ids: Tensor) -> None:
        self.keys, self.ids = keys, ids
        self.consumed = False

    def consume(self) -> None:
        assert not self.consumed, "a state was used twice"
        self.consumed = True

    def select(self, rows: Tensor) -> "ScriptedState":
        assert rows.dtype == torch.int64
        assert rows.ndim == 1
        is_identity = len(rows) == len(self.keys) and torch.equal(rows, torch.arange(len(rows)))
        assert not is_identity, "select called without a change"
        self.consume()
        return ScriptedState(self.keys[rows], self.ids[rows])

    def fork(self) -> "ScriptedState":
        return ScriptedState(self.keys.clone(), self.ids.clone())


class ScriptedStepper:
    """A `Stepper` with random log-probabilities per (key, prefix).

    `spread` is the standard deviation of the logits. `levels` is the number of different scores, for ties.
    `banned_share` is the probability that an id has a score of -inf.
    """

    def __init__(
        self,
        vocab_size: int = 4,
        eos_id: int = 0,
        *,
        seed: int = 0,
        spread: float = 1.5,
        levels: int | None = None,
        banned_share: float = 0.0,
        bos_id: int = 1,
    ) -> None:
        self.vocab_size, self.eos_id, self.bos_id = vocab_size, eos_id, bos_id
        self.seed, self.spread, self.levels, self.banned_share = seed, spread, levels, banned_share
        self.rows_per_step: list[int] = []
        self.table = cache(self._table)  # (key, ids so far) -> log-probabilities of the next id

    def _table(self, key: int, history: tuple[int, ...]) -> tuple[float, ...]:
        draw = random.Random(f"{self.seed}/{key}/{history}")
        logits = torch.tensor([draw.gauss(0, self.spread) for _ in range(self.vocab_size)])
        if self.levels is not None:  # few distinct values: many ties, exact sums
            return tuple(-draw.randint(1, self.levels) / 4 for _ in range(self.vocab_size))
        banned = torch.tensor([draw.random() < self.banned_share for _ in range(self.vocab_size)])
        return tuple(torch.log_softmax(logits, 0).masked_fill(banned, NEG_INF).tolist())

    def attention_row(self, key: int, history: tuple[int, ...]) -> list[float]:
        draw = random.Random(f"attention/{key}/{history}")
        return [draw.random() for _ in range(3)]

    def start(self, batch: ScriptedBatch, need_attention: bool = False) -> tuple[Tensor, ScriptedState]:
        self.need_attention = need_attention
        self.rows_per_step = []
        count = len(batch.keys)
        return torch.full((count,), self.bos_id), ScriptedState(batch.keys, torch.zeros(count, 0, dtype=torch.int64))

    def step(self, last_ids: Tensor, state: ScriptedState) -> Step:
        state.consume()
        self._check_rows(state.keys)
        ids = torch.cat([state.ids, last_ids[:, None]], dim=1)
        contexts = [(int(key), tuple(row[1:])) for key, row in zip(state.keys, ids.tolist(), strict=True)]
        scores = torch.tensor([self.table(*context) for context in contexts]).view(-1, self.vocab_size)
        attention = (
            torch.tensor([self.attention_row(*context) for context in contexts]) if self.need_attention else None
        )
        return Step(scores, ScriptedState(state.keys, ids), attention)

    def _check_rows(self, keys: Tensor) -> None:
        self.rows_per_step.append(len(keys))
        block_keys, block_sizes = torch.unique_consecutive(keys, return_counts=True)
        assert len(set(block_sizes.tolist())) <= 1, "each active sentence must have the same number of contiguous rows"
        assert len(set(block_keys.tolist())) == len(block_keys), "the rows of a sentence must be contiguous"
