"""Mean loss of fixed rows as a function of the weights, with its gradient and Hessian-vector products.

Derivatives are those of plain PyTorch (`seqlab.nn.reference_kernels`): a Hessian-vector product differentiates the
inner product of gradient and vector (Pearlmutter 1994), at two to three times the cost of a gradient.

Shapes: P trainable weights, flattened into one vector.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from seqlab.data.batch import DivisibleBatch
from seqlab.diagnosis.workbench import Learner, Losses
from seqlab.nn import reference_kernels
from seqlab.objectives.loss import CollectingObjective
from seqlab.training.accumulator import seeded

ROWS_PER_PASS = 32
"""Number of rows whose computation graph is in memory at once."""


class MeanLoss:
    """Mean loss per unit of fixed rows, as a function of the trainable weights of a model.

    The model is in evaluation mode, in the dtype of its weights. Random numbers of the objective are the same in each
    call.
    """

    def __init__(self, learner: Learner, rows: Sequence[DivisibleBatch], rows_per_pass: int = ROWS_PER_PASS) -> None:
        """Set the rows.

        Raises:
            ValueError: the model has no trainable weights, no row has a target, or the objective trains on samples or
                episodes, which change with the weights.
        """
        self.learner, self._context = learner, learner.bench.context
        self._device = learner.bench.device_context.device
        self.parameters = [p for p in learner.model.parameters() if p.requires_grad]
        if not self.parameters:
            family = learner.config.model.family
            raise ValueError(f"`model.family: {family}` has no weights that gradients train: its loss has no surface.")
        if isinstance(learner.objective, CollectingObjective):
            raise ValueError(
                f"`objective.family: {learner.config.objective.family}` trains on samples or episodes that change with "
                "the weights: its loss is not a function of the weights alone and has no surface."
            )
        parts = [batch.select(part) for batch in rows for part in torch.arange(len(batch.indices)).split(rows_per_pass)]
        self.rows = [batch.to(self._device) for batch in parts if batch.num_targets]
        masks = dict(learner.accumulator.trained_row_masks)
        kept = [masks.get(p, torch.ones_like(p)).flatten() for p in self.parameters]
        self._is_trained = torch.cat(kept).bool() if masks else None
        learner.model.eval()
        with torch.no_grad():
            counts = np.array([self._terms(number)[1] for number in range(len(self.rows))])
        if not counts.size or not counts.sum(0).all():
            raise ValueError("The loss of the selected rows has no units, such as target tokens: select other rows.")
        self._counts, self._factors = counts[:, 0], counts[:, 0].sum() / counts.sum(0)

    @property
    def weights(self) -> Tensor:
        """A copy of the current weights (P,)."""
        return self.flatten(self.parameters)

    @property
    def num_weights(self) -> int:
        """Number of trainable weights; frozen rows of embeddings are not among them."""
        return len(self.weights)

    @contextmanager
    def moved(self, step: Tensor) -> Iterator[None]:
        """Add a step (P,) to the weights within this context."""
        before = [parameter.detach().clone() for parameter in self.parameters]
        try:
            for parameter, part in zip(self.parameters, self.split(step), strict=True):
                parameter.detach().add_(part)
            yield
        finally:
            for parameter, value in zip(self.parameters, before, strict=True):
                parameter.detach().copy_(value)

    def split(self, vector: Tensor) -> list[Tensor]:
        """Divide a vector (P,) into tensors of the shapes of the parameters, 0 at frozen elements."""
        if self._is_trained is not None:
            vector = torch.zeros(len(self._is_trained)).to(vector).masked_scatter(self._is_trained, vector)
        parts = vector.split([p.numel() for p in self.parameters])
        return [part.view_as(p) for part, p in zip(parts, self.parameters, strict=True)]

    def losses(self, step: Tensor | None = None) -> Losses:
        """Compute the loss of each batch of rows, at the weights plus a step (P,)."""
        if step is not None:
            with self.moved(step):
                return self.losses()
        with torch.no_grad():
            terms = [self._terms(number) for number in range(len(self.rows))]
        return Losses(np.array([float(self._join(totals)) for totals, _ in terms]), self._counts)

    def gradient(self) -> tuple[Tensor, float]:
        """Compute the gradient (P,), and the norm of its standard error over batches of rows."""
        counts = self._counts
        total, weighted, squares = torch.zeros_like(weights := self.weights), torch.zeros_like(weights), 0.0
        for number, count in enumerate(counts):
            with reference_kernels():
                gradient = self.flatten(
                    torch.autograd.grad(self._total(number), self.parameters, materialize_grads=True)
                )
            total += gradient
            weighted += count * gradient
            squares += float(gradient.double().square().sum())
        mean = total / counts.sum()
        residuals = squares - 2 * float(weighted @ mean) + float((counts**2).sum() * mean.double().square().sum())
        groups = len(counts)
        variance = max(0.0, residuals) * groups / (groups - 1) if groups > 1 else float("nan")
        return mean, variance**0.5 / float(counts.sum())

    def hessian_product(self, vector: Tensor) -> Tensor:
        """Multiply the Hessian by a vector (P,): (P,)."""
        total = torch.zeros_like(vector)
        for product in self._products(vector):
            total += product
        return total / self._counts.sum()

    def curvature(self, direction: Tensor) -> Losses:
        """Compute the second derivative v^T H v of the loss of each batch along a unit vector v (P,)."""
        totals = [float(direction @ product) for product in self._products(direction)]
        return Losses(np.array(totals), self._counts)

    def _products(self, vector: Tensor) -> Iterator[Tensor]:
        """Yield the product of the Hessian of the summed loss of each batch with a vector (P,)."""
        for number in range(len(self.rows)):
            with reference_kernels():
                yield self.flatten(self._differentiate(self._gradient_graph(number), vector, False))

    def hessian(self) -> Tensor:
        """Compute the Hessian (P, P), in fp64; for small models."""
        identity = torch.eye(self.num_weights, device=self._device, dtype=self.parameters[0].dtype)
        total = torch.zeros(len(identity), len(identity), dtype=torch.float64, device=self._device)
        for number in range(len(self.rows)):
            with reference_kernels():
                graph = self._gradient_graph(number)
                for index, unit in enumerate(identity):
                    total[index] += self.flatten(self._differentiate(graph, unit, True))
        return (total + total.T) / (2 * self._counts.sum())

    def _gradient_graph(self, number: int) -> tuple[Tensor | None, ...]:
        """Compute the gradient of the summed loss of a batch with its graph; None for unused parameters."""
        return torch.autograd.grad(self._total(number), self.parameters, create_graph=True, allow_unused=True)

    def _differentiate(self, graph: Sequence[Tensor | None], vector: Tensor, retain: bool) -> Sequence[Tensor]:
        """Differentiate the inner product of a gradient and a vector (P,)."""
        pairs = zip(graph, self.split(vector), strict=True)
        used = [(gradient, part) for gradient, part in pairs if gradient is not None and gradient.requires_grad]
        if not used:  # the loss is linear in the weights
            return [torch.zeros_like(parameter) for parameter in self.parameters]
        gradients, parts = zip(*used, strict=True)
        try:
            return torch.autograd.grad(gradients, self.parameters, parts, retain, materialize_grads=True)
        except NotImplementedError as error:  # a layer of a plugin, such as nn.EmbeddingBag
            family = self.learner.config.model.family
            raise ValueError(f"`model.family: {family}` has a layer without second derivatives: {error}") from None

    def _total(self, number: int) -> Tensor:
        """Compute the differentiable summed loss of a batch, in units of its first term."""
        return self._join(self._terms(number)[0])

    def _join(self, totals: Sequence[Tensor]) -> Tensor:
        """Add the terms of a loss, each divided by its own number of units, times the units of the first term."""
        return torch.stack([total * factor for total, factor in zip(totals, self._factors.tolist(), strict=True)]).sum()

    def _terms(self, number: int) -> tuple[list[Tensor], list[float]]:
        """Compute the sums of the terms of the loss of a batch, and their numbers of units."""
        with seeded(self.learner.config.seed, self._device) as generator:
            context = replace(self._context, generator=generator)
            loss = self.learner.objective(self.learner.model, self.rows[number], context)
        return [term.total for term in loss.terms], [float(term.count) for term in loss.terms]

    def flatten(self, tensors: Sequence[Tensor]) -> Tensor:
        """Concatenate tensors of the shapes of the parameters, without frozen elements: (P,)."""
        flat = torch.cat([tensor.detach().flatten() for tensor in tensors])
        return flat if self._is_trained is None else flat[self._is_trained]
