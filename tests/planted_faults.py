"""Plant faults in a copy of the package, one at a time, and check that tests fail: `python tests/planted_faults.py`.

The faults and their tests are in `tests/reference/*_faults.py`. A fault counts as caught if one of its tests fails with
the fault and passes without it. The exit status is 0 if all faults are caught, and 1 otherwise.
"""

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from reference.contract_faults import CONTRACT_FAULTS
from reference.fault import Fault
from reference.model_faults import MODEL_FAULTS
from reference.prediction_faults import PREDICTION_FAULTS
from reference.speech_faults import SPEECH_FAULTS
from reference.training_faults import TRAINING_FAULTS

FAULTS = (*MODEL_FAULTS, *TRAINING_FAULTS, *PREDICTION_FAULTS, *SPEECH_FAULTS, *CONTRACT_FAULTS)
ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "seqlab"
COPIED_PATHS = (PACKAGE, "tests", "benchmarks", "docs", "README.md", "pyproject.toml")
"""Files and folders of the checkout that are copied, as tests read them."""
MAX_SECONDS_PER_FAULT = 300.0
"""Time limit for the tests of one fault: with some faults, a search never ends."""
CAUGHT, NOT_CAUGHT, FAILS_WITHOUT_FAULT = "caught", "NOT CAUGHT", "FAILS WITHOUT THE FAULT TOO"
TEST_FAILED, ALL_PASSED = 1, 0
"""Exit statuses of pytest; with any other status, the tests did not run."""


@dataclass
class Finding:
    """Result of the tests with one planted fault."""

    fault: Fault
    result: str
    failed_test: str = ""
    seconds: float = 0.0

    def as_row(self) -> str:
        """Render as a row of a Markdown table."""
        cells = (self.fault.name, self.fault.broken, self.result, self.failed_test, f"{self.seconds:.0f}")
        return f"| {' | '.join(cells)} |"


