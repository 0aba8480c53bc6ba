"""How weights move: optimizers, schedules and averages."""

from seqlab.optim.config import OptimConfig
from seqlab.optim.optimizers import build_optimizer
from seqlab.optim.schedules import learning_rate

__all__ = ["OptimConfig", "build_optimizer", "learning_rate"]
