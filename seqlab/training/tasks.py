"""The task of each kind of data; all are named here, once."""

from seqlab.data.config import ParallelConfig, TextConfig
from seqlab.training.language_modelling import LANGUAGE_MODELLING
from seqlab.training.task import Task
from seqlab.training.translation import TRANSLATION

TASKS: dict[type, Task] = {ParallelConfig: TRANSLATION, TextConfig: LANGUAGE_MODELLING}
