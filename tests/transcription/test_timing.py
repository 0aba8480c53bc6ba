"""Times of tokens and words, compared with brute force over all CTC paths."""

from itertools import groupby, product

import numpy as np
import pytest
import torch

from seqlab.models.outputs import FrameLogProbs
from seqlab.tasks.transcription.timing import (
    FrameTiming,
    TimedText,
    _silent_frames,
    join_words,
    time_tokens,
    token_texts,
)
from seqlab.text import (
    BpeConfig,
    CharactersConfig,
    SentencePieceBpeConfig,
    SentencePieceUnigramConfig,
    TokenizerConfig,
    WordsConfig,
    train_tokenizer,
)

BLANK = 0
TIMING = FrameTiming(hop=0.04, middle=0.0125, frame_step=4, blank_id=BLANK)


def is_silence_outside_word(path: tuple[int, ...], silent: int) -> bool:
    """Return whether the silent frame is before or after the only word of a path."""
    positions = [position for position, index in enumerate(path) if index != BLANK]
    return not positions[0] <= silent <= positions[-1]


def spans_of(path: list[int] | tuple[int, ...]) -> list[list[int]]:
    """Return the frames of each token of a path."""
    groups = groupby(enumerate(path), key=lambda each: each[1])
    return [[position for position, _ in group] for index, group in groups if index != BLANK]


def best_path(log_probs: torch.Tensor, row: list[int], silent: int | None) -> list[int] | None:
    """Find the best path of a transcript of one word; None if all paths have silence within the word.

    Without a silent frame (None), all paths count.
    """
    frames, size = log_probs.shape
    paths = [
        path
        for path in product(range(size), repeat=frames)
        if [index for index, _ in groupby(path) if index != BLANK] == row
        and (silent is None or is_silence_outside_word(path, silent))
    ]
    if not paths:
        return None
    return list(max(paths, key=lambda path: sum(float(log_probs[i, index]) for i, index in enumerate(path))))


@pytest.mark.parametrize("seed", range(40))
def test_times_are_those_of_the_best_path(seed: int) -> None:
    rng = np.random.default_rng(seed)
    log_probs = torch.from_numpy(rng.normal(size=(6, 3)) * 2).log_softmax(1)
    row = [int(index) for index in rng.integers(1, 3, size=rng.integers(1, 4))]
    silent = int(rng.integers(6))
    sound = np.repeat([frame != silent for frame in range(6)], 4)[
        2:
    ]  # feature frame 4 f is the middle of output frame f
    frames = FrameLogProbs(log_probs[None], torch.tensor([6]))
    [found] = time_tokens(frames, [row], [["x"] * len(row)], [sound], [0.3], TIMING)
    path = best_path(log_probs, row, silent)
    if path is None:
        assert [each.text for each in found] == ["x"] * len(row), (
            "without a valid path, silence within the word is allowed"
        )
        return
    free_path = best_path(log_probs, row, None)
    assert free_path is not None
    assert len(found) == len(spans_of(path))
    for timed, positions, emitted in zip(found, spans_of(path), spans_of(free_path), strict=True):
        first, last = positions[0], positions[-1]
        assert timed.start == pytest.approx(max(0.0, (first - 0.5) * 0.04 + 0.0125))
        assert timed.end == pytest.approx(min(0.3, (last + 0.5) * 0.04 + 0.0125))
        mean = np.mean([float(log_probs[position, free_path[position]]) for position in emitted])
        assert timed.confidence == pytest.approx(np.exp(mean))


def test_tokens_emitted_in_silence_get_times_within_sound_and_keep_their_confidence() -> None:
    probs = torch.full((6, 3), 0.005)
    probs[:, BLANK] = 0.99
    probs[0], probs[1] = torch.tensor([0.05, 0.9, 0.05]), torch.tensor([0.1, 0.1, 0.8])  # "ab" before the sound
    frames = FrameLogProbs((probs / probs.sum(1, keepdim=True)).log()[None], torch.tensor([6]))
    sound = np.repeat([False, False, False, True, True, True], 4)[2:]
    [[first, second]] = time_tokens(frames, [[1, 2]], [["a", "b"]], [sound], [0.3], TIMING)
    assert first.start >= 2.5 * 0.04
    assert (first.confidence, second.confidence) == (pytest.approx(0.9), pytest.approx(0.8))