@contextmanager
def copied_checkout() -> Iterator[Path]:
    """Copy the package and the files that tests read into a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="planted_faults_") as folder:
        for name in COPIED_PATHS:
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
            copy(ROOT / name, Path(folder) / name)
        yield Path(folder)


def plant(fault: Fault, checkout: Path) -> str | None:
    """Replace correct code by faulty code; return a message unless the correct code occurs exactly once."""
    texts = {path: path.read_text(encoding="utf-8") for path in sorted((checkout / PACKAGE).rglob("*.py"))}
    count = sum(text.count(fault.old) for text in texts.values())
    if count != 1:
        return "text not found" if count == 0 else f"text found {count} times"
    path, text = next((path, text) for path, text in texts.items() if fault.old in text)
    path.write_text(text.replace(fault.old, fault.new), encoding="utf-8")
    return None


def find_tests(checkout: Path, endings: Sequence[str]) -> list[str]:
    """Find test files by the ends of their paths or, if a folder was renamed, by their file names."""
    paths = [path.relative_to(checkout).as_posix() for path in sorted((checkout / "tests").rglob("test_*.py"))]
    found = []
    for ending in endings:
        matching = [path for path in paths if path.endswith(f"/{ending}")]
        found += matching or [path for path in paths if path.endswith(f"/{Path(ending).name}")]
    return list(dict.fromkeys(found))


def run_tests(checkout: Path, tests: Sequence[str], *options: str) -> tuple[int | None, str]:
    """Run pytest in a copy of the checkout; return its exit status (None at the time limit) and its output."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=no", "-rfE", *options, *tests]
    environment = {**os.environ, "PYTHONPATH": str(checkout), "COLUMNS": "1000"}
    with subprocess.Popen(
        command,
        cwd=checkout,
        env=environment,
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as process:
        try:
            output, _ = process.communicate(timeout=MAX_SECONDS_PER_FAULT)
        except subprocess.TimeoutExpired:
            return None, ""
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # also kills processes that tests have started
        return process.returncode, output


def failed_tests(output: str) -> list[str]:
    """Parse the names of failed tests from pytest's summary."""
    return re.findall(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", output, re.MULTILINE)


def try_fault(fault: Fault) -> Finding:
    """Plant one fault and run its tests until one fails."""
    start = time.monotonic()
    with copied_checkout() as checkout:
        problem = plant(fault, checkout)
        tests = find_tests(checkout, fault.tests)
        if problem is not None or not tests:
            return Finding(fault, problem or "tests not found")
        selection = ("-k", fault.select) if fault.select else ()
        status, output = run_tests(checkout, tests, "-x", "-m", "not learning and not gpu", *selection)
    seconds = time.monotonic() - start
    if status is None:
        return Finding(fault, CAUGHT, f"(still running after {MAX_SECONDS_PER_FAULT:.0f} s)", seconds)
    failed = failed_tests(output)
    if status == TEST_FAILED and failed:
        return Finding(fault, CAUGHT, failed[0], seconds)
    if status == ALL_PASSED:
        return Finding(fault, NOT_CAUGHT, "", seconds)
    return Finding(fault, f"pytest ended with status {status}: {output.strip().splitlines()[-1:]}", "", seconds)


def check_without_faults(findings: Sequence[Finding]) -> None:
    """Run the failed tests without a fault, and mark the findings with a test that fails without it, too."""
    tests = list(dict.fromkeys(each.failed_test for each in findings if "::" in each.failed_test))
    if not tests:
        return
    with copied_checkout() as checkout:
        status, output = run_tests(checkout, tests)
    failed = set(failed_tests(output))
    if status not in (ALL_PASSED, TEST_FAILED):
        raise SystemExit(f"The failed tests could not be run without the faults:\n{output}")
    for finding in findings:
        if finding.failed_test in failed:
            finding.result = FAILS_WITHOUT_FAULT
            print(finding.as_row())


def refuse_other_package() -> None:
    """Raise SystemExit if tests in the copy import the package from another folder."""
    with copied_checkout() as checkout:
        script = f"import {PACKAGE}; print({PACKAGE}.__file__)"
        environment = {**os.environ, "PYTHONPATH": str(checkout)}
        command = [sys.executable, "-c", script]
        found = subprocess.run(command, cwd=checkout, env=environment, text=True, stdout=subprocess.PIPE, check=True)
        if not Path(found.stdout.strip()).is_relative_to(checkout):
            raise SystemExit(f"`{PACKAGE}` is imported from {found.stdout.strip()} instead of the copy.")


def main() -> int:
    """Plant all faults, or the selected ones, and print a table of the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="faults or groups of faults, such as `masks`")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="faults to try in parallel (default: 1)")
    arguments = parser.parse_args()
    selected = set(arguments.only or ())
    chosen = [each for each in FAULTS if not selected or selected & {each.name, each.name.partition(".")[0]}]
    names = {name for each in FAULTS for name in (each.name, each.name.partition(".")[0])}
    if selected - names:
        parser.error(f"no fault or group has the name {', '.join(sorted(selected - names))}.")
    refuse_other_package()
    start = time.monotonic()
    print("| fault | broken | result | first test that fails | seconds |\n|---|---|---|---|---|", flush=True)
    findings = []
    with ThreadPoolExecutor(arguments.jobs) as threads:
        for finding in threads.map(try_fault, chosen):
            findings.append(finding)
            print(finding.as_row(), flush=True)
    check_without_faults(findings)
    caught = sum(each.result == CAUGHT for each in findings)
    others = [f"{each.fault.name}: {each.result}" for each in findings if each.result != CAUGHT]
    minutes = (time.monotonic() - start) / 60
    print("\n".join(["", f"{caught} of {len(findings)} faults caught in {minutes:.1f} minutes", *others]))
    return 0 if caught == len(findings) else 1


if __name__ == "__main__":
    sys.exit(main())
