"""The task of each kind of data; all are named here, once."""

from seqlab.data.config import LabelledConfig, ParallelConfig, TextConfig
from seqlab.training.labelling import LABELLING
from seqlab.training.language_modelling import LANGUAGE_MODELLING
from seqlab.training.task import Task
from seqlab.training.translation import TRANSLATION

TASKS: dict[type, Task] = {ParallelConfig: TRANSLATION, LabelledConfig: LABELLING, TextConfig: LANGUAGE_MODELLING}
