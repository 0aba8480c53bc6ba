"""Imports of seqlab modules have no side effects: environment, threads, random states, signals, logging."""

import subprocess
import sys

CODE = """
import importlib, logging, os, pkgutil, signal, sys
import numpy, random, torch

def process_state():
    return {
        "environment": dict(os.environ),
        "threads": [torch.get_num_threads(), torch.get_num_interop_threads()],
        "dtype": str(torch.get_default_dtype()),
        "precision": torch.get_float32_matmul_precision(),
        "random": [torch.initial_seed(), hash(str(numpy.random.get_state())), hash(random.getstate())],
        "signals": [str(signal.getsignal(number)) for number in signal.valid_signals() if number not in (9, 19)],
        "logging": [str(logging.getLogger().handlers), logging.getLogger().level],
        "path": list(sys.path),
        "working folder": os.getcwd(),
    }

before = process_state()
import seqlab
names = [module.name for module in pkgutil.walk_packages(seqlab.__path__, "seqlab.") if "__main__" not in module.name]
for name in names:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        assert not error.name.startswith("seqlab"), error
after = process_state()
assert after == before, [(name, before[name], after[name]) for name in after if after[name] != before[name]]
print(len(names))
"""
MIN_MODULES = 300


def test_imports_have_no_side_effects() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > MIN_MODULES
