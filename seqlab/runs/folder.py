"""The run folder: where everything about a run lies, and the format version that says so."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FORMAT_VERSION = 1


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
    def description_file(self) -> Path:
        """`run.json`: format version, command, data hashes, seed, machine, threads, dtype."""
        return self.path / "run.json"

    @property
    def metrics_file(self) -> Path:
        """`metrics.jsonl`: one line per log step, validation and event."""
        return self.path / "metrics.jsonl"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

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
    def spelling(self) -> Path:
        """The model that unknown items are spelt with, where the vocabulary has any."""
        return self.path / "spelling"

    def tokenizer(self, side: str) -> Path:
        """The folder of the `src` or `tgt` tokenizer; with a joint vocabulary both are `tokenizer/`."""
        joint = self.path / "tokenizer"
        return joint if joint.is_dir() else self.path / f"{side}_tokenizer"

    def exists(self) -> bool:
        """Tell whether a run was begun here."""
        return self.description_file.is_file()

    def read_description(self) -> dict[str, Any]:
        """Read run.json; raises ValueError where it is missing, damaged or of another format version."""
        if not self.description_file.is_file():
            hint = " A run that was being overwritten lies in it: `seqlab train` brings it back."
            raise ValueError(
                f"{self.path} is not a run folder: it has no {self.description_file.name}."
                + (hint if self.replaced.is_dir() else "")
            )
        try:
            description = json.loads(self.description_file.read_text(encoding="utf-8"))
            version = description["format_version"]
        except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
            raise ValueError(f"{self.description_file} is damaged ({error}); restore it from a copy.") from error
        if version != FORMAT_VERSION:
            raise ValueError(
                f"{self.path} has run format version {version}, but this seqlab reads version {FORMAT_VERSION}: "
                "use the seqlab version that wrote it (`seqlab_version` in run.json)."
            )
        assert isinstance(description, dict)
        return description

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
        with self.metrics_file.open(encoding="utf-8", newline="\n") as file:
            for number, line in enumerate(file, start=1):
                if line.endswith("\n"):
                    try:
                        yield json.loads(line)
                    except json.JSONDecodeError as error:
                        raise ValueError(f"{self.metrics_file}, line {number}: is damaged ({error}).") from None


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
