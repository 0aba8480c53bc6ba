r"""Read and write n-gram models in the ARPA format of KenLM, SRILM and speech recognizers.

A file has a line `\data\`, the number of n-grams of each order, and a section for each order. A section has one n-gram
per line: its log-probability, its words, and its backoff unless that is 0. The file ends with a line `\end\`. Fields
are separated by tabs or spaces. Logarithms are to base 10; -99 or less means a probability of 0. The words `<s>`,
`</s>` and `<unk>` (or `<UNK>`) are bos, eos and the unknown word. A byte order mark at the start is skipped.
"""

import gzip
import io
import logging
import math
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import IO, BinaryIO, NamedTuple, cast

import numpy as np

from seqlab.base.atomic_io import atomic_write
from seqlab.base.raw_lines import ROW_LIMIT
from seqlab.models.kneser_ney import Ints, TrieLevel
from seqlab.models.ngram import ABSENT, Level, NgramConfig, NgramModel

logger = logging.getLogger(__name__)

BOS, EOS, UNK = b"<s>", b"</s>", b"<unk>"
UPPER_UNK = b"<UNK>"
"""Name of `<unk>` in the files of some programs."""
MAX_BACKOFF = 1000.0
"""Largest absolute decimal logarithm of a backoff; those of real files are below 100."""
MAX_COUNT_DIGITS = 18
"""Digits of an n-gram count: such a count fits into 64 bits."""
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
MAX_SUM_ERROR = 0.01
"""Largest difference from 1 of the sum of the probabilities of all words, which a file rounds."""
LOG10 = math.log(10)
LOG10_ZERO = -99.0
"""Decimal logarithm that represents a probability of 0."""
_ESCAPED = re.compile(r"\\u00(20|09|0a|0d|0b|0c|3c|5c)")
_SEPARATOR = re.compile(rf"[ \t\n\r\v\f]|\\(?={_ESCAPED.pattern[2:]})")  # other Unicode spaces are ordinary characters
_RESERVED = re.compile("^<")  # the first character of the names of special ids
_COUNT = re.compile(rb"ngram\s+(\d+)\s*=\s*(\d+)")


