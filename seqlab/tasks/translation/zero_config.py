"""Zero config: every setting of a run chosen from the training text alone.

Sizes are powers of one number, the target tokens of the corpus, and are anchored at one corpus that many have tuned:
Multi30k (29,000 pairs, 0.42 million tokens), where 4 + 4 layers of `d_model` 128 and `d_ff` 256 with dropout 0.3 and a
joint vocabulary of about 8,000 are best (Wu et al. 2021a) and `seqlab.recipes.multi30k` found the batch and the rate.
The exponents are such that the rules come out at what is known to work elsewhere:

- IWSLT (160,000 pairs, 4 million tokens): `d_model` 256, dropout 0.3, about 40 epochs.
- WMT14 English-German (4.5 million pairs, 130 million tokens): the base model of Vaswani et al. (2017), `d_model` 512,
  `d_ff` 2048, 6 + 6 layers, dropout 0.1, about 100,000 steps.
- 5,000 to 20,000 pairs: a few thousand subwords, smaller batches, strong dropout, many epochs (Sennrich & Zhang 2019;
  Araabi & Monz 2020).
- Words spelt out (pronunciation, inflection): characters, dropout 0.3, hundreds of epochs (Wu et al. 2021b).

A subword has to be seen often to be learnt (Gowda & May 2020), so the vocabulary grows with the root of the text and
never exceeds the words that there are to tell apart. Transformers do well with few (Ding et al. 2019): it ends at half
of the usual 32,000, where the projection to the vocabulary would cost as much as the layers.

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

from seqlab.data.line_sample import LineSample, count_covering_characters
from seqlab.registry import Parts
from seqlab.runs.codecs import load_tokenizers
from seqlab.runs.config import Config
from seqlab.runs.fields import fields_of
from seqlab.runs.folder import RunFolder
from seqlab.runs.overrides import Override, override
from seqlab.tasks.translation.config import TranslationConfig
from seqlab.text import Tokenizer, train_tokenizer
from seqlab.training.choices import (
    LR_BY_WIDTH,
    MAX_LR,
    MAX_SUBWORDS,
    SPECIAL_IDS,
    SUBWORDS_PER_ROOT,
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

REFERENCE_TOKENS = 420_000
"""Target tokens of Multi30k, where the choices are those of its recipe."""
SHARED_ALPHABET = 0.5
"""Share of characters in common from which the sides share a vocabulary: German and English have 0.75."""
EPOCHS = 75
"""Times through a corpus of that size; times fewer, the larger."""
RECURRENT_EPOCHS = 30
"""The same for recurrent models, which learn faster."""
RECURRENT_LR_BY_WIDTH = 1.0
"""The same times `hidden_size` for recurrent models."""
RECURRENT_WIDTH = 4
"""Their `hidden_size` by a Transformer's `d_model`."""
SETTLED_BY_ORIGIN = ("model", "data.tokenizer", "data.tokenizer_tgt", "data.joint_vocabulary")
"""What a run that starts from another's weights has to share with it."""
MICRO_BATCH_TOKENS = 2400
"""Padded tokens that are computed together: 2,048 target tokens and what is padded or longer on the source side."""
FEW_SUBWORDS = 16
NGRAM_WORDS = 4
"""Words per line below which BLEU, which counts runs of four, says nothing."""


@dataclass(frozen=True)
class Tokens:
    """The corpus in tokens."""

    tgt: float  # of the pairs within `max_length`, ends of sentence counted

    @property
    def scale(self) -> float:
        """Return the size of the corpus in Multi30ks."""
        return self.tgt / REFERENCE_TOKENS


SAMPLE_PAIRS = 32_768


@dataclass(frozen=True)
class CorpusProfile:
    """The training corpora as a whole, pairs that lack a side left out."""

    pairs: int
    src_chars: int
    tgt_chars: int
    src: LineSample
    tgt: LineSample

    @cached_property
    def overlap(self) -> float:
        """Return the share of characters that the sides have in common, by how often each occurs: 1 is all."""
        src, tgt = self.src.characters, self.tgt.characters
        return sum(min(src[char] / src.total(), tgt[char] / tgt.total()) for char in src.keys() & tgt.keys())


