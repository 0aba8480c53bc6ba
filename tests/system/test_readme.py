"""Run the commands and Python code of the README unchanged, with few training steps."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from seqlab.corpora.number_words import generate

ROOT = Path(__file__).parents[2]
FEW_STEPS = "--training.max_steps 8 --training.save_every 8 --training.valid_every 8 --threads 1"
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(language: str = "") -> list[str]:
    return [text for kind, text in BLOCK.findall((ROOT / "README.md").read_text(encoding="utf-8")) if kind == language]


def write_lines(path: Path, lines: list[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the files of a reader of the README, and a `seqlab` that trains for few steps."""
    folder = tmp_path_factory.mktemp("readme")
    phrases = generate()["train"][-600:]
    write_lines(folder / "corpus.de", [phrase.de for phrase in phrases])
    write_lines(folder / "corpus.en", [phrase.en for phrase in phrases])
    write_lines(folder / "new.de", [phrase.de for phrase in phrases[:5]])
    write_lines(folder / "text.txt", [phrase.en for phrase in phrases])
    write_lines(folder / "other.txt", [phrase.en for phrase in phrases[:20]])
    stars = [f'"{phrase.en}, {phrase.en}",{len(phrase.en) % 5 + 1}' for phrase in phrases]
    write_lines(folder / "reviews.csv", ["text,stars", *stars])
    write_lines(folder / "new_reviews", [phrase.en for phrase in phrases[:5]])
    words = sorted({word for phrase in phrases for word in phrase.de.split()})
    write_lines(folder / "words.tsv", [f"{word}\t{' '.join(word.upper())}" for word in words])
    write_lines(folder / "new_words", words[:5])
    (folder / "bin").mkdir()
    write_seqlab(folder / "bin" / "seqlab", f"{sys.executable} -m seqlab")
    return folder


def write_seqlab(path: Path, real: str) -> None:
    """Write a `seqlab` command that differs from the real one in the number of training steps."""
    path.write_text(f'#!/bin/sh\n[ "$1" = train ] && set -- "$@" {FEW_STEPS}\nexec {real} "$@"\n')
    path.chmod(0o755)


def run(command: str, folder: Path, tools: Path) -> None:
    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", f"PATH={tools}:$PATH\n{command}"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"


def examples() -> list[str]:
    """Return the shell blocks except for installation and tests."""
    return blocks()[2:]


@pytest.mark.parametrize("block", examples(), ids=[block.split()[2] for block in examples()])
def test_an_example_runs(folder: Path, block: str) -> None:
    before = {path.name for path in folder.iterdir()}
    run(block, folder, folder / "bin")
    for name in set(re.findall(r"> (\S+)|--out (\S+)", block)):
        written = folder / "".join(name)
        assert written.name not in before
        assert written.stat().st_size > 0


def test_the_first_command_and_the_python_run(tmp_path: Path) -> None:
    """Install in the root of a copy of the checkout, into an environment with all dependencies."""
    copy, tools, environment = copied(tmp_path / "copy"), tmp_path / "tools", new_environment(tmp_path / "environment")
    tools.mkdir()
    write_seqlab(tools / "seqlab", str(environment / "bin" / "seqlab"))
    [first, test_command] = blocks()[:2]
    assert "pytest" in test_command
    run(f"export PIP_NO_DEPS=1 PATH={tools}:{environment}/bin:$PATH\n{first}", copy, tools)
    assert len((copy / "hyp.de").read_text(encoding="utf-8").splitlines()) == 1000
    [python] = blocks("python")
    call(environment, ["-c", FEW_STEPS_IN_PYTHON + python], copy)
    for inline in ("recipes g2p", "--help", "train number_words --help"):
        call(environment, ["-m", "seqlab", *inline.split()], tmp_path)  # as installed, not as checked out
    assert (copy / "runs" / "again" / "run.json").is_file()
    call(environment, USE, copy)  # where the folder `seqlab` of the checkout is found before the installed package
    call(environment, BENCHMARKS, copy)
    (tmp_path / "elsewhere").mkdir()
    call(environment, USE, tmp_path / "elsewhere")


FEW_STEPS_IN_PYTHON = """
import dataclasses, seqlab.recipes
whole = seqlab.recipes.number_words
def number_words(run_dir):
    config = whole(run_dir)
    return dataclasses.replace(config, training=dataclasses.replace(
        config.training, max_steps=8, save_every=8, valid_every=8, threads=1))
seqlab.recipes.number_words = number_words
"""
"""A recipe of few steps, as trained by the command line, instead of the complete one."""
USE = ["-c", "import seqlab; from seqlab.recipes import number_words; print(number_words('run').seed)"]
TRAIN = f"-m seqlab train number_words {FEW_STEPS}".split()
BENCHMARKS = ["-m", "benchmarks", "preparation", "--help"]


def test_a_checkout_works_without_an_installation(tmp_path: Path) -> None:
    copy, environment = copied(tmp_path / "copy"), new_environment(tmp_path / "environment")
    for command in (TRAIN, USE, BENCHMARKS):
        call(environment, command, copy)
    assert (copy / "runs" / "number_words" / "checkpoints").is_dir()


def test_an_editable_install_works(tmp_path: Path) -> None:
    copy, environment = copied(tmp_path / "copy"), new_environment(tmp_path / "environment")
    call(environment, ["-m", "pip", "install", "--no-deps", "-q", "-e", str(copy)], tmp_path)
    for command in (USE, BENCHMARKS):
        call(environment, command, copy)
    (tmp_path / "elsewhere").mkdir()
    call(environment, TRAIN, tmp_path / "elsewhere")


def call(environment: Path, command: list[str], where: Path) -> None:
    """Run the Python of an environment in a folder; fail the test if it fails."""
    done = subprocess.run(
        [environment / "bin" / "python", *command], cwd=where, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stderr}"


def copied(folder: Path) -> Path:
    """Copy the files of the repository, as a clone has them."""
    for name in ("seqlab", "benchmarks"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "constraints.txt"):
        shutil.copy(ROOT / name, folder / name)
    return folder


def new_environment(folder: Path) -> Path:
    """Make a virtual environment with the packages of this one except seqlab."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    [site_packages] = (folder / "lib").glob("python*/site-packages")
    own = next(path for path in sys.path if path.endswith("site-packages"))
    others = folder / "others"
    others.mkdir()
    for path in Path(own).iterdir():
        if "seqlab" not in path.name:
            (others / path.name).symlink_to(path)
    (site_packages / "others.pth").write_text(f"{others}\n")
    return folder
