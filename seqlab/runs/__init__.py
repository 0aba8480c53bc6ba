"""The run folder: config, weights and tokenizers, written, read and turned back into a model."""

from seqlab.runs.build import build_model
from seqlab.runs.config import Config, TrainingConfig
from seqlab.runs.folder import RunFolder
from seqlab.runs.load import LoadedRun, load_run

__all__ = ["Config", "LoadedRun", "RunFolder", "TrainingConfig", "build_model", "load_run"]
