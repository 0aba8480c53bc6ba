"""Zero config for language models: choose every setting from the training text.

Sizes grow as powers of the number of tokens. They are calibrated on tinyshakespeare (1.1 million characters), where a
Transformer of 4 layers and `d_model` 256 with dropout 0.2 works well in steps of 4,096 tokens.

- A text is continuous if at least 1% of its lines are empty, as between paragraphs; otherwise each line is a separate
  text.
- The tokens are words if word vectors are given, or if the vocabulary is small and, by the estimate of Good (1953), at
  most 0.1% of the words of another text would be unseen. Examples are generated text, and corpora with a replacement
  for rare words. Otherwise the tokens are characters for texts of up to 1.5 million characters, and subwords for longer
  texts, as many as the translation task chooses for one side.

References: Good 1953, The Population Frequencies of Species and the Estimation of Population Parameters (Biometrika).
"""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from seqlab.base.parsing import parse_digits
from seqlab.data.columns import parse_column
from seqlab.data.line_sample import count_covering_characters
from seqlab.registry import Parts, default_part
from seqlab.runs.codecs import load_tokenizers
from seqlab.runs.config import Config, to_dict
from seqlab.runs.fields import fields_of
from seqlab.runs.folder import RunFolder
from seqlab.runs.migrate import migrate
from seqlab.runs.overrides import Override, override
from seqlab.runs.validate import ConfigError
from seqlab.tasks.language_modelling.config import LanguageModellingConfig
from seqlab.tasks.language_modelling.text_profile import TextProfile, profile_text
from seqlab.text import train_tokenizer
from seqlab.training.config_builder import (
    LR_BY_WIDTH,
    MAX_LR,
    MAX_SUBWORDS,
    NUM_SPECIAL_IDS,
    SUBWORDS_PER_ROOT,
    ConfigBuilder,
    choose_intervals,
    clamp,
    copy_settings,
    power_of_two,
    round_2_digits,
    word_vector_dim,
)

logger = logging.getLogger(__name__)

TINYSHAKESPEARE_TOKENS = 1_000_000
"""Tokens of tinyshakespeare's training split, for which the choices are close to those of its recipe."""
TINYSHAKESPEARE_EPOCHS = 40
"""Epochs on a text of `TINYSHAKESPEARE_TOKENS`; a longer text gets fewer."""
MIN_EMPTY_SHARE = 0.01
"""Minimum share of empty lines in a continuous text."""
MAX_NEW_WORDS_SHARE = 0.001
"""Maximum estimated share of unseen words in another text for a word vocabulary."""
MAX_DISTINCT_WORDS = 50_000
"""Maximum size of a word vocabulary."""
MAX_CHARS = 1_500_000
"""Maximum characters of a text for a character vocabulary."""
MAX_VALID_TOKENS = 250_000
"""Maximum tokens held out for validation."""
LM_MICRO_BATCH_TOKENS = 4096
"""Padded tokens per micro-step."""
ADAM_LR = {"d_model": LR_BY_WIDTH, "hidden_size": 1.0}, MAX_LR
MUON_LR = {"d_model": 1.28, "hidden_size": 5.12}, 2e-2
"""Peak learning rate times the model width, and the maximum learning rate. For tinyshakespeare, that of Muon is 5e-3,
with a GRU 1e-2."""
RECURRENT_WEIGHT_DECAY = 0.3
"""Weight decay of recurrent models under Muon. Muon's updates do not shrink with the gradient, so clipping does not
limit them, and recurrent weights grow until gradients explode. With a decay of 0.1 this happened to tinyshakespeare's
GRU within 600 steps."""
MASK_SHARE = 0.15
"""Share of the tokens that masked models predict (BERT)."""
COPIED_SETTINGS = ("model", "data.tokenizer", "data.documents", "data.transcripts")
"""Settings that are copied from the run of `init_from`."""


@dataclass(frozen=True)
class TextTokens:
    """Token statistics of the training text, estimated from the sample."""

    count: float
    """Tokens of the text, including ends of lines."""
    line_lengths: np.ndarray[Any, np.dtype[np.int64]]
    """Tokens of each sampled line, including its end."""

    @property
    def scale(self) -> float:
        """Size of the text relative to tinyshakespeare."""
        return self.count / TINYSHAKESPEARE_TOKENS

    def __str__(self) -> str:
        return f"the text has {self.count:,.0f} tokens"


