"""Run several commands in one new interpreter.

Reads lists of arguments as JSON lines from standard input. For each, writes a JSON list: exit status, standard output,
standard error, and whether torch is imported.
"""

import json
import os
import sys
import tempfile
from typing import Any

from seqlab.cli.main import main


def run(argv: list[str]) -> tuple[Any, str, str, bool]:
    """Run one command with its output in files, and return its result."""
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
    return status, texts[0], texts[1], "torch" in sys.modules


if __name__ == "__main__":
    with os.fdopen(os.dup(1), "w") as results:
        for line in sys.stdin.read().splitlines():
            results.write(json.dumps(run(json.loads(line))) + "\n")
