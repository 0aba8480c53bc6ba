"""Guard of hand-written backward passes, which have no second derivative."""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch

P = ParamSpec("P")
T = TypeVar("T")


def refuse_second_derivative(backward: Callable[P, T]) -> Callable[P, T]:
    """Decorate the backward pass of an `autograd.Function` to raise RuntimeError under `create_graph=True`.

    Tensors saved by the forward pass have no graph, so a second derivative would be silently wrong. torch's
    `once_differentiable` raises only if the incoming gradient has a graph, but that of a sum has none.
    """

    @functools.wraps(backward)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
        if torch.is_grad_enabled():  # only with `create_graph=True`
            raise RuntimeError(
                "seqlab's fast kernels do not support second derivatives (`create_graph=True`): compute them within "
                "`seqlab.nn.reference_kernels()`."
            )
        return backward(*args, **kwargs)

    return guarded