def profile(config: TranslationConfig) -> CorpusProfile:
    """Read the training corpora once, holding no more of them than a fixed random sample.

    Raises:
        FileNotFoundError: a corpus is missing.
        ValueError: a corpus cannot be read, its sides are of unequal length, or no pair has both sides.
    """
    draw = random.Random(0)
    sample: list[tuple[str, str]] = []
    pairs = src_chars = tgt_chars = 0
    blocks = chain.from_iterable(corpus.blocks() for corpus in config.corpora("train"))
    for block in blocks:
        for pair in zip(*block.lines(), strict=True):
            if not (pair[0].strip() and pair[1].strip()):
                continue
            if pairs < SAMPLE_PAIRS:
                sample.append(pair)
            elif (place := draw.randrange(pairs + 1)) < SAMPLE_PAIRS:  # each pair is kept with the same probability
                sample[place] = pair
            pairs += 1
            src_chars, tgt_chars = src_chars + len(pair[0]), tgt_chars + len(pair[1])
    if not sample:
        names = ", ".join(config.train_src)
        raise ValueError(f"{names}: holds no line with a counterpart on the other side, so there is nothing to learn.")
    src, tgt = (LineSample(list(lines)) for lines in zip(*sample, strict=True))
    return CorpusProfile(pairs, src_chars, tgt_chars, src, tgt)


def from_corpus(overrides: Sequence[Override]) -> Config:
    """Choose every field that `overrides` leaves open by the training corpora that they name; log what and why.

    Fields that are given hold, and those that depend on them follow. The same text gives the same config.

    Raises:
        ConfigError: an unknown key or an impossible value, found before the text is read.
        FileNotFoundError, ValueError: the corpora cannot be read.
    """
    # Where fields bound each other, the open ones start so that no given one is refused for another's default.
    base: dict[str, Any] = {
        "data": {"kind": "translation"},
        "optim": {"schedule": {"family": "linear"}},
        "model": {"family": "transformer", "num_heads": 1},
    }
    if any(key.startswith("data.tokenizer_tgt.") for key, _ in overrides):
        base["data"]["joint_vocabulary"] = False
    settled = take_over(base, overrides, SETTLED_BY_ORIGIN)
    given = [*(key for key, _ in overrides), *settled]
    choices = Choices(override(base, [*overrides, *_untied(overrides, given)]), given)
    found = profile(_data_of(choices))
    logger.info("%s pairs; chosen settings (give an option to override one):", f"{found.pairs:,}")
    if choices.get("data.valid_src") is None:
        choices.set(
            "data.valid_fraction",
            held_out(found.pairs),
            f"no validation set is given, and there are {found.pairs:,} pairs",
        )
    tokenizers = _choose_text(choices, found)
    tokens = _measure(choices, found, tokenizers)
    _choose_data(choices, tokens)
    _choose_model(choices, tokens)
    _choose_steps(choices, found, tokens)
    return choices.config()


def _data_of(choices: Choices) -> TranslationConfig:
    data = choices.config().data
    assert isinstance(data, TranslationConfig)
    return data


def _untied(overrides: Sequence[Override], given: Sequence[str]) -> list[Override]:
    """Leave the embeddings of a translator open to be tied, unless it is said what they are."""
    families = [text if isinstance(text, str) else " ".join(text) for key, text in overrides if key == "model.family"]
    family = Parts("model").get(families[-1] if families else "transformer")
    can_tie = family is not None and family.task == "translation" and "tied_embeddings" in fields_of(family)
    is_given = "model" in given or "model.tied_embeddings" in given
    return [("model.tied_embeddings", "none")] if can_tie and not is_given else []


def _choose_text(choices: Choices, found: CorpusProfile) -> tuple[Tokenizer, Tokenizer]:
    """Choose how the text is cut, and return tokenizers of that kind that learnt from the sample."""
    joint = choices.set("data.joint_vocabulary", *_shares_vocabulary(choices, found))
    sides = [found.src, found.tgt]
    settings = _data_of(choices).tokenizer
    if settings.units == "subwords":
        share = settings.character_share
        alphabets = [sides] if joint else [[side] for side in sides]
        alphabet = max(count_covering_characters(group, share) for group in alphabets) if share else 0
        pieces, reason = _pieces(found, joint)
        choices.set("data.tokenizer.vocab_size", SPECIAL_IDS + alphabet + pieces, reason)
    if choices.get("init_from") is not None:
        return load_tokenizers(RunFolder(Path(choices.get("init_from"))))
    data = _data_of(choices)
    if joint:
        tokenizer = train_tokenizer(data.tokenizer, (line for side in sides for line in side.lines))
        return tokenizer, tokenizer
    src, tgt = data.tokenizers
    return train_tokenizer(src, found.src.lines), train_tokenizer(tgt, found.tgt.lines)