def from_text(overrides: Sequence[Override]) -> Config:
    """Choose every field that is not in `overrides`, based on the training text; log each choice with its reason.

    Given fields are kept, and the choices depend on them. The same text gives the same config.

    Raises:
        ConfigError: an unknown key or an invalid value, before the text is read.
        FileNotFoundError, ValueError: the text cannot be read.
    """
    overridden = {key: text if isinstance(text, str) else " ".join(text) for key, text in overrides}
    base = _initial_values(overridden)
    copied = copy_settings(base, overrides, COPIED_SETTINGS)
    if "documents" in base["data"] or "data.packing" in overridden:  # other fields determine it
        copied.append("data.documents")
    # As overrides, these tags would reset their sections to the defaults; the initial values have the same tags.
    tags = {"data.kind"} if "model" in copied else {"data.kind", "model.family", "model.encoder.family"}
    builder = ConfigBuilder(override(base, [pair for pair in overrides if pair[0] not in tags]), [*overridden, *copied])
    data = _data_of(builder)
    profile = profile_text(data, split_records=True)
    logger.info("%s lines; chosen settings (give an option to override one):", f"{profile.lines:,}")
    _choose_text(builder, profile)
    if builder.get("data.documents") == "lines" and any(parse_column(spec).kind != "text" for spec in data.train):
        profile = profile_text(data, split_records=False)  # a record of several lines is one text
    tokens = _estimate_tokens(builder, profile)
    _choose_data(builder, tokens)
    model = builder.config().model
    if "masked_tokens" in model.abilities:
        reason = "the encoder reads in both directions; a model that generates text is `model.family: transformer_lm`"
        builder.set("data.mask_share", MASK_SHARE, reason)
    if model.is_count_based:
        order = 8 if _data_of(builder).tokenizer.units == "characters" else 5
        builder.set("model.order", order, f"for tokens of kind {builder.get('data.tokenizer.kind')}")
        return builder.config()
    if "recurrence" in model.abilities:
        _choose_recurrent(builder, tokens)
    else:
        _choose_transformer(builder, tokens)
    _choose_steps(builder, tokens)
    return builder.config()


def _initial_values(overridden: dict[str, str]) -> dict[str, Any]:
    """Return the values of the config before the choices; they do not conflict with given fields."""
    default = "language_model" if "model.encoder.family" in overridden else "transformer_lm"
    model: dict[str, Any] = migrate({"model": {"family": overridden.get("model.family", default)}})["model"]
    if "model.encoder.family" in overridden:
        model = _with_encoder(model, overridden["model.encoder.family"])
    base: dict[str, Any] = {"data": {"kind": "language_modelling", "block_length": 2}, "model": model}
    longest = parse_digits(overridden.get("model.max_length"))
    if longest is not None:  # the block must fit the learned position embeddings
        base["data"]["block_length"] = longest
    if overridden.get("data.order") == "contiguous" or "data.vary_block_length" in overridden:
        base["data"] |= {"documents": "continuous", "order": "contiguous"}
    # an unknown family is reported when the config is built
    config = Parts("model").get(model["family"], default_part("model"))
    if config.is_count_based:
        return base
    abilities = config(**{name: value for name, value in model.items() if name != "family"}).abilities
    layers: dict[str, Any] = model.get("encoder", model)
    layer_fields = fields_of(Parts("encoder").get(layers["family"], config))
    if "num_heads" in layer_fields:
        layers["num_heads"] = 1
    optimizer: dict[str, Any] = {"family": "muon"}
    if "masked_tokens" in abilities:
        base["data"]["mask_share"] = MASK_SHARE
        if "max_length" in layer_fields:
            layers["max_length"] = 1 << 20
        optimizer = {"family": "adamw", "betas": [0.9, 0.98]}
    base["optim"] = {
        "optimizer": {**optimizer, "weight_decay": RECURRENT_WEIGHT_DECAY if "recurrence" in abilities else 0.1},
        "schedule": {"family": "cosine", "final_ratio": 0.02},
    }
    return base


