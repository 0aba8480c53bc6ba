"""Public names: existence, docstrings, no shadowing by modules, and imports of torch at first use."""

import importlib
import inspect
import pkgutil
import subprocess
import sys
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from reference.random_runs import write_run
from reference.tiny_language_models import TinyRuns

import seqlab
from seqlab.evaluation import METRICS
from seqlab.runs.load import load_run
from seqlab.search.config import SamplingConfig, SamplingOptions, SearchConfig, SearchOptions

PACKAGES = ("seqlab", *(f"seqlab.{name}" for name in ("data", "models", "nn", "objectives", "optim", "search")))
every_package = pytest.mark.parametrize("package", PACKAGES)


def public_names(package: str) -> dict[str, Any]:
    """Return the exported objects of a package by name."""
    module = importlib.import_module(package)
    return {name: getattr(module, name) for name in module.__all__}


def test_the_expected_names_exist() -> None:
    expected = {"load", "train", "recipe", "config_for", "Config", "register", "evaluate"}
    expected |= {package.partition(".")[2] for package in PACKAGES[1:]}
    assert expected <= set(seqlab.__all__)
    assert expected <= set(dir(seqlab))
    for package in PACKAGES[1:]:
        assert getattr(seqlab, package.partition(".")[2]) is importlib.import_module(package)
    assert not hasattr(seqlab, "translate")


@every_package
def test_public_classes_and_functions_have_docstrings(package: str) -> None:
    for name, value in public_names(package).items():
        if inspect.isclass(value) or inspect.isfunction(value):
            assert (value.__doc__ or "").strip(), name
            assert not (value.__doc__ or "").startswith(f"{name}("), f"{name}: a dataclass without a docstring"
    assert len(public_names(package)) == len(set(importlib.import_module(package).__all__))


@every_package
def test_no_submodule_has_the_name_of_a_public_object(package: str) -> None:
    """An imported submodule becomes an attribute of its package, which `__getattr__` cannot override."""
    module = importlib.import_module(package)
    modules = {each.name for each in pkgutil.iter_modules(module.__path__)}
    shadowed = [
        name for name, value in public_names(package).items() if name in modules and not inspect.ismodule(value)
    ]
    assert not shadowed


def test_packages_import_torch_at_first_use() -> None:
    code = (
        "import sys, seqlab, seqlab.search, seqlab.data, seqlab.models; from seqlab import register; seqlab.registry\n"
        "print([name for name in ('torch', 'pydantic', 'sacrebleu') if name in sys.modules])\n"
        "from seqlab.search import SearchConfig; print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["[]", "False"]


def test_public_objects_have_a_short_repr(tmp_path: Path) -> None:
    run = seqlab.load(write_run(tmp_path / "run"), device="cpu")
    assert repr(run).startswith("Run(TorchEngine([LoadedRun('")
    assert repr(run).endswith(" ids)")
    path = TinyRuns(tmp_path)("lstm_lm")
    assert (
        repr(load_run(path, "best", model_noun="a language model"))
        == f"LoadedRun({str(path)!r}, language_model (lstm), step 1)"
    )
    lm = seqlab.load(path, device="cpu")
    assert repr(lm).startswith(f"LanguageModel([LoadedRun({str(path)!r}, language_model (lstm), step 1)], cpu, ")
    assert len(repr(lm.perplexity(["der Katze"] * 1000))) < 500
    assert repr(METRICS).startswith("Parts('metric': bleu, chrf, ")


@pytest.mark.parametrize(("options", "config"), [(SearchOptions, SearchConfig), (SamplingOptions, SamplingConfig)])
def test_types_of_keyword_arguments_equal_those_of_the_configs(options: type, config: type) -> None:
    assert get_type_hints(options) == get_type_hints(config)
