"""The run folder: where everything about a run lies, and the format version that says so."""

from __future__ import annotations

import logging
import re
import shlex
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal

from typing_extensions import TypedDict

from seqlab.base.atomic_io import CHECKSUM_KEY, rename, verify_checksum, with_checksum, write_bytes, write_json
from seqlab.base.parsing import MAX_DOCUMENT_BYTES, open_regular, parse_json, read_json, read_regular, validate_type
from seqlab.base.raw_lines import ROW_LIMIT

logger = logging.getLogger(__name__)

FORMAT_VERSION = 2
"""Since 2, run.json and each state.json carry checksums of their own, and run.json has the text of config.yaml."""
UNSEALED_VERSION = 1
CONFIG_TEXT, RUN_ID, OLDER_STATES, PLUGINS = "config_yaml", "run_id", "older_states", "plugins"
"""Keys of run.json: the text of config.yaml; what tells a run from others; by checkpoint the SHA-256 of each state.json
that was written in format 1; the plugins that own parts of the run (`seqlab.plugins.describe_plugins`)."""
READ_ATTEMPTS, READ_PAUSE = 10, 0.02
"""How often, and how many seconds apart, config.yaml is compared with run.json before it counts as edited."""
_warned: set[Path] = set()
"""Runs of format 1 that were warned of."""


class _Versioned(TypedDict):
    """What run.json holds in every version."""

    format_version: int


class _Description(TypedDict, total=False):
    """The types of what run.json may hold, besides what tasks note; a plugin's notes are read by `seqlab.plugins`."""

    config_yaml: str
    run_id: str
    seqlab_version: str
    command: list[str]
    seed: int
    data_sha256: list[str]
    data: dict[str, Any]
    tokenizer_sha256: dict[Literal["src", "tgt"], str]
    spelling_sha256: str | None
    longest_src_tokens: int | None
    output_bound: OutputBound | None
    machine: dict[str, Any]
    cores: int
    fair_threads: int | None
    torchrun_id: str | None
    parameters: int
    older_states: dict[str, str]


class OutputBound(TypedDict):
    """The longest output for a source of S ids: floor(ratio * S) + offset."""

    ratio: float
    offset: int


