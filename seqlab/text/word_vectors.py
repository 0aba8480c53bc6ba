"""Pretrained word vectors from files of word2vec, GloVe and fastText, read in one pass.

Three formats are recognized by their content, not by the file name. Each can be gzip-compressed, with a name that ends
in .gz.

- word2vec text (also fastText's .vec): a line `count dim`, then one line per word: the word and `dim` numbers.
- GloVe text: the same without the first line, so that the line of the first word determines `dim`.
- word2vec binary: a line `count dim`, then per word: the word, a space, `dim` little-endian float32 values and, from
  some programs, a newline.

Words are UTF-8. In text, a word can contain spaces (GloVe 840B has `. . .`): the last `dim` fields are the numbers. If
the rest of a line ends in a space and a number, the line has too many numbers.
"""

import codecs
import gzip
import io
import re
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from seqlab.base.parsing import require_regular
from seqlab.base.raw_lines import MAX_ROW_BYTES, ROW_LIMIT
from seqlab.text.tokenizer import SPECIAL_TOKENS

Vectors = NDArray[np.float32]
_SPACE_MARK = "▁"
_BYTE_NAMES = re.compile("(<0x[0-9A-F]{2}>)+")
_HEADER_LINE = re.compile(rb"(\d{1,12})[ \t]+(\d{1,6})\s*")
_NUMBER = re.compile(rb"[+-]?((\d+\.?\d*|\.\d+)(e[+-]?\d+)?|nan|inf(inity)?)", re.IGNORECASE)
_CONTROL_CHARACTER = re.compile("[\0-\x08\x0e-\x1f\x7f]")
_BLOCK_BYTES = 1 << 18  # number of bytes that are read at a time
_MAX_WORD_BYTES = 1 << 12  # a binary file with a longer word is damaged


@dataclass(frozen=True)
class VectorCoverage:
    """Coverage of a vocabulary by pretrained vectors, without the special tokens."""

    num_found: int
    num_wanted: int
    num_lower_cased: int
    """Number of tokens that were found only in lower case."""
    running_share: float | None
    """Share (0 to 1) of the tokens of the running text with vectors; None without token counts."""
    missing: tuple[str, ...]
    """Tokens without a vector, the most frequent first; without token counts, in the order of the vocabulary."""

    @property
    def vocabulary_share(self) -> float:
        """Share (0 to 1) of the wanted tokens with vectors."""
        return self.num_found / self.num_wanted

    def __str__(self) -> str:
        text = f"vectors for {self.num_found:,} of {self.num_wanted:,} tokens ({self.vocabulary_share:.1%}), "
        text += f"{self.num_lower_cased:,} of them in lower case only"
        if self.running_share is not None:
            text += f", {self.running_share:.1%} of the running text"
        first = ", ".join(self.missing[:10]) + (", ..." if len(self.missing) > 10 else "")
        return f"{text}; without one: {first}" if first else text


@dataclass(frozen=True, eq=False)
class WordVectors:
    """The vectors of a file for the wanted tokens."""

    tokens: tuple[str, ...]
    """The wanted tokens that were found, in the order of the wanted tokens."""
    vectors: Vectors
    """(len(tokens), dim), one row per token."""
    coverage: VectorCoverage
    num_undecodable: int
    """Number of words of a binary file that are not UTF-8."""


@dataclass
class _FoundVectors:
    """The first vector of each wanted word, collected while a file is read."""

    wanted: set[bytes]
    rows: dict[bytes, int] = field(default_factory=dict)
    values: bytearray = field(default_factory=bytearray)
    num_undecodable: int = 0

    def add(self, word: bytes, vector: Vectors) -> None:
        self.wanted.remove(word)
        self.rows[word] = len(self.rows)
        self.values += vector.tobytes()


def lookup_word(token: str, *, subwords: bool = False) -> str | None:
    """Return the word to look up for a token of `Tokenizer.tokens`; None if the token is not a word.

    - Special tokens (`<unk>`, in any case) and bytes (`<0xE2>`) are not words.
    - `▁word` is a word after a space, which is looked up without the mark `▁`. A token with other marks is not a word.
    - A token without the mark is a word. With `subwords`, it is the continuation of a word instead, unless it has
      neither letters nor digits, like a comma.
    """
    word = token.removeprefix(_SPACE_MARK)
    if not word or _SPACE_MARK in word or word.lower() in SPECIAL_TOKENS or _BYTE_NAMES.fullmatch(word):
        return None
    continues = subwords and word == token and any(map(str.isalnum, word))
    return None if continues else word


