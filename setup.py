"""Name the packages: those under seqlab/, and those under corpora/ as seqlab.corpora. All else is in pyproject.toml."""

from setuptools import find_packages, setup

setup(
    packages=[
        *find_packages(include=["seqlab", "seqlab.*"]),
        *(f"seqlab.{package}" for package in find_packages(include=["corpora", "corpora.*"])),
    ],
    package_dir={"seqlab.corpora": "corpora"},
)
