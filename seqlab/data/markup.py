"""Marks in text that other programs wrote: escapes, entities, tags, subword marks, tokens, lost bytes."""

import re
from collections.abc import Callable, Iterator, Sequence

from seqlab.text.normalization import has_invisible

MARKUP = {
    "escapes of the Moses tokenizer, such as `&apos;`": (
        re.compile(r"&(apos|quot|amp|lt|gt|bar|bra|ket|#124|#91|#93);"),
        "inputs need them, too",
    ),
    "HTML entities, such as `&nbsp;`": (
        re.compile(
            r"&(nbsp|(?!#(124|91|93);)#\d+|#x[\da-f]+|\w(uml|acute|grave|circ|tilde|cedil)|szlig|hellip|[lr][sd]quo"
            r"|[mn]dash);",
            re.IGNORECASE,
        ),
        "replace them by their characters",
    ),
    "a language tag at the start, such as `<2de>`": (
        re.compile(r"^(<2\w+>|>>\w+<<|__\w+__)( |$)"),
        "inputs need it, too",
    ),
    "subword marks (`@@` or `▁`)": (re.compile(r"\S@@( |$)|(^| )▁"), "join the subwords first"),
    "tokens such as `<s>` or `[CLS]`": (
        re.compile(r"</?s>|<pad>|<\|endoftext\|>|\[(CLS|SEP|PAD)\]"),
        "special tokens are added later",
    ),
    "U+FFFD, which stands for bytes that another program could not decode": (
        re.compile("\ufffd"),
        "convert the original text again",
    ),
    "letters such as `Ã¤`, which are UTF-8 that was decoded as Latin-1": (
        re.compile("Ã[\x80-\xbf]|â€"),
        "convert the original text again",
    ),
    "only a tag, such as `<P>` or `</doc>`": (
        re.compile(r"^\s*</?(?!unk>|s>|pad>)[A-Za-z][^<>]*>\s*$"),
        "leave these lines out",
    ),
    "JSON records": (
        re.compile(r'^\{"[^"]*": .*\}$'),
        "for one of their values, name the file .jsonl and a column",
    ),
}
"""Name of the marks -> pattern of a line that has them, and what to do."""
_DIGIT = re.compile(r"\d")
_FINAL_ID = re.compile(r"\s\(\S+\)\s*\Z")
"""Id in parentheses at the end of a line, as in the files `.trn` of sclite."""
MIN_SHARE = 0.1
"""Minimum share of the lines with capital letters in a text that has them."""


def unequal_marks(first: Sequence[str], second: Sequence[str]) -> Iterator[tuple[str, int, int]]:
    """Yield what only one of two texts has, and its numbers of lines with it in both texts."""
    tests: dict[str, Callable[[str], object]] = {name: pattern.search for name, (pattern, _) in MARKUP.items()}
    tests["typographic apostrophes or quotation marks, such as `’`"] = re.compile("[‘’“”]").search
    tests["invisible characters, such as U+200B"] = has_invisible
    for name, test in tests.items():
        counts = [sum(map(bool, map(test, lines))) for lines in (first, second)]
        if max(counts) > 0 == min(counts):
            yield name, counts[0], counts[1]
    capitals = [sum(line != line.lower() for line in lines) for lines in (first, second)]
    if min(capitals) == 0 and max(capitals) > MIN_SHARE * len(first):
        yield "capital letters", capitals[0], capitals[1]


def begin_with_ids(first: Sequence[str], second: Sequence[str]) -> bool:
    """Return whether the lines of two texts begin with the same ids, as in the files `text` of Kaldi."""
    starts = [[line.split(maxsplit=1) for line in lines] for lines in (first, second)]
    if not all(len(start) > 0 for lines in starts for start in lines) or all(len(start) == 1 for start in starts[1]):
        return False
    ids, others = ([start[0] for start in lines] for lines in starts)
    return len(ids) > 1 and len(set(ids)) == len(ids) and set(ids) == set(others) and all(map(_DIGIT.search, ids))


def end_with_ids(first: Sequence[str], second: Sequence[str]) -> bool:
    """Return whether the lines of two texts end with the same ids in parentheses, as in the files `.trn` of sclite."""
    ids = [[match[0].strip() for match in map(_FINAL_ID.search, lines) if match] for lines in (first, second)]
    return len(ids[0]) == len(first) > 1 and len(set(ids[0])) == len(first) and sorted(ids[0]) == sorted(ids[1])