def read_word_vectors(
    path: str | Path, wanted: Mapping[str, int] | Collection[str], *, subwords: bool = False
) -> WordVectors:
    """Read the vectors of the wanted tokens in one pass; memory grows with these vectors, not with the file.

    The word of a token is looked up as it is, and if the file lacks it, in lower case (GloVe 6B is lower-cased), but
    not in upper case: `apple` is not `Apple`. If a word occurs several times, its first vector is used. Every
    line of text must be UTF-8 and have `dim` fields after a word, but only the numbers of wanted words are parsed. In a
    binary file, words that are not UTF-8 (word2vec truncates long words at a byte) are skipped and counted.

    Args:
        path: file to read.
        wanted: tokens as in `Tokenizer.tokens`, or a mapping from these tokens to their counts in the running text.
        subwords: whether only tokens with the mark `▁` start a word (see `lookup_word`).

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: no token is wanted, or the file is empty, truncated or damaged, has a word with a wrong number of
            values, or a wanted vector with a value that is not finite. The message has the file, the line (or the word
            and byte of a binary file, from 1) and the expected content.
    """
    path = Path(path)
    candidates = [token for token in dict.fromkeys(wanted) if token not in SPECIAL_TOKENS]
    if not candidates:
        raise ValueError(f"`wanted` must have a token that is not special, but has {len(wanted)} tokens without one.")
    spellings = {t: _spellings(name) for t in candidates if (name := lookup_word(t, subwords=subwords)) is not None}
    collected = _FoundVectors(set(chain(*spellings.values())))
    with _open_vectors(path) as stream, np.errstate(over="ignore"):  # `_check_finite` reports overflow
        dim = _read_vectors(stream, str(path), collected)
    rows = collected.rows
    row_of = {token: rows.get(exact, rows.get(lower, -1)) for token, (exact, lower) in spellings.items()}
    token_rows = {token: row for token, row in row_of.items() if row >= 0}
    num_lower_cased = sum(spellings[token][0] not in rows for token in token_rows)
    vectors: Vectors = np.frombuffer(collected.values, np.float32).reshape(-1, dim)[list(token_rows.values())]
    coverage = _measure_coverage(candidates, token_rows, num_lower_cased, wanted)
    return WordVectors(tuple(token_rows), vectors, coverage, collected.num_undecodable)


def read_vector_dim(path: str | Path) -> int:
    """Read the dimension of the vectors from the first line of a file; errors as in `read_word_vectors`."""
    path = Path(path)
    with _open_vectors(path) as stream:
        return _read_header(stream, str(path)).dim


def _spellings(name: str) -> tuple[bytes, bytes]:
    """Return a word as it is and in lower case, in UTF-8 (a surrogate becomes bytes that no valid file contains)."""
    exact, lower = name.encode("utf-8", "surrogatepass"), name.lower().encode("utf-8", "surrogatepass")
    return exact, exact if lower == exact else lower  # most words share one object, which halves the memory


def _measure_coverage(
    tokens: list[str], known: Collection[str], num_lower_cased: int, counts: Collection[str]
) -> VectorCoverage:
    missing = [token for token in tokens if token not in known]
    running_share = None
    if isinstance(counts, Mapping):
        missing.sort(key=lambda token: -counts[token])
        total = sum(counts[token] for token in tokens)
        running_share = sum(counts[token] for token in known) / total if total else None
    return VectorCoverage(len(known), len(tokens), num_lower_cased, running_share, tuple(missing))


@contextmanager
def _open_vectors(path: Path) -> Iterator[BinaryIO]:
    if not path.exists():
        raise FileNotFoundError(f"{path}: there is no such file.")
    require_regular(path)  # the file is opened several times
    try:
        with cast(BinaryIO, gzip.open(path)) if path.suffix == ".gz" else path.open("rb", _BLOCK_BYTES) as stream:
            yield stream
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path}: cannot be unpacked, the file is damaged or incomplete ({error}).") from None


class _Header(NamedTuple):
    """The first line of a file."""

    line: bytes  # without a byte order mark
    size: int  # in bytes, including the mark
    num_words: int | None  # None if the line is not a header
    dim: int


def _read_header(stream: BinaryIO, name: str) -> _Header:
    first = stream.readline(_BLOCK_BYTES)
    if not first:
        raise ValueError(f"{name}: is empty, but must contain word vectors.")
    line = first.removeprefix(codecs.BOM_UTF8)
    header = _HEADER_LINE.fullmatch(line)
    if header is None:
        dim = _count_values(line)
        if not dim:
            raise ValueError(
                f"{name}, line 1: must be `count dim` or a word and its values, but is {_excerpt(line)} instead. A "
                "compressed file must be compressed by gzip and have a name that ends in .gz."
            )
        return _Header(line, len(first), None, dim)
    count, dim = int(header[1]), int(header[2])
    if not count or not dim:
        raise ValueError(
            f"{name}, line 1: declares {count} words of {dim} values, but must declare at least 1 word of 1 value."
        )
    return _Header(line, len(first), count, dim)


