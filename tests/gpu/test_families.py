"""Each model family on a GPU: results against the CPU, training, resuming, and the reference kernels.

The runs are from `tests/checkpoints`; no corpus is needed. Run `pytest -m gpu` on a machine with a CUDA device.
"""

import shutil
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest
import torch
from reference.stored_families import (
    COUNT_BASED_FAMILIES,
    DECODABLE_FAMILIES,
    FAMILIES,
    assert_same,
    last_nll,
    run_and_read_outputs,
    run_command,
)

from seqlab.nn import reference_kernels

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]
TOLERANCE = {"fp32": 1e-3, "bf16": 0.1}
"""Tolerance of scores, perplexities and probabilities against the CPU in fp32. TF32 is off, torch's default."""
TRAINED = [name for name in FAMILIES if name not in COUNT_BASED_FAMILIES]
every_precision = pytest.mark.parametrize("precision", TOLERANCE)


def on_gpu(argv: list[str], precision: str) -> list[str]:
    """Change device and precision of a command for the CPU."""
    replaced = {"--device": "cuda", "--precision": precision}
    return [replaced.get(before, word) for before, word in zip(["", *argv], argv, strict=False)]


@every_precision
@pytest.mark.parametrize("family", DECODABLE_FAMILIES)
def test_results_equal_the_cpu(expected_by_family: dict[str, Any], family: str, precision: str) -> None:
    """In fp32, texts and labels are equal. In bf16 a search may take another path, so given texts are scored."""
    for what, use in expected_by_family[family]["uses"].items():
        found = run_and_read_outputs(on_gpu(use["argv"], precision))
        assert len(found) == len(use["lines"])
        if precision == "fp32" or what in ("score", "perplexity"):
            assert_same(found, use["lines"], what, TOLERANCE[precision], compares_texts=precision == "fp32")


@pytest.mark.parametrize("family", DECODABLE_FAMILIES)
def test_reference_kernels_give_the_same_results(expected_by_family: dict[str, Any], family: str) -> None:
    for what, use in expected_by_family[family]["uses"].items():
        found = run_and_read_outputs(on_gpu(use["argv"], "fp32"))
        with reference_kernels():
            assert_same(found, run_and_read_outputs(on_gpu(use["argv"], "fp32")), what, TOLERANCE["fp32"])


@pytest.mark.parametrize("family", TRAINED)
def test_a_run_of_the_cpu_is_resumed(expected_by_family: dict[str, Any], family: str) -> None:
    continued = expected_by_family[family]["continued"]
    shutil.copytree(f"runs/{family}", f"continued/{family}", dirs_exist_ok=True)
    run_command(*continued["argv"], "--training.device", "cuda")
    step, loss = last_nll(f"continued/{family}")
    assert step == continued["step"]
    assert loss == pytest.approx(continued["nll"], abs=2e-2)  # dropout masks differ on a GPU


@every_precision
@pytest.mark.parametrize("family", TRAINED)
def test_training_and_resuming(expected_by_family: dict[str, Any], family: str, precision: str) -> None:
    """The result equals that of the reference kernels, and that of a run resumed halfway."""

    def train(name: str, steps: int, context: AbstractContextManager[None] | None = None) -> float:
        limits = ("--training.max_steps", str(steps), "--training.valid_every", "6", "--training.save_every", "6")
        options = ("--run_dir", f"new/{family}_{precision}_{name}", "--training.device", "cuda")
        with context or nullcontext():
            run_command("train", f"runs/{family}/config.yaml", *options, "--training.precision", precision, *limits)
        return last_nll(f"new/{family}_{precision}_{name}")[1]

    whole = train("whole", 12)
    train("stopped", 6)
    assert train("stopped", 12) == pytest.approx(whole, abs=TOLERANCE[precision])
    assert train("reference", 12, reference_kernels()) == pytest.approx(whole, abs=max(0.05, TOLERANCE[precision]))
