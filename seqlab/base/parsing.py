"""Read bytes and JSON from files that anything may have written: regular files, limits, checked types.

Whatever a file holds, the error is a ValueError of one line that says what is wrong. YAML: `seqlab.runs.yaml_parser`.
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
"""Largest JSON or YAML file that is read; those that seqlab writes are far smaller."""
_MAYBE_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
"""Matches the escape of a surrogate; encoding the result shows whether it is unpaired."""


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file for reading bytes: a pipe would be waited for without end, a device read without end.

    Raises:
        OSError: it cannot be opened.
        ValueError: it is a folder, a pipe, a socket or a device.
    """
    require_regular(path)
    return path.open("rb")


def require_regular(path: Path) -> None:
    """Raise FileNotFoundError, or ValueError where a path names a folder, a pipe, a socket or a device."""
    mode = path.stat().st_mode
    kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
    if not stat.S_ISREG(mode):
        raise ValueError(f"{path}: is {kinds.get(stat.S_IFMT(mode), 'a device')}, but a regular file is needed.")


def read_regular(path: Path, limit: int | None = None) -> bytes:
    """Read a regular file whole; errors as `open_regular`, and ValueError where it has more bytes than a limit."""
    with open_regular(path) as file:
        content = file.read() if limit is None else file.read(limit + 1)
    if limit is not None and len(content) > limit:
        raise ValueError(f"{path}: is larger than {limit:,} bytes.")
    return content


def read_json(path: Path) -> Any:
    """Read a JSON file; errors as `read_regular` and `parse_json`."""
    return parse_json(read_regular(path, MAX_DOCUMENT_BYTES))


def parse_json(text: str | bytes, *, for_columns: bool = False) -> Any:
    """Parse JSON.

    Args:
        text: in UTF-8 where it is bytes.
        for_columns: whether it is a record of which some columns are read: no object may name a key twice, and half of
            a surrogate pair is left to whoever reads that column.

    Raises:
        ValueError: it is not JSON, is nested too deeply, has a number of thousands of digits, half of a surrogate
            pair, or a key twice.
    """
    try:
        text = text if isinstance(text, str) else text.decode("utf-8")
        found = json.loads(text, object_pairs_hook=_record if for_columns else None)
        if not for_columns and _MAYBE_SURROGATE.search(text):
            json.dumps(found, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, character {error.colno}" if error.lineno > 1 else f"character {error.pos + 1}"
        raise ValueError(f"not JSON ({where}: {error.msg})") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 ({error.reason} at byte {error.start})") from None
    except UnicodeEncodeError:
        raise ValueError("not JSON in UTF-8 (it holds half of a surrogate pair, which is no character)") from None
    except RecursionError:
        raise ValueError("not JSON that can be read (it is nested too deeply)") from None
    except ValueError as error:
        if "digits" not in str(error):
            raise
        raise ValueError("not JSON that can be read (a number has thousands of digits)") from None
    return found


def _record(cells: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(cells)
    if len(record) < len(cells):
        names = [name for name, _ in cells]
        twice = next(name for name in record if names.count(name) > 1)
        raise ValueError(f"names {twice!r} twice: rename all but one")
    return record


def checked(values: Any, expected: type[T]) -> T:
    """Validate values against a type; raise ValueError naming the first field of another type."""
    from pydantic import ValidationError

    try:
        found: T = _adapter(cast(Hashable, expected)).validate_python(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        name = ".".join(map(str, first["loc"]))
        raise ValueError(f"`{name}`: {first['msg']}" if name else first["msg"]) from None
    return found


@cache
def _adapter(expected: Hashable) -> "TypeAdapter[Any]":
    from pydantic import TypeAdapter

    kind: Any = expected
    return TypeAdapter(kind)
