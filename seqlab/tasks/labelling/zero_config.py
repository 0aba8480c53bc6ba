"""Zero config for labelling: choose every setting of a labeller from the training data.

Sizes grow as powers of the number of training words, calibrated on Universal Dependencies' EWT (205,000 words).
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from seqlab.registry import Parts, default_part
from seqlab.runs.config import Config
from seqlab.runs.fields import fields_of
from seqlab.runs.overrides import Override, override
from seqlab.tasks.labelling.config import LabellingConfig
from seqlab.training.choices import (
    LR_BY_WIDTH,
    Choices,
    choose_intervals,
    held_out,
    power_of_two,
    rounded,
    size_of_given_vectors,
    take_over,
    within,
)

logger = logging.getLogger(__name__)

REFERENCE_WORDS = 200_000
"""Words of EWT's training part, rounded."""
REFERENCE_EPOCHS = 20
"""Epochs on a corpus of `REFERENCE_WORDS`; a larger corpus gets fewer."""
MAX_LR = 2e-3
"""Maximum peak learning rate."""
SAMPLE_LINES_PER_FILE = 1000
"""Lines per file whose labels and words are counted to choose `labels_of`."""
COPIED_SETTINGS = ("model", "data.tokenizer", "data.labels_of")
"""Settings that a run copies from the run of `init_from`."""


@dataclass(frozen=True)
class _CorpusProfile:
    """Statistics of the training corpora."""

    lines: int
    words: int
    labels_of: str

    @property
    def scale(self) -> float:
        """Size of the corpus relative to EWT."""
        return max(1, self.words) / REFERENCE_WORDS


def from_labels(overrides: Sequence[Override]) -> Config:
    """Choose every field that `overrides` leaves open from the training data; log each choice with its reason.

    Given fields are kept, and fields that depend on them follow. The same corpus gives the same config.

    Raises:
        ConfigError: an unknown key or an invalid value, before the corpus is read.
        FileNotFoundError, ValueError: the corpus cannot be read.
    """
    given = {key: text if isinstance(text, str) else " ".join(text) for key, text in overrides}
    base = _base(given)
    copied = take_over(base, overrides, COPIED_SETTINGS)
    # A language model has no `labels_of`, and the matching weights of a tagger may start a classifier.
    keeps_labels = "labels_of" in base["data"] and given.get("init_parts") != "matching"
    copied = [key for key in copied if key != "data.labels_of" or keeps_labels]
    tags = {"data.kind"} if "model" in copied else {"data.kind", "model.family"}
    choices = Choices(override(base, [each for each in overrides if each[0] not in tags]), [*given, *copied])
    data = _data_of(choices)
    profile = _read_profile(data)
    logger.info("%s lines; chosen settings (give an option to override one):", f"{profile.lines:,}")
    relation = "equals" if profile.labels_of == "words" else "differs from"
    choices.set("data.labels_of", profile.labels_of, f"in most lines the number of labels {relation} that of words")
    if choices.get("data.valid_src") is None and choices.get("data.valid_fold") is None:
        share = held_out(profile.lines)
        choices.set("data.valid_fraction", share, f"no validation set is given, and there are {profile.lines:,} lines")
    if choices.config().model.is_count_based:
        return choices.config()
    _choose_model(choices, profile)
    _choose_steps(choices, profile)
    return choices.config()


def _base(given: dict[str, str]) -> dict[str, Any]:
    """Return the config values that hold before any choice."""
    family = given.get("model.family", "lstm_labeller")
    model: dict[str, Any] = {"family": family}
    config = Parts("model").get(family, default_part("model"))  # an unknown family is reported when the config is built
    if config.is_count_based:
        return {"data": {"kind": "labelling", "labels_of": "words"}, "model": model}
    if config.embedding_field == "d_model" and "num_heads" in fields_of(config):
        model["num_heads"] = 1
    return {"data": {"kind": "labelling"}, "model": model, "optim": {"average_last": 5}}


def _read_profile(config: LabellingConfig) -> _CorpusProfile:
    """Read the training corpora once; raise ValueError if they contain no word."""
    lines = words = num_compared = num_equal = 0
    for corpus in config.corpora("train"):
        pairs = corpus.rows()
        for src, tgt in islice(pairs, SAMPLE_LINES_PER_FILE):
            counts = len(src.split()), len(tgt.split())
            if min(counts) > 0 and max(counts) > 1:  # one word with one label fits both kinds
                num_compared, num_equal = num_compared + 1, num_equal + (counts[0] == counts[1])
            lines, words = lines + 1, words + counts[0]
        for src, _ in pairs:
            lines, words = lines + 1, words + len(src.split())
    if not words:
        raise ValueError(f"{', '.join(config.train_src)}: no line has a word: there is nothing to learn.")
    # The majority decides, so that preparation can report the few lines that differ.
    is_tagging = 2 * num_equal > num_compared or not num_compared
    return _CorpusProfile(lines, words, "words" if is_tagging else "lines")


def _data_of(choices: Choices) -> LabellingConfig:
    data = choices.config().data
    assert isinstance(data, LabellingConfig)
    return data


def _choose_model(choices: Choices, profile: _CorpusProfile) -> None:
    """Choose the sizes of the model."""
    words = f"the corpus has {profile.words:,} words"
    config = choices.config().model
    by_vectors = size_of_given_vectors(choices)
    if _data_of(choices).tokenizer.units == "words":
        size = power_of_two(64 * max(profile.scale, 1e-3) ** 0.25, 32, 128, round)
        choices.set("model.spelling_size", size, "the spelling of an unknown word hints at its label")
        choices.set("model.unknown_share", 0.1, "share of words masked in training, for unknown words")
    if config.embedding_field == "d_model":
        d_model = choices.set(
            "model.d_model", *(by_vectors or (within(64 * round(2 * profile.scale**0.25), 64, 512), words))
        )
        choices.set("model.d_ff", 4 * d_model, f"d_model is {d_model}")
        choices.set("model.num_heads", 4 if d_model % 8 == 0 else 1, f"d_model is {d_model}")
        return
    choices.set("model.hidden_size", within(64 * round(4 * profile.scale**0.25), 64, 1024), words)
    choices.set("model.embedding_size", *(by_vectors or (128, "enough for a small vocabulary")))


def _choose_steps(choices: Choices, profile: _CorpusProfile) -> None:
    """Choose the batch size, the number of steps, the learning rate, and the intervals."""
    batch = choices.set(
        "data.batch_tokens", power_of_two(1024 * profile.scale ** (1 / 3), 256, 8192, round), f"{profile.words:,} words"
    )
    fine_tuning = choices.get("init_from") is not None
    epochs = choices.epochs(within(round(REFERENCE_EPOCHS * profile.scale ** (-1 / 3)), 3, 60))
    reason = f"{epochs} epochs of {profile.words:,} words, {batch} per step"
    steps = choices.set_steps(max(10, rounded(epochs * profile.words / batch)), reason)
    family = choices.get("optim.optimizer.family")
    if family not in ("sgd", "muon"):
        field = choices.config().model.embedding_field
        width = choices.width("model.d_model" if field == "d_model" else "model.hidden_size")
        lr = min(MAX_LR, LR_BY_WIDTH / width) / (2 if fine_tuning else 1)
        choices.set("optim.optimizer.lr", float(f"{lr:.2g}"), f"for {family} and a model width of {width}")
    choices.set("optim.schedule.warmup_steps", min(1000, rounded(0.05 * steps) or 1), f"{steps:,} steps in total")
    choose_intervals(choices, steps)
