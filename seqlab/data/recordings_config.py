"""The base of `data` sections whose examples are recordings: which, how they are read, changed and batched."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from seqlab.base.bounds import MAX_COUNT, Count, CountOrZero, NonNegative, Positive
from seqlab.data.config import SETTINGS, DataConfig, PathSpecs
from seqlab.data.folds import FoldKind

if TYPE_CHECKING:
    from seqlab.audio.augmentation import Augmentation
    from seqlab.data.manifests import Manifest

Share = Annotated[float, Field(ge=0, le=1)]
Decibels = Annotated[float, Field(ge=-200, le=200)]


@dataclass(frozen=True, config=SETTINGS, kw_only=True)
class RecordingsConfig(DataConfig):
    """The base of sections whose examples are recordings."""

    path_fields: ClassVar[tuple[str, ...]] = ("train", "extra_train", "valid", "test")
    rows_name: ClassVar[str] = "recordings"
    in_folders: ClassVar[bool] = False
    """Whether a folder with one subfolder of recordings for each label counts as a list."""
    codec_fields: ClassVar[tuple[str, ...]] = ("sample_rate", "num_bands", "window_ms", "hop_ms", "normalise")

    train: Annotated[PathSpecs, Field(min_length=1)]
    """Training data: lists of recordings (.jsonl, .csv, .tsv, .parquet with the columns `audio` and `text`),
    Kaldi-style folders, or datasets as `hub:NAME:SPLIT`. Paths of recordings are relative to the list."""

    extra_train: PathSpecs = Field(default_factory=list)
    """More training data, such as synthetic speech, none of which is held out for validation or in a fold. Recordings
    whose transcript is in a held-out part, and not in the training part, are left out of it."""

    valid: str | None = None
    """Validation data; when left out, a part of the training data."""

    test: PathSpecs = Field(default_factory=list)
    """Test data, which training does not look at."""

    audio_column: str = "audio"
    """The column with the path of a recording, or of a dataset the recording itself."""

    text_column: str = "text"
    """The column with the transcript, or the label."""

    sample_rate: Annotated[int, Field(ge=4000, le=48000)] = 16000
    """Samples per second that all recordings are converted to."""

    num_bands: Annotated[int, Field(ge=8, le=256)] = 80
    """Mel bands of a frame."""

    window_ms: Positive = 25.0
    """Milliseconds of a frame."""

    hop_ms: Positive = 10.0
    """Milliseconds between the beginnings of two frames."""

    normalise: Literal["corpus", "recording", "none"] = "corpus"
    """Give each band mean 0 and standard deviation 1 over the training recordings, over each recording, or not."""

    on_fault: Literal["skip", "refuse"] = "skip"
    """Leave out recordings that cannot be used (missing, empty, damaged, silent), naming them, or refuse the corpus."""

    min_seconds: Positive = 0.05
    """Shorter recordings are left out."""

    max_seconds: Positive = 30.0
    """Longer recordings are left out of training."""

    valid_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Share that is held out for validation where there are no validation data."""

    num_folds: Annotated[int, Field(ge=2, le=MAX_COUNT)] = 5
    """Folds that the training data are divided into where `test_fold` names one."""

    test_fold: Count | None = None
    """The fold, from 1, that is neither trained nor validated on; null for none."""

    folds: FoldKind = "plain"
    """How recordings are dealt to folds: at random, equal transcripts in one (`plain`), each with as much of each label
    (`stratified`), all with the same value of `fold_column` in one (`grouped`, for speakers), or by its values
    (`given`)."""

    fold_column: str | None = None
    """The column of groups or of folds."""

    fold_seed: CountOrZero = 1
    """Seed of the folds and of the validation part, apart from the seed of the run."""

    augment_speed: Annotated[float, Field(ge=0, lt=0.5)] = 0.0
    """Largest change of speed and pitch in training (Ko et al. 2015): 0.1 for 0.9 to 1.1 times as fast."""

    augment_volume: NonNegative = 0.0
    """Largest change of the level, in dB."""

    augment_noise: Share = 0.0
    """Share of the recordings that noise is added to, at `augment_noise_db`."""

    augment_noise_db: tuple[Decibels, Decibels] = (10.0, 40.0)
    """Lowest and highest ratio of speech to noise, in dB."""

    augment_room: Share = 0.0
    """Share of the recordings that are given the echo of a room."""

    augment_narrowband: Share = 0.0
    """Share of the recordings that lose all above 4 kHz, as over a telephone."""

    augment_codec: Share = 0.0
    """Share of the recordings that pass through a codec of telephones (mu-law, or GSM 06.10)."""

    augment_time_masks: CountOrZero = 0
    """Time masks of each recording (SpecAugment, Park et al. 2019)."""

    augment_time_frames: Count = 40
    """Longest of these stretches, in frames; at most a fifth of the recording."""

    augment_frequency_masks: CountOrZero = 0
    """Frequency masks of each recording."""

    augment_frequency_bands: Count = 15
    """Widest of these stretches, in bands."""

    batch_seconds: Positive = 120.0
    """Seconds of speech in a step, over all ranks and micro-steps."""

    micro_batch_seconds: Positive = 60.0
    """Seconds of speech in a micro-step at most, padding counted."""

    workers: Count = 1
    """Threads that compute features; any number of them gives the same features."""

    prefetch_steps: CountOrZero = 4
    """Steps that are prepared ahead, in a background thread."""

    @property
    def memory_advice(self) -> str:
        """What to change where a step takes too much memory."""
        return f"lower `data.micro_batch_seconds` (now {self.micro_batch_seconds:g}) or the model's size"

    @property
    def augmentation(self) -> Augmentation:
        """How training changes recordings."""
        from seqlab.audio.augmentation import Augmentation

        return Augmentation(
            speed=self.augment_speed,
            volume_db=self.augment_volume,
            noise_probability=self.augment_noise,
            noise_snr_db=self.augment_noise_db,
            room_probability=self.augment_room,
            narrowband_probability=self.augment_narrowband,
            codec_probability=self.augment_codec,
            time_masks=self.augment_time_masks,
            time_mask_frames=self.augment_time_frames,
            frequency_masks=self.augment_frequency_masks,
            frequency_mask_bins=self.augment_frequency_bands,
        )

    def manifest(self, spec: str) -> Manifest:
        """Open a list of recordings by its path spec."""
        from seqlab.data.manifests import open_manifest

        return open_manifest(spec, self.audio_column, self.text_column, in_folders=self.in_folders)

    def input_specs(self) -> list[Any]:
        """Return the lists, whose content is that of the recordings on them, too."""
        return [self.manifest(spec) for name in self.path_fields for spec in self._specs(name)]

    def column_of(self, spec: str) -> str | None:
        """Return None: columns have fields of their own."""
        return None

    def of_fold(self, number: int, num_folds: int) -> Self:
        """Return the section that holds out one of some folds, from 1, besides a validation part of the others."""
        return replace(self, num_folds=num_folds, test_fold=number)

    @model_validator(mode="after")
    def _check_recordings(self) -> Self:
        if self.folds in ("grouped", "given") and self.fold_column is None:
            raise ValueError(f"`folds: {self.folds}` needs a column of groups or folds: set `fold_column`.")
        if self.fold_column is not None and self.folds not in ("grouped", "given"):
            raise ValueError("`fold_column` is for `folds: grouped` and `folds: given`: set one of them.")
        if self.test_fold is not None and self.test_fold > self.num_folds:
            raise ValueError(f"`test_fold` ({self.test_fold}) must be at most `num_folds` ({self.num_folds}).")
        if self.hop_ms > self.window_ms:
            raise ValueError(f"`hop_ms` ({self.hop_ms:g}) must be at most `window_ms` ({self.window_ms:g}).")
        if self.min_seconds * 1000 < self.window_ms * (1 + self.augment_speed):
            raise ValueError(
                f"`min_seconds` ({self.min_seconds:g}) must be at least one window (`window_ms` {self.window_ms:g}), "
                "also of a recording that `augment_speed` makes shorter."
            )
        lowest, highest = self.augment_noise_db
        if not lowest <= highest:
            raise ValueError(f"`augment_noise_db` must be (lowest, highest), but is {self.augment_noise_db} instead.")
        if self.min_seconds >= self.max_seconds:
            raise ValueError(
                f"`min_seconds` ({self.min_seconds:g}) must be below `max_seconds` ({self.max_seconds:g})."
            )
        return self
