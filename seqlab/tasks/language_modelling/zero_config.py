"""Zero config for a text: every setting of a language model chosen from the training text alone.

Sizes are powers of one number, the tokens of the text, and are anchored at tinyshakespeare (1.1 million characters),
where a Transformer of 4 layers and `d_model` 256 with dropout 0.2 does well in steps of 4,096 tokens.

- A text with a line in a hundred empty, as between paragraphs, is continuous; otherwise each line is a text of its own.
- Words are learnt where word vectors are given, and where a new word is rare, fewer than one in a thousand by the
  estimate of Good (1953), and there are not too many: generated text, and corpora whose rare words were replaced.
  Otherwise characters are, up to 1.5 million of them, and subwords of a longer text, as many as `from_corpus` has for
  one side.

References: Good 1953, The Population Frequencies of Species and the Estimation of Population Parameters (Biometrika).
"""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from seqlab.data.columns import parse_column
from seqlab.data.line_sample import count_covering_characters
from seqlab.registry import Parts, default_part
from seqlab.runs.codecs import load_tokenizers
from seqlab.runs.config import Config
from seqlab.runs.fields import fields_of
from seqlab.runs.folder import RunFolder
from seqlab.runs.overrides import Override, override
from seqlab.tasks.language_modelling.config import LanguageModellingConfig
from seqlab.tasks.language_modelling.text_profile import TextProfile, profile_text
from seqlab.text import train_tokenizer
from seqlab.training.choices import (
    LR_BY_WIDTH,
    MAX_LR,
    MAX_SUBWORDS,
    SPECIAL_IDS,
    SUBWORDS_PER_ROOT,
    Choices,
    choose_intervals,
    power_of_two,
    rounded,
    size_of_given_vectors,
    take_over,
    within,
)

logger = logging.getLogger(__name__)

REFERENCE_TOKENS = 1_000_000
"""Tokens of tinyshakespeare's training part, where the choices are about those of its recipe."""
EPOCHS = 40
"""Times through a text of that size; times fewer, the larger."""
EMPTY_SHARE = 0.01
"""Empty lines among all from which the text is taken to be continuous."""
NEW_WORDS_SHARE = 0.001
"""Words of a further text that are not in this one, up to which words are learnt."""
MAX_WORDS = 50_000
"""Different words above which subwords are learnt."""
MAX_CHARS = 1_500_000
"""Characters up to which a text is learnt character by character."""
MAX_VALID_TOKENS = 250_000
"""Tokens that are held out at most."""
MICRO_BATCH_TOKENS = 4096
ADAM_LR = {"d_model": LR_BY_WIDTH, "hidden_size": 1.0}, MAX_LR
MUON_LR = {"d_model": 1.28, "hidden_size": 5.12}, 2e-2
"""Peak learning rate times the width, and the highest; by Muon's tinyshakespeare has 5e-3, its GRU 1e-2."""
RECURRENT_DECAY = 0.3
"""Muon's updates have one size whatever the gradient's is, so clipping holds nothing back: what a state is multiplied
by at each step grows until gradients explode. With a decay of 0.1 those of tinyshakespeare's GRU did in 600 steps."""
SETTLED_BY_ORIGIN = ("model", "data.tokenizer", "data.documents")
"""What a run that starts from another's weights has to share with it."""


@dataclass(frozen=True)
class Tokens:
    """The text in tokens."""

    count: float
    line_lengths: np.ndarray[Any, np.dtype[np.int64]]  # of the sampled lines, ends of line counted

    @property
    def scale(self) -> float:
        """Return the size of the text in tinyshakespeares."""
        return self.count / REFERENCE_TOKENS

    def __str__(self) -> str:
        return f"the text has {self.count:,.0f} tokens"


def from_text(overrides: Sequence[Override]) -> Config:
    """Choose every field that `overrides` leaves open by the training text that they name; log what and why.

    Fields that are given hold, and those that depend on them follow. The same text gives the same config.

    Raises:
        ConfigError: an unknown key or an impossible value, found before the text is read.
        FileNotFoundError, ValueError: the text cannot be read.
    """
    given = {key: text if isinstance(text, str) else " ".join(text) for key, text in overrides}
    base = _base(given)
    settled = take_over(base, overrides, SETTLED_BY_ORIGIN)
    if "documents" in base["data"] or "data.packing" in given:  # another field leaves no choice
        settled.append("data.documents")
    # The base has what these tags name: they would reset its sections to the defaults.
    tags = {"data.kind"} if "model" in settled else {"data.kind", "model.family"}
    choices = Choices(override(base, [each for each in overrides if each[0] not in tags]), [*given, *settled])
    data = _data_of(choices)
    found = profile_text(data, split_records=True)
    logger.info("%s lines; chosen settings (give an option to override one):", f"{found.lines:,}")
    _choose_text(choices, found)
    if choices.get("data.documents") == "lines" and any(parse_column(spec).kind != "text" for spec in data.train):
        found = profile_text(data, split_records=False)  # a record of several lines is one text
    tokens = _measure(choices, found)
    _choose_data(choices, tokens)
    model = choices.config().model
    if model.is_count_based:
        order = 8 if _data_of(choices).tokenizer.units == "characters" else 5
        choices.set("model.order", order, f"of {choices.get('data.tokenizer.kind')}")
        return choices.config()
    if model.is_recurrent:
        _choose_recurrent(choices, tokens)
    else:
        _choose_transformer(choices, tokens)
    _choose_steps(choices, tokens)
    return choices.config()


