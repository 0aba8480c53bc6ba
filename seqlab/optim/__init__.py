"""How weights move: optimizers, schedules and averages."""

from seqlab.optim.config import OptimConfig
from seqlab.optim.muon import MuonConfig
from seqlab.optim.optimizers import (
    SETTINGS,
    AdamConfig,
    AdamWConfig,
    OptimizerConfig,
    Parameters,
    RAdamConfig,
    SgdConfig,
)
from seqlab.optim.schedules import (
    ConstantScheduleConfig,
    CosineScheduleConfig,
    InverseSqrtScheduleConfig,
    LinearScheduleConfig,
    ScheduleConfig,
    WarmupConfig,
)

__all__ = [
    "SETTINGS",
    "AdamConfig",
    "AdamWConfig",
    "ConstantScheduleConfig",
    "CosineScheduleConfig",
    "InverseSqrtScheduleConfig",
    "LinearScheduleConfig",
    "MuonConfig",
    "OptimConfig",
    "OptimizerConfig",
    "Parameters",
    "RAdamConfig",
    "ScheduleConfig",
    "SgdConfig",
    "WarmupConfig",
]
