"""Base class of `data` sections for recordings."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from seqlab.audio.channel_names import Channel
from seqlab.base.bounds import MAX_COUNT, Count, CountOrZero, NonNegative, Positive
from seqlab.base.config_class import dataclass
from seqlab.data.config import SETTINGS, DataConfig, PathSpecs
from seqlab.data.folds import FoldKind

if TYPE_CHECKING:
    from seqlab.audio.augmentation import Augmentation
    from seqlab.data.manifests import Manifest

Share = Annotated[float, Field(ge=0, le=1)]
Decibels = Annotated[float, Field(ge=-200, le=200)]


@dataclass(frozen=True, config=SETTINGS, kw_only=True)
class RecordingsConfig(DataConfig):
    """Base class of sections for recordings."""

    path_fields: ClassVar[tuple[str, ...]] = ("train", "extra_train", "valid", "test")
    rows_name: ClassVar[str] = "recordings"
    in_folders: ClassVar[bool] = False
    """Whether a folder with a subfolder of recordings for each label is a valid manifest."""
    codec_fields: ClassVar[tuple[str, ...]] = ("sample_rate", "num_bands", "window_ms", "hop_ms", "normalise", "level")

    train: Annotated[PathSpecs, Field(min_length=1)]
    """Training data: lists of recordings (.jsonl, .csv, .tsv, .parquet with the columns `audio` and `text`),
    Kaldi-style folders, or datasets as `hub:NAME:SPLIT`. Paths of recordings are relative to the list."""

    extra_train: PathSpecs = Field(default_factory=list)
    """Additional training data, such as synthetic speech, which is never held out for validation or in a fold.
    Recordings are excluded if their transcript is in a held-out split but not in the training split."""

    valid: str | None = None
    """Validation data; by default, held out of the training data."""

    test: PathSpecs = Field(default_factory=list)
    """Test data, which is not used in training."""

    audio_column: str = "audio"
    """Column with the path of a recording; in a dataset, with the recording itself."""

    text_column: str = "text"
    """Column with the transcript or the label."""

    channel: Channel = ""
    """Channel of recordings whose list names none in the column `channel`: a number from 1, `left`, `right`, or the
    `mean` of all (the default). The run reads new recordings in the same way."""

    sample_rate: Annotated[int, Field(ge=4000, le=48000)] = 16000
    """Sample rate that all recordings are converted to, in Hz."""

    num_bands: Annotated[int, Field(ge=8, le=256)] = 80
    """Number of mel bands of a frame."""

    window_ms: Positive = 25.0
    """Length of a frame in milliseconds."""

    hop_ms: Positive = 10.0
    """Milliseconds between the starts of successive frames."""

    normalise: Literal["corpus", "recording", "none"] = "corpus"
    """Normalize each band to mean 0 and standard deviation 1 over all training recordings, over each recording, or
    not."""

    level: Literal["equal", "kept"] = "equal"
    """Level of the recordings: `equal` makes features that do not depend on the level of a recording or on a constant
    offset, and labels not on silence at both ends; `kept` leaves them to the model, for labels that depend on it."""

    on_fault: Literal["skip", "refuse"] = "skip"
    """Handling of recordings that are missing, empty, damaged or silent: skip them with a warning, or refuse the
    corpus."""

    min_seconds: Positive = 0.05
    """Minimum duration; shorter recordings are excluded."""

    max_seconds: Positive = 30.0
    """Maximum duration in training; longer recordings are excluded."""

    valid_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Share of the training data held out for validation if `valid` is not given."""

    num_folds: Annotated[int, Field(ge=2, le=MAX_COUNT)] = 5
    """Number of cross-validation folds of the training data, if `test_fold` is given."""

    test_fold: Count | None = None
    """Number of the test fold, from 1, which is excluded from training and validation; null for none."""

    folds: FoldKind = "plain"
    """Assignment of recordings to folds: at random, keeping recordings with the same transcript together (`plain`),
    with equal shares of each label (`stratified`), keeping recordings with the same value of `fold_column` together
    (`grouped`, for speakers; in validation data that are held out, too), or one fold per value of `fold_column`
    (`given`)."""

    fold_column: str | None = None
    """Column with groups or folds."""

    fold_seed: CountOrZero = 1
    """Seed of the folds and of the held-out validation data, independent of the seed of the run."""

    augment_speed: Annotated[float, Field(ge=0, lt=0.5)] = 0.0
    """Maximum change of speed and pitch in training (Ko et al. 2015): 0.1 for factors of 0.9 to 1.1."""

    augment_volume: NonNegative = 0.0
    """Maximum change of the level, in dB; with `level: equal` only the clipping of loud recordings remains."""

    augment_noise: Share = 0.0
    """Share of recordings with added noise, at `augment_noise_db`."""

    augment_noise_db: tuple[Decibels, Decibels] = (10.0, 40.0)
    """Minimum and maximum signal-to-noise ratio, in dB."""

    augment_room: Share = 0.0
    """Share of recordings with added room reverberation."""

    augment_narrowband: Share = 0.0
    """Share of recordings limited to frequencies below 4 kHz, as over a telephone."""

    augment_codec: Share = 0.0
    """Share of recordings passed through a telephone codec (mu-law or GSM 06.10)."""

    augment_time_masks: CountOrZero = 0
    """Number of time masks of each recording (SpecAugment, Park et al. 2019)."""

    augment_time_frames: Count = 40
    """Maximum length of a time mask, in frames; at most a fifth of the recording."""

    augment_frequency_masks: CountOrZero = 0
    """Number of frequency masks of each recording."""

    augment_frequency_bands: Count = 15
    """Maximum width of a frequency mask, in bands."""

    batch_seconds: Positive = 120.0
    """Seconds of audio in a step, over all ranks and micro-steps."""

    micro_batch_seconds: Positive = 60.0
    """Maximum seconds of audio in a micro-step, including padding."""

    workers: Count = 1
    """Number of threads that compute features; the features do not depend on it."""

    prefetch_steps: CountOrZero = 4
    """Number of steps prepared ahead in a background thread."""

    @property
    def memory_advice(self) -> str:
        """Advice for a step that runs out of memory."""
        return f"lower `data.micro_batch_seconds` (now {self.micro_batch_seconds:g}) or the model's size"

    @property
    def augmentation(self) -> Augmentation:
        """Augmentation of training recordings."""
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
        """Return the manifest of a path spec."""
        from seqlab.data.manifests import open_manifest

        return open_manifest(spec, self.audio_column, self.text_column, in_folders=self.in_folders)

    def input_specs(self) -> list[Any]:
        """Return the manifests of all fields; their hashes cover the recordings."""
        return [self.manifest(spec) for name in self.path_fields for spec in self._specs(name)]

    def column_of(self, spec: str) -> str | None:
        """Return None: columns are given by fields of the config."""
        return None

    def for_fold(self, number: int, num_folds: int) -> Self:
        """Return a copy that tests on one fold, numbered from 1; validation data is held out of the other folds."""
        return replace(self, num_folds=num_folds, test_fold=number)

    def check_folds(self, num_folds: int) -> list[str]:
        """Check the division of the recordings into folds by their lists; return warnings of shared speakers."""
        from seqlab.data.recording_splits import check_recording_folds

        return check_recording_folds([self.for_fold(number, num_folds) for number in range(1, num_folds + 1)])

    @model_validator(mode="after")
    def _check_recordings(self) -> Self:
        if self.folds in ("grouped", "given") and self.fold_column is None:
            raise ValueError(f"`folds: {self.folds}` needs a column with groups or folds: set `fold_column`.")
        if self.fold_column is not None and self.folds not in ("grouped", "given"):
            raise ValueError("`fold_column` requires `folds: grouped` or `folds: given`: set one of them.")
        if self.test_fold is not None and self.test_fold > self.num_folds:
            raise ValueError(f"`test_fold` ({self.test_fold}) must be at most `num_folds` ({self.num_folds}).")
        if self.hop_ms > self.window_ms:
            raise ValueError(f"`hop_ms` ({self.hop_ms:g}) must be at most `window_ms` ({self.window_ms:g}).")
        if self.min_seconds * 1000 < self.window_ms * (1 + self.augment_speed):
            raise ValueError(
                f"`min_seconds` ({self.min_seconds:g}) must be at least one window (`window_ms` {self.window_ms:g}), "
                "even after `augment_speed` makes a recording shorter."
            )
        lowest, highest = self.augment_noise_db
        if not lowest <= highest:
            raise ValueError(f"`augment_noise_db` must be (lowest, highest), but is {self.augment_noise_db} instead.")
        if self.min_seconds >= self.max_seconds:
            raise ValueError(
                f"`min_seconds` ({self.min_seconds:g}) must be below `max_seconds` ({self.max_seconds:g})."
            )
        return self