def _read_vectors(stream: BinaryIO, name: str, collected: _FoundVectors) -> int:
    """Collect the wanted words of a file of any format; return the dimension of the vectors."""
    line, size, count, dim = _read_header(stream, name)
    if count is None:
        _read_text_format(chain([line], ROW_LIMIT.read(stream, name, 2)), 1, dim, name, collected)
        return dim
    head = stream.read(_BLOCK_BYTES)
    if _is_text_format(head, dim):
        head += stream.readline(MAX_ROW_BYTES)
        rest = ROW_LIMIT.read(stream, name, 2 + head.count(b"\n"))
        num_lines = _read_text_format(chain(io.BytesIO(head), rest), 2, dim, name, collected)
        if num_lines != count:
            raise ValueError(f"{name}: line 1 declares {count} words, but {num_lines} follow. The file is damaged.")
    else:
        _read_binary_format(head, stream, count, dim, size, name, collected)
    return dim


def _is_text_format(head: bytes, dim: int) -> bool:
    """Return whether text follows a header: a line with enough numbers, or UTF-8 without control characters."""
    if _count_values(head.partition(b"\n")[0]) >= dim:
        return True
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)  # `head` may end within a character
        return not _CONTROL_CHARACTER.search(text)
    except UnicodeDecodeError:
        return False


def _read_text_format(lines: Iterable[bytes], start: int, dim: int, name: str, collected: _FoundVectors) -> int:
    """Collect the wanted words of lines, numbered from `start`; return the number of lines."""
    number = start - 1
    try:
        for number, raw in enumerate(lines, start):
            if not raw.isascii():
                raw.decode()  # only to raise the error
            line = raw.rstrip()  # some programs end a line with a space
            word = line[: line.find(b" ")] if line.count(b" ") == dim else _word_with_spaces(line, dim, name, number)
            if word in collected.wanted:
                collected.add(word, _parse_vector(line[len(word) + 1 :].split(b" "), f"{name}, line {number}"))
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{name}, line {number}: not UTF-8 (byte 0x{raw[error.start]:02x} at position {error.start + 1}). Convert "
            "the file to UTF-8 first, for example with `iconv`."
        ) from None
    return number - start + 1


def _word_with_spaces(line: bytes, dim: int, name: str, number: int) -> bytes:
    """Return a word with spaces, which precedes the last `dim` fields; raise ValueError if there is none."""
    word = line.rsplit(b" ", dim)[0]
    if line.count(b" ") > dim and not _NUMBER.fullmatch(word.rpartition(b" ")[2]):
        return word
    raise ValueError(
        f"{name}, line {number}: must be a word and {dim} values, separated by spaces, but has {_count_values(line)} "
        f"values instead: {_excerpt(line)}."
    )


def _count_values(line: bytes) -> int:
    """Count the numbers at the end of a line, without its first field, which is a word."""
    fields = line.split()[1:]
    return next((n for n, value in enumerate(reversed(fields)) if not _NUMBER.fullmatch(value)), len(fields))


def _parse_vector(values: list[bytes], location: str) -> Vectors:
    try:
        vector: Vectors = np.array(values, dtype=np.float32)
    except ValueError:
        wrong = next(n for n, value in enumerate(values) if not _NUMBER.fullmatch(value))
        raise ValueError(f"{location}: value {wrong + 1} must be a number, but is {_excerpt(values[wrong])}.") from None
    _check_finite(vector, location)
    return vector


def _check_finite(vector: Vectors, location: str) -> None:
    finite = np.isfinite(vector)
    if not finite.all():
        wrong = int(np.argmin(finite))
        raise ValueError(f"{location}: value {wrong + 1} must be finite in float32, but is {vector[wrong]}.")


def _read_binary_format(
    head: bytes, stream: BinaryIO, count: int, dim: int, offset: int, name: str, collected: _FoundVectors
) -> None:
    """Collect the wanted words of a binary file, after `head`, which was already read and starts at byte `offset`."""
    width = 4 * dim
    buffer, position = head, 0
    for number in range(1, count + 1):
        if len(buffer) - position < _MAX_WORD_BYTES + width:
            buffer, position, offset = buffer[position:] + stream.read(_BLOCK_BYTES + width), 0, offset + position
        position += buffer.startswith(b"\n", position)
        space = buffer.find(b" ", position, position + _MAX_WORD_BYTES)
        end = space + 1 + width
        if space < 0 or end > len(buffer):
            raise ValueError(
                f"{name}, word {number} of {count} (byte {offset + position + 1}): must be a word, a space and {width} "
                "bytes, but is not. The file is truncated or damaged."
            )
        word = buffer[position:space]
        if word in collected.wanted:
            vector = np.frombuffer(buffer, "<f4", dim, space + 1).astype(np.float32)
            _check_finite(vector, f"{name}, word {number} of {count} (byte {offset + position + 1})")
            collected.add(word, vector)
        elif not word.isascii() and word.decode(errors="ignore").encode() != word:
            collected.num_undecodable += 1
        position = end
    if (buffer[position:] + stream.read(2)).strip(b"\n"):
        raise ValueError(
            f"{name}: continues after the {count} words of {dim} values that line 1 declares. The file is damaged."
        )


def _excerpt(raw: bytes) -> str:
    """Return bytes of a file as text for messages, shortened to 60 bytes."""
    text = raw[:60].decode("utf-8", "replace")
    return repr(text if len(raw) <= 60 else text + "...")
