"""Damage to the files of a run folder: edited values, with and without new checksums, and flipped bits."""

import hashlib
import json
import random
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from seqlab.base.atomic_io import CHECKSUM_KEY, with_checksum

NESTING_LEVELS = 3000
"""Levels of nesting that exceed the recursion limit of JSON and YAML parsers."""
DIGITS = "9" * 5000
"""More digits than Python converts to an int."""
VALUES: tuple[Any, ...] = (
    *(None, True, False, -1, 0, 1, 2**31, 2**63, 2**64, 10**30, -(2**63), 0.5, 1e308, -1e308, 1e-320),
    *(float("nan"), float("inf"), "", "x", "x" * 100_000, "\0", "\ud800", "null", "2024-02-30", [], {}, [1], {"a": 1}),
    *([[[]]], ["a", 1], "/dev/zero", "../..", "Å"),
)
YAML_TEXTS = (
    *("2024-02-30", DIGITS, "!!int abc", "!!float abc", "!!timestamp abc", "!!binary '*'", "!!python/object:os.x {}"),
    *(
        "[" * NESTING_LEVELS,
        "[" * NESTING_LEVELS + "]" * NESTING_LEVELS,
        "{a: " * NESTING_LEVELS,
        "{[1]: 2}",
        "? {a: b}\n: c",
        "*unknown",
        "&a [*a]",
    ),
    *("0x" + "f" * 5000, "0b" + "1" * 99, "1" * 400 + ":30", "'\0'", "!!set {a}", "!!omap [1]", "{<<: 3}"),
    "!!pairs [1]",
)
JSON_TEXTS = ("[" * 100_000, "[" * 100_000 + "]" * 100_000, '{"a":' * 100_000, DIGITS, "-" + DIGITS, "1e999", "NaN")
FILE_CONTENTS = (b"", b"\xef\xbb\xbf", b"\x00" * 100, b"\xff\xfe", b"null", b"[]", b"{}", b"3", b'"x"', b"\n" * 10)
"""Contents that replace a file."""
DTYPES = ("F8_E4M3", "F8_E5M2", "F4", "F6_E2M3", "U16", "U32", "U64", "I64", "I8", "BOOL", "C64", "BF16", "XX", "F64")


def paths_in(value: Any, prefix: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """List the paths of all values in nested dicts and lists."""
    found = [prefix]
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in items:
        found += paths_in(each, (*prefix, key))
    return found


def edit_value(value: Any, rng: random.Random) -> tuple[Any, str]:
    """Replace, remove or add a random value in nested dicts and lists; return the result and a description."""
    path = rng.choice(paths_in(value)[1:] or [()])
    if not path:
        return rng.choice(VALUES), "everything"
    parent = value
    for key in path[:-1]:
        parent = parent[key]
    kind = rng.choice(("replace", "replace", "replace", "remove", "add"))
    name = ".".join(map(str, path))
    if kind == "remove":
        del parent[path[-1]]
        return value, f"without {name}"
    new = rng.choice(VALUES)
    if kind == "add" and isinstance(parent, dict):
        parent["added"] = new
    else:
        parent[path[-1]] = new
    return value, f"{name} = {str(new)[:30]!r}"


def edit_json(path: Path, rng: random.Random) -> str:
    """Edit one value of a JSON file, or replace it by text that JSON parsers refuse; return a description."""
    text = path.read_text("utf-8")
    if rng.random() < 0.2:
        key = rng.choice(list(json.loads(text)))
        new = rng.choice(JSON_TEXTS)
        is_dict = isinstance(json.loads(text), dict)
        template = json.dumps({**json.loads(text), key: "PLACEHOLDER"}) if is_dict else '["PLACEHOLDER"]'
        path.write_text(template.replace('"PLACEHOLDER"', new), "utf-8")
        return f"{key} is {new[:9]}... of {len(new)} characters"
    values, description = edit_value(json.loads(text), rng)
    path.write_text(json.dumps(values), "utf-8", "surrogatepass")
    return description


def edit_yaml(path: Path, rng: random.Random) -> str:
    """Edit one value of a YAML file, or replace it by text that YAML parses in a special way; return a description."""
    values = yaml.safe_load(path.read_text("utf-8"))
    if rng.random() < 0.5:
        values, description = edit_value(values, rng)
        path.write_text(json.dumps(values), "utf-8", "surrogatepass")  # JSON is a subset of YAML
        return description
    lines = path.read_text("utf-8").splitlines(keepends=True)
    index = rng.choice([i for i, line in enumerate(lines) if ": " in line])
    key, new = lines[index].partition(": ")[0], rng.choice(YAML_TEXTS)
    lines[index] = f"{key}: {new}\n"
    path.write_text("".join(lines), "utf-8")
    return f"{key.strip()}: {new[:30]} ({len(new)} characters)"


def edit_safetensors(path: Path, rng: random.Random) -> str:
    """Edit the header of a safetensors file, or fill one of its tensors with NaN; return a description."""
    content = path.read_bytes()
    size = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + size])
    names = [name for name in header if name != "__metadata__"]
    if not names or rng.random() < 0.1:
        path.write_bytes(struct.pack("<Q", rng.choice((0, 2**40, 2**63, size + 1))) + content[8:])
        return "the size of the header"
    name, kind = rng.choice(names), rng.choice(("dtype", "dtype", "shape", "data_offsets", "name", "values"))
    if kind == "dtype":
        header[name]["dtype"] = rng.choice(DTYPES)
    elif kind == "name":
        header["\0renamed"] = header.pop(name)
    elif kind == "values":
        start, end = header[name]["data_offsets"]
        body = bytearray(content[8 + size :])
        body[start:end] = b"\xff" * (end - start)  # NaN as a float
        content = content[: 8 + size] + bytes(body)
    else:
        header[name][kind] = rng.choice(([], [0], [2**63], [-1], [1, 2, 3], "x", [2**40, 2**40], None))
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + size :])
    return f"{name}: {kind}"


