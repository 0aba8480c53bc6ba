"""The `data` section of a recogniser: recordings and their transcripts."""

from typing import ClassVar, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from seqlab.data.config import SETTINGS, DataConfig
from seqlab.data.recordings_config import RecordingsConfig, Share
from seqlab.text import CharactersConfig, TokenizerConfig
from seqlab.text.transcripts import TranscriptForm

RECOGNISER = "a recogniser"
"""The name of a trained run in messages."""


@dataclass(frozen=True, config=SETTINGS, kw_only=True)
class TranscriptionConfig(RecordingsConfig):
    """Recordings and their transcripts."""

    kind: Literal["transcription"] = "transcription"
    """What the corpora hold."""

    defaults: ClassVar[dict[str, str | float]] = {"training.valid_metric": "wer"}
    task_name: ClassVar[str] = "seqlab.tasks.transcription.task:Transcription"
    loader_name: ClassVar[str] = "seqlab.tasks.transcription.transcriber:load_transcriber"
    zero_config_name: ClassVar[str] = "seqlab.tasks.transcription.zero_config:from_recordings"
    product: ClassVar[str] = RECOGNISER
    purpose: ClassVar[str] = "transcribes recordings: use `seqlab transcribe` or `seqlab score`"
    serves: ClassVar[dict[str, str]] = {"score": "seqlab.tasks.transcription.commands:score_transcripts"}
    next_command: ClassVar[str] = "seqlab transcribe {} RECORDING ..."
    own_metrics: ClassVar[tuple[str, ...]] = ("wer", "cer")
    codec_fields: ClassVar[tuple[str, ...]] = (*RecordingsConfig.codec_fields, "transcripts")

    tokenizer: TokenizerConfig = Field(default_factory=CharactersConfig)
    """How transcripts become ids."""

    transcripts: TranscriptForm = "plain"
    """What transcripts are brought into before they are learnt and compared: lower case without punctuation (`plain`),
    lower case (`lower`), or as they are (`none`)."""

    augment_nonspeech: Share = 0.0
    """Share of the recordings in whose place training is given silence, noise or music, with an empty transcript: a
    model that has never heard any puts words into them."""

    @property
    def tokenizer_folders(self) -> list[str]:
        """Name the folders of a run that hold its codecs."""
        return ["src_codec", "tgt_tokenizer"]

    def taken_tokenizers(self, old: DataConfig) -> list[str]:
        """Name the codec of recordings, and the tokenizer of transcripts if the other run has one of them."""
        return self.tokenizer_folders if old.kind == self.kind else ["src_codec"]
