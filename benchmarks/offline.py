"""`python -m benchmarks.offline FOLDER`: download wheels to run the GPU tests and benchmark offline.

This prepares a machine without a network. FOLDER receives the wheels of all requirements of seqlab except torch, which
that machine must have. They are for Linux on x86-64 and the Python version of that machine, in the versions installed
on this machine, where seqlab, transformers, pytest and hypothesis must be installed. The other machine needs a checkout
of seqlab, but no corpus: the data of `pytest tests/gpu` is in the repository, and `python -m benchmarks gpu` generates
a corpus. On that machine, run:

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

PACKAGES = ("seqlab", "transformers", "pytest", "hypothesis")
EXCLUDED_PACKAGES = ("torch",)
"""Packages that are left out together with their requirements."""
PLATFORMS = [f"manylinux_2_{number}_x86_64" for number in (17, 24, 26, 27, 28, 31, 34)] + ["manylinux2014_x86_64"]
MAX_MIB = 60


def collect_requirements(name: str, python_version: str, found: dict[str, str] | None = None) -> dict[str, str]:
    """Map a package and all its requirements, direct and indirect, to the versions installed here."""
    found = {} if found is None else found
    key = name.lower().replace("_", "-")
    if key in found or key in EXCLUDED_PACKAGES:
        return found
    found[key] = version(name)
    for text in requires(name) or ():
        requirement = Requirement(text)
        environment = {
            "extra": "",
            "python_version": python_version,
            "sys_platform": "linux",
            "platform_machine": "x86_64",
        }
        if requirement.marker is None or requirement.marker.evaluate(environment):
            collect_requirements(requirement.name, python_version, found)
    return found


def main(argv: list[str] | None = None) -> int:
    """Download the wheels; return 1 if they are larger than `MAX_MIB`, else 0."""
    parser = argparse.ArgumentParser("python -m benchmarks.offline", description=__doc__)
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--python_version", default="3.12", help="Python version of the other machine; default: 3.12")
    parser.add_argument(
        "--there", nargs="*", default=[], metavar="NAME", help="packages that the other machine already has"
    )
    arguments = parser.parse_args(argv)
    versions: dict[str, str] = {}
    for name in PACKAGES:
        try:
            collect_requirements(name, arguments.python_version, versions)
        except PackageNotFoundError as error:
            parser.error(f"{error.name} must be installed on this machine")
    pinned = [f"{name}=={number}" for name, number in versions.items() if name not in {"seqlab", *arguments.there}]
    if arguments.folder.exists() and any(arguments.folder.iterdir()):
        parser.error(f"{arguments.folder} is not empty")
    options = [f"--platform={platform}" for platform in PLATFORMS]
    options += ["--implementation=cp", f"--python-version={arguments.python_version}", "--only-binary=:all:"]
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--dest", str(arguments.folder), *options, *pinned]
    subprocess.run(command, check=True)
    size = sum(path.stat().st_size for path in arguments.folder.glob("*.whl")) / 2**20
    print(f"{len(pinned)} wheels of {size:.1f} MiB in {arguments.folder}")
    if size > MAX_MIB:
        print(
            f"The wheels exceed {MAX_MIB} MiB: list packages that the other machine already has with --there.",
            file=sys.stderr,
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
