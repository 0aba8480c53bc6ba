"""Folders that are built once per test session and read by all pytest workers."""

import fcntl
import json
import shutil
from collections.abc import Callable
from pathlib import Path


class SharedFolder:
    """Build folders at first use, under a lock, for all pytest workers. Tests must not change what they contain."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)

    def build(self, name: str, build: Callable[[Path], object]) -> Path:
        """Return the folder `name`; the first caller fills it by `build(folder)`, others wait."""
        folder, finished = self.path / name, self.path / f"{name}.finished"
        with (self.path / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not finished.exists():
                shutil.rmtree(folder, ignore_errors=True)  # of a worker that failed
                folder.mkdir()
                build(folder)
                finished.write_text(json.dumps(file_states(folder)), encoding="utf-8")
        return folder

    def changed_files(self) -> list[str]:
        """List the files that were changed, added or deleted after their folder was built."""
        changed = []
        for finished in sorted(self.path.glob("*.finished")):
            folder = finished.with_suffix("")
            before, now = json.loads(finished.read_text("utf-8")), file_states(folder)
            names = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
            changed += [str(folder / name) for name in names]
        return changed


def file_states(folder: Path) -> dict[str, list[int]]:
    """Return size and time of the last change of each file, by relative path."""
    states = ((path, path.stat()) for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): [state.st_size, state.st_mtime_ns] for path, state in states}
