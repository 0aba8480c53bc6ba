"""What is optimised: (model, batch, context) to a `Loss`. All families of objectives are named here, once."""

from seqlab.objectives.config import CrossEntropyConfig, ObjectiveConfig, RDropConfig
from seqlab.objectives.cross_entropy import CrossEntropy
from seqlab.objectives.loss import Loss, Objective, StepContext
from seqlab.objectives.r_drop import RDrop

OBJECTIVES = {CrossEntropyConfig: CrossEntropy, RDropConfig: RDrop}

__all__ = [
    "OBJECTIVES",
    "CrossEntropy",
    "CrossEntropyConfig",
    "Loss",
    "Objective",
    "ObjectiveConfig",
    "RDrop",
    "RDropConfig",
    "StepContext",
]
