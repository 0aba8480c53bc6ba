"""Search for the first infinite or NaN value of a forward and backward pass, by hooks of modules and tensors."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class NonFinite:
    """The first non-finite value of a pass."""

    phase: str
    """`forward`: in the outputs of a module; `loss`: in the loss of finite outputs; `backward`: in a gradient;
    `norm`: in the norm of finite gradients."""
    name: str
    """Name of the module or parameter; empty for the loss."""
    kind: str
    """Class of the module; `parameter` for a parameter; empty for the loss."""
    largest: float
    """Largest finite magnitude of the values from which it was computed: inputs of the module in the forward pass,
    outputs of the model for the loss, the gradient of the module's outputs in the backward pass; of all gradients for
    the norm."""
    side: str = ""
    """`inputs` or `outputs` of the module: in the forward pass its values, in the backward pass their gradient."""

    @property
    def text(self) -> str:
        """Describe where the value arose."""
        module, largest = f"`{self.name}` ({self.kind})", f"{self.largest:.3g}"
        if self.phase == "loss":
            return f"in the loss: the outputs of the model are finite, with magnitudes up to {largest}"
        if self.phase == "norm":
            return f"in the norm of the gradient: all gradients are finite, with magnitudes up to {largest}"
        if self.phase == "forward" and self.side == "inputs":
            return f"in the forward pass, in the inputs of {module}: the batch itself has such values"
        if self.phase == "forward":
            return f"in the forward pass, in the outputs of {module}; the magnitudes of its inputs are up to {largest}"
        if self.kind == "parameter":
            return f"in the backward pass, in the gradient of the parameter `{self.name}`"
        if self.side == "outputs":
            return (
                f"in the backward pass, in the gradient of the outputs of {module}: the computation that reads them, "
                "outside of a module, has such a derivative"
            )
        return (
            f"in the backward pass, in the gradient of the inputs of {module}; the gradient of its outputs has "
            f"magnitudes up to {largest}"
        )


class NonFiniteSearch:
    """Hooks that record the first non-finite value of a forward and backward pass.

    Masks contain -inf: an output whose only non-finite value is -inf counts only if there is no other one, and if the
    last output, which the loss reads, is not finite, either.
    """

    def __init__(self) -> None:
        self._forward: NonFinite | None = None
        self._minus_infinity: NonFinite | None = None
        self._backward: NonFinite | None = None
        self._largest_output = 0.0
        self._is_last_output_finite = True
        self._largest_gradient: dict[str, float] = {}
        """Module -> largest finite magnitude of the gradient of its outputs."""

    @contextmanager
    def watch(self, model: nn.Module, objective: Any) -> Iterator[None]:
        """Record within this context. The names of modules are those of the model; `objective.` is before others."""
        named = [(name or "model", module) for name, module in model.named_modules()]
        parameters = dict(model.named_parameters())
        if isinstance(objective, nn.Module):
            owned = {id(module) for _, module in named}
            named += [
                (f"objective.{name}".rstrip("."), m) for name, m in objective.named_modules() if id(m) not in owned
            ]
            parameters |= {f"objective.{name}": p for name, p in objective.named_parameters()}
        handles: list[Any] = []
        for name, module in named:
            handles.append(module.register_forward_pre_hook(partial(self._on_input, name), with_kwargs=True))
            handles.append(module.register_forward_hook(partial(self._on_output, name), with_kwargs=True))
        handles += [p.register_hook(partial(self._on_parameter, n)) for n, p in parameters.items() if p.requires_grad]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def result(self, total: Tensor) -> NonFinite | None:
        """Return the first non-finite value, given the loss () of the pass; None if all are finite."""
        if self._forward is not None:
            return self._forward
        if not torch.isfinite(total):
            masked = None if self._is_last_output_finite else self._minus_infinity
            return masked or NonFinite("loss", "", "", self._largest_output)
        return self._backward

    def _on_input(self, name: str, module: nn.Module, inputs: Any, keywords: Any) -> tuple[Any, Any]:
        """Give each reader of a tensor a view of its own, whose gradient is that of this reader alone."""
        views: dict[int, Tensor] = {}

        def view_of(value: Any) -> Any:
            if not (isinstance(value, Tensor) and value.requires_grad):
                return value
            if id(value) not in views:
                views[id(value)] = value.view_as(value)
                views[id(value)].register_hook(partial(self._on_gradient, name, module, "inputs"))
            return views[id(value)]

        return tuple(map(view_of, inputs)), {key: view_of(value) for key, value in keywords.items()}

    def _on_output(self, name: str, module: nn.Module, inputs: Any, keywords: Any, outputs: Any) -> None:
        read, written = list(_floats((inputs, keywords))), list(_floats(outputs))
        self._largest_output = max(map(_largest, written), default=self._largest_output)
        is_finite = all(bool(torch.isfinite(output).all()) for output in written)
        self._is_last_output_finite = is_finite
        if not is_finite and self._forward is None:
            non_finite = NonFinite(
                "forward",
                name,
                type(module).__name__,
                max(map(_largest, read), default=0.0),
                "outputs" if all(bool(torch.isfinite(argument).all()) for argument in read) else "inputs",
            )
            if all(bool((torch.isfinite(output) | (output == -torch.inf)).all()) for output in written):
                self._minus_infinity = self._minus_infinity or non_finite
            else:
                self._forward = non_finite
        for tensor in written:
            if tensor.requires_grad:
                tensor.register_hook(partial(self._on_gradient, name, module, "outputs"))

    def _on_gradient(self, name: str, module: nn.Module, side: str, gradient: Tensor) -> None:
        largest = self._largest_gradient.get(name, 0.0)
        if side == "outputs":
            self._largest_gradient[name] = largest = max(largest, _largest(gradient))
        if self._backward is None and not bool(torch.isfinite(gradient).all()):
            self._backward = NonFinite("backward", name, type(module).__name__, largest, side)

    def _on_parameter(self, name: str, gradient: Tensor) -> None:
        if self._backward is None and not bool(torch.isfinite(gradient).all()):
            self._backward = NonFinite("backward", name, "parameter", _largest(gradient))


def _floats(value: Any) -> Iterator[Tensor]:
    """Yield the floating-point tensors of a nested value."""
    if isinstance(value, Tensor):
        if value.is_floating_point():
            yield value
    elif isinstance(value, Mapping):
        yield from _floats(list(value.values()))
    elif isinstance(value, list | tuple):
        for member in value:
            yield from _floats(member)
    elif is_dataclass(value) and not isinstance(value, type):
        yield from _floats([getattr(value, item.name) for item in fields(value)])


def _largest(tensor: Tensor) -> float:
    """Return the largest finite magnitude; 0 without any."""
    magnitudes = tensor.detach().abs().nan_to_num(0.0, 0.0, 0.0)
    return float(magnitudes.max()) if magnitudes.numel() else 0.0
