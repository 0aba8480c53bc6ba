"""Transcription task: train on recordings with transcripts, validate by loss, word and character error rate."""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from seqlab.audio.codec import fit_recording_codec
from seqlab.audio.nonspeech import draw_nonspeech
from seqlab.base.world import ProgressCallback, World
from seqlab.data.batch import FrameBatch, collate_frames
from seqlab.data.epoch import seeded_generator
from seqlab.data.folders import MAX_NAMED
from seqlab.data.recording_splits import Indices
from seqlab.data.recording_steps import RecordingSteps
from seqlab.data.step import Position, TrainingStep
from seqlab.data.survey import PreparationProgress
from seqlab.data.tokenizer_training import SAMPLED_LINES, warn_of_undivided_words
from seqlab.evaluation import evaluate
from seqlab.inference.scorer import Scorer
from seqlab.models.unreachable_targets import LimitedModel, UnreachableTargets
from seqlab.runs.codecs import save_codec
from seqlab.runs.config import Config
from seqlab.runs.folder import RunFolder
from seqlab.runs.load import read_config
from seqlab.runs.overrides import Override
from seqlab.search.protocols import FrameModel
from seqlab.tasks.transcription.config import TranscriptionConfig
from seqlab.tasks.transcription.prepared_transcripts import PreparedTranscripts, read_transcripts
from seqlab.tasks.transcription.transcriber import Transcriber, load_transcriber
from seqlab.text import Tokenizer, train_tokenizer
from seqlab.training.recording_zero_config import choose_config_by_recordings
from seqlab.training.resume import refuse_changed_reading
from seqlab.training.task import Codecs, Split, Task, rows_of
from seqlab.training.validation import (
    EMPTY_SHARE,
    RunInTraining,
    Validation,
    inference_model,
    mean_nll,
    warn_of_word_metric,
)

logger = logging.getLogger(__name__)
CER_WEIGHT = 1e-9
"""Weight of the character error rate in the rank of a checkpoint by WER: less than one word in a billion."""
MAX_UNKNOWN_LISTED = 10
"""Maximum number of unknown characters or words in a warning."""
NONSPEECH_STREAM = 3
"""Seed component of the random numbers that select the recordings replaced by `augment_nonspeech`."""
BASE = {"data.kind": "transcription", "model.family": "recognizer", "objective.family": "ctc"}
"""Zero-config choices that do not depend on the recordings."""


def from_recordings(overrides: Sequence[Override]) -> Config:
    """Choose the fields that are not in `overrides`, based on the recordings; see `choose_config_by_recordings`."""
    return choose_config_by_recordings(overrides, BASE, {"nonspeech": 0.03})


def _data_config(config: Config) -> TranscriptionConfig:
    assert isinstance(config.data, TranscriptionConfig)
    return config.data


class TranscriptValidation(Validation):
    """Validation of transcripts: equal word error rates, such as 100 at the start, are ranked by characters."""

    def score(self, metric: str) -> float:
        """Return the score that ranks checkpoints: higher is better."""
        ties = CER_WEIGHT * super().score("cer") if metric == "wer" else 0.0
        return super().score(metric) + ties


