"""Eigenvalues of a symmetric matrix that is given by its products with vectors: exact, by Lanczos, or as a density.

The Lanczos algorithm finds the extreme eigenvalues after a few products (Lanczos 1950; Golub and Van Loan, chapter 10).
Each Ritz value has a residual: an eigenvalue lies within it. With random starting vectors, the Ritz values and the
squared first components of their eigenvectors also estimate the density of all eigenvalues (stochastic Lanczos
quadrature; Ubaru et al. 2017; Ghorbani et al. 2019, arXiv:1901.10159).

Shapes: P size of the matrix, M Lanczos steps, K starting vectors.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

RELATIVE_TOLERANCE = 1e-4
"""Eigenvalues of at most this share of the largest absolute one count as 0: fp32 does not determine their signs."""
MAX_BASIS_BYTES = 1 << 30
"""Maximum memory of the Lanczos vectors, which limits the number of steps of a large model."""
BREAKDOWN = 1e-6
"""Norm of the next Lanczos vector, as a share of the largest Ritz value, at which the vectors span an invariant
subspace: all Ritz values are then eigenvalues."""

Product = Callable[[Tensor], Tensor]
"""Multiply the matrix by a vector (P,)."""
Values = NDArray[np.float64]


class Eigenpair(NamedTuple):
    """An approximate eigenvalue with its vector."""

    value: float
    residual: float
    """Norm of A v - value v: an eigenvalue lies within this distance of the value."""
    vector: Tensor
    """(P,), of length 1."""


class LanczosRun(NamedTuple):
    """Ritz values of one starting vector, ascending."""

    values: Values
    weights: Values
    """(M,): squared components of the starting vector, which sum to 1."""
    lowest: Eigenpair
    highest: Eigenpair


def lanczos(product: Product, start: Tensor, num_steps: int) -> LanczosRun:
    """Run Lanczos steps from a vector (P,), with full reorthogonalization; fewer if they span an invariant subspace."""
    size = len(start)
    num_steps = max(1, min(num_steps, size, MAX_BASIS_BYTES // (size * start.element_size())))
    basis = start.new_empty(num_steps, size)
    basis[0] = start / start.norm()
    diagonal, off_diagonal = np.zeros(num_steps), np.zeros(num_steps)
    for step in range(num_steps):
        vector = product(basis[step])
        diagonal[step] = float(vector @ basis[step])
        for _ in range(2):  # twice is enough (Parlett 1998, section 6.9)
            vector = vector - basis[: step + 1].T @ (basis[: step + 1] @ vector)
        off_diagonal[step] = float(vector.norm())
        if off_diagonal[step] <= BREAKDOWN * np.abs(np.concatenate([diagonal, off_diagonal[:step]])).max():
            num_steps = step + 1
            break
        if step + 1 < num_steps:
            basis[step + 1] = vector / off_diagonal[step]
    couplings = off_diagonal[: num_steps - 1]
    values, vectors = np.linalg.eigh(np.diag(diagonal[:num_steps]) + np.diag(couplings, 1) + np.diag(couplings, -1))
    residuals = off_diagonal[num_steps - 1] * np.abs(vectors[-1])

    def pair(index: int) -> Eigenpair:
        vector = torch.from_numpy(vectors[:, index]).to(basis) @ basis[:num_steps]
        return Eigenpair(float(values[index]), float(residuals[index]), vector / vector.norm())

    return LanczosRun(values, vectors[0] ** 2, pair(0), pair(-1))


@dataclass(frozen=True)
class Share:
    """An estimated share of eigenvalues."""

    value: float
    standard_error: float
    """Over starting vectors; 0 for an exact spectrum, NaN for a single vector."""
    bounds: tuple[float, float]
    """Bounds of the quadrature with these starting vectors (Chebyshev, Markov, Stieltjes), which more steps tighten."""

    def to_json(self) -> dict[str, Any]:
        """Render for JSON."""
        error = None if np.isnan(self.standard_error) else self.standard_error
        return {"value": self.value, "standard_error": error, "bounds": list(self.bounds)}


@dataclass(frozen=True)
class Spectrum:
    """Eigenvalues of a symmetric matrix: all of them, or a quadrature of their density."""

    size: int
    """Number of eigenvalues."""
    values: Sequence[Values]
    """Eigenvalues, or Ritz values of each starting vector, ascending."""
    weights: Sequence[Values]
    """Share of the eigenvalues that each value stands for; the weights of a starting vector sum to 1."""
    lowest: Eigenpair
    highest: Eigenpair
    is_exact: bool

    @property
    def tolerance(self) -> float:
        """Absolute value up to which an eigenvalue counts as 0."""
        return RELATIVE_TOLERANCE * max(abs(self.lowest.value), abs(self.highest.value))

    @property
    def negative(self) -> Share:
        """Share of the eigenvalues below minus the tolerance."""
        return self._share_below(-self.tolerance)

    @property
    def positive(self) -> float:
        """Share of the eigenvalues above the tolerance."""
        return 1 - self._share_below(self.tolerance).value

    @property
    def minimum_ratio(self) -> float:
        """Share of the eigenvalues that are not below minus the tolerance; 1 at a minimum, flat directions included."""
        return 1 - self.negative.value

    def _share_below(self, limit: float) -> Share:
        counts = [int((values < limit).sum()) for values in self.values]
        sums = [np.concatenate([[0.0], weights.cumsum()]) for weights in self.weights]
        shares = np.array([cumulative[count] for cumulative, count in zip(sums, counts, strict=True)])
        mean = float(shares.mean())
        if self.is_exact:
            return Share(mean, 0.0, (mean, mean))
        error = float(shares.std(ddof=1) / len(shares) ** 0.5) if len(shares) > 1 else float("nan")
        lowest = np.mean([cumulative[max(0, count - 1)] for cumulative, count in zip(sums, counts, strict=True)])
        highest = np.mean(
            [cumulative[min(len(cumulative) - 1, count + 1)] for cumulative, count in zip(sums, counts, strict=True)]
        )
        return Share(mean, error, (float(lowest), min(1.0, float(highest))))

    def to_json(self) -> dict[str, Any]:
        """Render for JSON, without eigenvectors."""
        return {
            "exact": self.is_exact,
            "weights": self.size,
            "lowest": {"value": self.lowest.value, "residual": self.lowest.residual},
            "highest": {"value": self.highest.value, "residual": self.highest.residual},
            "tolerance": self.tolerance,
            "minimum_ratio": self.minimum_ratio,
            "negative": self.negative.to_json(),
            "positive": self.positive,
            "density": {
                "values": np.concatenate(self.values).tolist(),
                "shares": (np.concatenate(self.weights) / len(self.weights)).tolist(),
            },
        }


def exact_spectrum(matrix: Tensor) -> Spectrum:
    """Compute all eigenvalues of a symmetric matrix (P, P)."""
    values, vectors = torch.linalg.eigh(matrix)
    lowest, highest = (
        Eigenpair(float(values[index]), float((matrix @ vector - values[index] * vector).norm()), vector)
        for index in (0, -1)
        for vector in [vectors[:, index]]
    )
    nodes = values.double().cpu().numpy()
    return Spectrum(len(nodes), [nodes], [np.full(len(nodes), 1 / len(nodes))], lowest, highest, True)


def estimate_spectrum(
    product: Product, like: Tensor, num_steps: int = 30, num_starts: int = 3, seed: int = 1
) -> Spectrum:
    """Estimate the spectrum of a symmetric matrix by Lanczos runs from random vectors (P,) of the type of `like`."""
    generator = torch.Generator().manual_seed(seed)
    runs: list[LanczosRun] = []
    for _ in range(num_starts):
        start = torch.randn(len(like), generator=generator, dtype=torch.float64).to(like)
        runs.append(lanczos(product, start, num_steps))
    lowest = min((run.lowest for run in runs), key=lambda pair: pair.value)
    highest = max((run.highest for run in runs), key=lambda pair: pair.value)
    return Spectrum(len(like), [run.values for run in runs], [run.weights for run in runs], lowest, highest, False)
