"""`python -m benchmarks.offline FOLDER`: gather what the GPU's tests and benchmark need on a machine without a network.

FOLDER gets wheels of what seqlab needs besides torch, which that machine must have: of the versions that are installed
here, for its version of Python, for Linux on x86-64. seqlab, transformers, pytest, hypothesis must be installed here;
there seqlab is run from a checkout. No corpus is needed: what `pytest tests/gpu` reads is in the repository, and what
`python -m benchmarks gpu` reads is generated where it runs. There:

    python3 -m pip install --no-index --no-deps --target /tmp/site FOLDER/*.whl
    PYTHONPATH=/tmp/site python3 -m pytest tests/gpu
    PYTHONPATH=/tmp/site python3 -m benchmarks gpu
"""

import argparse
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from packaging.requirements import Requirement

NEEDED = ("seqlab", "transformers", "pytest", "hypothesis")
NOT_NEEDED = ("torch",)
"""With all that it needs itself."""
PLATFORMS = [f"manylinux_2_{number}_x86_64" for number in (17, 24, 26, 27, 28, 31, 34)] + ["manylinux2014_x86_64"]
LIMIT_MIB = 60


def needed(name: str, python_version: str, found: dict[str, str] | None = None) -> dict[str, str]:
    """Map what a package needs there, at any depth, itself counted, to the versions that are installed here."""
    found = {} if found is None else found
    key = name.lower().replace("_", "-")
    if key in found or key in NOT_NEEDED:
        return found
    found[key] = version(name)
    for text in requires(name) or ():
        requirement = Requirement(text)
        there = {"extra": "", "python_version": python_version, "sys_platform": "linux", "platform_machine": "x86_64"}
        if requirement.marker is None or requirement.marker.evaluate(there):
            needed(requirement.name, python_version, found)
    return found


def main(argv: list[str] | None = None) -> int:
    """Download the wheels; the status is 1 where they come to more than such a machine takes."""
    parser = argparse.ArgumentParser("python -m benchmarks.offline", description=__doc__)
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--python_version", default="3.12", help="of the other machine; default: 3.12")
    parser.add_argument("--there", nargs="*", default=[], metavar="NAME", help="packages that it has already")
    arguments = parser.parse_args(argv)
    versions: dict[str, str] = {}
    for name in NEEDED:
        try:
            needed(name, arguments.python_version, versions)
        except PackageNotFoundError as error:
            parser.error(f"{error.name} must be installed here")
    wanted = [f"{name}=={number}" for name, number in versions.items() if name not in {"seqlab", *arguments.there}]
    if arguments.folder.exists() and any(arguments.folder.iterdir()):
        parser.error(f"{arguments.folder} is not empty")
    options = [f"--platform={platform}" for platform in PLATFORMS]
    options += ["--implementation=cp", f"--python-version={arguments.python_version}", "--only-binary=:all:"]
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--dest", str(arguments.folder), *options, *wanted]
    subprocess.run(command, check=True)
    size = sum(path.stat().st_size for path in arguments.folder.glob("*.whl")) / 2**20
    print(f"{len(wanted)} wheels of {size:.1f} MiB in {arguments.folder}")
    if size > LIMIT_MIB:
        print(f"More than {LIMIT_MIB} MiB: name packages that the other machine has by --there.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