def _base(given: dict[str, str]) -> dict[str, Any]:
    """Return what holds before any choice: where fields bound each other, no given one is refused for a default."""
    family = given.get("model.family", "transformer_lm")
    model: dict[str, Any] = {"family": family}
    base: dict[str, Any] = {"data": {"kind": "language_modelling", "block_length": 2}, "model": model}
    longest = given.get("model.max_length", "")
    if longest.isdigit():  # learned positions have to be as many
        base["data"]["block_length"] = int(longest)
    if given.get("data.order") == "contiguous" or "data.vary_block_length" in given:
        base["data"] |= {"documents": "continuous", "order": "contiguous"}
    config = Parts("model").get(family, default_part("model"))  # an unknown one is named when the base is built
    if config.is_count_based:
        return base
    if not config.is_recurrent and "num_heads" in fields_of(config):
        model["num_heads"] = 1
    optimizer: dict[str, Any] = {"family": "muon"}
    base["data"] |= config.data_defaults
    if config.data_defaults:
        model["max_length"] = 1 << 20
        optimizer = {"family": "adamw", "betas": [0.9, 0.98]}
    base["optim"] = {
        "optimizer": {**optimizer, "weight_decay": RECURRENT_DECAY if config.is_recurrent else 0.1},
        "schedule": {"family": "cosine", "final_ratio": 0.02},
    }
    return base


def _data_of(choices: Choices) -> LanguageModellingConfig:
    data = choices.config().data
    assert isinstance(data, LanguageModellingConfig)
    return data


def _choose_text(choices: Choices, found: TextProfile) -> None:
    """Choose what a text is, and how it is cut."""
    is_continuous = found.empty_share >= EMPTY_SHARE
    meaning = "as between paragraphs" if is_continuous else "so each is taken for a text of its own"
    choices.set(
        "data.documents",
        "continuous" if is_continuous else "lines",
        f"{found.empty_share:.1%} of the lines are empty, {meaning}",
    )
    words, new = len(found.sample.words), f"{found.new_words_share:.2%} of the words of another text would be new"
    if found.new_words_share <= NEW_WORDS_SHARE and words <= MAX_WORDS:
        kind, reason = "words", f"{new}, and there are {words:,}"
    elif found.chars <= MAX_CHARS:
        kind, reason = "characters", f"{new}, and {found.chars:,} characters are few to learn subwords from"
    else:
        kind, reason = "sentencepiece_bpe", f"{new}, and there are {found.chars:,} characters"
    if choices.config().data.vector_files():
        kind, reason = "words", "the vectors that it starts from are of words"
    choices.set_kind("data.tokenizer.kind", kind, reason)
    settings = _data_of(choices).tokenizer
    if settings.units == "subwords":
        share = settings.character_share
        alphabet = count_covering_characters([found.sample], share) if share else 0
        pieces = min(round(SUBWORDS_PER_ROOT * math.sqrt(found.chars)), MAX_SUBWORDS)
        reason = f"{pieces:,} subwords besides characters and bytes, by the root of {found.chars:,} characters of text"
        choices.set("data.tokenizer.vocab_size", SPECIAL_IDS + alphabet + pieces, reason)


def _measure(choices: Choices, found: TextProfile) -> Tokens:
    """Count the tokens of the text by those of the sample."""
    if choices.get("init_from") is None:
        tokenizer = train_tokenizer(_data_of(choices).tokenizer, found.sample.lines)
    else:
        tokenizer = load_tokenizers(RunFolder(Path(choices.get("init_from"))))[1]
    lengths = np.array([len(ids) + 1 for ids in tokenizer.encode(found.sample.lines)])
    return Tokens(float(lengths.mean()) * (found.lines - found.empty) + found.empty, lengths)


