"""Zero config for labeling: choose every setting of a labeler from the training data.

Sizes grow as powers of the number of training words, calibrated on Universal Dependencies' EWT (205,000 words).
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import Any

from seqlab.data.labels import refuse_tokens_as_lines
from seqlab.data.line_sample import LineSample
from seqlab.registry import Parts, default_part
from seqlab.runs.config import Config
from seqlab.runs.fields import fields_of
from seqlab.runs.migrate import migrate
from seqlab.runs.overrides import Override, override
from seqlab.tasks.labelling.config import LabellingConfig
from seqlab.training.config_builder import (
    LR_BY_WIDTH,
    ConfigBuilder,
    choose_intervals,
    clamp,
    copy_settings,
    power_of_two,
    round_2_digits,
    valid_share,
    word_vector_dim,
)

logger = logging.getLogger(__name__)

EWT_WORDS = 200_000
"""Number of words of EWT's training split, rounded."""
EWT_EPOCHS = 20
"""Epochs on a corpus of `EWT_WORDS`; a larger corpus gets fewer."""
MAX_LABELER_LR = 2e-3
"""Maximum peak learning rate."""
SAMPLE_LINES_PER_FILE = 1000
"""Number of lines per file from which `labels_of` is chosen, by their numbers of labels and words."""
DEFAULT_MAX_LENGTH = 256
"""Default of `data.max_length`, which is raised for corpora with longer lines."""
MAX_RECURRENT_LENGTH, MAX_ATTENTION_LENGTH = 1 << 14, 1 << 12
"""Maximum of `data.max_length` that is chosen: memory grows with the length, with attention to its square."""
COPIED_SETTINGS = ("model", "data.tokenizer", "data.labels_of")
"""Settings that are copied from the run of `init_from`."""


@dataclass(frozen=True)
class _CorpusProfile:
    """Statistics of the training corpora."""

    lines: int
    words: int
    characters: int
    longest: int
    """Words of the longest line."""
    most_characters: int
    """Characters of the longest line."""
    labels_of: str
    lacks_word_spaces: bool
    """Whether the text is written without spaces between words."""

    def by_characters(self) -> "_CorpusProfile":
        """Return the statistics with characters as words."""
        return replace(self, words=self.characters, longest=self.most_characters)

    @property
    def scale(self) -> float:
        """Size of the corpus relative to EWT."""
        return max(1, self.words) / EWT_WORDS


def from_labels(overrides: Sequence[Override]) -> Config:
    """Choose every field that is not in `overrides`, based on the training data; log each choice with its reason.

    Given fields are kept, and the choices depend on them. The same corpus gives the same config.

    Raises:
        ConfigError: an unknown key or an invalid value, before the corpus is read.
        FileNotFoundError, ValueError: the corpus cannot be read.
    """
    overridden = {key: text if isinstance(text, str) else " ".join(text) for key, text in overrides}
    base = _initial_values(overridden)
    copied = copy_settings(base, overrides, COPIED_SETTINGS)
    # A language model has no `labels_of`, and a classifier may start from the matching weights of a tagger.
    keeps_labels = "labels_of" in base["data"] and overridden.get("init_parts") != "matching"
    copied = [key for key in copied if key != "data.labels_of" or keeps_labels]
    tags = {"data.kind"} if "model" in copied else {"data.kind", "model.family", "model.encoder.family"}
    builder = ConfigBuilder(override(base, [pair for pair in overrides if pair[0] not in tags]), [*overridden, *copied])
    data = _data_of(builder)
    profile = _read_profile(data, check_tokens=not builder.is_given("data.labels_of"))
    logger.info("%s lines; chosen settings (give an option to override one):", f"{profile.lines:,}")
    _choose_units(builder, profile)
    if builder.get("data.valid_src") is None and builder.get("data.valid_fold") is None:
        share = valid_share(profile.lines)
        builder.set("data.valid_fraction", share, f"no validation set is given, and there are {profile.lines:,} lines")
    if builder.config().model.is_count_based:
        return builder.config()
    units = _data_of(builder).tokenizer.units
    profile = profile if units == "words" else profile.by_characters()
    _choose_model(builder, profile)
    _choose_max_length(builder, profile)
    _choose_steps(builder, profile)
    return builder.config()


def _initial_values(overridden: dict[str, str]) -> dict[str, Any]:
    """Return the values of the config before the choices."""
    model = migrate({"model": {"family": overridden.get("model.family", "labeler")}})["model"]
    # an unknown family is reported when the config is built
    config = Parts("model").get(model["family"], default_part("model"))
    if config.is_count_based:
        return {"data": {"kind": "labelling", "labels_of": "words"}, "model": model}
    if "num_heads" in fields_of(config):
        model["num_heads"] = 1
    family = overridden.get("model.encoder.family", model.get("encoder", {}).get("family"))
    encoder = Parts("encoder").get(family)
    if encoder is not None:
        model["encoder"] = {**model.get("encoder", {}), "family": family}
        if "num_heads" in fields_of(encoder):
            model["encoder"]["num_heads"] = 1
    return {"data": {"kind": "labelling"}, "model": model, "optim": {"average_last": 5}}