def _with_encoder(model: dict[str, Any], family: str) -> dict[str, Any]:
    """Return the section `model` with another encoder, which determines whether tokens are masked."""
    text = {"kind": "language_modelling", "train": [""]}
    encoder = ("model.encoder.family", family)
    try:
        config = override({"data": text, "model": model}, [encoder])
    except ConfigError:  # it reads in both directions, or there is no such encoder
        config = override({"data": {**text, "mask_share": MASK_SHARE}, "model": model}, [encoder])
    values: dict[str, Any] = to_dict(config)["model"]  # type: ignore[assignment]
    return values


def _data_of(builder: ConfigBuilder) -> LanguageModellingConfig:
    data = builder.config().data
    assert isinstance(data, LanguageModellingConfig)
    return data


def _choose_text(builder: ConfigBuilder, profile: TextProfile) -> None:
    """Choose whether the text is continuous, and the tokenizer."""
    is_continuous = profile.empty_share >= MIN_EMPTY_SHARE
    meaning = "as between paragraphs" if is_continuous else "so each line is a separate text"
    builder.set(
        "data.documents",
        "continuous" if is_continuous else "lines",
        f"{profile.empty_share:.1%} of the lines are empty, {meaning}",
    )
    words = len(profile.sample.words)
    unseen = f"an estimated {profile.new_words_share:.2%} of the words of another text are unseen"
    has_words = not profile.sample.lacks_word_spaces
    if has_words and profile.new_words_share <= MAX_NEW_WORDS_SHARE and words <= MAX_DISTINCT_WORDS:
        kind, reason = "words", f"{unseen}, and there are {words:,} distinct words"
    elif profile.chars <= MAX_CHARS:
        kind, reason = "characters", f"{unseen}, and {profile.chars:,} characters are too few for subwords"
    else:
        kind, reason = "sentencepiece_bpe", f"{unseen}, and there are {profile.chars:,} characters"
    if builder.config().data.vector_files():
        kind, reason = "words", "word vectors are given"
    builder.set_kind("data.tokenizer.kind", kind, reason)
    settings = _data_of(builder).tokenizer
    if settings.units == "subwords":
        share = settings.character_share
        alphabet = count_covering_characters([profile.sample], share) if share else 0
        subwords = min(round(SUBWORDS_PER_ROOT * math.sqrt(profile.chars)), MAX_SUBWORDS)
        reason = f"{subwords:,} subwords besides characters and bytes, for a text of {profile.chars:,} characters"
        builder.set("data.tokenizer.vocab_size", NUM_SPECIAL_IDS + alphabet + subwords, reason)


def _estimate_tokens(builder: ConfigBuilder, profile: TextProfile) -> TextTokens:
    """Estimate the tokens of the text from the sample."""
    if builder.get("init_from") is None:
        tokenizer = train_tokenizer(_data_of(builder).tokenizer, profile.sample.lines)
    else:
        tokenizer = load_tokenizers(RunFolder(Path(builder.get("init_from"))))[1]
    lengths = np.array([len(ids) + 1 for ids in tokenizer.encode(profile.sample.lines)])
    return TextTokens(float(lengths.mean()) * (profile.lines - profile.empty) + profile.empty, lengths)


def _choose_data(builder: ConfigBuilder, tokens: TextTokens) -> None:
    """Choose the validation share, the block length, the order and the batch sizes."""
    if not builder.get("data.valid"):
        share = float(f"{min(0.05, MAX_VALID_TOKENS / tokens.count):.2g}")
        builder.set("data.valid_fraction", share, f"no validation text is given, and {tokens}")
    is_recurrent = "recurrence" in builder.config().model.abilities
    if builder.get("data.documents") == "lines":
        quantile = int(np.quantile(tokens.line_lengths, 0.999, method="lower"))
        length, reason = (
            power_of_two(quantile, 64, 512, math.ceil),
            f"99.9% of the lines have at most {quantile:,} tokens",
        )
    else:
        length, reason = (128 if is_recurrent else 256), "the usual length for continuous text"
        if is_recurrent and carries_state(builder.config()):
            builder.set("data.order", "contiguous", "a recurrent model carries its state from block to block")
    longest = builder.config().model.context_limit if builder.is_given(builder.layer_key("max_length")) else None
    if longest is not None and longest < length:
        length, reason = longest, "the context length of the model"
    builder.set("data.block_length", length, reason)
    batch = power_of_two(4096 * tokens.scale ** (1 / 3), 1024, 65_536, round)
    builder.set("data.batch_tokens", batch, str(tokens))
    builder.set("data.micro_batch_tokens", LM_MICRO_BATCH_TOKENS, "fits into the memory of common machines")


