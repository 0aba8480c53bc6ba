"""Training: updates, the training loop, and checkpoints from which a run resumes bit for bit."""

from seqlab.training.cross_validation import FoldsReport, train_folds
from seqlab.training.failure import FailedStep
from seqlab.training.range_test import RangeTest, range_test
from seqlab.training.stopping import Interrupted
from seqlab.training.train import train

__all__ = ["FailedStep", "FoldsReport", "Interrupted", "RangeTest", "range_test", "train", "train_folds"]
