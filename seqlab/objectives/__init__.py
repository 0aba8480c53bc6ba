"""What is optimised: (model, batch, context) to a `Loss`. All families of objectives are named here, once."""

from seqlab.objectives.config import (
    CrossEntropyConfig,
    CtcConfig,
    ObjectiveConfig,
    RDropConfig,
    ScheduledSamplingConfig,
)
from seqlab.objectives.cross_entropy import CrossEntropy
from seqlab.objectives.ctc import Ctc
from seqlab.objectives.loss import Loss, Objective, StepContext
from seqlab.objectives.r_drop import RDrop
from seqlab.objectives.scheduled_sampling import ScheduledSampling

OBJECTIVES = {
    CrossEntropyConfig: CrossEntropy,
    RDropConfig: RDrop,
    ScheduledSamplingConfig: ScheduledSampling,
    CtcConfig: Ctc,
}

__all__ = [
    "OBJECTIVES",
    "CrossEntropy",
    "CrossEntropyConfig",
    "Ctc",
    "CtcConfig",
    "Loss",
    "Objective",
    "ObjectiveConfig",
    "RDrop",
    "RDropConfig",
    "ScheduledSampling",
    "ScheduledSamplingConfig",
    "StepContext",
]
