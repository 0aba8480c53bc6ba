"""What is optimised: (model, batch, context) to a `Loss`. Each objective is one file, with its config."""

from seqlab.objectives.cross_entropy import CrossEntropy, CrossEntropyConfig
from seqlab.objectives.ctc import Ctc, CtcConfig
from seqlab.objectives.loss import SETTINGS, Loss, Objective, ObjectiveConfig, StepContext
from seqlab.objectives.parallel import Cmlm, CmlmConfig, ParallelCrossEntropy, ParallelCrossEntropyConfig
from seqlab.objectives.r_drop import RDrop, RDropConfig
from seqlab.objectives.scheduled_sampling import ScheduledSampling, ScheduledSamplingConfig

__all__ = [
    "SETTINGS",
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
