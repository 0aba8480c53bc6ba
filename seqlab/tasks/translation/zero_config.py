"""Zero config for translation: choose every setting from the training corpora.

Sizes grow as powers of the number of target tokens. They are calibrated on Multi30k (29,000 pairs, 0.42 million
tokens), where 4 + 4 layers of `d_model` 128 and `d_ff` 256 with dropout 0.3 and a joint vocabulary of about 8,000 are
best (Wu et al. 2021a); batch size and learning rate are those of `seqlab.recipes.multi30k`. The exponents are chosen to
match settings that work for other corpora:

- IWSLT (160,000 pairs, 4 million tokens): `d_model` 256, dropout 0.3, about 40 epochs.
- WMT14 English-German (4.5 million pairs, 130 million tokens): the base model of Vaswani et al. (2017), `d_model` 512,
  `d_ff` 2048, 6 + 6 layers, dropout 0.1, about 100,000 steps.
- 5,000 to 20,000 pairs: a few thousand subwords, smaller batches, strong dropout, many epochs (Sennrich & Zhang 2019;
  Araabi & Monz 2020).
- Spelled words (pronunciation, inflection): characters, dropout 0.3, hundreds of epochs (Wu et al. 2021b).

A subword must be frequent to be learned (Gowda & May 2020), so the vocabulary grows with the square root of the text
and does not exceed the number of distinct words. Transformers work well with few subwords (Ding et al. 2019): the
maximum is half of the usual 32,000, whose output projection would cost as much as the layers.

References: Wu et al. 2021a, Good for Misconceived Reasons (ACL); Wu, Cotterell & Hulden 2021b, Applying the Transformer
to Character-level Transduction (EACL); Sennrich & Zhang 2019, Revisiting Low-Resource Neural Machine Translation (ACL);
Araabi & Monz 2020, Optimizing Transformer for Low-Resource Neural Machine Translation (COLING); Gowda & May 2020,
Finding the Optimal Vocabulary Size for Neural Machine Translation (Findings of EMNLP); Ding, Renduchintala & Duh 2019,
A Call for Prudent Choice of Subword Merge Operations in Neural Machine Translation (MT Summit).
"""

import logging
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from seqlab.data.line_sample import MIN_BLEU_WORDS, LineSample, count_covering_characters
from seqlab.registry import Parts
from seqlab.runs.codecs import load_tokenizers
from seqlab.runs.config import Config
from seqlab.runs.fields import fields_of
from seqlab.runs.folder import RunFolder
from seqlab.runs.overrides import Override, override
from seqlab.tasks.translation.config import TranslationConfig
from seqlab.text import Tokenizer, train_tokenizer
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
    valid_share,
    word_vector_dim,
)

logger = logging.getLogger(__name__)

MULTI30K_TOKENS = 420_000
"""Target tokens of Multi30k, for which the choices are those of its recipe."""
MIN_CHARACTER_OVERLAP = 0.5
"""Minimum share of common characters for a joint vocabulary; German and English have 0.75."""
MULTI30K_EPOCHS = 75
"""Epochs on a corpus of `MULTI30K_TOKENS`; a larger corpus gets fewer."""
MULTI30K_RECURRENT_EPOCHS = 30
"""`MULTI30K_EPOCHS` of recurrent models, which converge faster."""
RECURRENT_LR_BY_WIDTH = 1.0
"""Peak learning rate times `hidden_size`, for recurrent models."""
RECURRENT_WIDTH_FACTOR = 4
"""`hidden_size` of a recurrent model divided by the `d_model` of a Transformer."""
COPIED_SETTINGS = ("model", "data.tokenizer", "data.tokenizer_tgt", "data.joint_vocabulary")
"""Settings that are copied from the run of `init_from`."""
MICRO_BATCH_TOKENS = 2400
"""Padded tokens per micro-step: 2,048 target tokens, plus padding and longer sources."""
WORD_LIST_SUBWORDS = 16
"""Number of subwords, in addition to characters, for corpora with single words as lines."""
SAMPLE_PAIRS = 32_768


@dataclass(frozen=True)
class CorpusTokens:
    """Estimated number of tokens of the training corpora."""

    tgt: float
    """Target tokens of the pairs within `max_length`, including ends of sentence."""

    @property
    def scale(self) -> float:
        """Size of the corpus relative to Multi30k."""
        return self.tgt / MULTI30K_TOKENS


