"""Each model family on a GPU: results against the CPU and the reference kernels, training, and resuming.

The runs are stored in `tests/checkpoints`, so no corpus is needed. Run `pytest -m gpu` on a machine with a CUDA device.
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
"""Tolerance of scores, perplexities and probabilities against the CPU in fp32. TF32 is off by default in torch."""
TRAINED = [name for name in FAMILIES if name not in COUNT_BASED_FAMILIES]
every_precision = pytest.mark.parametrize("precision", TOLERANCE)


def with_gpu_options(argv: list[str], precision: str) -> list[str]:
    """Set the device and the precision in the arguments of a command for the CPU."""
    values = {"--device": "cuda", "--precision": precision}
    return [values.get(before, word) for before, word in zip(["", *argv], argv, strict=False)]


@every_precision
@pytest.mark.parametrize("family", DECODABLE_FAMILIES)
def test_results_equal_the_cpu(expected_by_family: dict[str, Any], family: str, precision: str) -> None:
    """In fp32, texts and labels are equal. In bf16 a search may have other results, so only given texts are scored."""
    for command, use in expected_by_family[family]["uses"].items():
        found = run_and_read_outputs(with_gpu_options(use["argv"], precision))
        assert len(found) == len(use["lines"])
        if precision == "fp32" or command in ("score", "perplexity"):
            assert_same(found, use["lines"], command, TOLERANCE[precision], compares_texts=precision == "fp32")


@pytest.mark.parametrize("family", DECODABLE_FAMILIES)
def test_reference_kernels_give_the_same_results(expected_by_family: dict[str, Any], family: str) -> None:
    for command, use in expected_by_family[family]["uses"].items():
        found = run_and_read_outputs(with_gpu_options(use["argv"], "fp32"))
        with reference_kernels():
            assert_same(found, run_and_read_outputs(with_gpu_options(use["argv"], "fp32")), command, TOLERANCE["fp32"])


@pytest.mark.parametrize("family", TRAINED)
def test_runs_trained_on_the_cpu_resume_on_the_gpu(expected_by_family: dict[str, Any], family: str) -> None:
    continued = expected_by_family[family]["continued"]
    shutil.copytree(f"runs/{family}", f"continued/{family}", dirs_exist_ok=True)
    run_command(*continued["argv"], "--training.device", "cuda")
    step, loss = last_nll(f"continued/{family}")
    assert step == continued["step"]
    assert loss == pytest.approx(continued["nll"], abs=2e-2)  # dropout masks differ on a GPU


@every_precision
@pytest.mark.parametrize("family", TRAINED)
def test_resuming_and_reference_kernels_give_the_same_loss(
    expected_by_family: dict[str, Any], family: str, precision: str
) -> None:
    """The validation loss of an uninterrupted run equals that of a resumed run and that of the reference kernels."""

    def train(name: str, steps: int, context: AbstractContextManager[None] | None = None) -> float:
        limits = ("--training.max_steps", str(steps), "--training.valid_every", "6", "--training.save_every", "6")
        options = ("--run_dir", f"new/{family}_{precision}_{name}", "--training.device", "cuda")
        with context or nullcontext():
            run_command("train", f"runs/{family}/config.yaml", *options, "--training.precision", precision, *limits)
        return last_nll(f"new/{family}_{precision}_{name}")[1]

    uninterrupted = train("uninterrupted", 12)
    train("resumed", 6)
    assert train("resumed", 12) == pytest.approx(uninterrupted, abs=TOLERANCE[precision])
    assert train("reference", 12, reference_kernels()) == pytest.approx(
        uninterrupted, abs=max(0.05, TOLERANCE[precision])
    )
