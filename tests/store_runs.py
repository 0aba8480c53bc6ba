"""Store an archive of small run folders, one of each model family, with their outputs.

PYTHONPATH=CHECKOUT python -P tests/store_runs.py tests/checkpoints/families_v3.tar.xz [--only PATTERN]

Run it manually with the version that trains the runs. Later versions must load, use and resume them, which
`tests/system/test_stored_families.py` tests. The config of a family is that of its first row in `contracts/table.py`,
with a longer training. The archive contains generated corpora, a run folder of each family with its last checkpoint,
and `expected.json`. For each run, `expected.json` has the commands that use the run, with their outputs in fp32, and
the command that resumes a copy of the run, with the loss of the last validation.
"""

import argparse
import json
import os
import re
import shutil
import sys
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

sys.path.insert(0, str(Path(__file__).parent))

from comparison.families import commands_of, run_of_row
from comparison.settings import resolve_names
from contracts.corpora import write_corpora
from contracts.row import Row
from contracts.table import ROWS
from reference.stored_families import last_nll, run_and_read_outputs, run_command

TRAINING = {"max_steps": 240, "save_every": 80, "valid_every": 20}
STEPS_AFTER_RESUMING = 260
COMMON_OPTIONS = ("--device", "cpu", "--precision", "fp32", "--threads", "1")


def rows_by_family(pattern: str) -> dict[str, Row]:
    """Return the first row of each family whose name matches a regular expression."""
    rows = {row.model["family"]: row for row in reversed(ROWS) if not row.plugin}
    return {family: row for family, row in reversed(rows.items()) if re.search(pattern, family)}


def remove_unneeded_files(run: Path) -> None:
    """Delete the cache of a run and all checkpoints except the last."""
    shutil.rmtree(run / "cache", ignore_errors=True)
    for checkpoint in sorted((run / "checkpoints").iterdir())[:-1]:
        shutil.rmtree(checkpoint)


def store_run(family: str, row: Row) -> dict[str, Any]:
    """Train the run of a family and resume a copy of it; return the commands and results for `expected.json`."""
    run, continued = f"runs/{family}", f"continued/{family}"
    config = resolve_names(run_of_row(row, **TRAINING), family)
    Path(f"{family}.yaml").write_text(yaml.safe_dump(config, sort_keys=False), "utf-8")
    run_command("train", f"{family}.yaml", "--run_dir", run)
    remove_unneeded_files(Path(run))
    expected: dict[str, Any] = {"uses": {}}
    for use, line in commands_of(row.data, row.model).items():
        argv = [*resolve_names(line.replace("%run", run).split(), family), *COMMON_OPTIONS]
        expected["uses"][use] = {"argv": argv, "lines": run_and_read_outputs(argv)}
    if not row.is_count_based:
        argv = ["train", "--run_dir", continued, "--training.max_steps", str(STEPS_AFTER_RESUMING)]
        shutil.copytree(run, continued)
        run_command(*argv)
        step, nll = last_nll(continued)
        expected["continued"] = {"argv": argv, "step": step, "nll": nll}
    return expected


def remove_unused_corpora(expected: dict[str, Any]) -> None:
    """Delete the corpora that no config and no command names."""
    used = json.dumps(expected) + "".join(path.read_text("utf-8") for path in Path().glob("*.yaml"))
    for path in Path("corpora").iterdir():
        if not re.search(rf"{re.escape(str(path))}\b", used):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def main() -> None:
    """Store all runs in a reproducible archive, with entries without owners and times."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("archive", type=Path, help="the .tar.xz to write")
    parser.add_argument("--only", default="", metavar="PATTERN", help="regular expression to select families")
    arguments = parser.parse_args()
    archive = arguments.archive.resolve()
    with TemporaryDirectory() as folder:
        os.chdir(folder)
        write_corpora(Path("corpora"))
        expected = {family: store_run(family, row) for family, row in rows_by_family(arguments.only).items()}
        remove_unused_corpora(expected)
        Path("expected.json").write_text(json.dumps(expected, ensure_ascii=False, indent=1) + "\n", "utf-8")
        with tarfile.open(archive, "w:xz", preset=9) as stored:
            for name in ("corpora", "runs", "expected.json"):
                stored.add(name, filter=remove_owner)
        os.chdir(archive.parent)
    print(f"{archive.name}: {len(expected)} runs, {archive.stat().st_size:,} bytes")


def remove_owner(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """Remove the owner and time of an archive entry, and normalize its permissions."""
    entry.uid = entry.gid = entry.mtime = 0
    entry.uname = entry.gname = ""
    entry.mode = 0o755 if entry.isdir() else 0o644
    return entry


if __name__ == "__main__":
    main()
