r"""N-gram models in the ARPA format, which KenLM, SRILM and speech recognisers read and write.

A line `\data\`, the number of n-grams of each length, and a section for each length with one n-gram per line: its
log-probability, its words, and its backoff where that is not 0; at the end a line `\end\`. Fields are separated by tabs
or spaces, logarithms are to base 10, and -99 or less stands for a probability of 0. The words `<s>`, `</s>` and `<unk>`
(or `<UNK>`) are bos, eos and what stands for every unknown word. A byte order mark before the file is skipped.
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
from seqlab.models.ngram import NONE, Level, NgramConfig, NgramModel

logger = logging.getLogger(__name__)

BOS, EOS, UNK = b"<s>", b"</s>", b"<unk>"
UPPER_UNK = b"<UNK>"
"""What some programs write for `<unk>`."""
MAX_BACKOFF = 1000.0
"""Of the decimal logarithms of backoffs: files have some tens at most."""
MAX_DIGITS = 18
"""Of a count, which fits 64 bits then."""
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
LOG10 = math.log(10)
LOG_ZERO = -99.0
_ESCAPED = re.compile(r"\\u00(20|09|0a|0d|0b|0c|3c|5c)")
_SEPARATOR = re.compile(
    rf"[ \t\n\r\v\f]|\\(?={_ESCAPED.pattern[2:]})"
)  # other spaces of Unicode are ordinary characters
_RESERVED = re.compile("^<")  # what the names of special ids begin with
_COUNT = re.compile(rb"ngram\s+(\d+)\s*=\s*(\d+)")


def write_arpa(model: NgramModel, tokens: Sequence[str], path: str | Path) -> None:
    r"""Write a model as an ARPA file, packed when its name ends in .gz.

    `tokens` names each of the V ids. Bos and eos are written as `<s>` and `</s>` whatever their names, pad is not
    written, and a space within a name is written as `\u0020`, which `read_arpa` and `read_words` know. So is
    the `<` of a name that is taken, as `<unk>` in a text that holds it.

    Raises:
        ValueError: there are not V names, or one is empty, or two are the same.
    """
    path = Path(path)
    words = [name.decode() for name in _written_names(tokens, model.vocab_size, model.bos_id, model.eos_id)]
    sizes = [len(level.keys) for level in model.trie]
    sizes[0] -= 1  # pad
    with _create(path) as file:
        file.writelines(["\\data\\\n", *(f"ngram {n}={size}\n" for n, size in enumerate(sizes, start=1))])
        before = [""]  # the n-grams of the level before, each with a space behind it
        for length, level in enumerate(model.trie, start=1):
            contexts, ids = (level.keys // model.vocab_size).tolist(), (level.keys % model.vocab_size).tolist()
            ngrams = [before[context] + words[i] for context, i in zip(contexts, ids, strict=True)]
            file.write(f"\n\\{length}-grams:\n")
            file.writelines(_lines(level, ngrams, left_out=model.pad_id if length == 1 else None))
            before = [f"{ngram} " for ngram in ngrams]
        file.write("\n\\end\\\n")


def _lines(level: Level, ngrams: Sequence[str], left_out: int | None) -> Iterator[str]:
    """Write the section of one length, without the entry `left_out`."""
    log_probs = (level.log_probs / LOG10).nan_to_num(neginf=LOG_ZERO).tolist()
    backoffs = (level.backoffs / LOG10).tolist() or [0.0] * len(ngrams)  # the last level has none
    for i, (log_prob, ngram, backoff) in enumerate(zip(log_probs, ngrams, backoffs, strict=True)):
        if i != left_out:
            yield f"{log_prob:.9g}\t{ngram}\t{backoff:.9g}\n" if backoff else f"{log_prob:.9g}\t{ngram}\n"


def read_arpa(path: str | Path, tokens: Sequence[str], *, pad_id: int, bos_id: int, eos_id: int) -> NgramModel:
    """Read an ARPA file (packed when its name ends in .gz) as a model over the ids that `tokens` names.

    Ids are found by name, bos and eos as `<s>` and `</s>`. N-grams with words that have no id are left out, so that
    what they had is nobody's. Ids whose names are not in the file share the probability of `<unk>` there with the id of
    that name, so that all still sum to one. Without an `<unk>` in the file they have 0: such words can never be
    produced. Bos and pad always have 0. How many there are of each kind is logged as a warning.

    Raises:
        ValueError: the file is damaged (it names file and line), has no `</s>`, or `tokens` are as in `write_arpa`.
    """
    path = Path(path)
    names = _written_names(tokens, len(tokens), bos_id, eos_id)
    with _open(path) as stream:
        reader = _Reader(stream, path)
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
    """List the words of an ARPA file but `<s>`, `</s>` and `<unk>`, in its order: to make a vocabulary of them.

    Raises:
        ValueError: the file is damaged, or a word is not UTF-8.
    """
    path = Path(path)
    words = []
    with _open(path) as stream:
        reader = _Reader(stream, path)
        for entry in reader.read_entries(1, reader.read_counts()[0]):
            try:
                word = entry.words[0].decode()
            except UnicodeDecodeError:
                raise reader.unexpected("a word in UTF-8") from None
            if entry.words[0] not in (BOS, EOS, UNK):
                words.append(_ESCAPED.sub(lambda found: chr(int(found[1], 16)), word))
    return words


class _Entry(NamedTuple):
    """One n-gram of a file; log-probability and backoff in nats."""

    log_prob: float
    words: list[bytes]
    backoff: float


class _Reader:
    """The lines of an ARPA file that are not empty, one after the other; `line` is the last one read."""

    def __init__(self, stream: IO[bytes], path: Path) -> None:
        self.path, self.number, self.line = path, 0, b""
        self._lines = self._numbered(stream)

    def _numbered(self, stream: IO[bytes]) -> Iterator[bytes]:
        try:
            lines = ROW_LIMIT.read(cast(BinaryIO, stream), str(self.path))
            for self.number, raw in enumerate(lines, start=1):
                if line := (raw.removeprefix(BYTE_ORDER_MARK) if self.number == 1 else raw).strip():
                    yield line
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(f"{self.path}: cannot be unpacked, the file is damaged ({error}).") from None
        raise self.error("expected `\\end\\`, but the file ends here: it is not an ARPA file, or not a whole one")

    def error(self, message: str, number: int | None = None) -> ValueError:
        """Make an error that names the file and a line, the last one read unless `number` is given."""
        return ValueError(f"{self.path}, line {number or self.number}: {message}.")

    def unexpected(self, expected: str) -> ValueError:
        return self.error(f"expected {expected}, but found `{_shown(self.line[:80])}`")

    def advance(self) -> bytes:
        self.line = next(self._lines)
        return self.line

    def expect(self, line: str) -> None:
        if self.line != line.encode():
            raise self.unexpected(f"`{line}`")

    def read_counts(self) -> list[int]:
        r"""Read the header, after any text before `\data\`: the number of n-grams of each length."""
        while self.advance() != b"\\data\\":
            pass
        counts: list[int] = []
        while not self.advance().startswith(b"\\"):
            found = _COUNT.fullmatch(self.line)
            if found is None or found[1] != b"%d" % (len(counts) + 1) or len(found[2]) > MAX_DIGITS:
                raise self.unexpected(f"`ngram {len(counts) + 1}=` and a number")
            counts.append(int(found[2]))
        if not counts:
            raise self.unexpected("`ngram 1=` and a number")
        return counts

    def read_entries(self, length: int, count: int) -> Iterator[_Entry]:
        """Read the section of one length, up to the line that begins the next."""
        self.expect(f"\\{length}-grams:")
        found = 0
        for line in self._lines:
            self.line = line
            if line.startswith(b"\\"):
                break
            fields = line.split()
            try:
                if b"_" in fields[0] + fields[-1] * (len(fields) == length + 2):
                    raise ValueError  # which Python reads as a part of a number
                log_prob, backoff = float(fields[0]), float(fields[-1]) if len(fields) == length + 2 else 0.0
            except ValueError:
                log_prob = backoff = math.nan
            if not (length < len(fields) < length + 3 and log_prob <= 0 and abs(backoff) <= MAX_BACKOFF):
                raise self.unexpected(
                    f"a log-probability of at most 0, {length} words and perhaps a backoff, with tabs or spaces between"
                )
            found += 1
            words = [UNK if word == UPPER_UNK else word for word in fields[1 : length + 1]]
            yield _Entry(log_prob * LOG10 if log_prob > LOG_ZERO else -math.inf, words, backoff * LOG10)
        if found != count:
            raise self.error(f"expected {count} {length}-grams before this, as the header says, but there are {found}")


def _read_unigrams(
    reader: _Reader, count: int, names: Sequence[bytes], pad_id: int, bos_id: int
) -> tuple[TrieLevel, dict[bytes, int]]:
    """Read the words: level 1 of the trie, and the id of each word of the file, `NONE` where it has no id.

    What the file or the vocabulary has alone is logged.
    """
    found: dict[bytes, _Entry] = {}
    for entry in reader.read_entries(1, count):
        if entry.words[0] in found:
            raise reader.error(f"expected each word once, but `{_shown(entry.words[0])}` comes again")
        found[entry.words[0]] = entry
    if EOS not in found:
        raise reader.error(f"expected `{_shown(EOS)}` among the words before this")
    ids = {name: i for i, name in enumerate(names) if i != pad_id}
    unknown = [word for word in found if word not in ids and word != UNK]
    if len(unknown) == len(found.keys() - {BOS, EOS, UNK}) > 0:
        raise reader.error(f"none of the words before this is in the vocabulary: {_examples(unknown)}")
    if unknown:
        text = "%s: %d of its %d words are not in the vocabulary, n-grams with them are left out: %s"
        logger.warning(text, reader.path, len(unknown), len(found), _examples(unknown))
    missing = [name for name, i in ids.items() if name not in found and i != bos_id]
    if missing:
        if UNK in found:
            text = "%s lacks %d of the %d words of the vocabulary, they share the probability of its `<unk>`: %s"
        else:
            text = "%s has no `<unk>` and lacks %d of the %d words of the vocabulary, which can never be produced: %s"
        logger.warning(text, reader.path, len(missing), len(ids), _examples(missing))
    unseen = found.get(UNK, _Entry(-math.inf, [], 0.0))
    sharers = max(1, len(missing) + (UNK in ids))
    shared = unseen._replace(log_prob=unseen.log_prob - math.log(sharers))
    others = shared._replace(backoff=0.0)
    entries = [shared if name == UNK else found.get(name, others) for name in names]
    log_probs = np.array([entry.log_prob for entry in entries])
    log_probs[[pad_id, bos_id]] = -math.inf
    backoffs = np.array([entry.backoff for entry in entries])
    return TrieLevel(np.arange(len(names)), log_probs, backoffs), {word: ids.get(word, NONE) for word in found}


def _read_ngrams(
    reader: _Reader, length: int, count: int, ids: Mapping[bytes, int], levels: Sequence[TrieLevel]
) -> TrieLevel:
    """Read the n-grams of one length whose words all have an id."""
    flat_ids: list[int] = []
    numbers: list[int] = []
    log_probs: list[float] = []
    backoffs: list[float] = []
    for entry in reader.read_entries(length, count):
        try:
            row = [ids[word] for word in entry.words]
        except KeyError:
            raise reader.unexpected("words that are among the 1-grams") from None
        if NONE not in row:
            flat_ids += row
            numbers.append(reader.number)
            log_probs.append(entry.log_prob)
            backoffs.append(entry.backoff)
    rows = np.array(flat_ids, np.int64).reshape(-1, length)
    keys, missing = _keys(rows, levels)
    if missing is not None:
        n = length - 1
        text = f"expected the first {n} words of this {length}-gram among the {n}-grams, but they are not there"
        raise reader.error(text, numbers[missing])
    order = np.argsort(keys, kind="stable")
    again = np.flatnonzero(np.diff(keys[order]) == 0)
    if len(again):
        raise reader.error("expected each n-gram once, but this one comes again", numbers[order[again[0] + 1]])
    return TrieLevel(keys[order], np.array(log_probs)[order], np.array(backoffs)[order])


def _keys(ngrams: Ints, levels: Sequence[TrieLevel]) -> tuple[Ints, int | None]:
    """Make the keys (E,) of n-grams (E, length) over the levels of all shorter ones.

    The second result is one n-gram, if there is any, whose context is not in the last of the levels.
    """
    vocab_size = len(levels[0].keys)
    contexts = ngrams[:, 0]
    absent = np.zeros(len(ngrams), np.bool_)
    for level, ids in zip(levels[1:], ngrams.T[1:-1], strict=True):
        wanted = contexts * vocab_size + ids
        contexts = np.searchsorted(level.keys, wanted)
        absent |= np.append(level.keys, NONE)[contexts] != wanted
    return contexts * vocab_size + ngrams[:, -1], int(absent.argmax()) if absent.any() else None


def _written_names(tokens: Sequence[str], vocab_size: int, bos_id: int, eos_id: int) -> list[bytes]:
    """Give each id the word that stands for it in a file; raises ValueError where that is impossible."""
    if len(tokens) != vocab_size:
        raise ValueError(f"`tokens` must name all {vocab_size} ids, but has {len(tokens)} names.")
    names = [_SEPARATOR.sub(_escape, token).encode() for token in tokens]
    names[bos_id], names[eos_id] = BOS, EOS
    ids: dict[bytes, int] = {BOS: bos_id, EOS: eos_id}
    for i, name in enumerate(names):
        if not name:
            raise ValueError(f"`tokens` must not be empty, but that of id {i} is.")
        if ids.get(name, i) != i or name == UPPER_UNK:
            names[i] = name = _RESERVED.sub(_escape, name.decode()).encode()
        if ids.setdefault(name, i) != i:
            raise ValueError(
                f"`tokens` must differ, but ids {ids[name]} and {i} are both written `{_shown(name)}`: rename one."
            )
    return names


def _escape(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"


def _shown(text: bytes) -> str:
    return text.decode(errors="replace")


def _examples(words: Sequence[bytes]) -> str:
    return ", ".join(map(_shown, words[:5])) + (" ..." if len(words) > 5 else "")


@contextmanager
def _create(path: Path) -> Iterator[IO[str]]:
    with (
        atomic_write(path) as file,
        gzip.GzipFile("", "wb", fileobj=file, mtime=0) if path.suffix == ".gz" else nullcontext(file) as stream,
    ):
        text = io.TextIOWrapper(cast(BinaryIO, stream), encoding="utf-8", newline="\n")
        yield text
        text.detach()  # which flushes it; the file below is closed last


def _open(path: Path) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(path, "rb")) if path.suffix == ".gz" else path.open("rb")
