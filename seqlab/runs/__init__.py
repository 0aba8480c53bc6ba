"""The run folder: config, weights and tokenizers, written, read and turned back into a model."""

from seqlab.runs.build import build_model
from seqlab.runs.config import Config, TrainingConfig
from seqlab.runs.folder import RunFolder
from seqlab.runs.load import LoadedRun, load_run
from seqlab.runs.overrides import config_from_yaml, override
from seqlab.runs.validate import ConfigError

__all__ = [
    "Config",
    "ConfigError",
    "LoadedRun",
    "RunFolder",
    "TrainingConfig",
    "build_model",
    "config_from_yaml",
    "load_run",
    "override",
]
