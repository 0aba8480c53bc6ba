"""Zero config for labels: every setting of a labeller chosen from the training data alone.

Sizes are powers of one number, the words of the corpus, anchored at Universal Dependencies' EWT (205,000 words).
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
EPOCHS = 20
"""Times through a corpus of that size; times fewer, the larger."""
MAX_LR = 2e-3
SAMPLE_LINES = 1000
"""Lines of a file by which it is told whether labels are of words."""
SETTLED_BY_ORIGIN = ("model", "data.tokenizer", "data.labels_of")
"""What a run that starts from another's weights has to share with it."""


@dataclass(frozen=True)
class _Profile:
    lines: int
    words: int
    labels_of: str

    @property
    def scale(self) -> float:
        """Return the size of the corpus in those of EWT."""
        return max(1, self.words) / REFERENCE_WORDS


def from_labels(overrides: Sequence[Override]) -> Config:
    """Choose every field that `overrides` leaves open by the labelled lines that they name; log what and why.

    Fields that are given hold, and those that depend on them follow. The same corpus gives the same config.

    Raises:
        ConfigError: an unknown key or an impossible value, found before the corpus is read.
        FileNotFoundError, ValueError: the corpus cannot be read.
    """
    given = {key: text if isinstance(text, str) else " ".join(text) for key, text in overrides}
    base = _base(given)
    settled = take_over(base, overrides, SETTLED_BY_ORIGIN)
    # A text has none, and what a tagger has learnt to read may tell lines apart.
    keeps_labels = "labels_of" in base["data"] and given.get("init_parts") != "matching"
    settled = [key for key in settled if key != "data.labels_of" or keeps_labels]
    tags = {"data.kind"} if "model" in settled else {"data.kind", "model.family"}
    choices = Choices(override(base, [each for each in overrides if each[0] not in tags]), [*given, *settled])
    data = _data_of(choices)
    found = _profile(data)
    logger.info("%s lines; chosen by what they hold (give any field to set it yourself):", f"{found.lines:,}")
    reason = "as many labels as words" if found.labels_of == "words" else "another number of labels than of words"
    choices.set("data.labels_of", found.labels_of, f"most lines have {reason}")
    if choices.get("data.valid_src") is None and choices.get("data.valid_fold") is None:
        share = held_out(found.lines)
        choices.set("data.valid_fraction", share, f"no validation set is given, and there are {found.lines:,} lines")
    if choices.config().model.is_counted:
        return choices.config()
    _choose_model(choices, found)
    _choose_steps(choices, found)
    return choices.config()


def _base(given: dict[str, str]) -> dict[str, Any]:
    """Return what holds before any choice."""
    family = given.get("model.family", "lstm_labeller")
    model: dict[str, Any] = {"family": family}
    config = Parts("model").get(family, default_part("model"))  # an unknown one is named when the base is built
    if config.is_counted:
        return {"data": {"kind": "labelling", "labels_of": "words"}, "model": model}
    if config.embedding_field == "d_model" and "num_heads" in fields_of(config):
        model["num_heads"] = 1
    return {"data": {"kind": "labelling"}, "model": model, "optim": {"average_last": 5}}


def _profile(config: LabellingConfig) -> _Profile:
    """Read the training corpora once; raises ValueError where they hold no word."""
    lines = words = telling = agreeing = 0
    for corpus in config.corpora("train"):
        pairs = corpus.rows()
        for src, tgt in islice(pairs, SAMPLE_LINES):
            counts = len(src.split()), len(tgt.split())
            if min(counts) > 0 and max(counts) > 1:  # one word with one label may be either
                telling, agreeing = telling + 1, agreeing + (counts[0] == counts[1])
            lines, words = lines + 1, words + counts[0]
        for src, _ in pairs:
            lines, words = lines + 1, words + len(src.split())
    if not words:
        raise ValueError(f"{', '.join(config.train_src)}: holds no line with a word, so there is nothing to learn.")
    # Most decide, so that preparation names the line that is wrong rather than all others.
    return _Profile(lines, words, "words" if 2 * agreeing > telling or not telling else "lines")


def _data_of(choices: Choices) -> LabellingConfig:
    data = choices.config().data
    assert isinstance(data, LabellingConfig)
    return data


def _choose_model(choices: Choices, found: _Profile) -> None:
    """Choose the sizes of the model."""
    words = f"the corpus has {found.words:,} words"
    config = choices.config().model
    by_vectors = size_of_given_vectors(choices)
    if _data_of(choices).tokenizer.units == "words":
        size = power_of_two(64 * max(found.scale, 1e-3) ** 0.25, 32, 128, round)
        choices.set("model.spelling_size", size, "how a word is spelt says what an unknown one is")
        choices.set("model.unknown_share", 0.1, "so that the model learns to do without a word")
    if config.embedding_field == "d_model":
        d_model = choices.set(
            "model.d_model", *(by_vectors or (within(64 * round(2 * found.scale**0.25), 64, 512), words))
        )
        choices.set("model.d_ff", 4 * d_model, f"d_model is {d_model}")
        choices.set("model.num_heads", 4 if d_model % 8 == 0 else 1, f"d_model is {d_model}")
        return
    choices.set("model.hidden_size", within(64 * round(4 * found.scale**0.25), 64, 1024), words)
    choices.set("model.embedding_size", *(by_vectors or (128, "enough for the words of a small corpus")))


def _choose_steps(choices: Choices, found: _Profile) -> None:
    """Choose the rate and the steps, and what follows from the number of steps."""
    batch = choices.set(
        "data.batch_tokens", power_of_two(1024 * found.scale ** (1 / 3), 256, 8192, round), f"{found.words:,} words"
    )
    fine_tuning = choices.get("init_from") is not None
    epochs = within(round(EPOCHS * found.scale ** (-1 / 3)), 3, 60)
    reason = f"{epochs} times through {found.words:,} words by {batch} in a step"
    steps = choices.set("training.max_steps", max(10, rounded(epochs * found.words / batch)), reason)
    family = choices.get("optim.optimizer.family")
    if family not in ("sgd", "muon"):
        field = choices.config().model.embedding_field
        width = choices.width("model.d_model" if field == "d_model" else "model.hidden_size")
        lr = min(MAX_LR, LR_BY_WIDTH / width) / (2 if fine_tuning else 1)
        choices.set("optim.optimizer.lr", float(f"{lr:.2g}"), f"of {family}, and the model is {width} wide")
    choices.set("optim.schedule.warmup_steps", min(1000, rounded(0.05 * steps) or 1), f"{steps:,} steps in all")
    choose_intervals(choices, steps)