def edit_bytes(path: Path, rng: random.Random) -> str:
    """Replace some or all bytes of a file; return a description."""
    content = path.read_bytes()
    kind = rng.randrange(4)
    if kind == 0:
        new = rng.choice(FILE_CONTENTS)
    elif kind == 1:
        new = content[: rng.randrange(len(content) + 1)]
    else:
        start = rng.randrange(len(content) + 1)
        new = content[:start] + rng.randbytes(rng.randrange(1, 20)) + content[start + rng.randrange(20) :]
    path.write_bytes(new)
    return f"{len(content)} bytes became {len(new)}"


EDITS: dict[str, Callable[[Path, random.Random], str]] = {
    ".json": edit_json,
    ".yaml": edit_yaml,
    ".safetensors": edit_safetensors,
}


def edit(path: Path, rng: random.Random) -> str:
    """Edit a file by its format or as bytes; return a description."""
    edit_format = EDITS.get(path.suffix)
    try:
        return edit_format(path, rng) if edit_format is not None and rng.random() < 0.85 else edit_bytes(path, rng)
    except (ValueError, IndexError):  # for example, JSON without a value
        return edit_bytes(path, rng)


def flip_bit(path: Path, rng: random.Random) -> str:
    """Flip one random bit of a file; return a description."""
    content = bytearray(path.read_bytes())
    position = rng.randrange(len(content))
    content[position] ^= 1 << rng.randrange(8)
    path.write_bytes(content)
    return f"a bit of byte {position}"


def renew_checksums(run: Path) -> None:
    """Recompute all checksums of a run, so that only the values are wrong; skip files that cannot be parsed."""
    for state in run.glob("checkpoints/*/state.json"):
        values = read_json(state)
        if isinstance(values, dict) and isinstance(values.get("crc32"), dict):
            for stem in values["crc32"]:
                tensors = state.with_name(f"{stem}.safetensors")
                if tensors.is_file():
                    values["crc32"][stem] = zlib.crc32(tensors.read_bytes())
        write_with_checksum(state, values)
    for description in run.glob("*tokenizer*/tokenizer.json"):
        values = read_json(description)
        model = description.with_name("tokenizer.model")
        if isinstance(values, dict) and model.is_file():
            values["sha256"] = hashlib.sha256(model.read_bytes()).hexdigest()
            description.write_text(json.dumps(values), "utf-8", "surrogatepass")
    run_json = read_json(run / "run.json")
    if isinstance(run_json, dict):
        config = (run / "config.yaml").read_bytes().decode("utf-8", "replace")
        run_json["config_yaml"] = config
        hashes = run_json.get("tokenizer_sha256")
        for side in hashes if isinstance(hashes, dict) else ():
            hashes[side] = codec_checksum(run, side)
        spelling = run / "spelling" / "model.safetensors"
        if spelling.is_file():
            run_json["spelling_sha256"] = hashlib.sha256(spelling.read_bytes()).hexdigest()
    write_with_checksum(run / "run.json", run_json)


def codec_checksum(run: Path, side: str) -> str | None:
    """Hash the tokenizer of one side; return None if it cannot be loaded."""
    from seqlab.runs.codecs import codec_sha256
    from seqlab.runs.folder import RunFolder

    try:
        return codec_sha256(RunFolder(run).codec(side))
    except (OSError, ValueError):
        return None


def read_json(path: Path) -> Any:
    """Read a JSON file; return None if it cannot be read or parsed."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None


def write_with_checksum(path: Path, values: Any) -> None:
    """Write a JSON object with its checksum; leave the file unchanged if `values` is not a dict."""
    if isinstance(values, dict):
        values.pop(CHECKSUM_KEY, None)
        path.write_text(json.dumps(with_checksum(values)), "utf-8", "surrogatepass")