def _read_profile(config: LabellingConfig, *, check_tokens: bool) -> _CorpusProfile:
    """Read the training corpora once; raise ValueError if they contain no word.

    With `check_tokens`, also if they have one word per line, with empty lines between the sentences.
    """
    lines = words = characters = longest = most_characters = num_compared = num_equal = 0
    samples: list[str] = []
    for corpus in config.corpora("train"):
        pairs = corpus.rows()
        sample = list(islice(pairs, SAMPLE_LINES_PER_FILE))
        if check_tokens:
            refuse_tokens_as_lines(corpus, sample)
        samples += [src for src, _ in sample]
        for src, tgt in sample:
            counts = len(src.split()), len(tgt.split())
            if min(counts) > 0 and max(counts) > 1:  # one word with one label is ambiguous
                num_compared, num_equal = num_compared + 1, num_equal + (counts[0] == counts[1])
        for src, _ in chain(sample, pairs):
            count = len(src.split())
            lines, words, characters = lines + 1, words + count, characters + len(src)
            longest, most_characters = max(longest, count), max(most_characters, len(src))
    if not words:
        raise ValueError(f"{', '.join(config.train_src)}: no line has a word: there is nothing to train on.")
    lacks_spaces = LineSample(samples).lacks_word_spaces
    # The majority of the lines decides; preparation reports the lines that differ.
    is_tagging = 2 * num_equal > num_compared or not (num_compared or lacks_spaces)
    unit = "words" if is_tagging else "lines"
    return _CorpusProfile(lines, words, characters, longest, most_characters, unit, lacks_spaces)


def _choose_units(builder: ConfigBuilder, profile: _CorpusProfile) -> None:
    """Choose whether lines or words have labels, and the tokenizer."""
    relation = "equals" if profile.labels_of == "words" else "differs from"
    reason = f"in most lines the number of labels {relation} that of words"
    if profile.labels_of == "lines" and profile.lacks_word_spaces:
        reason = "the text is written without spaces between words, and a line has one label"
    labels_of = builder.set("data.labels_of", profile.labels_of, reason)
    if labels_of == "lines" and profile.lacks_word_spaces:
        reason = "the text is written without spaces between words"
        builder.set_kind("data.tokenizer.kind", "characters", reason)


def _choose_max_length(builder: ConfigBuilder, profile: _CorpusProfile) -> None:
    """Choose a maximum length that keeps all lines, so that training, validation and inference read them whole."""
    has_attention = builder.config().model.context_limit is not None
    limit = min(profile.longest, MAX_ATTENTION_LENGTH if has_attention else MAX_RECURRENT_LENGTH)
    if limit > DEFAULT_MAX_LENGTH:
        limit = builder.set("data.max_length", limit, f"the longest line has {profile.longest:,} tokens")
    key = builder.layer_key("max_length")
    if has_attention and limit > builder.get(key):
        builder.set(key, limit, f"data.max_length is {limit:,}")


def _data_of(builder: ConfigBuilder) -> LabellingConfig:
    data = builder.config().data
    assert isinstance(data, LabellingConfig)
    return data


def _choose_model(builder: ConfigBuilder, profile: _CorpusProfile) -> None:
    """Choose the sizes of the model."""
    words = f"the corpus has {profile.words:,} words"
    vector_dim = word_vector_dim(builder)
    if _data_of(builder).tokenizer.units == "words":
        size = power_of_two(64 * max(profile.scale, 1e-3) ** 0.25, 32, 128, round)
        builder.set("model.spelling_size", size, "the spelling of an unknown word hints at its label")
        builder.set(
            "model.unknown_share", 0.1, "this share of the training words is masked, as examples of unknown words"
        )
    key = builder.layer_key
    if builder.has(key("d_model")):
        d_model = builder.set(
            key("d_model"), *(vector_dim or (clamp(64 * round(2 * profile.scale**0.25), 64, 512), words))
        )
        builder.set(key("d_ff"), 4 * d_model, f"d_model is {d_model}")
        builder.set(key("num_heads"), 4 if d_model % 8 == 0 else 1, f"d_model is {d_model}")
        return
    builder.set(key("hidden_size"), clamp(64 * round(4 * profile.scale**0.25), 64, 1024), words)
    builder.set("model.embedding_size", *(vector_dim or (128, "enough for a small vocabulary")))


def _choose_steps(builder: ConfigBuilder, profile: _CorpusProfile) -> None:
    """Choose the batch size, the number of steps, the learning rate, and the intervals."""
    batch = builder.set(
        "data.batch_tokens", power_of_two(1024 * profile.scale ** (1 / 3), 256, 8192, round), f"{profile.words:,} words"
    )
    fine_tuning = builder.get("init_from") is not None
    epochs = builder.epochs(clamp(round(EWT_EPOCHS * profile.scale ** (-1 / 3)), 3, 60))
    reason = f"{epochs} epochs of {profile.words:,} words, {batch} per step"
    steps = builder.set_steps(max(10, round_2_digits(epochs * profile.words / batch)), reason)
    family = builder.get("optim.optimizer.family")
    if family not in ("sgd", "muon"):
        d_model, hidden_size = builder.layer_key("d_model"), builder.layer_key("hidden_size")
        width = builder.width(d_model if builder.has(d_model) else hidden_size)
        lr = min(MAX_LABELER_LR, LR_BY_WIDTH / width) / (2 if fine_tuning else 1)
        builder.set("optim.optimizer.lr", float(f"{lr:.2g}"), f"for {family} and a model width of {width}")
    builder.set(
        "optim.schedule.warmup_steps", min(1000, round_2_digits(0.05 * steps) or 1), f"{steps:,} steps in total"
    )
    choose_intervals(builder, steps)
