"""Wheel and sdist: contents, and training and translation with the wheel outside the checkout."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

pytestmark = pytest.mark.learning

ROOT = Path(__file__).parents[2]
SOURCE_PATHS = ("seqlab", "pyproject.toml", "README.md", "LICENSE")
BUILD = "from setuptools import build_meta as b; b.build_wheel('dist'); b.build_sdist('dist')"


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build wheel and sdist from a copy of the sources."""
    folder = tmp_path_factory.mktemp("sources")
    for name in SOURCE_PATHS:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)
    subprocess.run([sys.executable, "-c", BUILD], cwd=folder, check=True, capture_output=True)
    return folder / "dist"


def python_files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder.parent)) for path in folder.rglob("*.py") if "__pycache__" not in path.parts}


def test_wheel_and_sdist_contain_all_modules_and_metadata(dist: Path) -> None:
    [wheel], [sdist] = dist.glob("*.whl"), dist.glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        [metadata] = [name for name in names if name.endswith("METADATA")]
        fields = Parser().parsestr(archive.read(metadata).decode())
    expected = python_files(ROOT / "seqlab") | {"seqlab/py.typed", "seqlab/recipes/recipes.tsv"}
    assert expected <= names
    assert "seqlab/corpora/number_words/generator.py" in names
    assert not [name for name in names if not name.startswith(("seqlab/", "seqlab-"))]
    for field in ("Name", "Version", "Summary", "License-Expression", "Requires-Python", "Keywords", "Author"):
        assert fields[field], field
    assert fields.get_all("Classifier")
    with tarfile.open(sdist) as archive:
        sdist_names = {name.partition("/")[2] for name in archive.getnames()}
    assert expected <= sdist_names
    assert {"README.md", "LICENSE", "pyproject.toml"} <= sdist_names


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
    module_path = run(sys.executable, "-c", "import seqlab.corpora; print(seqlab.corpora.__file__)")
    assert Path(module_path.strip()).is_relative_to(site)
    run(*command, "train", "number_words", "--training.max_steps", "3", "--training.valid_every", "3")
    assert run(*command, "translate", "runs/number_words", text="two\n\nthree\n").count("\n") == 3
    assert "number_words" in run(*command, "recipes")
    assert (site / "bin" / "seqlab").exists()
