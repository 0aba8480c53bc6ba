"""Decoder KV cache against a list of the cached entries of each row's prefix."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from seqlab.nn.kv_cache import DecoderCache

LAYERS = 2
Histories = list[list[int]]


class CacheModel:
    """A decoder cache whose entries are unique numbers, and a list of the entries of each row's prefix."""

    def __init__(self, sentences: int) -> None:
        self.cache = DecoderCache(LAYERS, sentences)
        self.histories: Histories = [[] for _ in range(sentences)]
        self.next_entry = 1

    def fill_prompt(self, length: int) -> None:
        """Fill empty caches with `length` tokens, like a prompt."""
        entries = self._entries(self.cache.num_sentences * length).view(self.cache.num_sentences, 1, length, 1)
        for number, cache in enumerate(self.cache.layers):
            cache.append(entries + number / 2, -entries)
        self.cache.length = length
        self.histories = [history.int().tolist() for history in entries.view(-1, length)]

    def append_and_check(self) -> None:
        """Append one token to each row, and compare the visible entries with the row's prefix."""
        sentences, rows = self.cache.num_sentences, self.cache.num_rows
        step = self.cache.begin_step(torch.device("cpu"))
        assert (step.position, step.num_sentences, step.num_rows) == (len(self.histories[0]), sentences, rows)
        bias, entries = step.bias, self._entries(rows).view(sentences, 1, -1, 1)
        for number, cache in enumerate(self.cache.layers):
            keys, values = cache.append(entries + number / 2, -entries)
        for history, entry in zip(self.histories, entries.flatten().int().tolist(), strict=True):
            history.append(entry)
        shape = (sentences, 1, rows // sentences, keys.size(2))
        bias = torch.zeros(shape) if bias is None else bias
        assert bias.shape == shape
        assert {*bias.flatten().tolist()} <= {0.0, float("-inf")}
        keys = (keys - (LAYERS - 1) / 2).expand(-1, -1, -1, rows // sentences).transpose(2, 3)
        visible = [
            row[allowed == 0].int().tolist()
            for row, allowed in zip(self._by_row(keys), self._by_row(bias), strict=True)
        ]
        assert visible == self.histories
        assert torch.equal(values, -keys[:, :, 0, :, None])
        assert self.cache.length == len(self.histories[0])

    def select(self, rows: list[int]) -> None:
        before, sentences = list(range(self.cache.num_sentences)), self.cache.num_sentences
        beam = self.cache.num_rows // sentences
        kept = self.cache.select(torch.tensor(rows))
        kept_sentences = before if kept is None else kept.tolist()
        assert len(kept_sentences) == self.cache.num_sentences
        assert self.cache.num_rows == len(rows)
        sentence_of_row = [kept_sentences[row // (len(rows) // len(kept_sentences))] for row in range(len(rows))]
        assert sentence_of_row == [row // beam for row in rows], "each row still belongs to its sentence"
        self.histories = [list(self.histories[row]) for row in rows]

    def fork(self) -> "CacheModel":
        copy = CacheModel(0)
        copy.cache, copy.next_entry = self.cache.fork(), self.next_entry
        copy.histories = [list(history) for history in self.histories]
        return copy

    def _entries(self, count: int) -> Tensor:
        first, self.next_entry = self.next_entry, self.next_entry + count
        return torch.arange(first, first + count).float()

    @staticmethod
    def _by_row(values: Tensor) -> Tensor:
        """(B, 1, K, L) -> (N, L)"""
        return values.flatten(0, 2)


@given(sentences=st.integers(1, 4), prompt=st.integers(0, 20), data=st.data())
def test_each_row_attends_to_its_prefix(sentences: int, prompt: int, data: st.DataObject) -> None:
    """Rows are selected at random between steps. There are more steps than one growth of the cache covers."""
    model = CacheModel(sentences)
    if prompt:
        model.fill_prompt(prompt)
    for _ in range(data.draw(st.integers(1, 6))):
        for _ in range(data.draw(st.integers(0, 8))):
            model.append_and_check()
        rows = st.sampled_from(range(len(model.histories)))
        model.select(data.draw(st.lists(rows, min_size=1, max_size=8)))
        model.append_and_check()


@given(sentences=st.integers(1, 3), data=st.data())
def test_forks_are_independent(sentences: int, data: st.DataObject) -> None:
    model = CacheModel(sentences)
    model.append_and_check()
    model.select([row for row in range(sentences) for _ in range(2)])
    fork = model.fork()
    for each in data.draw(st.lists(st.sampled_from([model, fork]), max_size=6)):
        each.append_and_check()
        each.select(data.draw(st.permutations(range(len(each.histories)))))
        each.append_and_check()
    model.append_and_check()
    fork.append_and_check()


def test_caches_are_shared_by_hypotheses_and_masked_only_if_needed() -> None:
    cache = DecoderCache(1, 3)
    assert cache.begin_step(torch.device("cpu")).bias is None
    cache.layers[0].append(*torch.ones(2, 3, 1, 1, 2))
    entries = cache.layers[0].entries
    assert cache.select(torch.arange(3)) is None
    assert cache.select(torch.tensor([0, 0, 1, 1, 2, 2])) is None
    assert cache.layers[0].entries is entries, "hypotheses of a sentence share its cache"
    bias = cache.begin_step(torch.device("cpu")).bias
    assert bias is not None
    masked = float("-inf")
    assert bias[:, 0].tolist() == [[[0, 0, masked], [0, masked, 0]]] * 3
    kept = cache.select(torch.tensor([2, 3, 4, 5]))
    assert kept is not None
    assert kept.tolist() == [1, 2]