def carries_state(config: Config) -> bool:
    """Return whether the model and the objective can carry a state from block to block."""
    return "contiguous" in config.model.abilities & config.objective.text_layouts


def _choose_transformer(builder: ConfigBuilder, tokens: TextTokens) -> None:
    """Choose the sizes of a Transformer; the others follow from its width."""
    size_and_reason = clamp(64 * round(4 * tokens.scale**0.25), 128, 768), str(tokens)
    key = builder.layer_key
    d_model = builder.set(key("d_model"), *(word_vector_dim(builder) or size_and_reason))
    width = f"d_model is {d_model}"
    builder.set(key("d_ff"), 4 * d_model, width)
    # Rotary positions need an even head dimension.
    heads = [count for count in range(1, max(4, d_model // 64) + 1) if d_model % (2 * count) == 0]
    builder.set(key("num_heads"), max(heads, default=1), width)
    layers = clamp(4 + (d_model - 256) // 64, 4, 12)
    builder.set(key("num_layers"), layers, width)
    builder.set(key("dropout"), _dropout(builder, tokens), str(tokens))
    if builder.get("data.mask_share"):
        length = builder.get("data.block_length")
        builder.set(key("max_length"), max(length, 512), f"training uses blocks of {length} tokens")


def _choose_recurrent(builder: ConfigBuilder, tokens: TextTokens) -> None:
    """Choose the sizes and dropout rates of a recurrent model."""
    key = builder.layer_key
    builder.set(key("hidden_size"), clamp(64 * round(8 * tokens.scale**0.25), 128, 1536), str(tokens))
    vector_dim = word_vector_dim(builder)
    if vector_dim is not None:
        builder.set("model.embedding_size", *vector_dim)
    for name in ("input_dropout", "dropout", "output_dropout"):
        builder.set(key(name), _dropout(builder, tokens), str(tokens))


def _dropout(builder: ConfigBuilder, tokens: TextTokens) -> float:
    """Return the dropout rate: lower for longer texts and for character models."""
    max_dropout = 0.2 if _data_of(builder).tokenizer.units == "characters" else 0.4
    return round(20 * max(0.1, max_dropout - 0.1 * math.log10(max(1.0, tokens.scale)))) / 20


def _choose_steps(builder: ConfigBuilder, tokens: TextTokens) -> None:
    """Choose the number of steps, the learning rate, and the intervals."""
    batch, fine_tuning = builder.get("data.batch_tokens"), builder.get("init_from") is not None
    epochs = builder.epochs(TINYSHAKESPEARE_EPOCHS * tokens.scale ** (-1 / 3) / (4 if fine_tuning else 1))
    quarter = " (a quarter of the usual, for fine-tuning)" if fine_tuning else ""
    steps = builder.set_steps(
        max(
            1, round_2_digits(epochs * tokens.count / min(batch, tokens.count))
        ),  # a step contains the text at most once
        f"{epochs:.0f} epochs{quarter} of {tokens.count:,.0f} tokens, {batch} per step",
    )
    family = builder.get("optim.optimizer.family")
    if family != "sgd":
        size = "hidden_size" if "recurrence" in builder.config().model.abilities else "d_model"
        by_width, max_lr = MUON_LR if family == "muon" else ADAM_LR
        width = builder.width(builder.layer_key(size))
        lr = min(max_lr, by_width[size] / width) / (4 if fine_tuning else 1)
        reason = f"for {family} and {size} {width}{quarter}"
        builder.set("optim.optimizer.lr", float(f"{lr:.2g}"), reason)
    builder.set("optim.schedule.warmup_steps", min(2000, round_2_digits(0.03 * steps)), f"{steps:,} steps in total")
    choose_intervals(builder, steps)
