"""What is optimised: (model, batch, context) to a `Loss`. All families of objectives are named here, once."""

from seqlab.objectives.config import (
    CmlmConfig,
    CrossEntropyConfig,
    CtcConfig,
    ObjectiveConfig,
    ParallelCrossEntropyConfig,
    RDropConfig,
    ScheduledSamplingConfig,
)
from seqlab.objectives.cross_entropy import CrossEntropy
from seqlab.objectives.ctc import Ctc
from seqlab.objectives.loss import Loss, Objective, StepContext
from seqlab.objectives.parallel import Cmlm, ParallelCrossEntropy
from seqlab.objectives.r_drop import RDrop
from seqlab.objectives.scheduled_sampling import ScheduledSampling

OBJECTIVES = {
    CrossEntropyConfig: CrossEntropy,
    RDropConfig: RDrop,
    ScheduledSamplingConfig: ScheduledSampling,
    CtcConfig: Ctc,
    ParallelCrossEntropyConfig: ParallelCrossEntropy,
    CmlmConfig: Cmlm,
}

__all__ = [
    "OBJECTIVES",
    "Cmlm",
    "CmlmConfig",
    "CrossEntropy",
    "CrossEntropyConfig",
    "Ctc",
    "CtcConfig",
    "Loss",
    "Objective",
    "ObjectiveConfig",
    "ParallelCrossEntropy",
    "ParallelCrossEntropyConfig",
    "RDrop",
    "RDropConfig",
    "ScheduledSampling",
    "ScheduledSamplingConfig",
    "StepContext",
]
