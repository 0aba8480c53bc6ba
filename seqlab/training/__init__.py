"""Training: one update, the loop around it, and a run folder that can be continued bit for bit."""

from seqlab.training.failure import FailedStep
from seqlab.training.folds import FoldsReport, train_folds
from seqlab.training.range_test import RangeTest, range_test
from seqlab.training.stopping import Interrupted
from seqlab.training.train import train

__all__ = ["FailedStep", "FoldsReport", "Interrupted", "RangeTest", "range_test", "train", "train_folds"]