def _shares_vocabulary(choices: Choices, found: CorpusProfile) -> tuple[bool, str]:
    """Tell whether one vocabulary is for both sides, and why."""
    data = _data_of(choices)
    if data.tokenizers[1] is not data.tokenizer:
        return False, "the target has a tokenizer of its own"
    if choices.config().model.copies:
        return True, "a model that copies has one vocabulary"
    in_common = f"the sides have {found.overlap:.0%} of their characters in common"
    if found.src.is_spelled_out != found.tgt.is_spelled_out:
        return False, f"{in_common} but only one spells them apart"
    return found.overlap >= SHARED_ALPHABET, in_common


def _pieces(found: CorpusProfile, joint: bool) -> tuple[int, str]:
    """Return how many subwords are worth learning besides the single characters, and why."""
    if found.src.is_words and found.tgt.is_words:
        return FEW_SUBWORDS, "characters and next to no subwords, as the lines are single words"
    chars = found.src_chars + found.tgt_chars
    if not joint:
        chars //= 2  # each vocabulary learns from one side
    pieces = min(round(SUBWORDS_PER_ROOT * math.sqrt(chars)), MAX_SUBWORDS)
    words = min(len(found.src.words), len(found.tgt.words))
    if pieces < words * (1 + joint):
        return pieces, f"{pieces:,} subwords besides characters and bytes, by the root of {chars:,} characters of text"
    return words * (1 + joint), f"{words:,} different words are all that one side has, besides characters and bytes"


def _measure(choices: Choices, found: CorpusProfile, tokenizers: tuple[Tokenizer, Tokenizer]) -> Tokens:
    """Choose `max_length`, and count the tokens of the pairs that it leaves."""
    src, tgt = (
        np.array([len(ids) + 1 for ids in tokenizer.encode(side.lines)])
        for tokenizer, side in zip(tokenizers, (found.src, found.tgt), strict=True)
    )
    longer = np.maximum(src, tgt)
    usual = int(np.quantile(longer, 0.999, method="lower"))  # below the maximum, however few pairs there are
    reason = f"999 in 1,000 pairs have no more than {usual:,} tokens on a side"
    limit = choices.set("data.max_length", power_of_two(usual, 256, 1024, math.ceil), reason)
    kept = tgt[longer - 1 <= limit]  # the limit does not count the end of sentence
    if not kept.size:  # a limit was given that leaves nothing, which training says
        kept = tgt
    return Tokens(found.pairs * float(kept.sum()) / len(tgt))


def _choose_data(choices: Choices, tokens: Tokens) -> None:
    size = f"{tokens.tgt:,.0f} target tokens"
    batch = power_of_two(2048 * tokens.scale ** (1 / 3), 512, 16_384, round)
    choices.set("data.batch_tokens", batch, f"the corpus has {size}")
    choices.set("data.micro_batch_tokens", MICRO_BATCH_TOKENS, "small enough for any machine's memory")


def _choose_model(choices: Choices, tokens: Tokens) -> None:
    """Choose the sizes of a model, regularise it by the size of the corpus, and tie what can be tied."""
    size = f"the corpus has {tokens.tgt:,.0f} target tokens"
    width = 64 * round(2 * tokens.scale**0.25)
    if choices.config().model.is_recurrent:
        _choose_recurrent(choices, within(RECURRENT_WIDTH * width, 256, 1024), size)
    else:
        _choose_transformer(choices, within(width, 128, 512), size)
    # From 0.3 at ten Multi30ks down to 0.1 at three hundred.
    dropout = 0.3 - 0.2 * math.log(max(tokens.scale, 10) / 10) / math.log(30)
    choices.set("model.dropout", max(0.1, round(20 * dropout) / 20), size)
    joint = choices.get("data.joint_vocabulary")
    vocabulary = "one vocabulary" if joint else "two vocabularies"
    tied, reason = ("all" if joint else "decoder"), f"there {'is' if joint else 'are'} {vocabulary}"
    if len(choices.config().data.vector_files()) > 1:
        tied, reason = "decoder", "each side starts from vectors of its own"
    choices.set("model.tied_embeddings", tied, reason)
    limit = choices.get("data.max_length")
    choices.set("model.max_length", max(512, limit), f"training has lines of up to {limit} tokens")


