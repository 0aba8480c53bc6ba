"""Perplexity and bits per byte of a text, from sums of log-probabilities over the corpus.

A token is an id that the model predicts: each token of the tokenizer and each end of line, without padding. Tokenizers
split a text into different numbers of tokens, so figures per token are comparable only between models with the same
tokenizer. Words and bytes are those of the text: figures per word and per byte are comparable between all models.
"""

import math
from dataclasses import dataclass


def nll_per_tgt_token(nll: float, num_tgt_tokens: int) -> float:
    """Return nats per target token, from the sum of the unsmoothed negative log-probabilities and the number of tokens.

    Raises:
        ValueError: `num_tgt_tokens` is below 1.
    """
    if num_tgt_tokens < 1:
        raise ValueError(f"`num_tgt_tokens` must be at least 1, but is {num_tgt_tokens} instead.")
    return nll / num_tgt_tokens


def perplexity_per_tgt_token(nll: float, num_tgt_tokens: int) -> float:
    """Return the perplexity per target token, exp(nats per token); infinite if it is too large for a float."""
    return _exp(nll_per_tgt_token(nll, num_tgt_tokens))


@dataclass(frozen=True)
class TextLikelihood:
    """Likelihood of a text under a model: sums over the text, and figures computed from them.

    `nll` is None if the text has unknown tokens whose spelling cannot be scored. Figures computed from it are then None
    as well.
    """

    nll: float | None
    """Negative log-likelihood of all tokens in nats, with the spelling of each unknown token."""
    tokens: int
    """Number of predicted ids, ends of line included."""
    words: int
    """Number of words separated by whitespace, plus ends of line, as a word-level model predicts both."""
    bytes: int
    """Number of bytes of the original text in UTF-8, including its ends of line."""
    unknown: int
    """Number of tokens outside the vocabulary."""
    known_nll: float
    """Negative log-likelihood of the tokens in the vocabulary, in nats."""
    dropped_bytes: int
    """Number of bytes of the original text that reading and normalization drop (a byte order mark, carriage returns,
    characters removed by normalization): the model does not predict them."""

    def __post_init__(self) -> None:
        if min(self.tokens, self.words, self.bytes) < 1:
            raise ValueError("An empty text has no likelihood: it has no token.")

    @property
    def nats_per_token(self) -> float | None:
        """Negative log-likelihood per token, in nats."""
        return None if self.nll is None else self.nll / self.tokens

    @property
    def perplexity(self) -> float | None:
        """Perplexity per token of the model's tokenizer."""
        return None if self.nll is None else _exp(self.nll / self.tokens)

    @property
    def known_perplexity(self) -> float | None:
        """Perplexity per token in the vocabulary; None if there is no such token."""
        known = self.tokens - self.unknown
        return _exp(self.known_nll / known) if known else None

    @property
    def perplexity_per_word(self) -> float | None:
        """Perplexity per word, with ends of line as words."""
        return None if self.nll is None else _exp(self.nll / self.words)

    @property
    def bits_per_byte(self) -> float | None:
        """Bits per byte of the original text."""
        return None if self.nll is None else self.nll / math.log(2) / self.bytes

    def as_dict(self) -> dict[str, float | int | None]:
        """Render for JSON: an undefined or infinite figure is null."""
        figures = {
            "nats_per_token": self.nats_per_token,
            "perplexity": self.perplexity,
            "known_perplexity": self.known_perplexity,
            "perplexity_per_word": self.perplexity_per_word,
            "bits_per_byte": self.bits_per_byte,
        }
        return {
            **{name: None if value == math.inf else value for name, value in figures.items()},
            "tokens": self.tokens,
            "words": self.words,
            "bytes": self.bytes,
            "unknown": self.unknown,
            "dropped_bytes": self.dropped_bytes,
        }

    def lines(self) -> list[str]:
        """Render as lines of text."""
        rows = [
            ("nats per token", self.nats_per_token, f"{self.tokens:,} tokens, including ends of line"),
            ("perplexity", self.perplexity, "per token: compare only models with the same tokenizer"),
            *self._known_row(),
            ("perplexity per word", self.perplexity_per_word, f"{self.words:,} words, including ends of line"),
            ("bits per byte", self.bits_per_byte, f"{self.bytes:,} bytes of the original text"),
        ]
        return [f"{name:<20} {'n/a' if value is None else f'{value:.4f}':>12}   {text}" for name, value, text in rows]

    def _known_row(self) -> list[tuple[str, float | None, str]]:
        """Return the row of the perplexity without unknown tokens, if there are unknown tokens."""
        known = self.tokens - self.unknown
        text = f"{known:,} tokens, without the {self.unknown:,} unknown"
        return [("perplexity, known", self.known_perplexity, text)] if self.unknown else []


def _exp(nats: float) -> float:
    try:
        return math.exp(nats)
    except OverflowError:
        return math.inf
