from . import data as data
from . import models as models
from . import nn as nn
from . import objectives as objectives
from . import optim as optim
from . import search as search
from . import testing as testing
from .evaluation.metrics import evaluate as evaluate
from .inference.load_by_task import load as load
from .recipes.find import config_for as config_for
from .recipes.find import recipe as recipe
from .registry import register as register
from .runs.config import Config as Config
from .training.cross_validation import train_folds as train_folds
from .training.range_test import range_test as range_test
from .training.train import train as train

__version__: str
