"""What a backward pass that is written by hand cannot do."""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch

P = ParamSpec("P")
T = TypeVar("T")


def first_order(backward: Callable[P, T]) -> Callable[P, T]:
    """Let the backward pass of an `autograd.Function` raise RuntimeError where it is to be differentiated again.

    What it reads of the forward pass was computed there without a graph: a second derivative would lack those parts, or
    be 0, and nobody would know. torch's `once_differentiable` raises only where the incoming gradient has a graph,
    which that of a sum has not.
    """

    @functools.wraps(backward)
    def checked(*args: P.args, **kwargs: P.kwargs) -> T:
        if torch.is_grad_enabled():  # in a backward pass only by `create_graph=True`
            raise RuntimeError(
                "A second derivative was asked for (`create_graph=True`), but on the CPU seqlab's layers have backward "
                "passes of their own, which cannot be differentiated: compute it on a GPU, or with torch.nn's layers."
            )
        return backward(*args, **kwargs)

    return checked
