"""Refuse second derivatives through backward passes that are written by hand."""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch

P = ParamSpec("P")
T = TypeVar("T")


def refuse_second_derivative(backward: Callable[P, T]) -> Callable[P, T]:
    """Let the backward pass of an `autograd.Function` raise RuntimeError where it is to be differentiated again.

    What it reads of the forward pass was computed there without a graph: a second derivative would lack those parts, or
    be 0, and nobody would know. torch's `once_differentiable` raises only where the incoming gradient has a graph,
    which that of a sum has not.
    """

    @functools.wraps(backward)
    def checked(*args: P.args, **kwargs: P.kwargs) -> T:
        if torch.is_grad_enabled():  # in a backward pass only by `create_graph=True`
            raise RuntimeError(
                "A second derivative was asked for (`create_graph=True`), but some of seqlab's kernels have backward "
                "passes that cannot be differentiated: compute it within `seqlab.nn.reference_kernels()`."
            )
        return backward(*args, **kwargs)

    return checked
