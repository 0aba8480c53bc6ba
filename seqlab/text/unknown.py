"""Ids for the words that a vocabulary lacks: those of a source, which a model that copies may put into its target.

The n-th different unknown item of a source has the id `vocab_size` + n (See et al. 2017, P17-1099), in its own row as
in that of its target. An item that only the target has stays `unk_id`.
"""

from collections.abc import Sequence

from seqlab.text.tokenizer import Tokenizer


def unknown_of(tokenizer: Tokenizer, lines: Sequence[str]) -> list[list[str]]:
    """Give the different unknown items of each line, in the order of their ids."""
    return [list(dict.fromkeys(tokenizer.unknown_items(line))) for line in lines]


def encode_unknown(tokenizer: Tokenizer, lines: Sequence[str], unknown: Sequence[Sequence[str]]) -> list[list[int]]:
    """Encode lines with ids for the unknown items of their sources."""
    rows = tokenizer.encode(lines)
    for row, line, items in zip(rows, lines, unknown, strict=True):
        if not items or tokenizer.unk_id not in row:
            continue
        ids = {item: tokenizer.vocab_size + n for n, item in enumerate(items)}
        found = iter(tokenizer.unknown_items(line))
        row[:] = [ids.get(next(found), index) if index == tokenizer.unk_id else index for index in row]
    return rows
