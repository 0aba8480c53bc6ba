"""Commands and Python code of the README, with few training steps, and installations of the package."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from seqlab.corpora.number_words import generate

pytestmark = pytest.mark.learning

ROOT = Path(__file__).parents[2]
FEW_STEPS_OPTIONS = "--training.max_steps 8 --training.save_every 8 --training.valid_every 8 --threads 1"
CODE_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def code_blocks(language: str = "") -> list[str]:
    return [
        text for kind, text in CODE_BLOCK.findall((ROOT / "README.md").read_text(encoding="utf-8")) if kind == language
    ]


def write_lines(path: Path, lines: list[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the files that the examples read, and a command `seqlab` that trains for few steps."""
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
    write_seqlab_script(folder / "bin" / "seqlab", f"{sys.executable} -m seqlab")
    return folder


def write_seqlab_script(path: Path, command: str) -> None:
    """Write a shell script that runs seqlab, with options for few steps if it trains."""
    path.write_text(f'#!/bin/sh\n[ "$1" = train ] && set -- "$@" {FEW_STEPS_OPTIONS}\nexec {command} "$@"\n')
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


def shell_examples() -> list[str]:
    """Return the shell blocks except those for installation and tests."""
    return code_blocks()[2:]


@pytest.mark.parametrize("block", shell_examples(), ids=[block.split()[2] for block in shell_examples()])
def test_shell_examples_run_and_write_their_outputs(folder: Path, block: str) -> None:
    existing = {path.name for path in folder.iterdir()}
    run(block, folder, folder / "bin")
    for name in set(re.findall(r"> (\S+)|--out (\S+)", block)):
        output = folder / "".join(name)
        assert output.name not in existing
        assert output.stat().st_size > 0


def test_installation_and_python_examples_run(tmp_path: Path) -> None:
    """The package is installed from a copy of the checkout into an environment with all dependencies."""
    copy, tools, environment = (
        copy_checkout(tmp_path / "copy"),
        tmp_path / "tools",
        new_environment(tmp_path / "environment"),
    )
    tools.mkdir()
    write_seqlab_script(tools / "seqlab", str(environment / "bin" / "seqlab"))
    [installation, test_command] = code_blocks()[:2]
    assert "pytest" in test_command
    run(f"export PIP_NO_DEPS=1 PATH={tools}:{environment}/bin:$PATH\n{installation}", copy, tools)
    assert len((copy / "hyp.de").read_text(encoding="utf-8").splitlines()) == 1000
    [python] = code_blocks("python")
    run_python(environment, ["-c", FEW_STEPS_IN_PYTHON + python], copy)
    for command in ("recipes g2p", "--help", "train number_words --help"):
        run_python(environment, ["-m", "seqlab", *command.split()], tmp_path)  # the installed package
    assert (copy / "runs" / "again" / "run.json").is_file()
    run_python(environment, USE, copy)  # in this folder, the checkout is imported instead of the installed package
    run_python(environment, BENCHMARKS, copy)
    (tmp_path / "elsewhere").mkdir()
    run_python(environment, USE, tmp_path / "elsewhere")


FEW_STEPS_IN_PYTHON = """
import dataclasses, seqlab.recipes
original = seqlab.recipes.number_words
def number_words(run_dir):
    config = original(run_dir)
    return dataclasses.replace(config, training=dataclasses.replace(
        config.training, max_steps=8, save_every=8, valid_every=8, threads=1))
seqlab.recipes.number_words = number_words
"""
"""Replaces a recipe by one with few steps, as `FEW_STEPS_OPTIONS` does on the command line."""
USE = ["-c", "import seqlab; from seqlab.recipes import number_words; print(number_words('run').seed)"]
TRAIN = f"-m seqlab train number_words {FEW_STEPS_OPTIONS}".split()
BENCHMARKS = ["-m", "benchmarks", "preparation", "--help"]


def test_a_checkout_works_without_an_installation(tmp_path: Path) -> None:
    copy, environment = copy_checkout(tmp_path / "copy"), new_environment(tmp_path / "environment")
    for command in (TRAIN, USE, BENCHMARKS):
        run_python(environment, command, copy)
    assert (copy / "runs" / "number_words" / "checkpoints").is_dir()


def test_an_editable_install_works(tmp_path: Path) -> None:
    copy, environment = copy_checkout(tmp_path / "copy"), new_environment(tmp_path / "environment")
    run_python(environment, ["-m", "pip", "install", "--no-deps", "-q", "-e", str(copy)], tmp_path)
    for command in (USE, BENCHMARKS):
        run_python(environment, command, copy)
    (tmp_path / "elsewhere").mkdir()
    run_python(environment, TRAIN, tmp_path / "elsewhere")


def run_python(environment: Path, command: list[str], folder: Path) -> None:
    """Run the Python of a virtual environment in a folder; fail the test if it fails."""
    done = subprocess.run(
        [environment / "bin" / "python", *command], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stderr}"


def copy_checkout(folder: Path) -> Path:
    """Copy the package, the benchmarks and the files for an installation from the repository."""
    for name in ("seqlab", "benchmarks"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "constraints.txt"):
        shutil.copy(ROOT / name, folder / name)
    return folder


def new_environment(folder: Path) -> Path:
    """Create a virtual environment with links to the packages of the current one except seqlab."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    [site_packages] = (folder / "lib").glob("python*/site-packages")
    current_site_packages = next(path for path in sys.path if path.endswith("site-packages"))
    links = folder / "links"
    links.mkdir()
    for path in Path(current_site_packages).iterdir():
        if "seqlab" not in path.name:
            (links / path.name).symlink_to(path)
    (site_packages / "links.pth").write_text(f"{links}\n")
    return folder