def test_empty_transcripts_and_silent_recordings_are_accepted() -> None:
    log_probs = torch.zeros(2, 3, 4).log_softmax(2)
    frames = FrameLogProbs(log_probs, torch.tensor([3, 3]))
    found = time_tokens(frames, [[], [2]], [[], ["a"]], [np.zeros(12, bool)] * 2, [0.1, 0.1], TIMING)
    assert found[0] == []
    assert [each.text for each in found[1]] == ["a"]


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        (list("ab c"), ["ab", "c"]),
        ([" ", "a", " ", " ", "b", " "], ["a", "b"]),
        ([" so", "me", " words"], ["some", "words"]),
        ([], []),
    ],
)
def test_words_are_separated_by_spaces(tokens: list[str], expected: list[str]) -> None:
    timed = [TimedText(text, 0.1 * position, 0.1 * position + 0.05, 0.5) for position, text in enumerate(tokens)]
    found = join_words(timed, "".join(tokens))
    assert [word.text for word in found] == expected
    for word in found:
        assert word.start < word.end
        assert word.confidence == pytest.approx(0.5)


@pytest.mark.parametrize(
    "config",
    [
        CharactersConfig(),
        WordsConfig(),
        BpeConfig(vocab_size=300),
        SentencePieceBpeConfig(vocab_size=290),
        SentencePieceUnigramConfig(vocab_size=290),
    ],
    ids=lambda each: each.kind,
)
def test_words_are_joined_for_every_tokenizer(config: TokenizerConfig) -> None:
    lines = [
        "the cat sat on the mat",
        "a cat and a bat",
        "caf\u00e9 na\u00efve \u65e5\u672c",
        "one two three four five six",
    ]
    tokenizer = train_tokenizer(config, lines * 20)
    for row in tokenizer.encode(lines):
        [text] = tokenizer.decode([row])
        tokens = [
            TimedText(each, 0.1 * position, 0.1, 0.5) for position, each in enumerate(token_texts(tokenizer, row))
        ]
        assert [word.text for word in join_words(tokens, text)] == text.split()
        starts = [word.start for word in join_words(tokens, "")]
        assert len(starts) == len(text.split())
        assert starts == sorted(starts)


def test_silence_is_determined_at_the_middle_of_output_frames() -> None:
    """Only frame 4 of the features, the middle of the second output frame, has sound."""
    sound = np.zeros(12, bool)
    sound[3:5] = True
    assert np.flatnonzero(_silent_frames(sound, 3, TIMING)).tolist() == [0, 2]
    double_rate = FrameTiming(hop=0.02, middle=0.0025, frame_step=2, blank_id=BLANK, first_frame=-1.0)
    assert np.flatnonzero(_silent_frames(sound, 6, double_rate)).tolist() == [0, 1, 4, 5]


def test_a_pause_does_not_split_a_word() -> None:
    """`b` is most probable before a pause. As part of the word `bc`, it is timed after the pause, next to `c`."""
    probs = torch.full((1, 8, 4), 0.01)
    for frame, index in enumerate([1, 0, 2, 0, 0, 0, 3, 0]):
        probs[0, frame, index] = 1.0
    frames = FrameLogProbs(probs.log_softmax(2), torch.tensor([8]))
    sound = np.repeat([True, True, True, False, False, True, True, True], 4)[2:]
    starts = {}
    for names in (("a ", "b", "c"), ("a", " b ", "c")):
        [found] = time_tokens(frames, [[1, 2, 3]], [names], [sound], [1.0], TIMING)
        starts[names] = [round((each.start - 0.0125) / 0.04 + 0.5) for each in found]
    assert starts == {("a ", "b", "c"): [0, 5, 6], ("a", " b ", "c"): [0, 2, 6]}


def test_words_that_are_joined_across_a_long_pause_keep_their_times() -> None:
    """The transcript is `ab`, but a pause of two seconds separates `a` and `b`."""
    probs = torch.full((1, 60, 3), 0.01)
    probs[0, :, BLANK] = 1
    probs[0, 2], probs[0, 57] = torch.tensor([0.0, 1, 0]), torch.tensor([0.0, 0, 1])
    frames = FrameLogProbs((probs + 1e-4).log().log_softmax(2), torch.tensor([60]))
    sound = np.repeat([frame < 5 or frame >= 55 for frame in range(60)], 4)[2:]
    [[first, second]] = time_tokens(frames, [[1, 2]], [["a", "b"]], [sound], [3.0], TIMING)
    assert (first.end, second.start) == (pytest.approx(0.1125), pytest.approx(2.2725))
    [word] = join_words([first, second], "ab")
    assert (word.start, word.end) == (first.start, second.end)
