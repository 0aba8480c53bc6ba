"""Optimizers, learning-rate schedules and weight averaging."""

from seqlab.optim.config import OptimConfig
from seqlab.optim.muon import MuonConfig
from seqlab.optim.optimizers import (
    SETTINGS,
    AdagradConfig,
    AdamConfig,
    AdamWConfig,
    HasEvaluationWeights,
    MultiGradientOptimizer,
    OptimizerConfig,
    Parameters,
    RAdamConfig,
    RmspropConfig,
    SgdConfig,
)
from seqlab.optim.sam import SamConfig
from seqlab.optim.schedule_free import ScheduleFreeConfig
from seqlab.optim.schedules import (
    ConstantScheduleConfig,
    CosineScheduleConfig,
    ExponentialScheduleConfig,
    InverseSqrtScheduleConfig,
    LinearScheduleConfig,
    OneCycleScheduleConfig,
    PlateauScheduleConfig,
    ScheduleConfig,
    WarmupConfig,
)

__all__ = [
    "SETTINGS",
    "AdagradConfig",
    "AdamConfig",
    "AdamWConfig",
    "ConstantScheduleConfig",
    "CosineScheduleConfig",
    "ExponentialScheduleConfig",
    "HasEvaluationWeights",
    "InverseSqrtScheduleConfig",
    "LinearScheduleConfig",
    "MultiGradientOptimizer",
    "MuonConfig",
    "OneCycleScheduleConfig",
    "OptimConfig",
    "OptimizerConfig",
    "Parameters",
    "PlateauScheduleConfig",
    "RAdamConfig",
    "RmspropConfig",
    "SamConfig",
    "ScheduleConfig",
    "ScheduleFreeConfig",
    "SgdConfig",
    "WarmupConfig",
]
