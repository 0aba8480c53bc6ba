"""Lanczos, quadrature and exact spectra of matrices with chosen eigenvalues."""

import numpy as np
import pytest
import torch
from torch import Tensor

from seqlab.diagnosis import spectrum as module
from seqlab.diagnosis.spectrum import estimate_spectrum, exact_spectrum, lanczos


def matrix_with(eigenvalues: Tensor) -> Tensor:
    """Return a symmetric matrix with these eigenvalues and random eigenvectors."""
    generator = torch.Generator().manual_seed(1)
    drawn = torch.randn(len(eigenvalues), len(eigenvalues), dtype=torch.float64, generator=generator)
    basis, _ = torch.linalg.qr(drawn)
    return (basis * eigenvalues) @ basis.T


BULK = torch.cat([torch.linspace(-0.5, 1, 300, dtype=torch.float64), torch.tensor([-3.0, 8.0], dtype=torch.float64)])


def test_all_steps_find_all_eigenvalues() -> None:
    eigenvalues = torch.linspace(-2, 3, 40, dtype=torch.float64) ** 3
    run = lanczos(matrix_with(eigenvalues).matmul, torch.ones(40, dtype=torch.float64), 40)
    np.testing.assert_allclose(run.values, eigenvalues.numpy(), atol=1e-8)
    assert run.weights.sum() == pytest.approx(1)


@pytest.mark.parametrize("num_steps", [3, 10, 25])
def test_an_eigenvalue_lies_within_the_residual_of_the_extremes(num_steps: int) -> None:
    matrix = matrix_with(BULK)
    run = lanczos(matrix.matmul, torch.ones(len(BULK), dtype=torch.float64), num_steps)
    for pair in (run.lowest, run.highest):
        assert float((BULK - pair.value).abs().min()) <= pair.residual + 1e-9
        assert float((matrix @ pair.vector - pair.value * pair.vector).norm()) == pytest.approx(pair.residual, abs=1e-8)
    assert run.lowest.value >= -3 - 1e-9
    assert run.highest.value <= 8 + 1e-9


def test_steps_end_at_an_invariant_subspace() -> None:
    """A matrix with two eigenvalues needs two steps, of which the first vector determines the weights."""
    matrix = torch.diag(torch.tensor([2.0, 2, 2, -1], dtype=torch.float64))
    run = lanczos(matrix.matmul, torch.tensor([1.0, 0, 0, 2], dtype=torch.float64), 4)
    np.testing.assert_allclose(run.values, [-1, 2])
    np.testing.assert_allclose(run.weights, [0.8, 0.2])
    zero = lanczos(torch.zeros_like, torch.ones(5), 3)
    assert (zero.values.tolist(), zero.highest.residual) == ([0.0], 0.0)


def test_estimated_shares_agree_with_exact_ones() -> None:
    """The exact share lies within the bounds of the quadrature for the starting vectors, and four standard errors."""
    matrix = matrix_with(BULK)
    exact = exact_spectrum(matrix)
    estimate = estimate_spectrum(matrix.matmul, BULK, num_steps=40, num_starts=8)
    assert exact.negative.value == pytest.approx(float((BULK < 0).double().mean()), abs=1 / len(BULK))
    assert exact.minimum_ratio + exact.negative.value == 1
    assert exact.positive == pytest.approx(float((BULK > 0).double().mean()), abs=2 / len(BULK))
    assert abs(estimate.negative.value - exact.negative.value) < 4 * estimate.negative.standard_error
    low, high = estimate.negative.bounds
    assert low < exact.negative.value < high
    assert (estimate.lowest.value, estimate.highest.value) == pytest.approx((-3, 8), abs=1e-6)


def test_eigenvalues_within_the_tolerance_are_zero() -> None:
    """The tolerance is a share of the largest absolute eigenvalue."""
    found = exact_spectrum(torch.diag(torch.tensor([-100.0, -1e-3, 0, 1e-3, 50], dtype=torch.float64)))
    assert found.tolerance == pytest.approx(100 * module.RELATIVE_TOLERANCE)
    assert (found.negative.value, found.positive, found.minimum_ratio) == pytest.approx((0.2, 0.2, 0.8))


def test_large_vectors_limit_the_number_of_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BASIS_BYTES", 7 * 8 * len(BULK))
    assert len(lanczos(matrix_with(BULK).matmul, torch.ones(len(BULK), dtype=torch.float64), 20).values) == 7
