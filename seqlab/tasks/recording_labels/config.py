"""The `data` section of a labeller of recordings."""

from typing import ClassVar, Literal

from pydantic.dataclasses import dataclass

from seqlab.data.config import SETTINGS, DataConfig
from seqlab.data.folds import FoldKind
from seqlab.data.recordings_config import RecordingsConfig

RECORDING_LABELLER = "a labeller of recordings"
"""The name of a trained run in messages."""


@dataclass(frozen=True, config=SETTINGS, kw_only=True)
class RecordingLabelsConfig(RecordingsConfig):
    """Recordings with one label each."""

    kind: Literal["recording_labels"] = "recording_labels"
    """What the corpora hold."""

    defaults: ClassVar[dict[str, str | float]] = {"training.valid_metric": "accuracy"}
    task_name: ClassVar[str] = "seqlab.tasks.recording_labels.task:RecordingLabels"
    loader_name: ClassVar[str] = "seqlab.tasks.recording_labels.labeller:load_recording_labeller"
    zero_config_name: ClassVar[str] = "seqlab.tasks.recording_labels.zero_config:from_labels"
    product: ClassVar[str] = RECORDING_LABELLER
    purpose: ClassVar[str] = "labels recordings: use `seqlab label`"
    next_command: ClassVar[str] = "seqlab label {} --input LIST"
    serves: ClassVar[dict[str, str]] = {"label": "seqlab.tasks.recording_labels.commands:label_recordings"}
    predicts: ClassVar[str] = "class"
    in_folders: ClassVar[bool] = True
    own_metrics: ClassVar[tuple[str, ...]] = ("accuracy", "macro_f1")

    folds: FoldKind = "stratified"
    """How recordings are dealt to folds: each with as much of each label (`stratified`), at random (`plain`), all with
    the same value of `fold_column` in one (`grouped`, for speakers), or by its values (`given`)."""

    def taken_tokenizers(self, old: DataConfig) -> list[str]:
        """Name the codec of the recordings alone: labels have one of their own."""
        return ["src_codec"]

    @property
    def tokenizer_folders(self) -> list[str]:
        """Name the folders of a run that hold its codecs."""
        return ["src_codec", "tgt_codec"]
