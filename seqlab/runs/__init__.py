"""The run folder: config, weights and tokenizers, written, read and turned back into a model.

A name is imported when it is asked for: what only looks into the folder loads no torch.
"""

from typing import TYPE_CHECKING

from seqlab.late import late_names

if TYPE_CHECKING:
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
    "config_from_yaml",
    "load_run",
    "override",
]

if not TYPE_CHECKING:  # or any name would do
    __getattr__ = late_names(
        __name__,
        {
            "Config": "config",
            "ConfigError": "validate",
            "LoadedRun": "load",
            "RunFolder": "folder",
            "TrainingConfig": "config",
            "config_from_yaml": "overrides",
            "load_run": "load",
            "override": "overrides",
        },
    )