def _choose_data(choices: Choices, tokens: Tokens) -> None:
    """Choose how the text is read, and what is held out of it."""
    if not choices.get("data.valid"):
        share = float(f"{min(0.05, MAX_VALID_TOKENS / tokens.count):.2g}")
        choices.set("data.valid_fraction", share, f"no validation text is given, and {tokens}")
    is_recurrent = choices.config().model.is_recurrent
    if choices.get("data.documents") == "lines":
        usual = int(np.quantile(tokens.line_lengths, 0.999, method="lower"))
        length, reason = (
            power_of_two(usual, 64, 512, math.ceil),
            f"999 in 1,000 lines have no more than {usual:,} tokens",
        )
    else:
        length, reason = (128 if is_recurrent else 256), "what is usual for a text that goes on"
        if is_recurrent:
            choices.set("data.order", "contiguous", "a recurrent model remembers what it has read")
    longest = choices.config().model.context_limit if choices.is_given("model.max_length") else None
    if longest is not None and longest < length:
        length, reason = longest, "the model looks back on no more"
    choices.set("data.block_length", length, reason)
    batch = power_of_two(4096 * tokens.scale ** (1 / 3), 1024, 65_536, round)
    choices.set("data.batch_tokens", batch, str(tokens))
    choices.set("data.micro_batch_tokens", MICRO_BATCH_TOKENS, "small enough for any machine's memory")


def _choose_transformer(choices: Choices, tokens: Tokens) -> None:
    """Choose the sizes of a Transformer; its width decides the rest."""
    by_text = within(64 * round(4 * tokens.scale**0.25), 128, 768), str(tokens)
    d_model = choices.set("model.d_model", *(size_of_given_vectors(choices) or by_text))
    width = f"d_model is {d_model}"
    choices.set("model.d_ff", 4 * d_model, width)
    # Rotary positions turn pairs of a head's values.
    heads = [count for count in range(1, max(4, d_model // 64) + 1) if d_model % (2 * count) == 0]
    choices.set("model.num_heads", max(heads, default=1), width)
    is_masked = choices.get("data.mask_share") > 0
    layers = within(4 + (d_model - 256) // 64, 4, 12)
    choices.set("model.num_encoder_layers" if is_masked else "model.num_layers", layers, width)
    choices.set("model.dropout", _dropout(choices, tokens), str(tokens))
    if is_masked:
        length = choices.get("data.block_length")
        choices.set("model.max_length", max(length, 512), f"training has blocks of {length} tokens")


def _choose_recurrent(choices: Choices, tokens: Tokens) -> None:
    """Choose the size of a recurrent model, and its dropouts."""
    choices.set("model.hidden_size", within(64 * round(8 * tokens.scale**0.25), 128, 1536), str(tokens))
    by_vectors = size_of_given_vectors(choices)
    if by_vectors is not None:
        choices.set("model.embedding_size", *by_vectors)
    for place in ("input", "hidden", "output"):
        choices.set(f"model.{place}_dropout", _dropout(choices, tokens), str(tokens))


def _dropout(choices: Choices, tokens: Tokens) -> float:
    """Return less for a longer text, and less for characters, which hold less each."""
    most = 0.2 if _data_of(choices).tokenizer.units == "characters" else 0.4
    return round(20 * max(0.1, most - 0.1 * math.log10(max(1.0, tokens.scale)))) / 20


def _choose_steps(choices: Choices, tokens: Tokens) -> None:
    """Choose the rate and the steps, and what follows from the number of steps."""
    batch, fine_tuning = choices.get("data.batch_tokens"), choices.get("init_from") is not None
    epochs = EPOCHS * tokens.scale ** (-1 / 3) / (4 if fine_tuning else 1)
    start = ", a quarter as the weights are trained already" if fine_tuning else ""
    steps = choices.set(
        "training.max_steps",
        max(1, rounded(epochs * tokens.count / min(batch, tokens.count))),  # a step holds the text once at most
        f"{epochs:.0f} times through {tokens.count:,.0f} tokens by {batch} in a step{start}",
    )
    family = choices.get("optim.optimizer.family")
    if family != "sgd":
        size = "hidden_size" if choices.config().model.is_recurrent else "d_model"
        by_width, most = MUON_LR if family == "muon" else ADAM_LR
        width = choices.width(f"model.{size}")
        lr = min(most, by_width[size] / width) / (4 if fine_tuning else 1)
        reason = f"of {family}, and {size} is {width}{start}"
        choices.set("optim.optimizer.lr", float(f"{lr:.2g}"), reason)
    choices.set("optim.schedule.warmup_steps", min(2000, rounded(0.03 * steps)), f"{steps:,} steps in all")
    choose_intervals(choices, steps)