class TranscriptionTask(Task):
    """Speech recognition, validated by the loss and by the error rates of decoded transcripts."""

    batch_type = FrameBatch
    unit = "recordings"
    needs = (Scorer, FrameModel)
    decodes = True

    def write_codecs(self, config: Config, folder: RunFolder, on_progress: PreparationProgress) -> dict[str, int]:
        """Fit the codec of the recordings, and train the tokenizer of the transcripts, on the training split."""
        data = _data_config(config)
        prepared = read_transcripts(data, folder.cache, on_progress)
        codec = fit_recording_codec(data, [prepared.recordings.waveform(i) for i in prepared.train.tolist()])
        save_codec(codec, folder, "src")
        return {"tgt_tokenizer": _train_tokenizer(data, prepared, folder)}

    def complete_codecs(self, config: Config, folder: RunFolder, on_progress: PreparationProgress) -> None:
        """Train the tokenizer of the transcripts if none was copied from `init_from`."""
        if not folder.tokenizer("tgt").is_dir():
            data = _data_config(config)
            _train_tokenizer(data, read_transcripts(data, folder.cache, on_progress), folder)

    def prepare(
        self, config: Config, codecs: Codecs, cache: Path, on_progress: PreparationProgress | None
    ) -> PreparedTranscripts:
        """Open the recordings and transcripts, and warn of transcripts that the model cannot output."""
        config.model.check_sides(*codecs)
        prepared = read_transcripts(_data_config(config), cache, on_progress, codecs[1])
        if on_progress is not None:
            warn_of_word_metric(config.training.valid_metric, [prepared.texts[i] for i in prepared.valid])
            for name, indices in (("training", prepared.train), ("validation", prepared.valid)):
                _warn_of_unknown(name, indices, prepared, codecs[1])
                _warn_of_unreachable(name, indices, prepared, config, codecs[0])
        return prepared

    def steps(
        self, data: PreparedTranscripts, config: Config, codecs: Codecs, world: World, after: Position | None
    ) -> Iterator[TrainingStep[FrameBatch]]:
        """Yield batches of recordings of similar length, with augmentation."""
        return recording_steps(data, config, codecs).steps(data.train, world.rank, world.world_size, after)

    def split_batches(
        self, data: PreparedTranscripts, config: Config, codecs: Codecs, split: Split
    ) -> Iterator[FrameBatch]:
        """Yield each recording of a split once, in batches of similar length, without augmentation.

        Recordings whose transcripts the model cannot output are left out, as in the loss of training.
        """
        indices = rows_of(data, split)
        unreachable = _unreachable(indices, data, config, codecs[0])
        reachable = indices if unreachable is None or unreachable.mask.all() else indices[~unreachable.mask]
        return (batch for _, batch in recording_steps(data, config, codecs).batches(reachable))

    def validate(self, run: RunInTraining, weights: dict[str, Tensor]) -> Validation:
        """Compute the loss, and the error rates of the decoded transcripts."""
        model, data = inference_model(run, weights), run.data
        nll = mean_nll(run, model, self.split_batches(data, run.config, run.codecs, "valid"))
        search, device = run.config.training.valid_search, run.device_context.device
        transcriber = Transcriber(model, run.codecs, search, device, reading=run.reading)
        waveforms = [data.recordings.waveform(i) for i in data.valid.tolist()]

        def transcribe(indices: list[int], on_rows: ProgressCallback | None) -> list[str]:
            return [transcript.text for transcript in transcriber.transcribe_waveforms([waveforms[i] for i in indices])]

        hypotheses = run.device_context.world.map_rows([len(waveform) for waveform in waveforms], transcribe)
        references = [run.tgt_tokenizer.normalize(data.texts[i]) for i in data.valid]
        empty_share = sum(not text for text in hypotheses) / len(hypotheses)
        names = dict.fromkeys(["wer", "cer", str(run.config.training.valid_metric)])
        metrics = [name for name in names if name != "nll"]
        scores = evaluate(hypotheses, [references], metrics)
        return TranscriptValidation(scores, nll, more={EMPTY_SHARE: empty_share})

    def validation_predictions(self, run_dir: Path) -> Iterator[dict[str, Any]]:
        """Yield the predicted transcript of each recording of the test fold, or without one of the validation split."""
        yield from _predictions(run_dir, "best", slice(None))

    def sample_outputs(self, run_dir: Path, checkpoint: str, rows: Sequence[int]) -> Iterator[dict[str, Any]]:
        """Yield the predicted transcripts of some of these recordings."""
        yield from _predictions(run_dir, checkpoint, list(rows))

    def training_texts(self, run_dir: Path) -> Iterator[str]:
        """Yield the training transcripts."""
        data = read_transcripts(_data_config(read_config(RunFolder(run_dir))), RunFolder(run_dir).cache, None)
        yield from (data.texts[index] for index in data.train.tolist())

    def fold_scores(self, predictions: Sequence[dict[str, Any]]) -> dict[str, float]:
        """Compute the error rates of the test fold."""
        texts, references = ([prediction[name] for prediction in predictions] for name in ("prediction", "target"))
        return {name: score.value for name, score in evaluate(texts, [references], ["wer", "cer"]).items()}

    def locate(self, data: PreparedTranscripts, index: int) -> str:
        """Return the location of a recording: the list and line that name it, or its file."""
        return data.recordings.locate(index)


def _predictions(run_dir: Path, checkpoint: str, rows: slice | list[int]) -> Iterator[dict[str, Any]]:
    """Yield predictions of a checkpoint for recordings of the test fold or, without one, of the validation split."""
    config = read_config(RunFolder(run_dir))
    data = read_transcripts(_data_config(config), RunFolder(run_dir).cache, None)
    refuse_changed_reading(RunFolder(run_dir), data.reading)
    indices = (data.splits.test if len(data.splits.test) else data.valid)[rows]
    transcriber = load_transcriber(run_dir, checkpoint, config.training.device)
    transcripts = transcriber.transcribe_waveforms([data.recordings.waveform(i) for i in indices])
    for index, transcript in zip(indices.tolist(), transcripts, strict=True):
        yield data.recordings.examples[index].prediction_record(transcript.text, data.texts[index])


