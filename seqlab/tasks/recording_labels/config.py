"""The `data` section of the config of a recording classification run."""

from typing import ClassVar, Literal

from seqlab.base.config_class import dataclass
from seqlab.data.config import SETTINGS, DataConfig
from seqlab.data.folds import FoldKind
from seqlab.data.recordings_config import RecordingsConfig

RECORDING_LABELER = "a labeler of recordings"
"""`DataConfig.model_noun` of the task."""


@dataclass(frozen=True, config=SETTINGS, kw_only=True)
class RecordingLabelsConfig(RecordingsConfig):
    """Recordings with one label each."""

    kind: Literal["recording_labels"] = "recording_labels"
    """Kind of data."""

    defaults: ClassVar[dict[str, str | float]] = {"training.valid_metric": "accuracy"}
    task_name: ClassVar[str] = "seqlab.tasks.recording_labels.task:RecordingLabelsTask"
    loader_name: ClassVar[str] = "seqlab.tasks.recording_labels.recordings_labeler:load_recording_labeler"
    zero_config_name: ClassVar[str] = "seqlab.tasks.recording_labels.task:from_labeled_recordings"
    model_noun: ClassVar[str] = RECORDING_LABELER
    usage_hint: ClassVar[str] = "labels recordings: use `seqlab label`"
    next_command: ClassVar[str] = "seqlab label {} --input LIST"
    command_handlers: ClassVar[dict[str, str]] = {"label": "seqlab.tasks.recording_labels.commands:label_recordings"}
    predicts: ClassVar[str] = "class"
    in_folders: ClassVar[bool] = True
    task_metrics: ClassVar[tuple[str, ...]] = ("accuracy", "macro_f1")

    folds: FoldKind = "stratified"
    """Assignment of recordings to folds: with equal label shares (`stratified`), at random (`plain`), keeping
    recordings with the same value of `fold_column`, such as a speaker, together (`grouped`; in validation data that are
    held out, too), or one fold per value of `fold_column` (`given`)."""

    def reused_tokenizers(self, old: DataConfig) -> list[str]:
        """Return only the folder of the source codec, as the labels of another run may differ."""
        return ["src_codec"]

    @property
    def tokenizer_folders(self) -> list[str]:
        """Names of the folders of a run that contain its codecs."""
        return ["src_codec", "tgt_codec"]
