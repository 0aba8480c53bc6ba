"""Random examples of each kind of data, of different lengths, for checks of models and objectives."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from seqlab.data.batch import (
    batch_of_arrays,
    collate,
    collate_frames,
    collate_labelled,
    collate_text,
    collate_values,
)

LENGTHS = (3, 9, 1, 4)
"""Tokens or words of each example."""
TARGET_LENGTHS = (5, 1, 11, 2)
"""Target tokens of each example."""
FRAME_COUNTS = (40, 56, 23, 32)
"""Frames of each recording."""
PAD, BOS, EOS, UNK = range(4)
FIRST_TOKEN = 4
"""Lower ids are special."""


@dataclass(frozen=True)
class Vocabulary:
    """Source or target side of tokens or labels (`seqlab.models.TokenSide`)."""

    vocab_size: int = 40
    pad_id: int = PAD
    bos_id: int = BOS
    eos_id: int = EOS
    unk_id: int = UNK
    mask_id: int = BOS
    blank_id: int = PAD
    tag_ids: range = range(0)
    has_words: bool = True

    @property
    def num_labels(self) -> int:
        """Number of ids that are not special."""
        return self.vocab_size - FIRST_TOKEN

    def decode(self, rows: Sequence[Sequence[int]]) -> list[str]:
        """Convert rows of ids to lines, with a number for each id."""
        return [" ".join(map(str, row)) for row in rows]


@dataclass(frozen=True)
class NumericSide:
    """Input or target side of recordings, vectors, images, classes and numbers."""

    num_bands: int = 0
    """Number of bands of a frame."""
    shape: tuple[int, ...] = ()
    """Shape of an example: (F, D) or (C, H, W)."""
    size: int = 0
    """Number of outputs."""


@dataclass(frozen=True)
class Examples:
    """A few examples for checks, at least four, which can be collated in any selection and order."""

    src: Any
    """The source side, for `ModelConfig.build`."""
    tgt: Any
    """The target side."""
    count: int
    collate: Callable[[Sequence[int]], Any]
    """Returns a batch of the examples with the given indices, with their targets."""

    def all(self) -> Any:
        """Return a batch of all examples, in order."""
        return self.collate(range(self.count))


def token_pairs(vocab_size: int = 40, seed: int = 0) -> Examples:
    """Draw pairs of token sequences (`Seq2SeqBatch`), for translators."""
    rng, side = np.random.default_rng(seed), Vocabulary(vocab_size)
    src, tgt = ([_ids(rng, length, side) for length in lengths] for lengths in (LENGTHS, TARGET_LENGTHS))

    def batch(indices: Sequence[int]) -> Any:
        ids = {"pad_id": PAD, "bos_id": BOS, "eos_id": EOS}
        return collate([src[i] for i in indices], [tgt[i] for i in indices], indices, **ids)

    return Examples(side, side, len(LENGTHS), batch)


def texts(vocab_size: int = 40, seed: int = 0) -> Examples:
    """Draw sequences of tokens that end with eos (`TextBatch`), for language models."""
    rng, side = np.random.default_rng(seed), Vocabulary(vocab_size)
    sequences = [np.append(_ids(rng, length, side), EOS) for length in TARGET_LENGTHS]

    def batch(indices: Sequence[int]) -> Any:
        return collate_text([sequences[i] for i in indices], indices, pad_id=PAD, start_id=BOS)

    return Examples(side, side, len(sequences), batch)


def labeled_lines(labels_of: Literal["lines", "words"] = "words", num_labels: int = 5, seed: int = 0) -> Examples:
    """Draw lines with a label for each word or one for the line (`LabelledBatch`, with spellings)."""
    rng, side = np.random.default_rng(seed), Vocabulary()
    src = [_ids(rng, length, side) for length in LENGTHS]
    labels = [rng.integers(0, num_labels, length if labels_of == "words" else 1) for length in LENGTHS]
    spellings = [" ".join("ab" * (1 + int(id_) % 3) for id_ in row).encode() for row in src]

    def batch(indices: Sequence[int]) -> Any:
        text = [np.frombuffer(spellings[i], np.uint8) for i in indices]
        return collate_labelled([src[i] for i in indices], [labels[i] for i in indices], text, indices, pad_id=PAD)

    return Examples(side, Vocabulary(FIRST_TOKEN + num_labels), len(src), batch)


def recordings(num_bands: int = 16, vocab_size: int = 12, seed: int = 0) -> Examples:
    """Draw frames with token sequences as targets (`FrameBatch`), for recognizers."""
    rng, side = np.random.default_rng(seed), Vocabulary(vocab_size)
    frames = _frames(rng, num_bands)
    tgt = [_ids(rng, 1 + count // 20, side) for count in FRAME_COUNTS]

    def batch(indices: Sequence[int]) -> Any:
        ids = {"pad_id": PAD, "bos_id": BOS, "eos_id": EOS}
        return collate_frames([frames[i] for i in indices], [tgt[i] for i in indices], indices, **ids)

    return Examples(NumericSide(num_bands=num_bands), side, len(frames), batch)


def labeled_recordings(num_bands: int = 16, num_labels: int = 3, seed: int = 0) -> Examples:
    """Draw frames with one label each (`ValueBatch`), for labelers of recordings."""
    rng = np.random.default_rng(seed)
    frames, labels = _frames(rng, num_bands), rng.integers(0, num_labels, len(FRAME_COUNTS))

    def batch(indices: Sequence[int]) -> Any:
        return collate_values([frames[i] for i in indices], labels[list(indices)], indices)

    return Examples(NumericSide(num_bands=num_bands), NumericSide(size=num_labels), len(frames), batch)


def vectors(
    shape: tuple[int, ...] = (1, 6),
    predicts: Literal["numbers", "class", "labels"] = "numbers",
    size: int = 3,
    seed: int = 0,
) -> Examples:
    """Draw inputs of one shape, (F, D) or (C, H, W), with `size` numbers, classes or labels as targets."""
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(len(LENGTHS), *shape)).astype(np.float32)
    targets: NDArray[Any] = rng.normal(size=(len(inputs), size)).astype(np.float32)
    if predicts == "class":
        targets = rng.integers(0, size, len(inputs))
    elif predicts == "labels":
        targets = (targets > 0).astype(np.float32)

    def batch(indices: Sequence[int]) -> Any:
        selected = np.asarray(indices, np.int64)
        return batch_of_arrays(inputs[selected], targets[selected], selected)

    return Examples(NumericSide(shape=shape), NumericSide(size=size), len(inputs), batch)


def _ids(rng: np.random.Generator, length: int, side: Vocabulary) -> NDArray[np.int64]:
    return rng.integers(FIRST_TOKEN, side.vocab_size, length)


def _frames(rng: np.random.Generator, num_bands: int) -> list[NDArray[np.float32]]:
    return [rng.normal(size=(count, num_bands)).astype(np.float32) for count in FRAME_COUNTS]
