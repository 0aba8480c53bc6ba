"""Transcribe recordings and score transcripts: the class that `seqlab.load` returns for speech recognizers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from functools import cache
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import torch
from numpy.typing import NDArray

from seqlab.audio.codec import RecordingCodec
from seqlab.audio.features import active_frames
from seqlab.audio.quality import SPEECH_BACKGROUND_DB, has_sound
from seqlab.base.reading_notes import READING_VERSION
from seqlab.base.world import ProgressCallback
from seqlab.data.batch import FrameBatch, collate_frames
from seqlab.inference.engine import length_batches
from seqlab.inference.lines import distinct_texts, refuse_non_strings
from seqlab.inference.recording_waveforms import (
    BATCH_SECONDS,
    TOO_SHORT,
    Waveform,
    read_waveforms,
    recording_name,
    silence_fault,
)
from seqlab.inference.torch_engine import models_for_scoring
from seqlab.models.outputs import IMPOSSIBLE_LOG_PROB, NEG_INF
from seqlab.nn.precision import choose_device, choose_dtype, choose_scoring_dtype, prepare_inference
from seqlab.runs.load import load_run
from seqlab.search.config import SearchConfig, SearchOptions
from seqlab.search.fusion import WeightedLm
from seqlab.search.hypothesis import Hypothesis
from seqlab.search.search import SearchRequest, select_search
from seqlab.tasks.transcription.config import RECOGNIZER, TranscriptionConfig
from seqlab.tasks.transcription.fusion_lm import load_fusion_lm
from seqlab.tasks.transcription.timing import FrameTiming, TimedText, join_words, time_tokens, token_texts
from seqlab.tasks.transcription.transcript import Alternative, Transcript, TranscriptScore, as_line, empty_transcript
from seqlab.text import Tokenizer, banned_ids
from seqlab.text.transcripts import TranscriptForm, normalize_transcript

DEFAULT_BEAM_SIZE = 16
"""Minimum of the default `beam_size` with a language model or alternatives, as best-path decoding supports neither."""
UNUSED_FIELDS = ("max_length", "max_length_ratio", "max_length_offset")
"""Fields of `SearchConfig` that transcription ignores, since the number of frames limits a transcript."""
MAX_TOKENS = 1 << 20
"""Value of `max_length` that never limits a transcript."""


class Transcriber:
    """A speech recognizer, optionally with a language model for shallow fusion."""

    def __init__(
        self,
        model: Any,
        codecs: tuple[RecordingCodec, Tokenizer],
        search: SearchConfig,
        device: torch.device,
        lm: WeightedLm | None = None,
        transcripts: TranscriptForm = "none",
        reading: int = READING_VERSION,
        scoring_model: Callable[[], Any] | None = None,
        channel: str = "",
    ) -> None:
        """Wrap a model that is prepared for inference.

        Args:
            model: a `Recognizer`, or an object with the same methods.
            codecs: codec of the recordings, and tokenizer of the transcripts.
            search: default search.
            device: device of the model.
            lm: a language model over the same vocabulary, for shallow fusion.
            transcripts: normalization of the texts that `score` receives.
            reading: version of the reading of the run.
            scoring_model: returns the model for `score`, if it is another one.
            channel: channel of the recordings that name none; "" for the mean of all.
        """
        self.model, self.search, self.device, self.lm, self.transcripts = model, search, device, lm, transcripts
        (self.codec, self.tokenizer), self.reading, self.channel = codecs, reading, channel
        self._scoring_model = scoring_model or (lambda: model)

    def __repr__(self) -> str:
        return f"Transcriber({type(self.model).__name__}, {self.codec.sample_rate} Hz)"

    def transcribe(self, recordings: Sequence[Any], **search: Unpack[SearchOptions]) -> list[str]:
        """Return the transcript of each recording; arguments and errors as in `transcribe_detailed`.

        Raises:
            ValueError: a recording cannot be read. `transcribe_detailed` returns its `fault` instead.
        """
        transcripts = self.transcribe_detailed(recordings, **search)
        for transcript in transcripts:
            if transcript.fault:
                raise ValueError(transcript.fault)
        return [transcript.text for transcript in transcripts]

    def transcribe_detailed(
        self,
        recordings: Sequence[Any],
        *,
        times: bool = False,
        batch_seconds: float = BATCH_SECONDS,
        progress: ProgressCallback | None = None,
        **search: Unpack[SearchOptions],
    ) -> list[Transcript]:
        """Transcribe recordings, in their order, with alternatives and times if requested.

        Args:
            recordings: for each recording the path of its file, its content as bytes, or a waveform with its sampling
                rate, `(samples, rate)`: (n,) or (n, channels), int16 or floats in [-1, 1].
            times: whether to compute the times of tokens and words.
            batch_seconds: seconds of audio per batch, including padding; affects speed and memory, not the transcripts.
            progress: called after each batch with its number of recordings.
            search: fields of `SearchConfig`. The defaults are those of validation in training, except that
                `length_alpha` is 0.

        Raises:
            ValueError: an option is unknown or does not apply. An unreadable recording has a `fault` instead.
        """
        warnings: dict[int, str] = {}
        waveforms = self._read(recordings, warnings)
        readable = [waveform for waveform in waveforms if not isinstance(waveform, str)]
        for index, waveform in enumerate(waveforms):
            if isinstance(waveform, str):
                continue
            if len(waveform) and np.ptp(waveform) and not has_sound(waveform, self.reading):
                warnings[index] = f"{recording_name(recordings[index], index)}: {silence_fault(waveform)}"
        config = self._search_config(search)
        transcripts = iter(
            self.transcribe_waveforms(readable, config, times=times, batch_seconds=batch_seconds, progress=progress)
        )
        return [
            replace(empty_transcript(times=times, alternatives=config.num_hypotheses > 1), fault=waveform)
            if isinstance(waveform, str)
            else replace(
                self._with_fault_if_too_short(next(transcripts), recording_name(recording, index), waveform),
                warning=warnings.get(index),
            )
            for index, (recording, waveform) in enumerate(zip(recordings, waveforms, strict=True))
        ]

    def _read(self, recordings: Sequence[Any], warnings: dict[int, str] | None = None) -> list[Waveform | str]:
        """Read recordings as the run does; return an error message for each unreadable one."""
        rate, most = self.codec.sample_rate, self.codec.max_background_db(SPEECH_BACKGROUND_DB)
        return read_waveforms(recordings, rate, self.reading, warnings, self.channel, most)

    def _with_fault_if_too_short(self, transcript: Transcript, name: str, waveform: Waveform) -> Transcript:
        """Add a fault to the transcript of a recording that has sound, but no complete frame."""
        is_usable = self.codec.num_frames(len(waveform)) > 0 or not np.any(waveform)
        return transcript if is_usable else replace(transcript, fault=f"{name}: {TOO_SHORT}.")

    def transcribe_waveforms(
        self,
        waveforms: Sequence[Waveform],
        search: SearchConfig | None = None,
        *,
        times: bool = False,
        batch_seconds: float = BATCH_SECONDS,
        progress: ProgressCallback | None = None,
    ) -> list[Transcript]:
        """Transcribe waveforms (n,) at the sampling rate of the run; arguments as in `transcribe_detailed`."""
        config = self._search_config({}) if search is None else search
        rate = self.codec.sample_rate
        has_alternatives = config.num_hypotheses > 1
        transcripts = [
            replace(empty_transcript(times=times, alternatives=has_alternatives), duration=len(waveform) / rate)
            for waveform in waveforms
        ]
        with_sound = {i: waveform for i, waveform in enumerate(waveforms) if has_sound(waveform, self.reading)}
        num_done = 0
        for indices in self._index_batches(with_sound, batch_seconds):
            batch_transcripts = self._transcribe_batch([waveforms[i] for i in indices], config, times)
            for i, batch_transcript in zip(indices, batch_transcripts, strict=True):
                transcripts[i] = batch_transcript
            num_done += len(indices)
            if progress is not None:
                progress(len(indices))
        if progress is not None and num_done < len(waveforms):
            progress(len(waveforms) - num_done)
        return transcripts

    @torch.inference_mode()
    def score(
        self,
        recordings: Sequence[Any],
        texts: Sequence[str],
        *,
        batch_seconds: float = BATCH_SECONDS,
        progress: ProgressCallback | None = None,
    ) -> list[TranscriptScore]:
        """Compute the log-probability of a text for each recording, over all CTC paths, without a language model.

        Scores are in fp32 unless the run was loaded with another `precision`.

        Args:
            recordings: as in `transcribe_detailed`.
            texts: one text per recording; they are normalized like the transcripts in training (`data.transcripts`).
            batch_seconds: seconds of audio per batch, including padding; affects speed and memory, not the scores.
            progress: called after each batch with its number of recordings.

        Raises:
            ValueError: the numbers of texts and recordings differ. A recording or text that cannot be scored has a
                `fault` instead.
        """
        refuse_non_strings(texts, "texts")
        if len(recordings) != len(texts):
            raise ValueError(
                f"`texts` must have one text for each recording ({len(recordings)}), but has {len(texts)} instead."
            )
        normalized = [normalize_transcript(text, self.transcripts, self.reading) for text in texts]
        rows = self.tokenizer.encode(normalized)
        waveforms = self._read(recordings)
        # Without frames, an empty text has probability 1 and any other text 0.
        token_log_probs = [[0.0] if not row else [IMPOSSIBLE_LOG_PROB] * (1 + len(row)) for row in rows]
        readable = {i: waveform for i, waveform in enumerate(waveforms) if not isinstance(waveform, str)}
        for indices in self._index_batches(readable, batch_seconds):
            model = self._scoring_model()
            frames = model.frames(self._batch([readable[i] for i in indices]).to(self.device))
            for i, scores in zip(indices, model.score_sequences(frames, [rows[i] for i in indices]), strict=True):
                token_log_probs[i] = scores
            if progress is not None:
                progress(len(indices))
        num_scored = sum(self.codec.num_frames(len(waveform)) > 0 for waveform in readable.values())
        if progress is not None and num_scored < len(waveforms):
            progress(len(waveforms) - num_scored)
        results = []
        for index, (waveform, scores, text) in enumerate(zip(waveforms, token_log_probs, normalized, strict=True)):
            unknown, fault = self.tokenizer.unknown_items(text), waveform if isinstance(waveform, str) else ""
            if unknown and not fault:
                listed, name = " ".join(map(repr, unknown)), recording_name(recordings[index], index)
                fault = f"{name}: its text has {listed}, which the vocabulary does not have."
            nats = [NEG_INF if score == IMPOSSIBLE_LOG_PROB else score for score in scores]
            nats = [] if isinstance(waveform, str) else nats
            results.append(TranscriptScore(None if fault else sum(nats), len(scores), nats, unknown, fault))
        return results

    @torch.inference_mode()
    def frame_log_probs(self, recordings: Sequence[Any]) -> list[NDArray[np.float32]]:
        """Compute the log-probabilities of each output frame in nats: (F', V) per recording; the V ids include blank.

        Output frame i is at position `model.first_output + i * model.output_step` of the feature frames, which are
        `data.hop_ms` (10 ms) apart. By default `output_step` is 2.

        Raises:
            ValueError: a recording cannot be read.
        """
        waveforms = self._read(recordings)
        if fault := next((waveform for waveform in waveforms if isinstance(waveform, str)), None):
            raise ValueError(fault)
        readable = {i: waveform for i, waveform in enumerate(waveforms) if not isinstance(waveform, str)}
        log_probs = [np.zeros((0, self.model.vocab_size), np.float32)] * len(waveforms)
        for indices in self._index_batches(readable, BATCH_SECONDS):
            frames = self.model.frames(self._batch([readable[i] for i in indices]).to(self.device))
            lengths, frame_log_probs = frames.lengths.tolist(), frames.log_probs.float().cpu()
            for i, length, scores in zip(indices, lengths, frame_log_probs, strict=True):
                log_probs[i] = scores[:length].numpy()
        return log_probs

    def _index_batches(self, waveforms: Mapping[int, Waveform], batch_seconds: float) -> Iterator[list[int]]:
        """Group the indices of waveforms with at least one frame into batches of similar length."""
        if not batch_seconds > 0:
            raise ValueError(f"`batch_seconds` must be above 0, but is {batch_seconds} instead.")
        counts = {i: self.codec.num_frames(len(waveform)) for i, waveform in waveforms.items()}
        long_enough = [i for i, count in counts.items() if count > 0]
        for positions in length_batches([counts[i] for i in long_enough], self.codec.frames_in(batch_seconds)):
            yield [long_enough[position] for position in positions]

    def _batch(self, waveforms: Sequence[Waveform]) -> FrameBatch:
        """Compute the features of waveforms, and pad them to a batch."""
        frames = [self.codec.frames(waveform).numpy() for waveform in waveforms]
        tokenizer = self.tokenizer
        ids = {"pad_id": tokenizer.pad_id, "bos_id": tokenizer.bos_id, "eos_id": tokenizer.eos_id}
        return collate_frames(frames, None, range(len(frames)), **ids)

    @torch.inference_mode()
    def _transcribe_batch(self, waveforms: Sequence[Waveform], config: SearchConfig, times: bool) -> list[Transcript]:
        """Transcribe one batch of waveforms."""
        batch = self._batch(waveforms).to(self.device)
        needs_scores = config.num_hypotheses > 1
        n_best = self._decode(batch, config, needs_scores)
        timed = self._time(batch, [best[0].ids for best in n_best], waveforms) if times else [None] * len(n_best)
        transcripts = []
        for waveform, hypotheses, tokens in zip(waveforms, n_best, timed, strict=True):
            texts = [as_line(text) for text in self.tokenizer.decode([hypothesis.ids for hypothesis in hypotheses])]
            scored = zip(texts, hypotheses, strict=True)
            alternatives = distinct_texts(
                Alternative(text, hypothesis.score, hypothesis.log_prob) for text, hypothesis in scored
            )
            transcripts.append(
                Transcript(
                    texts[0],
                    len(waveform) / self.codec.sample_rate,
                    alternatives=alternatives if needs_scores else None,
                    tokens=tokens,
                    words=None if tokens is None else join_words(tokens, texts[0]),
                )
            )
        return transcripts

    def _decode(self, batch: FrameBatch, config: SearchConfig, need_scores: bool) -> list[list[Hypothesis]]:
        """Search the best hypotheses of each recording of a batch, best first."""
        unlimited = replace(config, max_length=MAX_TOKENS)
        banned = [*banned_ids(self.tokenizer), self.tokenizer.unk_id]
        request = SearchRequest(batch, None, banned, need_scores=need_scores, lm=self.lm)
        return select_search(self.model, unlimited)(self.model, unlimited, request)

    def _time(
        self, batch: FrameBatch, rows: Sequence[Sequence[int]], waveforms: Sequence[Waveform]
    ) -> list[list[TimedText]]:
        """Compute the time of each token of the transcripts `rows` (ids)."""
        texts = [token_texts(self.tokenizer, row) for row in rows]
        log_mel, rate = self.codec.log_mel, self.codec.sample_rate
        timing = FrameTiming.of(self.model, log_mel)
        is_sound = [active_frames(log_mel(waveform)) for waveform in waveforms]
        durations = [len(waveform) / rate for waveform in waveforms]
        return time_tokens(self.model.frames(batch), rows, texts, is_sound, durations, timing)

    def _search_config(self, options: SearchOptions) -> SearchConfig:
        """Override fields of the default search; raises ValueError for options that are unknown or do not apply."""
        changes: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
        if unknown := sorted(changes.keys() - {field.name for field in fields(SearchConfig)}):
            raise ValueError(
                f"Transcription has no option `{unknown[0]}`: its options are the fields of `SearchConfig`, `times` "
                "and `batch_seconds` (`lm`, `lm_weight` and `length_reward` are options of `seqlab.load`)."
            )
        if unused := [name for name in UNUSED_FIELDS if name in changes]:
            raise ValueError(
                f"`{unused[0]}` does not apply to transcription, since the recording limits the length of a "
                "transcript: leave it out."
            )
        num_hypotheses = changes.get("num_hypotheses", self.search.num_hypotheses)
        if self.lm is not None or num_hypotheses > 1:
            changes.setdefault("beam_size", max(self.search.beam_size, DEFAULT_BEAM_SIZE, num_hypotheses))
        if self.lm is not None and changes["beam_size"] == 1:
            raise ValueError("`beam_size: 1` decodes the best path without `lm`: with `lm` it must be at least 2.")
        # All hypotheses cover the same frames: a division by their lengths would favor long ones.
        return replace(self.search, **{"length_alpha": 0.0, **changes})


def load_transcriber(
    run: str | Path | Sequence[str | Path],
    checkpoint: str | Sequence[str] = "best",
    device: str = "auto",
    precision: str = "auto",
    *,
    lm: str | Path | None = None,
    lm_weight: float | None = None,
    length_reward: float | None = None,
) -> Transcriber:
    """Load a speech recognizer, optionally with a language model for shallow fusion.

    Args:
        run: a run folder.
        checkpoint: `best` (in validation), `last` or a step number.
        device: `cpu`, `cuda`, `cuda:1`, or `auto`: CUDA if available, else the CPU.
        precision: dtype of matrix products: `bf16`, `fp32`, or `auto` (bf16 if the device supports it).
        lm: the run of a language model: an n-gram model of words, or a model over the recognizer's vocabulary.
        lm_weight: weight of the language model's log-probabilities; 0.5 by default.
        length_reward: score added per token, with a language model; 0 by default.

    Raises:
        FileNotFoundError: the folder does not exist.
        ValueError: the run is not a speech recognizer, is damaged or has another format version; several runs are
            given; or the vocabulary of the language model does not match.
    """
    runs = [run] if isinstance(run, str | Path) else list(run)
    checkpoints = [checkpoint] if isinstance(checkpoint, str) else list(checkpoint)
    if (count := len(runs) * len(checkpoints)) != 1:
        raise ValueError(f"Speech recognizers cannot form an ensemble: name one run, not {count}.")
    for name, value in (("lm_weight", lm_weight), ("length_reward", length_reward)):
        if value is not None and lm is None:
            raise ValueError(f"`{name}` needs a language model, `lm`.")
    chosen_device = choose_device(device)
    dtype = choose_dtype(precision, chosen_device)
    loaded = load_run(runs[0], checkpoints[0], model_noun=RECOGNIZER)
    data = loaded.config.data
    assert isinstance(data, TranscriptionConfig)
    weighted = None
    if lm is not None:
        tokenizer = loaded.codecs[1]
        weighted = load_fusion_lm(lm, tokenizer, chosen_device, dtype, weight=lm_weight, length_reward=length_reward)
    prepare_inference(loaded.model, chosen_device, dtype)
    scoring_dtype = choose_scoring_dtype(precision, chosen_device)
    return Transcriber(
        loaded.model,
        (loaded.codecs[0], loaded.codecs[1]),
        loaded.config.training.valid_search,
        chosen_device,
        weighted,
        data.transcripts,
        loaded.reading,
        cache(lambda: models_for_scoring([loaded], chosen_device, dtype, scoring_dtype)[0]),
        data.channel,
    )
