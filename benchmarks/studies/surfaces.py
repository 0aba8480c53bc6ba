"""Study of optimizer paths on two-dimensional surfaces: a ravine, a saddle and a plateau."""

from collections.abc import Callable
from math import isfinite
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.studies.optimizers import OPTIMIZERS
from benchmarks.studies.study import Study, table
from seqlab.optim import MultiGradientOptimizer, OptimizerConfig, Parameters

STEPS = 80
LRS = (1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3, 1.0)
GROUPS = {
    "by the gradient": ("SGD", "momentum", "Nesterov"),
    "adaptive": ("Adagrad", "RMSProp", "Adam", "SAM", "schedule-free"),
}
"""Without Muon, which needs matrices, and AdamW and RAdam, which differ little from Adam here."""


def ravine(w: Tensor) -> Tensor:
    """Compute a ravine that is 50 times as steep across as along."""
    return 0.5 * (w[..., 0].square() + 50 * w[..., 1].square())


def saddle(w: Tensor) -> Tensor:
    """Compute a surface with a saddle at the origin and minima of 0 at (0, -1) and (0, 1)."""
    return w[..., 0].square() + 0.5 * (w[..., 1].square() - 1).square()


def plateau(w: Tensor) -> Tensor:
    """Compute a surface that is nearly flat except for a hole at the origin."""
    return 1 - torch.exp(-0.5 * w.square().sum(-1))


SURFACES: dict[str, tuple[Callable[[Tensor], Tensor], tuple[float, float]]] = {
    "ravine": (ravine, (-4.0, 1.0)),
    "saddle": (saddle, (-1.5, 0.01)),
    "plateau": (plateau, (-2.4, 1.6)),
}
"""Functions of weights (..., 2) by name, each with its starting point."""


def path_of(
    config: OptimizerConfig, surface: Callable[[Tensor], Tensor], start: tuple[float, float]
) -> list[list[float]]:
    """Return the weights before each step and after the last step."""
    w = nn.Parameter(torch.tensor(start))
    optimizer: Any = config.build(Parameters([w]))
    found = [w.tolist()]

    def gradient() -> Tensor:
        optimizer.zero_grad()
        surface(w).backward()
        assert w.grad is not None
        return w.grad.norm()

    for _ in range(STEPS):
        if isinstance(optimizer, MultiGradientOptimizer):
            optimizer.update(gradient)
        else:
            gradient()
            optimizer.step()
        found.append(w.tolist())
    return found


def run(folder: Path, quick: bool) -> Study:
    """Tune the lr of each optimizer on the ravine by the mean height of the path, and use it for all surfaces."""
    panels: dict[str, dict[str, Any]] = {f"{surface}, {group}": {} for group in GROUPS for surface in SURFACES}
    rows = []
    for group, names in GROUPS.items():
        for name in names:
            config_of = OPTIMIZERS[name][0]
            paths = {lr: path_of(config_of(lr=lr), *SURFACES["ravine"]) for lr in LRS}
            heights = {lr: float(ravine(torch.tensor(path)).mean()) for lr, path in paths.items()}
            lr = min((lr for lr in LRS if isfinite(heights[lr])), key=heights.__getitem__)
            row = [name, f"{lr:g}"]
            for surface, (function, start) in SURFACES.items():
                path = path_of(config_of(lr=lr), function, start)
                x, y = zip(*path, strict=True)
                panels[f"{surface}, {group}"][name] = {"x": [round(v, 3) for v in x], "y": [round(v, 3) for v in y]}
                row.append(f"{float(function(torch.tensor(path[-1]))):.2g}")
            rows.append(row)
    curves = {"title": f"{STEPS} steps from the same start", "x": "first weight", "y": "second weight"}
    return Study([table(["optimizer", "lr", *SURFACES], rows)], {**curves, "panels": panels, "contours": _contours()})


def _contours() -> dict[str, Any]:
    """Return the heights of each surface on a grid."""
    x, y = torch.linspace(-4.5, 2.5, 43), torch.linspace(-2.2, 2.2, 31)
    grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)
    return {
        f"{name}, {group}": {"x": x.tolist(), "y": y.tolist(), "z": [[round(v, 2) for v in row] for row in heights]}
        for name, (function, _) in SURFACES.items()
        for heights in [function(grid).tolist()]
        for group in GROUPS
    }
