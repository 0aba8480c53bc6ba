"""Generative classifiers: a Gaussian of the inputs for each class, and Bayes' rule (Fisher 1936).

Shapes: N examples of D numbers, K classes, G covariance matrices: K, or 1 where all classes share one.
"""

import math
from collections.abc import Iterable
from math import prod
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from seqlab.data.batch import ValueBatch
from seqlab.models.config import SETTINGS
from seqlab.models.predictor import InputSide, PredictorConfig, TargetSide
from seqlab.nn import kernels

SMALLEST_PIVOT = 1e-12
"""Of a covariance matrix, in units of the largest: below it is a rounding error."""


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class GaussianClassifierConfig(PredictorConfig):
    """A Gaussian for each class, fitted in one pass: linear or quadratic discriminant analysis, or naive Bayes."""

    family: Literal["gaussian_classifier"] = "gaussian_classifier"
    """Which architecture this is."""
    covariance: Literal["shared", "own", "diagonal"] = "shared"
    """One covariance matrix for all classes (linear discriminant analysis), one for each (quadratic discriminant
    analysis), or a variance for each class and number (naive Bayes)."""
    shrinkage: Annotated[float, Field(ge=0, le=1)] = 0.1
    """How far a covariance matrix is moved towards its mean variance times the identity: needed where there are few
    examples for so many numbers (Ledoit & Wolf 2004)."""

    is_count_based: ClassVar[bool] = True
    default_objective: ClassVar[str] = "softmax"

    def check_data(self, data: Any) -> None:
        """Raise ValueError where the targets are not classes."""
        if data.predicts != "class":
            raise ValueError(
                f"`model.family: {self.family}` predicts classes, but `data.predicts` is `{data.predicts}`."
            )
        if data.augments:
            raise ValueError(
                f"`model.family: {self.family}` is fitted to the examples as they are: leave `data.augment_...` out."
            )

    def build(self, src: InputSide, tgt: TargetSide) -> "GaussianClassifier":
        """Build the model, which is not fitted yet."""
        return GaussianClassifier(self, prod(src.shape), tgt.size)


class GaussianClassifier(nn.Module):
    """A `Predictor` whose scores are log p(inputs, class) in nats: their softmax is p(class | inputs)."""

    def __init__(self, config: GaussianClassifierConfig, inputs: int, classes: int) -> None:
        super().__init__()
        self.config = config
        groups = 1 if config.covariance == "shared" else classes
        shape = (groups, inputs) if config.covariance == "diagonal" else (groups, inputs, inputs)
        self.means = _fitted(classes, inputs)
        self.whiten = _fitted(*shape)
        """The inverse of each covariance matrix's Cholesky factor; of variances the inverse of the root."""
        self.constants = _fitted(classes)
        """log p(class), and what does not depend on the inputs in the logarithm of the density."""

    def fit(self, examples: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Fit to examples, in parts: inputs (N, ...) and classes (N,).

        Priors, means and covariances are shares and moments of the examples (maximum likelihood).

        Raises:
            ValueError: a class has too few examples, or a covariance matrix is singular.
        """
        (classes, size), kind = self.means.shape, self.config.covariance
        counts = torch.zeros(classes, dtype=torch.float64)
        sums = torch.zeros(classes, size, dtype=torch.float64)
        squares = torch.zeros(self.whiten.shape, dtype=torch.float64)
        for inputs, numbers in examples:
            x = inputs.flatten(1).double()
            counts += torch.bincount(numbers, minlength=classes)
            sums.index_add_(0, numbers, x)
            if kind == "shared":
                squares[0] += x.T @ x
            for k in numbers.unique().tolist() if kind != "shared" else ():
                own = x[numbers == k]
                squares[k] += own.square().sum(0) if kind == "diagonal" else own.T @ own
        self._check_counts(counts)
        means, shares = sums / counts[:, None], counts / counts.sum()
        if kind == "shared":
            covariances = squares / counts.sum() - (means.T @ (shares[:, None] * means))
        elif kind == "own":
            covariances = squares / counts[:, None, None] - means[:, :, None] * means[:, None]
        else:
            covariances = squares / counts[:, None] - means.square()
        whiten, log_dets = self._inverse_root(self._shrunk(covariances))
        self.means.copy_(means)
        self.whiten.copy_(whiten)
        self.constants.copy_(shares.log() - 0.5 * (log_dets + size * math.log(2 * math.pi)))

    def forward(self, batch: ValueBatch) -> Tensor:
        """Score a batch: (B, K)."""
        x = batch.src.flatten(1)
        with torch.autocast(x.device.type, enabled=False):
            if self.config.covariance == "shared":
                whitened, middles = kernels.linear(x, self.whiten[0]), kernels.linear(self.means, self.whiten[0])
                distances = [(whitened - middle).square().sum(1) for middle in middles]  # (B,) each
            elif self.config.covariance == "own":
                pairs = zip(self.means, self.whiten, strict=True)
                distances = [kernels.linear(x - mean, whiten).square().sum(1) for mean, whiten in pairs]
            else:
                pairs = zip(self.means, self.whiten, strict=True)
                distances = [((x - mean) * whiten).square().sum(1) for mean, whiten in pairs]
        return self.constants - 0.5 * torch.stack(distances, dim=1)

    def _check_counts(self, counts: Tensor) -> None:
        """Raise ValueError where a class has too few examples (K,) for its own moments."""
        needed = 1 if self.config.covariance == "shared" else 2
        if (counts < needed).any():
            number = int((counts < needed).nonzero()[0])
            raise ValueError(
                f"Class {number + 1} of {len(counts)}, in the order of their names, has {int(counts[number])} training "
                f"examples, but `model.covariance: {self.config.covariance}` needs {needed} at least."
            )

    def _shrunk(self, covariances: Tensor) -> Tensor:
        """(G, D, D), or (G, D) -> the same, moved towards the mean variance of each."""
        share = self.config.shrinkage
        if covariances.dim() == 2:
            return (1 - share) * covariances + share * covariances.mean(1, keepdim=True)
        mean = covariances.diagonal(dim1=1, dim2=2).mean(1)[:, None, None]
        return (1 - share) * covariances + share * mean * torch.eye(covariances.size(1), dtype=covariances.dtype)

    def _inverse_root(self, covariances: Tensor) -> tuple[Tensor, Tensor]:
        """(G, D, D), or (G, D) -> what makes each the identity, and the logarithms (G,) of their determinants."""
        advice = f"raise `model.shrinkage` (now {self.config.shrinkage}), or leave out inputs that are constant"
        if covariances.dim() == 2:
            if (covariances <= SMALLEST_PIVOT * covariances.amax()).any():
                raise ValueError(f"An input is the same in all examples of a class: {advice}.")
            return covariances.rsqrt(), covariances.log().sum(1)
        roots, failures = torch.linalg.cholesky_ex(covariances)
        pivots = roots.diagonal(dim1=1, dim2=2).square()
        if failures.any() or (pivots <= SMALLEST_PIVOT * pivots.amax()).any():
            raise ValueError(f"The inputs depend on each other linearly, or one is constant: {advice}.")
        identity = torch.eye(covariances.size(1), dtype=covariances.dtype).expand_as(covariances)
        inverse = torch.linalg.solve_triangular(roots, identity, upper=False)
        return inverse, pivots.log().sum(1)


def _fitted(*shape: int) -> nn.Parameter:
    """Make a weight that is fitted, not optimised."""
    return nn.Parameter(torch.zeros(shape), requires_grad=False)
