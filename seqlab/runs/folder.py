"""Paths of a run folder, and its run.json, config.yaml and metrics.jsonl."""

from __future__ import annotations

import logging
import math
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
from seqlab.base.reading_notes import FIRST_READING_VERSION, READING_VERSION
from seqlab.runs.overwriting import recover

logger = logging.getLogger(__name__)

RUN_FORMAT_VERSION = 2
"""Since version 2, run.json and each state.json contain their checksums, and run.json contains the text of
config.yaml."""
FORMAT_WITHOUT_CHECKSUMS = 1
CONFIG_TEXT, RUN_ID, FORMAT_1_STATES, PLUGINS = "config_yaml", "run_id", "older_states", "plugins"
"""Keys of run.json: the text of config.yaml; a unique identifier of the run; the SHA-256 of each state.json that was
written in format 1, by checkpoint; the plugins that the run uses (`seqlab.plugins.describe_plugins`)."""
CONFIG_READ_ATTEMPTS, SECONDS_BETWEEN_ATTEMPTS = 10, 0.02
"""Attempts to read config.yaml and run.json, and the pause between them: a process may be replacing both files. If they
differ in all attempts, config.yaml was edited."""
_warned_folders: set[Path] = set()
"""Runs of format 1 for which the warning was logged."""


class _AnyVersionSchema(TypedDict):
    """Types of the values of run.json that every format version has."""

    format_version: int


class _DescriptionSchema(TypedDict, total=False):
    """Types of the values of run.json, except those of tasks (any) and of plugins (checked by `seqlab.plugins`)."""

    config_yaml: str
    run_id: str
    seqlab_version: str
    command: list[str]
    seed: int
    data_sha256: list[str]
    reading: int
    data: dict[str, Any]
    tokenizer_sha256: dict[Literal["src", "tgt"], str]
    spelling_sha256: str | None
    longest_src_tokens: int | None
    output_bound: OutputBoundSchema | None
    machine: dict[str, Any]
    cores: int
    fair_threads: int | None
    torchrun_id: str | None
    parameters: int
    older_states: dict[str, str]


class OutputBoundSchema(TypedDict):
    """Maximum output length for a source of S ids: floor(ratio * S) + offset."""

    ratio: float
    offset: int


