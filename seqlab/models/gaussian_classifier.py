"""Gaussian discriminant analysis (LDA, QDA) and Gaussian naive Bayes (Fisher 1936).

Shapes: B or N examples of D features, C classes, G covariance matrices: C, or 1 if all classes share one.
"""

import math
from collections.abc import Iterable
from math import prod
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from seqlab.base.config_class import dataclass
from seqlab.data.batch import ValueBatch
from seqlab.models.config import SETTINGS
from seqlab.models.predictor import InputSide, PredictorConfig, TargetSide
from seqlab.nn import kernels

MIN_PIVOT = 1e-12
"""Minimum ratio of a pivot of a covariance matrix to the largest pivot; smaller pivots are rounding errors."""


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class GaussianClassifierConfig(PredictorConfig):
    """Linear or quadratic discriminant analysis, or Gaussian naive Bayes, fitted in one pass."""

    family: Literal["gaussian_classifier"] = "gaussian_classifier"
    """Name of the model family."""
    covariance: Literal["shared", "own", "diagonal"] = "shared"
    """Covariance matrices: one for all classes (`shared`: linear discriminant analysis), one per class (`own`:
    quadratic discriminant analysis), or a variance per class and feature (`diagonal`: naive Bayes)."""
    shrinkage: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Shrinkage of each covariance matrix: weight of the identity times the mean variance (Ledoit & Wolf 2004). Raise
    it if there are few examples for the number of features."""

    is_count_based: ClassVar[bool] = True
    tasks: ClassVar[tuple[str, ...]] = ("prediction",)
    default_objective: ClassVar[str] = "softmax"

    def check_data(self, data: Any) -> None:
        """Raise ValueError if the targets are not classes, or the data is augmented."""
        if data.predicts != "class":
            raise ValueError(
                f"`model.family: {self.family}` predicts classes, but `data.predicts` is `{data.predicts}`."
            )
        if data.augments:
            raise ValueError(
                f"`model.family: {self.family}` is fitted without data augmentation: remove `data.augment_...`."
            )

    def build(self, src: InputSide, tgt: TargetSide) -> "GaussianClassifier":
        """Build the model, not yet fitted."""
        return GaussianClassifier(self, prod(src.shape), tgt.size)


class GaussianClassifier(nn.Module):
    """Gaussian classifier; a `Predictor` of log p(inputs, class) in nats, whose softmax is p(class | inputs)."""

    def __init__(self, config: GaussianClassifierConfig, inputs: int, classes: int) -> None:
        super().__init__()
        self.config = config
        groups = 1 if config.covariance == "shared" else classes
        shape = (groups, inputs) if config.covariance == "diagonal" else (groups, inputs, inputs)
        self.means = _fitted_parameter(classes, inputs)
        self.whiten = _fitted_parameter(*shape)
        """Inverse Cholesky factor of each covariance matrix; for variances the inverse standard deviation."""
        self.constants = _fitted_parameter(classes)
        """log p(class) plus the constant part of the log density."""

    def fit(self, examples: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Fit to batches of examples: inputs (N, ...) and classes (N,).

        Priors, means and covariances are maximum-likelihood estimates; the covariances are then shrunk.

        Raises:
            ValueError: a class has too few examples, or a covariance matrix is singular.
        """
        (classes, size), kind = self.means.shape, self.config.covariance
        counts = torch.zeros(classes, dtype=torch.float64)
        sums = torch.zeros(classes, size, dtype=torch.float64)
        squares = torch.zeros(self.whiten.shape, dtype=torch.float64)
        for inputs, class_ids in examples:
            x = inputs.flatten(1).double()
            counts += torch.bincount(class_ids, minlength=classes)
            sums.index_add_(0, class_ids, x)
            if kind == "shared":
                squares[0] += x.T @ x
            for k in class_ids.unique().tolist() if kind != "shared" else ():
                members = x[class_ids == k]
                squares[k] += members.square().sum(0) if kind == "diagonal" else members.T @ members
        self._check_counts(counts)
        means, priors = sums / counts[:, None], counts / counts.sum()
        if kind == "shared":
            covariances = squares / counts.sum() - (means.T @ (priors[:, None] * means))
        elif kind == "own":
            covariances = squares / counts[:, None, None] - means[:, :, None] * means[:, None]
        else:
            covariances = squares / counts[:, None] - means.square()
        whiten, log_dets = self._inverse_root(self._shrink(covariances))
        self.means.copy_(means)
        self.whiten.copy_(whiten)
        self.constants.copy_(priors.log() - 0.5 * (log_dets + size * math.log(2 * math.pi)))

    def forward(self, batch: ValueBatch) -> Tensor:
        """Compute the outputs of a batch: (B, C)."""
        x = batch.src.flatten(1)
        with torch.autocast(x.device.type, enabled=False):
            if self.config.covariance == "shared":
                whitened, centers = kernels.linear(x, self.whiten[0]), kernels.linear(self.means, self.whiten[0])
                distances = [(whitened - center).square().sum(1) for center in centers]  # (B,) each
            elif self.config.covariance == "own":
                pairs = zip(self.means, self.whiten, strict=True)
                distances = [kernels.linear(x - mean, whiten).square().sum(1) for mean, whiten in pairs]
            else:
                pairs = zip(self.means, self.whiten, strict=True)
                distances = [((x - mean) * whiten).square().sum(1) for mean, whiten in pairs]
        return self.constants - 0.5 * torch.stack(distances, dim=1)

    def _check_counts(self, counts: Tensor) -> None:
        """Raise ValueError if a class has too few examples; `counts` (C,)."""
        needed = 1 if self.config.covariance == "shared" else 2
        if (counts < needed).any():
            i = int((counts < needed).nonzero()[0])
            raise ValueError(
                f"Class {i + 1} of {len(counts)}, in the order of their names, has {int(counts[i])} training "
                f"examples, but `model.covariance: {self.config.covariance}` needs at least {needed}."
            )

    def _shrink(self, covariances: Tensor) -> Tensor:
        """Shrink covariances (G, D, D), or variances (G, D), towards their mean variance."""
        weight = self.config.shrinkage
        if covariances.dim() == 2:
            return (1 - weight) * covariances + weight * covariances.mean(1, keepdim=True)
        mean = covariances.diagonal(dim1=1, dim2=2).mean(1)[:, None, None]
        return (1 - weight) * covariances + weight * mean * torch.eye(covariances.size(1), dtype=covariances.dtype)

    def _inverse_root(self, covariances: Tensor) -> tuple[Tensor, Tensor]:
        """Compute whitening factors of covariances (G, D, D), or variances (G, D), and log determinants (G,)."""
        advice = f"raise `model.shrinkage` (now {self.config.shrinkage}), or remove inputs that are constant"
        if covariances.dim() == 2:
            if (covariances <= MIN_PIVOT * covariances.amax()).any():
                raise ValueError(f"An input is constant in all examples of a class: {advice}.")
            return covariances.rsqrt(), covariances.log().sum(1)
        roots, failures = torch.linalg.cholesky_ex(covariances)
        pivots = roots.diagonal(dim1=1, dim2=2).square()
        if failures.any() or (pivots <= MIN_PIVOT * pivots.amax()).any():
            raise ValueError(f"The inputs are linearly dependent, or one is constant: {advice}.")
        identity = torch.eye(covariances.size(1), dtype=covariances.dtype).expand_as(covariances)
        inverse = torch.linalg.solve_triangular(roots, identity, upper=False)
        return inverse, pivots.log().sum(1)


def _fitted_parameter(*shape: int) -> nn.Parameter:
    """Create a parameter that is fitted in closed form, without a gradient."""
    return nn.Parameter(torch.zeros(shape), requires_grad=False)
