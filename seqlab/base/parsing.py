"""Safe reading of untrusted files: regular files only, size limits, JSON, validated types.

Any invalid content raises a ValueError with a message of one line. For YAML, see `seqlab.runs.yaml_parser`.
"""

import json
import re
import stat
from collections.abc import Hashable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar, cast

if TYPE_CHECKING:
    from pydantic import TypeAdapter

T = TypeVar("T")

MAX_DOCUMENT_BYTES = 1 << 28
"""Size limit of a JSON or YAML file; files that seqlab writes are far smaller."""
MAX_DIGITS = 18
"""Maximum length of a number in `parse_digits`."""
_MAYBE_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
"""Matches the escape of a surrogate. Whether it is unpaired shows only when the parsed text is encoded."""


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file for reading bytes; a pipe could block forever, a device could be endless.

    Raises:
        OSError: the file cannot be opened.
        ValueError: the path is a folder, a pipe, a socket or a device.
    """
    require_regular(path)
    return path.open("rb")


def require_regular(path: Path) -> None:
    """Raise FileNotFoundError for a missing file, ValueError for a folder, a pipe, a socket or a device."""
    mode = path.stat().st_mode
    kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
    if not stat.S_ISREG(mode):
        raise ValueError(f"{path}: is {kinds.get(stat.S_IFMT(mode), 'a device')}, but must be a regular file.")


def read_regular(path: Path, limit: int | None = None) -> bytes:
    """Read all bytes of a regular file; errors as in `open_regular`, and ValueError above `limit` bytes."""
    with open_regular(path) as file:
        content = file.read() if limit is None else file.read(limit + 1)
    if limit is not None and len(content) > limit:
        raise ValueError(f"{path}: is larger than {limit:,} bytes.")
    return content


def read_json(path: Path) -> Any:
    """Read a JSON file; errors as in `read_regular` and `parse_json`."""
    return parse_json(read_regular(path, MAX_DOCUMENT_BYTES))


def parse_json(text: str | bytes, *, is_record: bool = False) -> Any:
    """Parse JSON; infinite numbers and NaN, which are not JSON, are accepted as Python writes them.

    Args:
        text: bytes are decoded as UTF-8, without a byte order mark.
        is_record: whether the text is a row of a table, of which only some columns are read. Then unpaired surrogates
            do not raise an error: the reader of a column checks its value.

    Raises:
        ValueError: the text is not JSON or nested too deeply, or has a number of thousands of digits, a duplicate key
            or an unpaired surrogate.
    """
    try:
        text = text if isinstance(text, str) else text.decode("utf-8-sig")
        value = _DECODER.decode(text)
        if not is_record and _MAYBE_SURROGATE.search(text):
            json.dumps(value, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        location = f"line {error.lineno}, character {error.colno}" if error.lineno > 1 else f"character {error.pos + 1}"
        raise ValueError(f"not JSON ({location}: {error.msg})") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 ({error.reason} at byte {error.start})") from None
    except UnicodeEncodeError:
        raise ValueError("not JSON in UTF-8 (it contains an unpaired surrogate, which is not a character)") from None
    except RecursionError:
        raise ValueError("unreadable JSON (it is nested too deeply)") from None
    except ValueError as error:
        if "digits" not in str(error):
            raise
        raise ValueError("unreadable JSON (a number has thousands of digits)") from None
    return value


def number_of_invalid_item(text: str) -> int:
    """Return the number, from 1, of the first item of a JSON array that cannot be read; 0 if the array is not JSON."""
    position, number = text.find("[") + 1, 1
    while True:
        position = _SPACE_AND_COMMA.match(text, position).end()  # type: ignore[union-attr]  # it matches nothing, too
        try:
            _, position = _DECODER.raw_decode(text, position)
        except json.JSONDecodeError:
            return 0
        except ValueError:
            return number
        number += 1


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build the dictionary of a JSON object; raise ValueError for a duplicate key."""
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in values if names.count(name) > 1)
        raise ValueError(f"has the key {twice!r} twice: rename all but one")
    return values


_DECODER = json.JSONDecoder(object_pairs_hook=_unique_keys)  # `json.loads` creates one at each call
_SPACE_AND_COMMA = re.compile(r"[\s,]*")


def parse_digits(text: str | None) -> int | None:
    """Return the number that up to 18 decimal digits denote; None for all other texts.

    `str.isdigit` also accepts superscripts, and `int` refuses thousands of digits.
    """
    is_number = text is not None and text.isascii() and text.isdecimal() and len(text) <= MAX_DIGITS
    return int(text) if text is not None and is_number else None


def validate_type(values: Any, expected: type[T]) -> T:
    """Validate values against a type with pydantic; raise ValueError for the first field that does not match."""
    from pydantic import ValidationError

    try:
        parsed: T = _adapter(cast(Hashable, expected)).validate_python(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        name = ".".join(map(str, first["loc"]))
        raise ValueError(f"`{name}`: {first['msg']}" if name else first["msg"]) from None
    return parsed


@cache
def _adapter(expected: Hashable) -> "TypeAdapter[Any]":
    from pydantic import TypeAdapter

    kind: Any = expected
    return TypeAdapter(kind)
