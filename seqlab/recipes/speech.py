"""Speech recognition and classification: spoken digits, prompts, dialogue, synthetic speech, and generated tones."""

import re
from dataclasses import replace
from pathlib import Path

from seqlab.corpora import asterisk_prompts, fsdd, locate
from seqlab.corpora.fillets_nl import write as write_fillets
from seqlab.corpora.number_speech import write as write_speech
from seqlab.corpora.number_tones import write as write_tones
from seqlab.corpora.recordings import read_manifest
from seqlab.corpora.synthetic_speech import FLITE_VOICES, synthetic_manifest, voices
from seqlab.corpora.ud_ewt import read_sentence_texts
from seqlab.models import RecognizerConfig, RecordingLabelerConfig, RecurrentEncoderConfig
from seqlab.objectives import CtcConfig, SoftmaxConfig
from seqlab.optim import AdamConfig, AdamWConfig, CosineScheduleConfig, OptimConfig
from seqlab.recipes.run_data import generated_data
from seqlab.runs.config import Config, TrainingConfig
from seqlab.tasks.recording_labels.config import RecordingLabelsConfig
from seqlab.tasks.transcription.config import TranscriptionConfig

PLAIN_SENTENCE = re.compile(r"(?!.*[A-Z]{2})[A-Za-z ,.'?!;:-]{1,90}")
"""Sentences without digits, abbreviations and brackets, which synthetic voices read as written."""


def _optim(lr: float, warmup_steps: int) -> OptimConfig:
    return OptimConfig(optimizer=AdamConfig(lr=lr), schedule=CosineScheduleConfig(warmup_steps=warmup_steps))


def _recognizer(layers: RecurrentEncoderConfig, channels: tuple[int, int], upsampling: int = 2) -> RecognizerConfig:
    """Build the config of a recognizer whose vectors of frames are as wide as its recurrent layers."""
    encoder = replace(layers, output_dropout=layers.dropout)
    return RecognizerConfig(encoder=encoder, frame_size=encoder.hidden_size, channels=channels, upsampling=upsampling)