@dataclass(frozen=True)
class CorpusProfile:
    """Statistics of the training corpora, without pairs that have an empty side."""

    pairs: int
    src_chars: int
    tgt_chars: int
    src: LineSample
    tgt: LineSample

    @cached_property
    def overlap(self) -> float:
        """Share of the characters that source and target have in common, weighted by frequency, from 0 to 1."""
        src, tgt = self.src.characters, self.tgt.characters
        return sum(min(src[char] / src.total(), tgt[char] / tgt.total()) for char in src.keys() & tgt.keys())


def profile_corpora(config: TranslationConfig) -> CorpusProfile:
    """Read the training corpora once; keep a fixed random sample in memory.

    Raises:
        FileNotFoundError: a corpus is missing.
        ValueError: a corpus cannot be read, its sides are of unequal length, or no pair has both sides.
    """
    rng = random.Random(0)
    sample: list[tuple[str, str]] = []
    pairs = src_chars = tgt_chars = 0
    blocks = chain.from_iterable(corpus.blocks() for corpus in config.corpora("train"))
    for block in blocks:
        for pair in zip(*block.lines(), strict=True):
            if not (pair[0].strip() and pair[1].strip()):
                continue
            if pairs < SAMPLE_PAIRS:
                sample.append(pair)
            elif (position := rng.randrange(pairs + 1)) < SAMPLE_PAIRS:  # reservoir sampling
                sample[position] = pair
            pairs += 1
            src_chars, tgt_chars = src_chars + len(pair[0]), tgt_chars + len(pair[1])
    if not sample:
        names = ", ".join(config.train_src)
        raise ValueError(f"{names}: no pair has text on both sides: there is nothing to train on.")
    src, tgt = (LineSample(list(lines)) for lines in zip(*sample, strict=True))
    return CorpusProfile(pairs, src_chars, tgt_chars, src, tgt)


def from_corpus(overrides: Sequence[Override]) -> Config:
    """Choose every field that is not in `overrides`, based on the training corpora; log each choice with its reason.

    Given fields are kept, and the choices depend on them. The same text gives the same config.

    Raises:
        ConfigError: an unknown key or an invalid value, before the text is read.
        FileNotFoundError, ValueError: the corpora cannot be read.
    """
    # Fields that are not given start with values that do not conflict with given ones.
    base: dict[str, Any] = {
        "data": {"kind": "translation"},
        "optim": {"schedule": {"family": "linear"}},
        "model": {"family": "transformer", "num_heads": 1},
    }
    if any(key.startswith("data.tokenizer_tgt.") for key, _ in overrides):
        base["data"]["joint_vocabulary"] = False
    copied = copy_settings(base, overrides, COPIED_SETTINGS)
    given_keys = [*(key for key, _ in overrides), *copied]
    builder = ConfigBuilder(override(base, [*overrides, *_untied(overrides, given_keys)]), given_keys)
    profile = profile_corpora(_data_of(builder))
    logger.info("%s pairs; chosen settings (give an option to override one):", f"{profile.pairs:,}")
    if builder.get("data.valid_src") is None:
        builder.set(
            "data.valid_fraction",
            valid_share(profile.pairs),
            f"no validation set is given, and there are {profile.pairs:,} pairs",
        )
    tokenizers = _choose_text(builder, profile)
    tokens = _choose_max_length(builder, profile, tokenizers)
    _choose_data(builder, tokens)
    _choose_model(builder, tokens)
    _choose_steps(builder, profile, tokens)
    return builder.config()


def _data_of(builder: ConfigBuilder) -> TranslationConfig:
    data = builder.config().data
    assert isinstance(data, TranslationConfig)
    return data


def _untied(overrides: Sequence[Override], given_keys: Sequence[str]) -> list[Override]:
    """Set `model.tied_embeddings` to `none`, unless it is given: it is chosen later."""
    families = [text if isinstance(text, str) else " ".join(text) for key, text in overrides if key == "model.family"]
    family = Parts("model").get(families[-1] if families else "transformer")
    can_tie = family is not None and family.fits_data("translation") and "tied_embeddings" in fields_of(family)
    is_given = "model" in given_keys or "model.tied_embeddings" in given_keys
    return [("model.tied_embeddings", "none")] if can_tie and not is_given else []


def _choose_text(builder: ConfigBuilder, profile: CorpusProfile) -> tuple[Tokenizer, Tokenizer]:
    """Choose the tokenizers; return tokenizers of that kind trained on the sample."""
    joint = builder.set("data.joint_vocabulary", *_shares_vocabulary(builder, profile))
    sides = [profile.src, profile.tgt]
    settings = _data_of(builder).tokenizer
    if settings.units == "subwords":
        share = settings.character_share
        alphabets = [sides] if joint else [[side] for side in sides]
        alphabet = max(count_covering_characters(group, share) for group in alphabets) if share else 0
        subwords, reason = _num_subwords(profile, joint)
        builder.set("data.tokenizer.vocab_size", NUM_SPECIAL_IDS + alphabet + subwords, reason)
    if builder.get("init_from") is not None:
        return load_tokenizers(RunFolder(Path(builder.get("init_from"))))
    data = _data_of(builder)
    if joint:
        tokenizer = train_tokenizer(data.tokenizer, (line for side in sides for line in side.lines))
        return tokenizer, tokenizer
    src, tgt = data.tokenizers
    return train_tokenizer(src, profile.src.lines), train_tokenizer(tgt, profile.tgt.lines)