def write_arpa(model: NgramModel, tokens: Sequence[str], path: str | Path) -> None:
    r"""Write an n-gram model as an ARPA file, compressed if its name ends in .gz.

    `tokens` holds the name of each of the V ids. Bos and eos are written as `<s>` and `</s>`, and pad is left out. A
    space within a name is escaped as `\u0020`, which `read_arpa` and `read_words` undo. The `<` of a token with a
    reserved name, for example a token `<unk>` of the text, is escaped as well.

    Raises:
        ValueError: `tokens` does not have V names, or a name is empty or occurs twice.
    """
    path = Path(path)
    words = [name.decode() for name in _names_in_file(tokens, model.vocab_size, model.bos_id, model.eos_id)]
    sizes = [len(level.keys) for level in model.trie]
    sizes[0] -= 1  # pad
    with _create(path) as file:
        file.writelines(["\\data\\\n", *(f"ngram {n}={size}\n" for n, size in enumerate(sizes, start=1))])
        prefixes = [""]  # n-grams of the previous order, each followed by a space
        for order, level in enumerate(model.trie, start=1):
            contexts, ids = (level.keys // model.vocab_size).tolist(), (level.keys % model.vocab_size).tolist()
            ngrams = [prefixes[context] + words[i] for context, i in zip(contexts, ids, strict=True)]
            file.write(f"\n\\{order}-grams:\n")
            file.writelines(_format_section(level, ngrams, skipped=model.pad_id if order == 1 else None))
            prefixes = [f"{ngram} " for ngram in ngrams]
        file.write("\n\\end\\\n")


def _format_section(level: Level, ngrams: Sequence[str], skipped: int | None) -> Iterator[str]:
    """Yield the lines of the n-grams of one order, without the entry `skipped`."""
    log_probs = (level.log_probs / LOG10).nan_to_num(neginf=LOG10_ZERO).tolist()
    backoffs = (level.backoffs / LOG10).tolist() or [0.0] * len(ngrams)  # the last level has none
    for i, (log_prob, ngram, backoff) in enumerate(zip(log_probs, ngrams, backoffs, strict=True)):
        if i != skipped:
            yield f"{log_prob:.9g}\t{ngram}\t{backoff:.9g}\n" if backoff else f"{log_prob:.9g}\t{ngram}\n"


def read_arpa(path: str | Path, tokens: Sequence[str], *, pad_id: int, bos_id: int, eos_id: int) -> NgramModel:
    """Read an ARPA file (compressed if its name ends in .gz) as an n-gram model over the ids named by `tokens`.

    Words are mapped to ids by name, `<s>` and `</s>` to bos and eos. N-grams with a word outside `tokens` are dropped,
    and their probability is lost. Tokens that are missing from the file share the probability of its `<unk>` equally,
    together with the id named `<unk>`, so that the sum remains 1. If the file has no `<unk>`, the probability of these
    tokens is 0 and they are never generated. Bos and pad always have a probability of 0. Warnings report the words and
    tokens concerned.

    Raises:
        ValueError: the file is damaged (the message names file and line) or has no `</s>`, or `tokens` is invalid (see
            `write_arpa`).
    """
    path = Path(path)
    names = _names_in_file(tokens, len(tokens), bos_id, eos_id)
    with _open(path) as stream:
        reader = _ArpaReader(stream, path)
        counts = reader.read_counts()
        unigrams, known = _read_unigrams(reader, counts[0], names, pad_id, bos_id)
        levels = [unigrams]
        for length, count in enumerate(counts[1:], start=2):
            levels.append(_read_ngrams(reader, length, count, known, levels))
        reader.expect("\\end\\")
    while len(levels[-1].keys) == 0:
        levels.pop()
    levels[-1] = levels[-1]._replace(backoffs=np.zeros(0))
    model = NgramModel(NgramConfig(order=len(levels)), len(tokens), pad_id, bos_id, eos_id)
    model.set_levels(levels)
    return model


def read_words(path: str | Path) -> list[str]:
    """List the words of an ARPA file in its order, without `<s>`, `</s>` and `<unk>`, for use as a vocabulary.

    Raises:
        ValueError: the file is damaged, or a word is not valid UTF-8.
    """
    path = Path(path)
    words = []
    with _open(path) as stream:
        reader = _ArpaReader(stream, path)
        for entry in reader.read_entries(1, reader.read_counts()[0]):
            try:
                word = entry.words[0].decode()
            except UnicodeDecodeError:
                raise reader.unexpected("a word in UTF-8") from None
            if entry.words[0] not in (BOS, EOS, UNK):
                words.append(_ESCAPED.sub(lambda match: chr(int(match[1], 16)), word))
    return words


class _Entry(NamedTuple):
    """An n-gram of the file, with its log-probability and backoff in nats."""

    log_prob: float
    words: list[bytes]
    backoff: float


class _ArpaReader:
    """Iterate over the non-empty lines of an ARPA file. `line` is the last line read, `number` its line number."""

    def __init__(self, stream: IO[bytes], path: Path) -> None:
        self.path, self.number, self.line = path, 0, b""
        self._lines = self._non_empty_lines(stream)

    def _non_empty_lines(self, stream: IO[bytes]) -> Iterator[bytes]:
        try:
            lines = ROW_LIMIT.read(cast(BinaryIO, stream), str(self.path))
            for self.number, raw in enumerate(lines, start=1):
                if line := (raw.removeprefix(BYTE_ORDER_MARK) if self.number == 1 else raw).strip():
                    yield line
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(f"{self.path}: cannot be unpacked, the file is damaged ({error}).") from None
        raise self.error("expected `\\end\\`, but the file ends here: it is truncated, or not an ARPA file")

    def error(self, message: str, number: int | None = None) -> ValueError:
        """Return an error that names the file and a line: `number`, or by default the last line read."""
        return ValueError(f"{self.path}, line {number or self.number}: {message}.")

    def unexpected(self, expected: str) -> ValueError:
        """Return an error for the last line read, which is not as expected."""
        return self.error(f"expected {expected}, but found `{_decode(self.line[:80])}`")

    def advance(self) -> bytes:
        """Read the next line."""
        self.line = next(self._lines)
        return self.line

    def expect(self, line: str) -> None:
        """Raise ValueError if the last line read is not `line`."""
        if self.line != line.encode():
            raise self.unexpected(f"`{line}`")

    def read_counts(self) -> list[int]:
        r"""Read the header and return the number of n-grams of each order; text before `\data\` is skipped."""
        while self.advance() != b"\\data\\":
            pass
        counts: list[int] = []
        while not self.advance().startswith(b"\\"):
            match = _COUNT.fullmatch(self.line)
            if match is None or match[1] != b"%d" % (len(counts) + 1) or len(match[2]) > MAX_COUNT_DIGITS:
                raise self.unexpected(f"`ngram {len(counts) + 1}=` and a number")
            counts.append(int(match[2]))
        if not counts:
            raise self.unexpected("`ngram 1=` and a number")
        return counts

    def read_entries(self, order: int, count: int) -> Iterator[_Entry]:
        """Yield the n-grams of the section of one order; also reads the first line of the next section."""
        self.expect(f"\\{order}-grams:")
        num_found = 0
        for line in self._lines:
            self.line = line
            if line.startswith(b"\\"):
                break
            fields, columns = line.split(), line.split(b"\t")
            try:
                if len(columns) == 3 and not columns[1].strip():
                    raise ValueError  # an empty word and a backoff, which would be read as a word
                if b"_" in fields[0] + fields[-1] * (len(fields) == order + 2):
                    raise ValueError  # Python accepts `_` within numbers
                log_prob, backoff = float(fields[0]), float(fields[-1]) if len(fields) == order + 2 else 0.0
            except ValueError:
                log_prob = backoff = math.nan
            if not (order < len(fields) < order + 3 and log_prob <= 0 and abs(backoff) <= MAX_BACKOFF):
                raise self.unexpected(
                    f"a log-probability of at most 0, {order} words, an optional backoff, separated by tabs or spaces"
                )
            num_found += 1
            words = [UNK if word == UPPER_UNK else word for word in fields[1 : order + 1]]
            yield _Entry(log_prob * LOG10 if log_prob > LOG10_ZERO else -math.inf, words, backoff * LOG10)
        if num_found != count:
            raise self.error(f"the header declares {count} {order}-grams, but {num_found} precede this line")


def _read_unigrams(
    reader: _ArpaReader, count: int, names: Sequence[bytes], pad_id: int, bos_id: int
) -> tuple[TrieLevel, dict[bytes, int]]:
    """Read the unigrams: level 1 of the trie, and the id of each word of the file, `ABSENT` for a word without an id.

    Warns about words that only the file or only the vocabulary has, and of probabilities whose sum is not 1.
    """
    unigrams: dict[bytes, _Entry] = {}
    for entry in reader.read_entries(1, count):
        if entry.words[0] in unigrams:
            raise reader.error(f"the word `{_decode(entry.words[0])}` occurs twice, but must occur once")
        unigrams[entry.words[0]] = entry
    if EOS not in unigrams:
        raise reader.error(f"`{_decode(EOS)}` is missing from the words before this line")
    total = math.fsum(math.exp(entry.log_prob) for word, entry in unigrams.items() if word != BOS)
    if abs(total - 1) > MAX_SUM_ERROR:
        text = "%s: the probabilities of its 1-grams sum to %.3f instead of 1: are they logarithms to base 10?"
        logger.warning(text, reader.path, total)
    ids = {name: i for i, name in enumerate(names) if i != pad_id}
    unknown = [word for word in unigrams if word not in ids and word != UNK]
    if len(unknown) == len(unigrams.keys() - {BOS, EOS, UNK}) > 0:
        raise reader.error(f"none of the words before this line is in the vocabulary: {_examples(unknown)}")
    if unknown:
        text = "%s: %d of its %d words are not in the vocabulary, so n-grams with them are left out: %s"
        logger.warning(text, reader.path, len(unknown), len(unigrams), _examples(unknown))
    missing = [name for name, i in ids.items() if name not in unigrams and i != bos_id]
    if missing:
        if UNK in unigrams:
            text = "%s lacks %d of the %d words of the vocabulary, which share the probability of its `<unk>`: %s"
        else:
            text = "%s has no `<unk>` and lacks %d of the %d words of the vocabulary, which are never generated: %s"
        logger.warning(text, reader.path, len(missing), len(ids), _examples(missing))
    unk_entry = unigrams.get(UNK, _Entry(-math.inf, [], 0.0))
    num_sharing = max(1, len(missing) + (UNK in ids))
    shared_unk = unk_entry._replace(log_prob=unk_entry.log_prob - math.log(num_sharing))
    missing_entry = shared_unk._replace(backoff=0.0)
    entries = [shared_unk if name == UNK else unigrams.get(name, missing_entry) for name in names]
    log_probs = np.array([entry.log_prob for entry in entries])
    log_probs[[pad_id, bos_id]] = -math.inf
    backoffs = np.array([entry.backoff for entry in entries])
    return TrieLevel(np.arange(len(names)), log_probs, backoffs), {word: ids.get(word, ABSENT) for word in unigrams}


def _read_ngrams(
    reader: _ArpaReader, order: int, count: int, ids: Mapping[bytes, int], levels: Sequence[TrieLevel]
) -> TrieLevel:
    """Read the n-grams of one order, without those that contain a word without an id."""
    flat_ids: list[int] = []
    numbers: list[int] = []
    log_probs: list[float] = []
    backoffs: list[float] = []
    for entry in reader.read_entries(order, count):
        try:
            row = [ids[word] for word in entry.words]
        except KeyError:
            raise reader.unexpected("words that are among the 1-grams") from None
        if ABSENT not in row:
            flat_ids += row
            numbers.append(reader.number)
            log_probs.append(entry.log_prob)
            backoffs.append(entry.backoff)
    rows = np.array(flat_ids, np.int64).reshape(-1, order)
    keys, missing = _make_keys(rows, levels)
    if missing is not None:
        n = order - 1
        raise reader.error(f"the first {n} words of this {order}-gram are missing from the {n}-grams", numbers[missing])
    ranks = np.argsort(keys, kind="stable")
    repeated = np.flatnonzero(np.diff(keys[ranks]) == 0)
    if len(repeated):
        raise reader.error("this n-gram occurs twice, but must occur once", numbers[ranks[repeated[0] + 1]])
    return TrieLevel(keys[ranks], np.array(log_probs)[ranks], np.array(backoffs)[ranks])


def _make_keys(ngrams: Ints, levels: Sequence[TrieLevel]) -> tuple[Ints, int | None]:
    """Compute the trie keys (E,) of n-grams (E, order), given the levels of all lower orders.

    The second result is the index of the first n-gram with a context that is missing from the last level, or None.
    """
    vocab_size = len(levels[0].keys)
    contexts = ngrams[:, 0]
    absent = np.zeros(len(ngrams), np.bool_)
    for level, ids in zip(levels[1:], ngrams.T[1:-1], strict=True):
        queries = contexts * vocab_size + ids
        contexts = np.searchsorted(level.keys, queries)
        absent |= np.append(level.keys, ABSENT)[contexts] != queries
    return contexts * vocab_size + ngrams[:, -1], int(absent.argmax()) if absent.any() else None


def _names_in_file(tokens: Sequence[str], vocab_size: int, bos_id: int, eos_id: int) -> list[bytes]:
    """Return the word of each id in the file; raises ValueError for invalid `tokens`."""
    if len(tokens) != vocab_size:
        raise ValueError(f"`tokens` must name all {vocab_size} ids, but has {len(tokens)} names.")
    names = [_SEPARATOR.sub(_escape, token).encode() for token in tokens]
    names[bos_id], names[eos_id] = BOS, EOS
    ids: dict[bytes, int] = {BOS: bos_id, EOS: eos_id}
    for i, name in enumerate(names):
        if not name:
            raise ValueError(f"Names in `tokens` must not be empty, but the name of id {i} is empty.")
        if ids.get(name, i) != i or name == UPPER_UNK:
            names[i] = name = _RESERVED.sub(_escape, name.decode()).encode()
        if ids.setdefault(name, i) != i:
            raise ValueError(
                f"Names in `tokens` must differ, but ids {ids[name]} and {i} are both written `{_decode(name)}`: "
                "rename one."
            )
    return names


def _escape(match: re.Match[str]) -> str:
    return f"\\u{ord(match[0]):04x}"


def _decode(text: bytes) -> str:
    return text.decode(errors="replace")


def _examples(words: Sequence[bytes]) -> str:
    return ", ".join(map(_decode, words[:5])) + (" ..." if len(words) > 5 else "")


@contextmanager
def _create(path: Path) -> Iterator[IO[str]]:
    with (
        atomic_write(path) as file,
        gzip.GzipFile("", "wb", fileobj=file, mtime=0) if path.suffix == ".gz" else nullcontext(file) as stream,
    ):
        text = io.TextIOWrapper(cast(BinaryIO, stream), encoding="utf-8", newline="\n")
        yield text
        text.detach()  # flushes; the underlying file is closed last


def _open(path: Path) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(path, "rb")) if path.suffix == ".gz" else path.open("rb")
