"""Compare two versions of seqlab: train, resume, decode and evaluate with both, and report differences.

python tests/compare_versions.py BEFORE_CHECKOUT [AFTER_CHECKOUT] [--only PATTERN] [--jobs N] [--work FOLDER]

Both are used only through the command line, on one CPU thread: for each row of `contracts/table.py` without a plugin,
and for further options and ways of decoding. Tensors are compared bit for bit, standard output byte for byte, metrics
without times, and configs after translating known renames. The newer version also resumes runs of the older one, and
decodes with its weights. The program prints a line for each case, the first difference of each comparison, and counts.
Its exit status is 1 if there is any difference.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

from comparison.compare import DIFFERENT, EQUAL, FAILED, Comparison, Finding
from comparison.plan import all_cases, prepare, write_plan
from comparison.settings import Case

DRIVER = Path(__file__).parent / "comparison" / "driver.py"


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path, help="checkout of the older version")
    parser.add_argument("after", type=Path, nargs="?", default=Path(__file__).parents[1], help="default: this checkout")
    parser.add_argument("--python_before", default=sys.executable, help="interpreter of the older version")
    parser.add_argument("--python_after", default=sys.executable, help="interpreter of the newer version")
    parser.add_argument("--only", default="", metavar="PATTERN", help="regular expression to select cases by name")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="number of parallel jobs")
    parser.add_argument("--work", type=Path, help="new folder for all files, which is kept (default: temporary)")
    return parser.parse_args()


def run_part(arguments: argparse.Namespace, work: Path, number: int, cases: Sequence[Case]) -> list[Finding]:
    """Run some cases with the older version, then with the newer one, and compare."""
    folders = {side: work / f"part{number}" / side for side in ("before", "after")}
    statuses = {}
    for side, folder in folders.items():
        folder.mkdir(parents=True)
        prepare(folder, cases, is_older=side == "before")
        write_plan(folder / "plan.json", cases, None if side == "before" else folders["before"])
        checkout = getattr(arguments, side).resolve()
        run_driver(getattr(arguments, f"python_{side}"), checkout, folder)
        statuses[side] = json.loads((folder / "out" / "statuses.json").read_text("utf-8"))
    comparison = Comparison(folders["before"], folders["after"], statuses)
    return [finding for case in cases for finding in comparison.findings(case)]


def run_driver(python: str, checkout: Path, folder: Path) -> None:
    """Run the plan of a working folder; raise RuntimeError if no command could run."""
    environment = os.environ | {"PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [python, "-P", str(DRIVER), str(checkout), "plan.json", "out"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last_line = (done.stderr.strip().splitlines() or ["no message"])[-1]
        print(f"the driver of {checkout.name} ended with status {done.returncode}: {last_line}", file=sys.stderr)
    if not (folder / "out" / "statuses.json").is_file():
        raise RuntimeError(f"no command of {checkout} was run: {done.stderr}")


def print_case(case: Case, findings: Sequence[Finding]) -> None:
    """Print the comparisons of a case and their differences."""
    of_case = [finding for finding in findings if finding.case == case.name]
    unequal = [finding for finding in of_case if finding.outcome != EQUAL]
    outcome = FAILED if any(finding.outcome == FAILED for finding in unequal) else DIFFERENT if unequal else EQUAL
    print(f"{case.name:<36}{outcome:<12}{', '.join(each.compared for each in of_case if each.outcome == EQUAL)}")
    for finding in unequal:
        print(f"    {finding.compared} {finding.outcome}: {finding.difference}")


def compare_all(arguments: argparse.Namespace, work: Path) -> int:
    """Run and compare all chosen cases; return the exit status."""
    started = time.monotonic()
    cases = [case for case in all_cases() if re.search(arguments.only, case.name)]
    if not cases:
        print(f"no case has a name that matches `{arguments.only}`", file=sys.stderr)
        return 2
    parts = [part for start in range(arguments.jobs) if (part := cases[start :: arguments.jobs])]
    with ThreadPoolExecutor(len(parts)) as pool:
        done = list(pool.map(lambda each: run_part(arguments, work, *each), enumerate(parts)))
    findings = [finding for of_part in done for finding in of_part]
    for case in cases:
        print_case(case, findings)
    counts = Counter(finding.outcome for finding in findings)
    minutes = (time.monotonic() - started) / 60
    print(
        f"{len(cases)} cases, {len(findings)} comparisons: {counts[EQUAL]} equal, {counts[DIFFERENT]} different, "
        f"{counts[FAILED]} failed; {minutes:.1f} minutes"
    )
    return 0 if counts[EQUAL] == len(findings) else 1


def main() -> int:
    """Compare in a folder that is kept, or in a temporary one."""
    arguments = parse_arguments()
    if arguments.work is not None:
        arguments.work.mkdir(parents=True)
        return compare_all(arguments, arguments.work.resolve())
    with TemporaryDirectory() as folder:
        return compare_all(arguments, Path(folder))


if __name__ == "__main__":
    sys.exit(main())