def _shares_vocabulary(builder: ConfigBuilder, profile: CorpusProfile) -> tuple[bool, str]:
    """Decide whether both sides share a vocabulary; return the decision and its reason."""
    data = _data_of(builder)
    if data.tokenizers[1] is not data.tokenizer:
        return False, "the target has another tokenizer"
    if "copying" in builder.config().model.abilities:
        return True, "a model with copying needs a joint vocabulary"
    in_common = f"the sides have {profile.overlap:.0%} of their characters in common"
    if profile.src.is_spelled_out != profile.tgt.is_spelled_out:
        return False, f"{in_common}, but only one side is spelled out as single characters"
    return profile.overlap >= MIN_CHARACTER_OVERLAP, in_common


def _num_subwords(profile: CorpusProfile, joint: bool) -> tuple[int, str]:
    """Return the number of subwords in addition to single characters, and the reason."""
    if profile.src.is_words and profile.tgt.is_words:
        return WORD_LIST_SUBWORDS, "characters and few subwords, as the lines are single words"
    chars = profile.src_chars + profile.tgt_chars
    if not joint:
        chars //= 2  # each vocabulary is trained on one side
    subwords = min(round(SUBWORDS_PER_ROOT * math.sqrt(chars)), MAX_SUBWORDS)
    words = min(len(profile.src.words), len(profile.tgt.words))
    if subwords < words * (1 + joint):
        return subwords, f"{subwords:,} subwords besides characters and bytes, for a text of {chars:,} characters"
    subwords = words * (1 + joint)
    return subwords, f"{subwords:,} subwords besides characters and bytes, as one side has {words:,} distinct words"


def _choose_max_length(
    builder: ConfigBuilder, profile: CorpusProfile, tokenizers: tuple[Tokenizer, Tokenizer]
) -> CorpusTokens:
    """Choose `max_length`, and estimate the target tokens of the pairs within it."""
    src, tgt = (
        np.array([len(ids) + 1 for ids in tokenizer.encode(side.lines)])
        for tokenizer, side in zip(tokenizers, (profile.src, profile.tgt), strict=True)
    )
    longer = np.maximum(src, tgt)
    quantile = int(np.quantile(longer, 0.999, method="lower"))  # `lower`: not above the maximum, even for few pairs
    reason = f"99.9% of the pairs have at most {quantile:,} tokens per side"
    limit = builder.set("data.max_length", power_of_two(quantile, 256, 1024, math.ceil), reason)
    kept = tgt[longer - 1 <= limit]  # the limit does not count the end of sentence
    if not kept.size:  # the given limit leaves no pair; training reports it
        kept = tgt
    return CorpusTokens(profile.pairs * float(kept.sum()) / len(tgt))


def _choose_data(builder: ConfigBuilder, tokens: CorpusTokens) -> None:
    """Choose the batch sizes."""
    size = f"{tokens.tgt:,.0f} target tokens"
    batch = power_of_two(2048 * tokens.scale ** (1 / 3), 512, 16_384, round)
    builder.set("data.batch_tokens", batch, f"the corpus has {size}")
    builder.set("data.micro_batch_tokens", MICRO_BATCH_TOKENS, "fits into the memory of common machines")


def _choose_model(builder: ConfigBuilder, tokens: CorpusTokens) -> None:
    """Choose the sizes of the model, its dropout, and which embeddings are tied."""
    size = f"the corpus has {tokens.tgt:,.0f} target tokens"
    width = 64 * round(2 * tokens.scale**0.25)
    if "recurrence" in builder.config().model.abilities:
        _choose_recurrent(builder, clamp(RECURRENT_WIDTH_FACTOR * width, 256, 1024), size)
    else:
        _choose_transformer(builder, clamp(width, 128, 512), size)
    # From 0.3 for 10 times Multi30k down to 0.1 for 300 times.
    dropout = 0.3 - 0.2 * math.log(max(tokens.scale, 10) / 10) / math.log(30)
    builder.set("model.dropout", max(0.1, round(20 * dropout) / 20), size)
    joint = builder.get("data.joint_vocabulary")
    vocabulary = "one vocabulary" if joint else "two vocabularies"
    tied, reason = ("all" if joint else "decoder"), f"there {'is' if joint else 'are'} {vocabulary}"
    if len(builder.config().data.vector_files()) > 1:
        tied, reason = "decoder", "source and target have different word vectors"
    builder.set("model.tied_embeddings", tied, reason)
    limit = builder.get("data.max_length")
    builder.set("model.max_length", max(512, limit), f"training lines have up to {limit} tokens")


