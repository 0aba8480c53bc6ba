"""What a model's log-probabilities say about a text, from sums over the corpus and never from a training loss.

A token is one id that the model had to predict: each piece of the tokenizer and each end of line, no padding. Two
tokenizers cut one text into different numbers of tokens, so figures per token compare models with one tokenizer only.
Words and bytes are those of the text itself: figures per word and per byte compare any two models.
"""

import math
from dataclasses import dataclass


def nll_per_tgt_token(nll: float, num_tgt_tokens: int) -> float:
    """Return nats per target token, from the sum of the negative log-probabilities (unsmoothed) and the token count.

    Raises:
        ValueError: there is no token.
    """
    if num_tgt_tokens < 1:
        raise ValueError(f"`num_tgt_tokens` must be at least 1, but is {num_tgt_tokens} instead.")
    return nll / num_tgt_tokens


def perplexity_per_tgt_token(nll: float, num_tgt_tokens: int) -> float:
    """Return exp of the nats per target token: infinite where that is more than a float holds."""
    return _exp(nll_per_tgt_token(nll, num_tgt_tokens))


@dataclass(frozen=True)
class TextLikelihood:
    """How likely a model finds a text: sums over it, and what follows from them.

    `nll` is None where no honest figure can be given; so is then all that follows from it.
    """

    nll: float | None
    """In nats, over all tokens; for each unknown one, what its spelling costs is added."""
    tokens: int
    """Predicted ids, ends of line counted."""
    words: int
    """Runs of characters between whitespace, and ends of line, as a model of words predicts both."""
    bytes: int
    """Of the original text in UTF-8, ends of line counted where it has them."""
    unknown: int
    """Tokens that the vocabulary does not have."""
    known_nll: float
    """In nats, over the tokens that the vocabulary has."""
    dropped_bytes: int
    """Bytes of the original that reading and normalisation leave out (a byte order mark, carriage returns, what a line
    is shorter by when it is normalised): the model does not see them, and they cost nothing."""

    def __post_init__(self) -> None:
        if min(self.tokens, self.words, self.bytes) < 1:
            raise ValueError("A text without a token has no likelihood: it is empty.")

    @property
    def nats_per_token(self) -> float | None:
        return None if self.nll is None else self.nll / self.tokens

    @property
    def perplexity(self) -> float | None:
        """Per token of the model's own tokenizer."""
        return None if self.nll is None else _exp(self.nll / self.tokens)

    @property
    def known_perplexity(self) -> float | None:
        """Per token that the vocabulary has; None where it has none of them."""
        known = self.tokens - self.unknown
        return _exp(self.known_nll / known) if known else None

    @property
    def perplexity_per_word(self) -> float | None:
        return None if self.nll is None else _exp(self.nll / self.words)

    @property
    def bits_per_byte(self) -> float | None:
        return None if self.nll is None else self.nll / math.log(2) / self.bytes

    def as_dict(self) -> dict[str, float | int | None]:
        """Render for JSON, which has no infinity: a figure that is none, or too large for a float, is null."""
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
        """Render for people."""
        rows = [
            ("nats per token", self.nats_per_token, f"{self.tokens:,} tokens, ends of line counted"),
            ("perplexity", self.perplexity, "per token: compare models with one tokenizer only"),
            *self._known_row(),
            ("perplexity per word", self.perplexity_per_word, f"{self.words:,} words, ends of line counted"),
            ("bits per byte", self.bits_per_byte, f"{self.bytes:,} bytes of the original text"),
        ]
        return [f"{name:<20} {'n/a' if value is None else f'{value:.4f}':>12}   {text}" for name, value, text in rows]

    def _known_row(self) -> list[tuple[str, float | None, str]]:
        """Give the figure without unknown tokens, where there are any."""
        known = self.tokens - self.unknown
        text = f"{known:,} tokens, without the {self.unknown:,} unknown"
        return [("perplexity, known", self.known_perplexity, text)] if self.unknown else []


def _exp(nats: float) -> float:
    try:
        return math.exp(nats)
    except OverflowError:
        return math.inf