@dataclass(frozen=True, init=False)
class RunFolder:
    """A run folder: paths of its files, and reading and writing run.json, config.yaml and metrics.jsonl."""

    path: Path

    def __init__(self, path: str | Path) -> None:
        object.__setattr__(self, "path", Path(path))

    @property
    def config_file(self) -> Path:
        """Path of config.yaml: the complete config."""
        return self.path / "config.yaml"

    @property
    def new_config_file(self) -> Path:
        """Path of the file that becomes config.yaml after run.json is written."""
        return self.path / "config.yaml.new"

    @property
    def description_file(self) -> Path:
        """Path of run.json: format version, config, command, data hashes, seed, machine, threads, dtype."""
        return self.path / "run.json"

    @property
    def metrics_file(self) -> Path:
        """Path of metrics.jsonl: one line per log step, validation and event."""
        return self.path / "metrics.jsonl"

    @property
    def logs(self) -> Path:
        """Folder of the additional loggers, with one subfolder each, such as `logs/csv`."""
        return self.path / "logs"

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.path / "checkpoints"

    @property
    def failures(self) -> Path:
        """Folder of the checkpoints from which failed steps can be replayed."""
        return self.path / "failures"

    @property
    def cache(self) -> Path:
        """Folder of the encoded corpora; if it is deleted, training creates it again."""
        return self.path / "cache"

    @property
    def data(self) -> Path:
        """Folder of data that the recipe generated."""
        return self.path / "data"

    @property
    def spelling(self) -> Path:
        """Folder of the spelling model, a byte n-gram model of unknown tokens."""
        return self.path / "spelling"

    def tokenizer(self, side: str) -> Path:
        """Return the folder of the `src` or `tgt` tokenizer; a joint one is in `tokenizer/`."""
        joint = self.path / "tokenizer"
        return joint if joint.is_dir() else self.path / f"{side}_tokenizer"

    def codec(self, side: str) -> Path:
        """Return the folder of the `src` or `tgt` codec, which may be a tokenizer."""
        other = self.path / f"{side}_codec"
        return other if other.is_dir() else self.tokenizer(side)

    def refuse_missing(self) -> None:
        """Raise FileNotFoundError if the folder does not exist."""
        recover(self.path)
        if not self.path.is_dir():
            raise FileNotFoundError(f"There is no run folder {self.path}.")

    def exists(self) -> bool:
        """Check whether the folder has a run.json, which is the last file that the setup of a run writes."""
        return self.description_file.is_file()

    def read_description(self) -> dict[str, Any]:
        """Read run.json; raises ValueError if it is missing, damaged or of another format version."""
        recover(self.path)
        if not self.description_file.is_file():
            hint = ""
            if run_folders := sorted(self.path.glob(f"*/{self.description_file.name}")):
                hint = (
                    f" It contains {len(run_folders)} run folders: name one of them, such as {run_folders[0].parent}."
                )
            raise ValueError(f"{self.path} is not a run folder: it has no {self.description_file.name}.{hint}")
        try:
            description = read_json(self.description_file)
            version = validate_type(description, _AnyVersionSchema)["format_version"]
            if version == RUN_FORMAT_VERSION or not {CHECKSUM_KEY, CONFIG_TEXT, RUN_ID}.isdisjoint(description):
                description = verify_checksum(description)
            validate_type(description, _DescriptionSchema)
        except (OSError, ValueError) as error:
            raise ValueError(f"{self.description_file} is damaged ({error}); restore it from a copy.") from error
        if version == FORMAT_WITHOUT_CHECKSUMS:
            self._refuse_newer_checkpoints()
            self._warn_of_old_format()
        elif version != RUN_FORMAT_VERSION:
            raise ValueError(
                f"{self.path} has run format version {version}, but this seqlab reads versions "
                f"{FORMAT_WITHOUT_CHECKSUMS} and {RUN_FORMAT_VERSION}: use the seqlab version that wrote it "
                "(`seqlab_version` in run.json)."
            )
        assert isinstance(description, dict)
        return description

    def _refuse_newer_checkpoints(self) -> None:
        """Raise ValueError if a run of format 1 has checkpoints of format 2.

        Resuming a run converts run.json before it writes a checkpoint.
        """
        for state in self.checkpoints.glob("step_*/state.json"):
            content = b""
            with suppress(OSError):  # another process is deleting it
                content = read_regular(state)
            if f'"{CHECKSUM_KEY}"'.encode() in content:
                raise ValueError(
                    f"{self.description_file} is damaged or belongs to another run: it has run format 1, but {state} "
                    "has a later one. Restore it from a copy."
                )

    def _warn_of_old_format(self) -> None:
        """Warn once per process that a run of format 1 has no checksums."""
        path = self.path.resolve()
        if path not in _warned_folders:
            _warned_folders.add(path)
            logger.warning(
                "%s has run format 1, without checksums of run.json, config.yaml and state.json: damage to them is not "
                "detected. Continuing the training converts it to format 2.",
                self.path,
            )

    def write_description(self, values: Mapping[str, Any], config_text: str | None = None) -> None:
        """Write run.json with a checksum and the text of config.yaml (`config_text`, or the file's content)."""
        text = self.config_file.read_bytes().decode("utf-8") if config_text is None else config_text
        write_json(
            self.description_file, with_checksum({**values, "format_version": RUN_FORMAT_VERSION, CONFIG_TEXT: text})
        )

    def replace_config(self, config_text: str, values: Mapping[str, Any]) -> None:
        """Replace config.yaml and run.json together; if this is interrupted, `read_config_text` completes it."""
        write_bytes(self.new_config_file, config_text.encode())
        self.write_description(values, config_text)
        with suppress(FileNotFoundError):  # a reader has completed the change
            rename(self.new_config_file, self.config_file)

    def read_config_text(self) -> str:
        """Read config.yaml; completes an interrupted `replace_config`, and restores a missing file from run.json.

        Raises:
            FileNotFoundError: there is neither a config.yaml nor a run.json with its text.
            ValueError: config.yaml differs from the text in run.json, or run.json is damaged.
        """
        description = self.read_description() if self.exists() else {}
        if CONFIG_TEXT not in description:
            return read_regular(self.config_file, MAX_DOCUMENT_BYTES).decode("utf-8")
        for _ in range(CONFIG_READ_ATTEMPTS):
            text: str = description[CONFIG_TEXT]
            if self._ensure_config(text):
                return text
            time.sleep(SECONDS_BETWEEN_ATTEMPTS)
            description = self.read_description()
        raise self._edited_config_error(text)

    def _ensure_config(self, text: str) -> bool:
        """Write config.yaml if it is missing or its replacement was interrupted; return whether it has this text."""
        if _has_text(self.config_file, text):
            return True
        was_interrupted = _has_text(self.new_config_file, text)
        if not was_interrupted and self.config_file.exists():
            return False
        with suppress(OSError):  # another process has written it, or the folder is read-only
            if was_interrupted:
                rename(self.new_config_file, self.config_file)
            else:
                write_bytes(self.config_file, text.encode())
        return True

    def _edited_config_error(self, text: str) -> ValueError:
        """Build the error that names the first edited line of config.yaml, and the ways to continue."""
        content = read_regular(self.config_file).decode("utf-8", "backslashreplace")
        current_lines = content.replace("\r\n", "\n").split("\n")
        pairs = enumerate(zip_longest(current_lines, text.split("\n"), fillvalue=""), start=1)
        number, line, before = next((i, line, before) for i, (line, before) in pairs if line != before)
        path = shlex.quote(str(self.path))
        return ValueError(
            f"{self.config_file}, line {number}: {line!r} was {before!r} when training wrote it: the file was edited "
            f"or is damaged. To continue the run with the edited file, move it and name it: `mv "
            f"{shlex.quote(str(self.config_file))} NEW.yaml`, `seqlab train NEW.yaml --run_dir {path}`. To undo the "
            "edit, delete the file: it is written again."
        )

    @property
    def reading(self) -> int:
        """Version of the reading of files; the current one for a folder that is no run, such as an export."""
        if not self.description_file.is_file():
            return READING_VERSION
        return int(self.read_description().get("reading", FIRST_READING_VERSION))

    def read_description_entry(self, key: str) -> Any:
        """Read one value of run.json; raises ValueError if it is missing."""
        description = self.read_description()
        if key not in description:
            raise ValueError(f"{self.description_file} is damaged (it has no `{key}`); restore it from a copy.")
        return description[key]

    def read_metrics(self) -> Iterator[dict[str, Any]]:
        """Yield the lines of metrics.jsonl; skip an incomplete last line; yield nothing if there is no file.

        A metric that is null was not finite, and is NaN.

        Raises:
            ValueError: a line is damaged.
        """
        if not self.metrics_file.is_file():
            return
        with open_regular(self.metrics_file) as file:
            for number, line in enumerate(ROW_LIMIT.read(file, str(self.metrics_file)), start=1):
                if line.endswith(b"\n"):
                    try:
                        values = validate_type(parse_json(line), dict[str, Any])
                        yield {name: math.nan if value is None else value for name, value in values.items()}
                    except ValueError as error:
                        raise ValueError(
                            f"{self.metrics_file}, line {number}: damaged ({error}); delete the line."
                        ) from None


def _has_text(path: Path, text: str) -> bool:
    """Check whether a file exists and has this text, with any line ends."""
    try:
        return read_regular(path, MAX_DOCUMENT_BYTES).replace(b"\r\n", b"\n") == text.encode()
    except FileNotFoundError:
        return False


def default_run_dir(*specs: str) -> Path:
    """Return the default run folder for path specs: `runs/de-en` for `a.de.gz` and `a.en`, `runs/a` for `a.txt`."""
    if len(specs) == 1:
        return Path("runs") / _text_name(specs[0])
    return Path("runs") / "-".join(map(_side_name, specs))


def _text_name(spec: str) -> str:
    """Return the name of a text file without its ending."""
    return re.sub(r"[^\w.-]+", "_", Path(spec.partition("#")[0].removesuffix(".gz")).stem)


def _side_name(spec: str) -> str:
    """Return the name of one side of a corpus: its column, or the ending of its file, `a.de.gz` -> `de`."""
    file, _, column = spec.partition("#")
    path = Path(file.removesuffix(".gz"))
    return re.sub(r"[^\w.-]+", "_", column or path.suffix.removeprefix(".") or path.stem)
