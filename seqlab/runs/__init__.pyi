from .config import Config as Config
from .config import TrainingConfig as TrainingConfig
from .folder import RunFolder as RunFolder
from .load import LoadedRun as LoadedRun
from .load import load_run as load_run
from .overrides import config_from_yaml as config_from_yaml
from .overrides import override as override
from .validate import ConfigError as ConfigError
