"""Run several commands in one process, since importing torch takes longer than the commands.

Reads lists of arguments as JSON lines from standard input. For each, writes a JSON list: exit status, standard output,
standard error, and whether torch is imported.
"""

import json
import os
import sys
import tempfile
from typing import IO, Any

from seqlab.cli.main import main


def run(argv: list[str], results: IO[str]) -> None:
    """Run one command with its output in files, and write its result."""
    with tempfile.TemporaryFile("w+b") as out, tempfile.TemporaryFile("w+b") as err:
        for file, descriptor in ((out, 1), (err, 2)):
            os.dup2(file.fileno(), descriptor)
        try:
            status: Any = main(argv)
        except BaseException as error:
            status = repr(error)
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode())
    results.write(json.dumps([status, *texts, "torch" in sys.modules]) + "\n")


if __name__ == "__main__":
    with os.fdopen(os.dup(1), "w") as results:
        for line in sys.stdin.read().splitlines():
            run(json.loads(line), results)
