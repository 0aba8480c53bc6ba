"""What is optimised: (model, batch, context) to a `Loss`. All families of objectives are named here, once."""

from seqlab.objectives.config import CrossEntropyConfig, ObjectiveConfig
from seqlab.objectives.cross_entropy import CrossEntropy
from seqlab.objectives.loss import Loss, Objective, StepContext

OBJECTIVES = {CrossEntropyConfig: CrossEntropy}

__all__ = [
    "OBJECTIVES",
    "CrossEntropy",
    "CrossEntropyConfig",
    "Loss",
    "Objective",
    "ObjectiveConfig",
    "StepContext",
]
