"""The six data sets of the benchmark."""

from benchmarks.diagnosis.data_sets.data_set import DataSet
from benchmarks.diagnosis.data_sets.images import IMAGES
from benchmarks.diagnosis.data_sets.labels import LABELS
from benchmarks.diagnosis.data_sets.recordings import RECORDINGS
from benchmarks.diagnosis.data_sets.table import TABLE
from benchmarks.diagnosis.data_sets.text import TEXT
from benchmarks.diagnosis.data_sets.translation import TRANSLATION

DATA_SETS: dict[str, DataSet] = {
    data_set.name: data_set for data_set in (TABLE, IMAGES, LABELS, TEXT, TRANSLATION, RECORDINGS)
}

__all__ = ["DATA_SETS", "DataSet"]
