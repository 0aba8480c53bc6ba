"""Script that translates a file with the seqlab of the checkout in `PYTHONPATH`.

`python -P translate_checkout.py RUN FILE BEAM_SIZE` prints JSON. It must not import anything from the repository that
contains this script.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import seqlab

WARMUP_LINES = 16


def main(run: str, file: str, beam_size: int) -> None:
    """Print the translations, and the seconds of one call for all lines after a warmup."""
    lines = Path(file).read_text(encoding="utf-8").splitlines()
    translator: Any = seqlab.load(run, device="cpu")
    translator.translate(lines[:WARMUP_LINES], beam_size=beam_size)
    started = time.perf_counter()
    translations = translator.translate(lines, beam_size=beam_size)
    seconds = time.perf_counter() - started
    print(json.dumps({"seconds": seconds, "translations": translations}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
