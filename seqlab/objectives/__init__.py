"""Training objectives: functions of (model, batch, context) that return a `Loss`, each in a file with its config."""

from seqlab.objectives.cross_entropy import CrossEntropy, CrossEntropyConfig
from seqlab.objectives.ctc import Ctc, CtcConfig
from seqlab.objectives.loss import SETTINGS, Loss, ModelFactory, Objective, ObjectiveConfig, StepContext, TextSide
from seqlab.objectives.minimum_risk import MinimumRisk, MinimumRiskConfig
from seqlab.objectives.parallel_cross_entropy import Cmlm, CmlmConfig, ParallelCrossEntropy, ParallelCrossEntropyConfig
from seqlab.objectives.policy_gradient import PolicyGradient, PolicyGradientConfig
from seqlab.objectives.prediction_losses import (
    AbsoluteErrorConfig,
    HuberConfig,
    PredictionLoss,
    PredictionLossConfig,
    Predictor,
    SigmoidConfig,
    SoftmaxConfig,
    SquaredErrorConfig,
)
from seqlab.objectives.r_drop import RDrop, RDropConfig
from seqlab.objectives.scheduled_sampling import MixingDecoder, ScheduledSampling, ScheduledSamplingConfig

__all__ = [
    "SETTINGS",
    "AbsoluteErrorConfig",
    "Cmlm",
    "CmlmConfig",
    "CrossEntropy",
    "CrossEntropyConfig",
    "Ctc",
    "CtcConfig",
    "HuberConfig",
    "Loss",
    "MinimumRisk",
    "MinimumRiskConfig",
    "MixingDecoder",
    "ModelFactory",
    "Objective",
    "ObjectiveConfig",
    "ParallelCrossEntropy",
    "ParallelCrossEntropyConfig",
    "PolicyGradient",
    "PolicyGradientConfig",
    "PredictionLoss",
    "PredictionLossConfig",
    "Predictor",
    "RDrop",
    "RDropConfig",
    "ScheduledSampling",
    "ScheduledSamplingConfig",
    "SigmoidConfig",
    "SoftmaxConfig",
    "SquaredErrorConfig",
    "StepContext",
    "TextSide",
]
