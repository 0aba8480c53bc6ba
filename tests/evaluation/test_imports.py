"""Imports of `seqlab.evaluation`, which the help of commands loads."""

import subprocess
import sys


def test_importing_evaluation_loads_neither_torch_nor_sacrebleu():
    code = "import sys, seqlab.evaluation; print([m for m in ('torch', 'sacrebleu') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