def _training(max_steps: int, valid_every: int) -> TrainingConfig:
    return TrainingConfig(
        max_steps=max_steps, log_every=max(1, valid_every // 5), save_every=valid_every, valid_every=valid_every
    )


def _transcripts(folder: Path) -> TranscriptionConfig:
    """Return the data config of generated manifests."""
    return TranscriptionConfig(
        train=[str(folder / "train.jsonl")],
        valid=str(folder / "valid.jsonl"),
        test=[str(folder / "test.jsonl")],
        sample_rate=8000,
        num_bands=40,
    )


def number_tones(run_dir: str | Path) -> Config:
    """Number phrases with one tone per letter, generated into `run_dir/data`: a small GRU with CTC."""
    return Config(
        data=replace(
            _transcripts(generated_data(run_dir, write_tones)),
            batch_seconds=20,
            micro_batch_seconds=20,
            augment_nonspeech=0.04,
        ),
        model=_recognizer(
            RecurrentEncoderConfig(family="gru", hidden_size=128, num_layers=1, dropout=0.1), (16, 16), upsampling=1
        ),
        objective=CtcConfig(),
        optim=_optim(4e-3, 60),
        training=_training(800, 200),
    )


def number_speech(run_dir: str | Path) -> Config:
    """Number phrases spoken by espeak-ng, evaluated on unseen voices: an LSTM with CTC."""
    return Config(
        data=replace(
            _transcripts(generated_data(run_dir, write_speech)),
            batch_seconds=30,
            micro_batch_seconds=30,
            augment_speed=0.1,
            augment_time_masks=2,
            augment_time_frames=15,
            augment_frequency_masks=1,
            augment_frequency_bands=8,
            augment_nonspeech=0.04,
        ),
        model=_recognizer(
            RecurrentEncoderConfig(family="lstm", hidden_size=256, num_layers=2, dropout=0.1), (16, 32), upsampling=1
        ),
        objective=CtcConfig(),
        optim=_optim(3e-3, 100),
        training=_training(4000, 250),
    )


def fsdd_digits(run_dir: str | Path) -> Config:
    """Spoken digits of six speakers (FSDD), one label per recording: a GRU."""
    folder = generated_data(run_dir, fsdd.write_digits)
    train, valid, test = (str(folder / f"{name}.jsonl") for name in ("train", "valid", "test"))
    return _digits(RecordingLabelsConfig(train=[train], valid=valid, test=[test]))


def fsdd_speakers(run_dir: str | Path) -> Config:
    """Spoken digits of an unseen speaker (FSDD), one of six folds (all with `--folds 6`): a GRU."""
    manifest = str(generated_data(run_dir, fsdd.write_leave_one_out) / "all.jsonl")
    data = RecordingLabelsConfig(train=[manifest], folds="given", fold_column="speaker", num_folds=6, test_fold=1)
    return _digits(data)


def _digits(data: RecordingLabelsConfig) -> Config:
    """Build the config of a labeler of spoken digits."""
    return Config(
        data=replace(
            data,
            sample_rate=8000,
            num_bands=40,
            batch_seconds=20,
            augment_speed=0.1,
            augment_volume=6,
            augment_noise=0.3,
            augment_time_masks=1,
            augment_time_frames=10,
            augment_frequency_masks=1,
            augment_frequency_bands=8,
        ),
        model=RecordingLabelerConfig(
            encoder=RecurrentEncoderConfig(family="gru", hidden_size=128, dropout=0.2, output_dropout=0.2),
            frame_size=128,
            channels=(16, 32),
        ),
        objective=SoftmaxConfig(label_smoothing=0.1),
        optim=OptimConfig(
            optimizer=AdamWConfig(lr=2e-3, weight_decay=0.05), schedule=CosineScheduleConfig(warmup_steps=50)
        ),
        training=_training(1000, 100),
    )


def fsdd_strings(run_dir: str | Path) -> Config:
    """Strings of three to nine spoken digits, concatenated from FSDD recordings: an LSTM with CTC."""
    return Config(
        data=replace(
            _transcripts(generated_data(run_dir, fsdd.write_strings)),
            batch_seconds=60,
            micro_batch_seconds=60,
            augment_speed=0.1,
            augment_time_masks=2,
            augment_time_frames=20,
            augment_frequency_masks=1,
            augment_frequency_bands=8,
            augment_nonspeech=0.04,
        ),
        model=_recognizer(RecurrentEncoderConfig(family="lstm", hidden_size=192, num_layers=2, dropout=0.2), (16, 32)),
        objective=CtcConfig(),
        optim=_optim(2e-3, 100),
        training=replace(_training(2000, 250), precision="fp32"),  # bf16: not faster, and a higher validation WER
    )


def _telephone_speech(data: TranscriptionConfig) -> TranscriptionConfig:
    """Set the fields that `prompts_en` and `synthetic_en`, from which it is fine-tuned, have in common."""
    return replace(
        data,
        sample_rate=8000,
        num_bands=64,
        augment_speed=0.1,
        augment_time_frames=10,
        augment_frequency_masks=1,
        augment_frequency_bands=10,
    )


def _telephone_model(dropout: float) -> RecognizerConfig:
    return _recognizer(RecurrentEncoderConfig(family="lstm", hidden_size=320, num_layers=2, dropout=dropout), (16, 32))


def synthetic_en(run_dir: str | Path) -> Config:
    """English sentences in synthetic voices, to fine-tune other speech recognizers from: an LSTM with CTC."""
    folder = generated_data(run_dir, _write_sentences)
    return Config(
        data=_telephone_speech(
            TranscriptionConfig(
                train=[str(folder / "train.jsonl")],
                valid_fraction=0.03,
                batch_seconds=60,
                micro_batch_seconds=60,
                augment_time_masks=1,
                augment_nonspeech=0.04,
            )
        ),
        model=_telephone_model(dropout=0.1),
        objective=CtcConfig(),
        optim=_optim(3e-3, 100),
        training=replace(_training(8000, 400), max_minutes=40),
    )


def _write_sentences(folder: Path) -> None:
    """Synthesize the short plain sentences of ud_ewt, each in two voices, half of them by flite."""
    sentences = dict.fromkeys(read_sentence_texts(locate("ud_ewt")["train"]["sentences"]))
    plain = [
        sentence for sentence in sentences if PLAIN_SENTENCE.fullmatch(sentence) and 3 <= len(sentence.split()) <= 16
    ]
    by_espeak = voices("en")
    by_flite = list(FLITE_VOICES) * (len(by_espeak) // len(FLITE_VOICES))
    synthetic_manifest(plain, folder, "en", repeats=2, sample_rate=8000, speakers=[*by_espeak, *by_flite])


def prompts_en(run_dir: str | Path) -> Config:
    """English telephone prompts of one speaker, one of five folds, to fine-tune from `synthetic_en`: an LSTM with CTC.

    Start from it with `--init_from runs/synthetic_en`. No text is in two folds.
    """
    folder = generated_data(run_dir, _write_prompts)
    return Config(
        data=_telephone_speech(
            TranscriptionConfig(
                train=[str(folder / "all.jsonl")],
                extra_train=[str(folder / "synthetic" / "train.jsonl")],
                folds="given",
                fold_column="fold",
                num_folds=5,
                test_fold=1,
                batch_seconds=40,
                micro_batch_seconds=40,
                augment_time_masks=2,
                augment_nonspeech=0.04,
            )
        ),
        model=_telephone_model(dropout=0.2),
        objective=CtcConfig(),
        optim=_optim(1e-3, 50),
        training=_training(500, 100),
    )


def _write_prompts(folder: Path) -> None:
    """Write the prompts, and their texts spoken by synthetic voices."""
    manifest = asterisk_prompts.write(folder, "en")
    texts = list(dict.fromkeys(str(row["text"]) for row in read_manifest(manifest)))
    synthetic_manifest(texts, folder / "synthetic", "en", sample_rate=8000)


def fillets_nl(run_dir: str | Path) -> Config:
    """Dutch dialogue of the game Fish Fillets, 81 minutes: an LSTM with CTC, trained for 60 minutes."""
    folder = generated_data(run_dir, write_fillets)
    return Config(
        data=TranscriptionConfig(
            train=[str(folder / "train.jsonl")],
            valid=str(folder / "valid.jsonl"),
            test=[str(folder / "test.jsonl")],
            sample_rate=16000,
            num_bands=80,
            normalise="recording",
            batch_seconds=80,
            micro_batch_seconds=80,
            augment_speed=0.1,
            augment_volume=6,
            augment_time_masks=2,
            augment_time_frames=10,
            augment_frequency_masks=1,
            augment_frequency_bands=15,
            augment_nonspeech=0.04,
        ),
        model=_recognizer(RecurrentEncoderConfig(family="lstm", hidden_size=432, num_layers=2, dropout=0.25), (16, 32)),
        objective=CtcConfig(),
        optim=_optim(3e-3, 200),
        training=replace(_training(8000, 500), max_minutes=60, valid_metric="cer"),
    )


SPEECH_RECIPES = (
    number_tones,
    number_speech,
    fsdd_digits,
    fsdd_speakers,
    fsdd_strings,
    synthetic_en,
    prompts_en,
    fillets_nl,
)
