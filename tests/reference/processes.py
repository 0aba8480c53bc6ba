"""New processes for tests, forked from a server that has imported the package: they start within milliseconds."""

import multiprocessing
import os
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import seqlab

FORKSERVER = multiprocessing.get_context("forkserver")
LAZY_IMPORTS = (
    "torch._dynamo",
    "torch.distributed.fsdp",
    "rich.progress",
    "safetensors.torch",
    "sacrebleu",
    "sentencepiece",
)
"""Modules that training and decoding import late."""
PACKAGE = Path(seqlab.__file__).parent
FORKSERVER.set_forkserver_preload(
    [
        *LAZY_IMPORTS,
        *(
            ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
            for path in sorted([*PACKAGE.rglob("*.py"), *(PACKAGE / "corpora").rglob("*.py")])  # not through a link
            if "reports" not in path.parts
        ),
    ]
)


class CommandProcess:
    """A seqlab command in a process of its own, with its output in files."""

    def __init__(
        self, arguments: Sequence[str | Path], cwd: Path | None = None, env: Mapping[str, str] | None = None
    ) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._out, self._err = (Path(self._folder.name) / name for name in ("out", "err"))
        argv = [str(argument) for argument in arguments]
        self.process = FORKSERVER.Process(
            target=_run_command, args=(argv, self._out, self._err, cwd or Path.cwd(), {**os.environ, **(env or {})})
        )
        self.process.start()

    @property
    def is_running(self) -> bool:
        """Whether the process has not ended."""
        return self.process.is_alive()

    def signal(self, number: int) -> None:
        """Send a signal to the process."""
        assert self.process.pid is not None
        os.kill(self.process.pid, number)

    def finish(self) -> tuple[int, bytes, str]:
        """Wait until the process ends; return exit status (minus the signal that killed it), output and errors."""
        self.process.join()
        assert self.process.exitcode is not None
        out = self._out.read_bytes() if self._out.exists() else b""
        err = self._err.read_text("utf-8") if self._err.exists() else ""
        return self.process.exitcode, out, err


def skip_fsync(descriptor: int) -> None:
    """Replace `os.fsync` in tests: do nothing."""


def _run_command(argv: list[str], out: Path, err: Path, cwd: Path, env: dict[str, str]) -> None:
    os.fsync = skip_fsync
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    for path, descriptor in ((out, 1), (err, 2)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), descriptor)
    sys.argv = ["seqlab", *argv]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    from seqlab.__main__ import run

    sys.exit(run())
