"""Wheel, sdist and editable installation: contents; training with the wheel; the corpora in each of them."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE_PATHS = ("seqlab", "corpora", "pyproject.toml", "README.md", "LICENSE")
BUILD = "from setuptools import build_meta as b; b.build_wheel('dist'); b.build_sdist('dist')"


CORPORA = """
from pathlib import Path
import seqlab.corpora, seqlab.corpora.number_words
folder = Path(seqlab.corpora.__file__).parent
assert seqlab.corpora.CORPORA["number_words"] == seqlab.corpora.number_words.CORPUS
assert len(list(folder.glob("*/__init__.py"))) > 15
print(folder)
"""
"""A program that imports the corpora and prints their folder."""


def copy_sources(folder: Path) -> Path:
    """Copy what a build needs, with symbolic links as links."""
    folder.mkdir(exist_ok=True)
    for name in SOURCE_PATHS:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)
    return folder


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build wheel and sdist from a copy of the sources."""
    folder = copy_sources(tmp_path_factory.mktemp("sources"))
    subprocess.run([sys.executable, "-c", BUILD], cwd=folder, check=True, capture_output=True)
    return folder / "dist"


def package_files() -> set[str]:
    """Return the Python files of the package, and the cards and samples of the corpora."""
    package = ROOT / "seqlab"
    corpora = package / "corpora"  # a link, which the first search does not follow
    paths = [*package.rglob("*.py"), *corpora.rglob("*.py"), *corpora.glob("*/README.md"), *corpora.glob("*/sample/*")]
    return {str(path.relative_to(ROOT)) for path in paths}


@pytest.mark.learning
def test_wheel_and_sdist_contain_all_modules_and_metadata(dist: Path) -> None:
    [wheel], [sdist] = dist.glob("*.whl"), dist.glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        [metadata] = [name for name in names if name.endswith("METADATA")]
        fields = Parser().parsestr(archive.read(metadata).decode())
    expected = package_files() | {"seqlab/py.typed", "seqlab/recipes/recipes.tsv"}
    assert expected <= names
    assert {f"seqlab/corpora/number_words/{name}" for name in ("generator.py", "README.md")} <= names
    assert not [name for name in names if not name.startswith(("seqlab/", "seqlab-"))]
    for field in ("Name", "Version", "Summary", "License-Expression", "Requires-Python", "Keywords", "Author"):
        assert fields[field], field
    assert fields.get_all("Classifier")
    with tarfile.open(sdist) as archive:
        sdist_names = {name.partition("/")[2] for name in archive.getnames()}
    assert expected <= sdist_names
    assert not [name for name in sdist_names if name.startswith("corpora/")]  # nothing stands twice
    assert {"README.md", "LICENSE", "pyproject.toml"} <= sdist_names


@pytest.mark.learning
def test_wheel_trains_and_translates_in_an_empty_folder(dist: Path, tmp_path: Path) -> None:
    [wheel] = dist.glob("*.whl")
    site, empty = tmp_path / "site", tmp_path / "empty"
    empty.mkdir()
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(site), str(wheel)]
    subprocess.run(install, check=True, capture_output=True)

    def run(*arguments: str, text: str = "") -> str:
        environment = {**os.environ, "PYTHONPATH": str(site)}
        done = subprocess.run(arguments, cwd=empty, env=environment, input=text, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    command = (sys.executable, "-m", "seqlab")
    assert Path(run(sys.executable, "-c", CORPORA).strip()) == site / "seqlab" / "corpora"
    run(*command, "train", "number_words", "--training.max_steps", "3", "--training.valid_every", "3")
    assert run(*command, "translate", "runs/number_words", text="two\n\nthree\n").count("\n") == 3
    assert "number_words" in run(*command, "recipes")
    assert (site / "bin" / "seqlab").exists()


@pytest.mark.learning
def test_an_editable_installation_reads_the_corpora_of_the_checkout(tmp_path: Path) -> None:
    sources = copy_sources(tmp_path / "sources")
    environment = tmp_path / "environment"
    venv.create(environment, symlinks=True)
    python = environment / "bin" / "python"
    [site] = (environment / "lib").glob("python*/site-packages")
    (site / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n", encoding="utf-8")
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps"]
    subprocess.run([*pip, "--no-build-isolation", "-e", str(sources)], check=True, capture_output=True)
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([python, "-c", CORPORA], cwd=tmp_path, env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()) == sources / "seqlab" / "corpora"
    assert Path(done.stdout.strip()).resolve() == sources / "corpora"


def test_a_bare_checkout_reads_the_corpora(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", CORPORA], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).resolve() == ROOT / "corpora"
