"""The `data` section of the config of a transcription run: recordings and their transcripts."""

from typing import ClassVar, Literal

from pydantic import Field

from seqlab.base.config_class import dataclass
from seqlab.data.config import SETTINGS, DataConfig
from seqlab.data.recordings_config import RecordingsConfig, Share
from seqlab.text import CharactersConfig, TokenizerConfig
from seqlab.text.transcripts import TranscriptForm

RECOGNIZER = "a speech recognizer"
"""`DataConfig.model_noun` of the task."""


@dataclass(frozen=True, config=SETTINGS, kw_only=True)
class TranscriptionConfig(RecordingsConfig):
    """Recordings and their transcripts."""

    kind: Literal["transcription"] = "transcription"
    """Kind of data."""

    defaults: ClassVar[dict[str, str | float]] = {"training.valid_metric": "wer"}
    task_name: ClassVar[str] = "seqlab.tasks.transcription.task:TranscriptionTask"
    loader_name: ClassVar[str] = "seqlab.tasks.transcription.transcriber:load_transcriber"
    zero_config_name: ClassVar[str] = "seqlab.tasks.transcription.task:from_recordings"
    model_noun: ClassVar[str] = RECOGNIZER
    usage_hint: ClassVar[str] = "transcribes recordings: use `seqlab transcribe` or `seqlab score`"
    command_handlers: ClassVar[dict[str, str]] = {"score": "seqlab.tasks.transcription.commands:score_transcripts"}
    next_command: ClassVar[str] = "seqlab transcribe {} RECORDING ..."
    task_metrics: ClassVar[tuple[str, ...]] = ("wer", "cer")
    codec_fields: ClassVar[tuple[str, ...]] = (*RecordingsConfig.codec_fields, "transcripts")

    tokenizer: TokenizerConfig = Field(default_factory=CharactersConfig)
    """Tokenizer of the transcripts."""

    transcripts: TranscriptForm = "plain"
    """Normalization of transcripts for training and error rates: lower case without punctuation (`plain`), lower case
    (`lower`), or none (`none`)."""

    augment_nonspeech: Share = 0.0
    """Share of training recordings replaced by silence, noise or music with an empty transcript. Without such examples,
    a model outputs words for silence, noise and music."""

    @property
    def tokenizer_folders(self) -> list[str]:
        """Names of the folders of a run that contain its codecs."""
        return ["src_codec", "tgt_tokenizer"]

    def reused_tokenizers(self, old: DataConfig) -> list[str]:
        """Return the folders to copy from a run: the source codec and, from a transcription run, the tokenizer."""
        return self.tokenizer_folders if old.kind == self.kind else ["src_codec"]