def _train_tokenizer(data: TranscriptionConfig, prepared: PreparedTranscripts, folder: RunFolder) -> int:
    """Train and save the tokenizer of the training transcripts; return the size of its vocabulary."""
    texts = [prepared.texts[i] for i in prepared.train.tolist()]
    tokenizer = train_tokenizer(data.tokenizer, texts)
    if tokenizer.has_words:
        warn_of_undivided_words(data.train[0], texts[:SAMPLED_LINES])
    tokenizer.save(folder.tokenizer("tgt"))
    return tokenizer.vocab_size


def recording_steps(data: PreparedTranscripts, config: Config, codecs: Codecs) -> RecordingSteps[FrameBatch]:
    """Return the sampler that makes batches of recordings and transcripts."""
    codec, tokenizer = codecs
    settings = _data_config(config)
    ids = {"pad_id": tokenizer.pad_id, "bos_id": tokenizer.bos_id, "eos_id": tokenizer.eos_id}
    rate = data.recordings.sample_rate

    def is_nonspeech(index: int, epoch: int) -> bool:
        if not settings.augment_nonspeech or epoch < 0:
            return False
        return bool(seeded_generator(config.seed, epoch, index, NONSPEECH_STREAM).random() < settings.augment_nonspeech)

    def nonspeech(index: int, epoch: int, rng: np.random.Generator) -> NDArray[np.float32] | None:
        return draw_nonspeech(len(data.recordings.waveform(index)), rate, rng) if is_nonspeech(index, epoch) else None

    def collate(frames: Sequence[Tensor], indices: Indices, epoch: int) -> FrameBatch:
        rows: list[list[int]] = [[] if is_nonspeech(i, epoch) else data.rows[i] for i in indices.tolist()]
        return collate_frames([frame.numpy() for frame in frames], rows, indices.tolist(), **ids)

    return RecordingSteps(data.recordings, codec, settings, config.seed, collate, nonspeech)


def _warn_of_unknown(name: str, indices: Indices, data: PreparedTranscripts, tokenizer: Tokenizer) -> None:
    """Warn of characters or words that are not in the vocabulary."""
    unknown = [tokenizer.unknown_items(data.texts[index]) for index in indices.tolist()]
    if any(unknown):
        listed = " ".join(map(repr, sorted({item for items in unknown for item in items})[:MAX_UNKNOWN_LISTED]))
        text = "%s of %s %s texts have characters or words that are not in the vocabulary, so no output has them: %s"
        logger.warning(text, f"{sum(map(bool, unknown)):,}", f"{len(indices):,}", name, listed)


def _warn_of_unreachable(name: str, indices: Indices, data: PreparedTranscripts, config: Config, codec: Any) -> None:
    """Warn of transcripts with more tokens than frames; raise ValueError if all training transcripts have more."""
    unreachable = _unreachable(indices, data, config, codec)
    if unreachable is None or not unreachable.mask.any():
        return
    if unreachable.mask.all() and name == "training":
        raise ValueError(f"All {len(indices):,} {name} recordings {unreachable.reason}.")
    counts = f"{int(unreachable.mask.sum()):,} of {len(indices):,} {name} recordings"
    first = "; ".join(data.recordings.locate(index) for index in indices[unreachable.mask].tolist()[:MAX_NAMED])
    logger.warning("%s %s; the first: %s.", counts, unreachable.reason, first)


def _unreachable(indices: Indices, data: PreparedTranscripts, config: Config, codec: Any) -> UnreachableTargets | None:
    """Find the recordings whose transcripts have more tokens than frames."""
    if not isinstance(config.model, LimitedModel):
        return None
    src_lengths = np.array([codec.num_frames(data.recordings.examples[i].length) for i in indices], np.int64)
    rows = [data.rows[i] for i in indices]
    tgt_lengths = np.array([len(row) for row in rows], np.int64)
    num_repeated = np.array([sum(map(int.__eq__, row, row[1:])) for row in rows], np.int64)
    return config.model.unreachable_targets(src_lengths, tgt_lengths, lambda: num_repeated)