@dataclass(frozen=True, init=False)
class RunFolder:
    """Paths inside a run folder."""

    path: Path

    def __init__(self, path: str | Path) -> None:
        object.__setattr__(self, "path", Path(path))

    @property
    def config_file(self) -> Path:
        return self.path / "config.yaml"

    @property
    def new_config_file(self) -> Path:
        """What replaces config.yaml once run.json has it."""
        return self.path / "config.yaml.new"

    @property
    def description_file(self) -> Path:
        """`run.json`: format version, config, command, data hashes, seed, machine, threads, dtype."""
        return self.path / "run.json"

    @property
    def metrics_file(self) -> Path:
        """`metrics.jsonl`: one line per log step, validation and event."""
        return self.path / "metrics.jsonl"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def failures(self) -> Path:
        """What replays steps that failed."""
        return self.path / "failures"

    @property
    def cache(self) -> Path:
        """The encoded corpora: may be deleted, training makes it again."""
        return self.path / "cache"

    @property
    def data(self) -> Path:
        """Generated data; of recipes alone that generate some."""
        return self.path / "data"

    @property
    def replaced(self) -> Path:
        """The run that is being overwritten, until the new one has begun."""
        return self.path / "replaced"

    @property
    def moving(self) -> Path:
        """Where `replaced` is put together, or emptied again."""
        return self.path / "replaced.tmp"

    @property
    def spelling(self) -> Path:
        """The model that unknown items are spelt with, where the vocabulary has any."""
        return self.path / "spelling"

    def tokenizer(self, side: str) -> Path:
        """The folder of the `src` or `tgt` tokenizer; with a joint vocabulary both are `tokenizer/`."""
        joint = self.path / "tokenizer"
        return joint if joint.is_dir() else self.path / f"{side}_tokenizer"

    def codec(self, side: str) -> Path:
        """The folder of what reads the `src` or `tgt` side: a tokenizer, or another codec."""
        other = self.path / f"{side}_codec"
        return other if other.is_dir() else self.tokenizer(side)

    def refuse_missing(self) -> None:
        """Raise FileNotFoundError where there is no such folder."""
        if not self.path.is_dir():
            raise FileNotFoundError(f"There is no run folder {self.path}.")

    def exists(self) -> bool:
        """Tell whether a run was begun here."""
        return self.description_file.is_file()

    def read_description(self) -> dict[str, Any]:
        """Read run.json; raises ValueError where it is missing, damaged or of another format version."""
        if not self.description_file.is_file():
            hint = ""
            if self.replaced.is_dir() or self.moving.is_dir():
                command = f"seqlab train --run_dir {shlex.quote(str(self.path))}"
                hint = f" A run that was being overwritten lies in it: `{command}` brings it back and continues it."
            elif inside := sorted(self.path.glob(f"*/{self.description_file.name}")):
                hint = f" {len(inside)} lie in it: name one, such as {inside[0].parent}."
            raise ValueError(f"{self.path} is not a run folder: it has no {self.description_file.name}.{hint}")
        try:
            description = read_json(self.description_file)
            version = validate_type(description, _Versioned)["format_version"]
            if version == FORMAT_VERSION or not {CHECKSUM_KEY, CONFIG_TEXT, RUN_ID}.isdisjoint(description):
                description = verify_checksum(description)
            validate_type(description, _Description)
        except (OSError, ValueError) as error:
            raise ValueError(f"{self.description_file} is damaged ({error}); restore it from a copy.") from error
        if version == UNSEALED_VERSION:
            self._refuse_later_checkpoints()
            self._warn_of_old_format()
        elif version != FORMAT_VERSION:
            raise ValueError(
                f"{self.path} has run format version {version}, but this seqlab reads versions {UNSEALED_VERSION} and "
                f"{FORMAT_VERSION}: use the seqlab version that wrote it (`seqlab_version` in run.json)."
            )
        assert isinstance(description, dict)
        return description

    def _refuse_later_checkpoints(self) -> None:
        """Raise ValueError where run.json is of format 1, but a checkpoint is not: it is converted before the first."""
        for state in self.checkpoints.glob("step_*/state.json"):
            content = b""
            with suppress(OSError):  # it is being deleted
                content = read_regular(state)
            if f'"{CHECKSUM_KEY}"'.encode() in content:
                raise ValueError(
                    f"{self.description_file} is damaged or of another run: it has run format 1, but {state} has a "
                    "later one. Restore it from a copy."
                )

    def _warn_of_old_format(self) -> None:
        path = self.path.resolve()
        if path not in _warned:
            _warned.add(path)
            logger.warning(
                "%s has run format 1, which has no checksums for run.json, config.yaml and state.json: damage to them "
                "is not noticed. Continuing the training converts it to format 2.",
                self.path,
            )

    def write_description(self, values: Mapping[str, Any], config_text: str | None = None) -> None:
        """Write run.json with a checksum and the text of config.yaml, that of the file unless given."""
        text = self.config_file.read_bytes().decode("utf-8") if config_text is None else config_text
        write_json(
            self.description_file, with_checksum({**values, "format_version": FORMAT_VERSION, CONFIG_TEXT: text})
        )

    def replace_config(self, config_text: str, values: Mapping[str, Any]) -> None:
        """Replace config.yaml and run.json together: whoever reads the config completes what a kill interrupts."""
        write_bytes(self.new_config_file, config_text.encode())
        self.write_description(values, config_text)
        with suppress(FileNotFoundError):  # a reader has completed the change
            rename(self.new_config_file, self.config_file)

    def read_config_text(self) -> str:
        """Read config.yaml, after completing a change that was interrupted; one that is missing is written anew.

        Raises:
            FileNotFoundError: there is none, and no run.json that has its text.
            ValueError: it is not the one that run.json has, or run.json is damaged.
        """
        description = self.read_description() if self.exists() else {}
        if CONFIG_TEXT not in description:
            return read_regular(self.config_file, MAX_DOCUMENT_BYTES).decode("utf-8")
        for _ in range(READ_ATTEMPTS):
            text: str = description[CONFIG_TEXT]
            if self._complete(text):
                return text
            time.sleep(READ_PAUSE)  # a training may be replacing both files
            description = self.read_description()
        raise self._other_config(text)

    def _complete(self, text: str) -> bool:
        """Tell whether config.yaml has this text, after putting it there where it is missing or was to be replaced."""
        if _holds(self.config_file, text):
            return True
        is_new = _holds(self.new_config_file, text)
        if not is_new and self.config_file.exists():
            return False
        with suppress(OSError):  # another process has done it, or this one may only read
            if is_new:
                rename(self.new_config_file, self.config_file)
            else:
                write_bytes(self.config_file, text.encode())
        return True

    def _other_config(self, text: str) -> ValueError:
        """Name the first line in which config.yaml differs, and how to go on."""
        found = read_regular(self.config_file).decode("utf-8", "backslashreplace").replace("\r\n", "\n").split("\n")
        pairs = enumerate(zip_longest(found, text.split("\n"), fillvalue=""), start=1)
        number, line, before = next((i, line, before) for i, (line, before) in pairs if line != before)
        path = shlex.quote(str(self.path))
        return ValueError(
            f"{self.config_file}, line {number}: {line!r} was {before!r} when training wrote it: the file was edited "
            f"or is damaged. To continue the run with the edited file, move it and name it: `mv "
            f"{shlex.quote(str(self.config_file))} NEW.yaml`, `seqlab train NEW.yaml --run_dir {path}`. To undo the "
            "edit, delete the file: it is written anew."
        )

    def described(self, key: str) -> Any:
        """Read one entry of run.json; raises ValueError where it is missing."""
        description = self.read_description()
        if key not in description:
            raise ValueError(f"{self.description_file} is damaged (it has no `{key}`); restore it from a copy.")
        return description[key]

    def read_metrics(self) -> Iterator[dict[str, Any]]:
        """Yield the lines of metrics.jsonl, none where there is no such file; one that is half-written is left out.

        Raises:
            ValueError: a line is damaged.
        """
        if not self.metrics_file.is_file():
            return
        with open_regular(self.metrics_file) as file:
            for number, line in enumerate(ROW_LIMIT.read(file, str(self.metrics_file)), start=1):
                if line.endswith(b"\n"):
                    try:
                        yield validate_type(parse_json(line), dict[str, Any])
                    except ValueError as error:
                        raise ValueError(
                            f"{self.metrics_file}, line {number}: is damaged ({error}); delete the line."
                        ) from None


def _holds(path: Path, text: str) -> bool:
    try:
        return read_regular(path, MAX_DOCUMENT_BYTES).replace(b"\r\n", b"\n") == text.encode()
    except FileNotFoundError:
        return False


def default_run_dir(*specs: str) -> Path:
    """Name the run of a corpus by its sides, `runs/de-en` for the path specs `a.de.gz` and `a.en`; of a text by it."""
    if len(specs) == 1:
        return Path("runs") / _text_name(specs[0])
    return Path("runs") / "-".join(map(_side_name, specs))


def _text_name(spec: str) -> str:
    """Name a text: by its file without ending."""
    return re.sub(r"[^\w.-]+", "_", Path(spec.partition("#")[0].removesuffix(".gz")).stem)


def _side_name(spec: str) -> str:
    """Name one side of a corpus: its column, or the ending of its file, `a.de.gz` -> `de`."""
    file, _, column = spec.partition("#")
    path = Path(file.removesuffix(".gz"))
    return re.sub(r"[^\w.-]+", "_", column or path.suffix.removeprefix(".") or path.stem)
