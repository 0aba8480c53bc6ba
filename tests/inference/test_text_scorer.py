"""Sliding-window scoring of texts, with a model that encodes the context length of each id in its score."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seqlab.data.batch import IGNORE, TextBatch
from seqlab.tasks.language_modelling import text_scorer
from seqlab.tasks.language_modelling.text_scorer import (
    ContextWindow,
    StreamScorer,
    Windows,
    score_text,
    window_for_lines,
)

START = 99


class RecordingModel:
    """Score each id by its context length: -(id + context / 1000). The ids of a text are its positions."""

    def __init__(self, factor: float = 1.0) -> None:
        self.factor = factor
        self.sizes: list[tuple[int, ...]] = []

    def score(self, batch: TextBatch) -> torch.Tensor:
        return self.score_with_carry(batch, None)[0]

    def score_with_carry(self, batch: TextBatch, carry: dict[str, Any] | None) -> tuple[torch.Tensor, dict[str, Any]]:
        num_read = 0 if carry is None else carry["read"]
        self.sizes.append(tuple(batch.tgt_in.shape))
        read = torch.arange(1, batch.tgt_in.size(1) + 1) + num_read
        predicted = batch.tgt_out != IGNORE
        assert batch.num_tgt_tokens == int(predicted.sum())
        follows = (batch.tgt_in[:, 1:] == batch.tgt_out[:, :-1]) | ~predicted[:, :-1]
        assert follows.all()
        scores = -self.factor * (batch.tgt_out + read / 1000)
        return scores.masked_fill(~predicted, 0.0).double(), {"read": num_read + batch.tgt_in.size(1)}


documents = st.lists(st.integers(1, 12), min_size=1, max_size=5)


@given(documents, st.integers(1, 9), st.data())
@settings(max_examples=150)
def test_each_id_is_scored_once_with_the_context_of_its_window(
    lengths: list[int], context: int, data: st.DataObject
) -> None:
    stride = data.draw(st.integers(1, context))
    batch_tokens = data.draw(st.integers(1, 60))
    offsets = np.cumsum([0, *lengths])
    values = np.arange(offsets[-1])
    model, reported = RecordingModel(), []
    found = score_text(
        [model],
        values,
        offsets,
        ContextWindow(context, stride),
        start_id=START,
        batch_tokens=batch_tokens,
        progress=reported.append,
    )
    expected = []
    for start, length in zip(offsets, lengths, strict=False):
        for i in range(length):
            first = max(0, -(-(i + 1 - context) // stride)) * stride  # start of the first window that covers it
            expected.append(-(start + i + (i - first + 1) / 1000))
    assert found == pytest.approx(expected, abs=1e-5)
    assert sum(reported) == len(values)
    assert all(rows == 1 or rows * width <= batch_tokens for rows, width in model.sizes)
    assert all(width <= context for _, width in model.sizes)


@given(documents, st.integers(1, 8))
@settings(max_examples=60)
def test_the_carried_state_covers_all_previous_ids(lengths: list[int], carried_tokens: int) -> None:
    offsets = np.cumsum([0, *lengths])
    models, reported = [RecordingModel(), RecordingModel(2.0)], []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_scorer, "TOKENS_PER_PART", carried_tokens)
        found = score_text(
            models, np.arange(offsets[-1]), offsets, ContextWindow(None, 1), start_id=START, progress=reported.append
        )
    nlls = [start + i + (i + 1) / 1000 for start, length in zip(offsets, lengths, strict=False) for i in range(length)]
    expected = [math.log((math.exp(-each) + math.exp(-2 * each)) / 2) for each in nlls]
    assert found == pytest.approx(expected, rel=1e-5)
    assert sum(reported) == offsets[-1]  # once for all members
    assert max(width for _, width in models[0].sizes) <= carried_tokens


def test_short_texts_are_scored_in_one_batch() -> None:
    model = RecordingModel()
    score_text([model], np.arange(30), np.arange(0, 31, 3), ContextWindow(None, 1), start_id=START)
    assert model.sizes == [(10, 3)]


def test_the_first_window_starts_with_start_id_and_the_others_with_the_previous_id() -> None:
    windows = Windows.over(np.array([0, 6]), np.array([6, 8]), context=3, stride=2)
    first = {
        int(row): windows.batch(np.array([row]), np.arange(8), START).tgt_in[0, 0].item()
        for row in range(len(windows.score_starts))
    }
    contexts = dict(enumerate(windows.context_starts.tolist()))
    assert list(contexts.values()) == [0, 2, 4, 6]
    assert windows.score_starts.tolist() == [0, 3, 5, 6]
    assert first == {0: START, 1: 1, 2: 3, 3: START}


def test_context_windows_are_described_in_words() -> None:
    assert str(ContextWindow(8, 8)) == "blocks of 8 tokens, each given one token before it"
    assert str(ContextWindow(8, 3)) == "a sliding window of 8 tokens with stride 3"
    assert str(ContextWindow(None, 1)) == "each token given all previous tokens of its text"
    assert str(ContextWindow(None, 1, by_line=True)) == "each token given all previous tokens of its line"
    assert str(ContextWindow(8, 8, by_line=True)) == "each line by itself, longer lines in blocks of 8 tokens"
    sliding = "a sliding window of 8 tokens with stride 3"
    assert str(ContextWindow(8, 3, by_line=True)) == f"each line by itself, longer lines by {sliding}"


def test_lines_are_read_completely_if_they_fit_into_the_context(caplog: pytest.LogCaptureFixture) -> None:
    assert window_for_lines(np.array([3, 9, 4]), None) == ContextWindow(None, 1)
    assert caplog.text == ""
    assert window_for_lines(np.array([3, 9, 4]), 8) == ContextWindow(8, 4)
    assert "1 of 3 lines are longer than the model's context: read by a sliding window of 8 tokens" in caplog.text
    assert window_for_lines(np.array([3, 9, 4]), 1) == ContextWindow(1, 1)


WINDOWS = [ContextWindow(7, 7), ContextWindow(7, 3), ContextWindow(5, 1), ContextWindow(None, 1)]


@pytest.mark.parametrize("window", WINDOWS, ids=str)
def test_streamed_parts_are_scored_like_the_complete_document(
    window: ContextWindow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Split at random positions: within a window, and with empty parts."""
    monkeypatch.setattr(text_scorer, "TOKENS_PER_PART", 6)
    rng = np.random.default_rng(1)
    for size in (1, 6, 7, 8, 50):
        ids = np.arange(size)
        expected = score_text([RecordingModel()], ids, np.array([0, size]), window, start_id=START)
        for _ in range(3):
            cuts = np.sort(rng.integers(0, size + 1, 5))
            stream = StreamScorer([RecordingModel()], window, start_id=START, batch_tokens=9)
            found = [stream.feed(part) for part in np.split(ids, cuts)]
            assert np.concatenate([*found, stream.finish()]) == pytest.approx(expected, abs=2e-6)