def _choose_recurrent(choices: Choices, by_corpus: int, size: str) -> None:
    """Choose the sizes of a recurrent translator."""
    hidden_size = choices.set("model.hidden_size", by_corpus, size)
    half = hidden_size // 2, f"hidden_size is {hidden_size}"
    choices.set("model.embedding_size", *(size_of_given_vectors(choices) or half))
    layers = 1 if hidden_size < 1024 else 2
    choices.set("model.num_encoder_layers", layers, half[1])
    choices.set("model.num_decoder_layers", layers, half[1])


def _choose_transformer(choices: Choices, by_corpus: int, size: str) -> None:
    """Choose the sizes of a Transformer; its width decides the rest."""
    d_model = choices.set("model.d_model", *(size_of_given_vectors(choices) or (by_corpus, size)))
    width = f"d_model is {d_model}"
    choices.set("model.d_ff", within(d_model * d_model // 64, 2 * d_model, 4 * d_model), width)
    heads = max(heads for heads in range(1, max(4, d_model // 64) + 1) if d_model % heads == 0)
    choices.set("model.num_heads", heads, width)
    layers = within(4 + (d_model - 256) // 128, 4, 6)
    choices.set("model.num_encoder_layers", layers, width)
    choices.set("model.num_decoder_layers", layers, width)


def _choose_steps(choices: Choices, found: CorpusProfile, tokens: Tokens) -> None:
    """Choose the rate and the steps, and what follows from the number of steps."""
    batch, model = choices.get("data.batch_tokens"), choices.config().model
    is_recurrent = model.is_recurrent
    width_name, width, rate = model.embedding_field, max(1, model.embedding_dim), LR_BY_WIDTH
    if is_recurrent:
        width_name, width, rate = "hidden_size", choices.get("model.hidden_size"), RECURRENT_LR_BY_WIDTH
    fine_tuning = choices.get("init_from") is not None
    epochs = (RECURRENT_EPOCHS if is_recurrent else EPOCHS) * tokens.scale ** (-1 / 3) / (4 if fine_tuning else 1)
    start = ", a quarter as the weights are trained already" if fine_tuning else ""
    steps = choices.set(
        "training.max_steps",
        max(1, rounded(epochs * tokens.tgt / min(batch, tokens.tgt))),  # a step holds the corpus once at most
        f"{epochs:.0f} times through {tokens.tgt:,.0f} target tokens by {batch} in a step{start}",
    )
    if choices.get("optim.optimizer.family") != "sgd":
        lr = min(MAX_LR, rate / width) * min(1.0, math.sqrt(batch / 2048)) / (4 if fine_tuning else 1)
        reason = f"{width_name} is {width} and a step has {batch} target tokens{start}"
        choices.set("optim.optimizer.lr", float(f"{lr:.2g}"), reason)
    progress = f"{steps:,} steps in all"
    choices.set("optim.schedule.warmup_steps", min(4000, rounded(0.06 * steps)), progress)
    choose_intervals(choices, steps)
    if not choices.get("optim.ema_decay"):
        save_every = choices.get("training.save_every")
        choices.set("optim.average_last", 10, f"that is the last {min(steps, 10 * save_every):,} of {progress}")
    metric, reason = _metric(found)
    choices.set("training.valid_metric", metric, reason)


def _metric(found: CorpusProfile) -> tuple[str, str]:
    tgt = found.tgt
    if all(side.is_words or side.is_spelled_out for side in (found.src, tgt)):
        return "exact_match", "the lines are words rather than sentences"
    if tgt.is_unspaced:
        return "chrf", "the target is written without spaces between words, which BLEU counts"
    if tgt.words_per_line < NGRAM_WORDS:
        return "chrf", f"a target line has {tgt.words_per_line:.1f} words, too few for BLEU's runs of four"
    return "bleu", f"a target line has {tgt.words_per_line:.0f} words"
