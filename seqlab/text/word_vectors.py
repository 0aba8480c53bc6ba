"""Pretrained word vectors: files as word2vec, GloVe and fastText write them, read once, only what is wanted kept.

Three formats, told apart by what a file holds and never by its name; each may be packed by gzip (a name in .gz):

- word2vec's text (also fastText's .vec): a line `count dim`, then a line for each word: the word and `dim` numbers;
- GloVe's text: the same without the first line, so that the first word's line tells `dim`;
- word2vec's binary: a line `count dim`, then for each word the word, a space, `dim` little-endian float32 and, from
  some programs, a newline.

Words are UTF-8. In text one may hold spaces (GloVe's 840B has `. . .`): the last `dim` fields are the numbers. If what
is left ends in a number after a space, the line has too many.
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
_HEADER = re.compile(rb"(\d{1,12})[ \t]+(\d{1,6})\s*")
_NUMBER = re.compile(rb"[+-]?((\d+\.?\d*|\.\d+)(e[+-]?\d+)?|nan|inf(inity)?)", re.IGNORECASE)
_CONTROL = re.compile("[\0-\x08\x0e-\x1f\x7f]")
_BLOCK = 1 << 18  # bytes read at a time
_LONGEST_WORD = 1 << 12  # bytes: without a space in so many, a binary file is out of step


@dataclass(frozen=True)
class Coverage:
    """How much of a vocabulary has vectors; special tokens, which stand for no text, are not counted."""

    num_found: int
    num_wanted: int
    num_lower_cased: int
    """Of those found, how many only in lower case."""
    running_share: float | None
    """The share (0 to 1) of the running text that has vectors; None where no counts were given."""
    missing: tuple[str, ...]
    """Tokens without a vector, the most frequent first (in the order wanted where no counts were given)."""

    @property
    def vocabulary_share(self) -> float:
        """The share (0 to 1) of the wanted tokens that has vectors."""
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
    """The vectors that a file has for the tokens that were wanted."""

    tokens: tuple[str, ...]
    """The tokens found, in the order in which they were wanted."""
    vectors: Vectors
    """(len(tokens), dim), a row for each of them."""
    coverage: Coverage
    num_undecodable: int
    """Words of a binary file that are not UTF-8."""


@dataclass
class _Kept:
    """What is taken out of a file while it is read: the first vector of each wanted word."""

    wanted: set[bytes]
    rows: dict[bytes, int] = field(default_factory=dict)
    values: bytearray = field(default_factory=bytearray)
    num_undecodable: int = 0

    def add(self, word: bytes, vector: Vectors) -> None:
        self.wanted.remove(word)
        self.rows[word] = len(self.rows)
        self.values += vector.tobytes()


def lookup_name(token: str, *, subwords: bool = False) -> str | None:
    """Return the word under which a token, named as `Tokenizer.tokens` does, is looked up; None where it is no word.

    - A special token (`<unk>`, in either case) and bytes (`<0xE2>`) are no words.
    - `▁word` is a word after a space: it is looked up without the mark. Spaces alone, and between words, are no word.
    - A token without the mark is the word itself; but among `subwords` it continues a word and is none, unless it has
      neither letter nor digit: a comma is a comma wherever it stands.
    """
    word = token.removeprefix(_SPACE_MARK)
    if not word or _SPACE_MARK in word or word.lower() in SPECIAL_TOKENS or _BYTE_NAMES.fullmatch(word):
        return None
    continues = subwords and word == token and any(map(str.isalnum, word))
    return None if continues else word


def read_word_vectors(
    path: str | Path, wanted: Mapping[str, int] | Collection[str], *, subwords: bool = False
) -> WordVectors:
    """Read the vectors of the wanted tokens, in one pass: memory grows with what is kept, not with the file.

    `wanted` are tokens as `Tokenizer.tokens` names them; a mapping tells how often each occurs in the running text.
    `subwords` says that a mark shows in them where a word begins (see `lookup_name`).

    A token's word is looked up as it is, and where the file does not have it, in lower case (GloVe's 6B knows no
    other); never the other way round: `apple` is not the company. Of a word that comes twice the first vector stands.
    Every line of text must be UTF-8 and have `dim` fields after a word, but only numbers that are kept are parsed. A
    binary file may have words that are not UTF-8 (word2vec cuts long ones at a byte): they are passed over and counted,
    since no token can be one of them.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: no token is wanted; or the file is empty, cut off or damaged, has a word with another number of
            values, or a value that is kept and not finite. Names the file, the line (or a binary file's word and
            byte, counted from 1) and what was expected.
    """
    path = Path(path)
    candidates = [token for token in dict.fromkeys(wanted) if token not in SPECIAL_TOKENS]
    if not candidates:
        raise ValueError(f"`wanted` must have a token that is not special, but has {len(wanted)} tokens without one.")
    spellings = {t: _spellings(name) for t in candidates if (name := lookup_name(t, subwords=subwords)) is not None}
    kept = _Kept(set(chain(*spellings.values())))
    with _opened(path) as stream, np.errstate(over="ignore"):  # what is too large for float32 is refused by name
        dim = _read(stream, str(path), kept)
    rows = kept.rows
    row_of = {token: rows.get(exact, rows.get(lower, -1)) for token, (exact, lower) in spellings.items()}
    found = {token: row for token, row in row_of.items() if row >= 0}
    num_lower_cased = sum(spellings[token][0] not in rows for token in found)
    vectors: Vectors = np.frombuffer(kept.values, np.float32).reshape(-1, dim)[list(found.values())]
    coverage = _coverage(candidates, found, num_lower_cased, wanted)
    return WordVectors(tuple(found), vectors, coverage, kept.num_undecodable)


def size_of_vectors(path: str | Path) -> int:
    """Tell by the first line of a file how many values each of its vectors has; errors as in `read_word_vectors`."""
    path = Path(path)
    with _opened(path) as stream:
        return _read_head(stream, str(path)).dim


def _spellings(name: str) -> tuple[bytes, bytes]:
    """Return a name as it is and in lower case, in UTF-8 (half a surrogate pair becomes what no file holds)."""
    exact, lower = name.encode("utf-8", "surrogatepass"), name.lower().encode("utf-8", "surrogatepass")
    return exact, exact if lower == exact else lower  # one object for most: half the memory


def _coverage(tokens: list[str], found: Collection[str], num_lower_cased: int, counts: Collection[str]) -> Coverage:
    missing = [token for token in tokens if token not in found]
    running_share = None
    if isinstance(counts, Mapping):
        missing.sort(key=lambda token: -counts[token])
        total = sum(counts[token] for token in tokens)
        running_share = sum(counts[token] for token in found) / total if total else None
    return Coverage(len(found), len(tokens), num_lower_cased, running_share, tuple(missing))


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    if not path.exists():
        raise FileNotFoundError(f"{path}: there is no such file.")
    require_regular(path)  # it is read several times
    try:
        with cast(BinaryIO, gzip.open(path)) if path.suffix == ".gz" else path.open("rb", _BLOCK) as stream:
            yield stream
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path}: cannot be unpacked, the file is damaged or incomplete ({error}).") from None


class _Head(NamedTuple):
    """The first line of a file."""

    line: bytes  # without a byte order mark
    size: int  # in bytes, the mark counted
    num_words: int | None  # where it is promised
    dim: int


def _read_head(stream: BinaryIO, name: str) -> _Head:
    first = stream.readline(_BLOCK)
    if not first:
        raise ValueError(f"{name}: is empty, but must hold word vectors.")
    line = first.removeprefix(codecs.BOM_UTF8)
    header = _HEADER.fullmatch(line)
    if header is None:
        dim = _count_values(line)
        if not dim:
            raise ValueError(
                f"{name}, line 1: must be `count dim` or a word and its values, but is {_shown(line)} instead. A file "
                "that is packed must be so by gzip and have a name in .gz."
            )
        return _Head(line, len(first), None, dim)
    count, dim = int(header[1]), int(header[2])
    if not count or not dim:
        raise ValueError(f"{name}, line 1: promises {count} words of {dim} values, but must promise at least 1 of 1.")
    return _Head(line, len(first), count, dim)


def _read(stream: BinaryIO, name: str, kept: _Kept) -> int:
    """Take the wanted words out of a file of any format; return the number of values that each has."""
    line, size, count, dim = _read_head(stream, name)
    if count is None:
        _read_text(chain([line], ROW_LIMIT.read(stream, name, 2)), 1, dim, name, kept)
        return dim
    head = stream.read(_BLOCK)
    if _is_text(head, dim):
        head += stream.readline(MAX_ROW_BYTES)
        rest = ROW_LIMIT.read(stream, name, 2 + head.count(b"\n"))
        num_lines = _read_text(chain(io.BytesIO(head), rest), 2, dim, name, kept)
        if num_lines != count:
            raise ValueError(f"{name}: line 1 promises {count} words, but {num_lines} follow it. The file is damaged.")
    else:
        _read_binary(head, stream, count, dim, size, name, kept)
    return dim


def _is_text(head: bytes, dim: int) -> bool:
    """Tell whether text follows a header: a line with enough numbers or, lest bad text pass for binary, no odd byte."""
    if _count_values(head.partition(b"\n")[0]) >= dim:
        return True
    try:
        return not _CONTROL.search(codecs.getincrementaldecoder("utf-8")().decode(head))  # cut within a character
    except UnicodeDecodeError:
        return False


def _read_text(lines: Iterable[bytes], start: int, dim: int, name: str, kept: _Kept) -> int:
    """Take the wanted words out of lines, the first of which has the number `start`; return how many there are."""
    number = start - 1
    try:
        for number, raw in enumerate(lines, start):
            if not raw.isascii():
                raw.decode()  # only to raise the error
            line = raw.rstrip()  # some programs end a line with a space
            word = line[: line.find(b" ")] if line.count(b" ") == dim else _spaced_word(line, dim, name, number)
            if word in kept.wanted:
                kept.add(word, _parse(line[len(word) + 1 :].split(b" "), f"{name}, line {number}"))
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{name}, line {number}: not UTF-8 (byte 0x{raw[error.start]:02x} at position {error.start + 1}). Convert "
            "the file to UTF-8 first, for example with `iconv`."
        ) from None
    return number - start + 1


def _spaced_word(line: bytes, dim: int, name: str, number: int) -> bytes:
    """Return the word, with spaces in it, before the last `dim` fields; raise ValueError where there is none."""
    word = line.rsplit(b" ", dim)[0]
    if line.count(b" ") > dim and not _NUMBER.fullmatch(word.rpartition(b" ")[2]):
        return word
    raise ValueError(
        f"{name}, line {number}: must be a word and {dim} values, a space before each, but has {_count_values(line)} "
        f"values instead: {_shown(line)}."
    )


def _count_values(line: bytes) -> int:
    """Count the numbers at the end of a line, of which the first field is a word."""
    fields = line.split()[1:]
    return next((n for n, value in enumerate(reversed(fields)) if not _NUMBER.fullmatch(value)), len(fields))


def _parse(values: list[bytes], place: str) -> Vectors:
    try:
        vector: Vectors = np.array(values, dtype=np.float32)
    except ValueError:
        wrong = next(n for n, value in enumerate(values) if not _NUMBER.fullmatch(value))
        raise ValueError(f"{place}: value {wrong + 1} must be a number, but is {_shown(values[wrong])}.") from None
    _check_finite(vector, place)
    return vector


def _check_finite(vector: Vectors, place: str) -> None:
    finite = np.isfinite(vector)
    if not finite.all():
        wrong = int(np.argmin(finite))
        raise ValueError(f"{place}: value {wrong + 1} must be finite in float32, but is {vector[wrong]}.")


def _read_binary(head: bytes, stream: BinaryIO, count: int, dim: int, offset: int, name: str, kept: _Kept) -> None:
    """Take the wanted words out of a binary file, of which `head` was read already and starts at byte `offset`."""
    width = 4 * dim
    buffer, position = head, 0
    for number in range(1, count + 1):
        if len(buffer) - position < _LONGEST_WORD + width:
            buffer, position, offset = buffer[position:] + stream.read(_BLOCK + width), 0, offset + position
        position += buffer.startswith(b"\n", position)
        space = buffer.find(b" ", position, position + _LONGEST_WORD)
        end = space + 1 + width
        if space < 0 or end > len(buffer):
            raise ValueError(
                f"{name}, word {number} of {count} (byte {offset + position + 1}): must be a word, a space and {width} "
                "bytes, but is not. The file is cut off or damaged."
            )
        word = buffer[position:space]
        if word in kept.wanted:
            vector = np.frombuffer(buffer, "<f4", dim, space + 1).astype(np.float32)
            _check_finite(vector, f"{name}, word {number} of {count} (byte {offset + position + 1})")
            kept.add(word, vector)
        elif not word.isascii() and word.decode(errors="ignore").encode() != word:
            kept.num_undecodable += 1
        position = end
    if (buffer[position:] + stream.read(2)).strip(b"\n"):
        raise ValueError(
            f"{name}: goes on after the {count} words of {dim} values that line 1 promises. The file is damaged."
        )


def _shown(found: bytes) -> str:
    """Show what was found, the start of it where it is long."""
    text = found[:60].decode("utf-8", "replace")
    return repr(text if len(found) <= 60 else text + "...")
