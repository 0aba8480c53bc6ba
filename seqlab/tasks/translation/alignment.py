"""What the symbols of a translation attended to, with their names: to be looked at."""

from collections.abc import Sequence
from dataclasses import dataclass

from seqlab.search.hypothesis import Hypothesis
from seqlab.text import Tokenizer

DIGITS = 4
"""Digits behind the point of a weight."""


@dataclass(frozen=True)
class Alignment:
    """The attention of one translation; of a line that was cut, of one piece."""

    src: list[str]
    """The names of the source's symbols, the end of sentence last."""
    tgt: list[str]
    """Those of the translation's, its end last where that is said as a symbol."""
    weights: list[list[float]]
    """For each symbol of the translation its attention to each of the source, which sums to one."""


def align(
    src_ids: Sequence[int],
    hypothesis: Hypothesis,
    tokenizers: tuple[Tokenizer, Tokenizer],
    unknown: Sequence[str],
) -> Alignment:
    """Name the symbols that a hypothesis's attention is between; `unknown`: words with ids of their own."""
    src_tokenizer, tgt_tokenizer = tokenizers
    if hypothesis.attention is None:
        raise ValueError("There is no alignment to be written: the model, or one of several, attends to nothing.")
    tgt_ids = [*hypothesis.ids, tgt_tokenizer.eos_id][: len(hypothesis.attention)]
    return Alignment(
        _names(src_tokenizer, [*src_ids, src_tokenizer.eos_id], unknown),
        _names(tgt_tokenizer, tgt_ids, unknown),
        [[round(weight, DIGITS) for weight in row] for row in hypothesis.attention[:, : len(src_ids) + 1].tolist()],
    )


def _names(tokenizer: Tokenizer, ids: Sequence[int], unknown: Sequence[str]) -> list[str]:
    size, tags = tokenizer.vocab_size, tokenizer.tag_ids
    names = [tokenizer.tokens([index])[0] if index < size else unknown[index - size] for index in ids]
    return [name.removeprefix(r"\t") or "<unk>" if i in tags else name for i, name in zip(ids, names, strict=True)]