def _choose_recurrent(builder: ConfigBuilder, width: int, reason: str) -> None:
    """Choose the sizes of a recurrent translator."""
    hidden_size = builder.set("model.hidden_size", width, reason)
    reason = f"hidden_size is {hidden_size}"
    builder.set("model.embedding_size", *(word_vector_dim(builder) or (hidden_size // 2, reason)))
    layers = 1 if hidden_size < 1024 else 2
    builder.set("model.num_encoder_layers", layers, reason)
    builder.set("model.num_decoder_layers", layers, reason)


def _choose_transformer(builder: ConfigBuilder, width: int, reason: str) -> None:
    """Choose the sizes of a Transformer; the others follow from its width."""
    d_model = builder.set("model.d_model", *(word_vector_dim(builder) or (width, reason)))
    reason = f"d_model is {d_model}"
    builder.set("model.d_ff", clamp(d_model * d_model // 64, 2 * d_model, 4 * d_model), reason)
    heads = max(heads for heads in range(1, max(4, d_model // 64) + 1) if d_model % heads == 0)
    builder.set("model.num_heads", heads, reason)
    layers = clamp(4 + (d_model - 256) // 128, 4, 6)
    builder.set("model.num_encoder_layers", layers, reason)
    builder.set("model.num_decoder_layers", layers, reason)


def _choose_steps(builder: ConfigBuilder, profile: CorpusProfile, tokens: CorpusTokens) -> None:
    """Choose the number of steps, the learning rate, the intervals, and the validation metric."""
    batch, model = builder.get("data.batch_tokens"), builder.config().model
    is_recurrent = "recurrence" in model.abilities
    lr_by_width = LR_BY_WIDTH
    width_name, width = model.embedding or ("d_model", builder.width("model.d_model"))
    if is_recurrent:
        width_name, width, lr_by_width = "hidden_size", builder.get("model.hidden_size"), RECURRENT_LR_BY_WIDTH
    fine_tuning = builder.get("init_from") is not None
    reference_epochs = MULTI30K_RECURRENT_EPOCHS if is_recurrent else MULTI30K_EPOCHS
    epochs = builder.epochs(reference_epochs * tokens.scale ** (-1 / 3) / (4 if fine_tuning else 1))
    quarter = " (a quarter of the usual, for fine-tuning)" if fine_tuning else ""
    steps = builder.set_steps(
        max(1, round_2_digits(epochs * tokens.tgt / min(batch, tokens.tgt))),  # a step has the corpus at most once
        f"{epochs:.0f} epochs{quarter} of {tokens.tgt:,.0f} target tokens, {batch} per step",
    )
    if builder.get("optim.optimizer.family") != "sgd":
        lr = min(MAX_LR, lr_by_width / width) * min(1.0, math.sqrt(batch / 2048)) / (4 if fine_tuning else 1)
        name = width_name if width_name in fields_of(type(model)) else "the assumed width"
        reason = f"{name} is {width} and a step has {batch} target tokens{quarter}"
        builder.set("optim.optimizer.lr", float(f"{lr:.2g}"), reason)
    total = f"{steps:,} steps in total"
    builder.set("optim.schedule.warmup_steps", min(4000, round_2_digits(0.06 * steps)), total)
    choose_intervals(builder, steps)
    if not builder.get("optim.ema_decay"):
        save_every = builder.get("training.save_every")
        builder.set("optim.average_last", 10, f"the last {min(steps, 10 * save_every):,} of {total}")
    metric, reason = _metric(profile)
    builder.set("training.valid_metric", metric, reason)


def _metric(profile: CorpusProfile) -> tuple[str, str]:
    """Return the validation metric and its reason."""
    tgt = profile.tgt
    if all(side.is_words or side.is_spelled_out for side in (profile.src, tgt)):
        return "exact_match", "the lines are single words"
    if tgt.is_unspaced:
        return "chrf", "the target has no spaces between words, which BLEU needs"
    if tgt.words_per_line < MIN_BLEU_WORDS:
        return "chrf", f"a target line has {tgt.words_per_line:.1f} words, too few for the 4-grams of BLEU"
    return "bleu", f"a target line has {tgt.words_per_line:.0f} words"
