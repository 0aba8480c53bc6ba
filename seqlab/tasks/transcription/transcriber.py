"""Recordings in, transcripts out, with times and confidence: what `seqlab.load` gives for a recogniser."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import torch
from numpy.typing import NDArray

from seqlab.audio.activity import active_frames
from seqlab.audio.codec import RecordingCodec
from seqlab.base.world import OnRows
from seqlab.data.batch import FrameBatch, collate_frames
from seqlab.inference.engine import length_batches
from seqlab.inference.lines import refuse_non_strings, replace_control_characters
from seqlab.inference.recordings import BATCH_SECONDS, TOO_SHORT, Waveform, read_waveforms, recording_name
from seqlab.models.interfaces import IMPOSSIBLE_LOG_PROB, NEG_INF
from seqlab.nn.precision import choose_device, choose_dtype, prepare_inference
from seqlab.runs.load import load_run
from seqlab.search.config import SearchConfig, SearchOptions
from seqlab.search.fusion import WeightedLm
from seqlab.search.hypothesis import Hypothesis
from seqlab.search.search import SearchRequest, select_search
from seqlab.tasks.transcription.config import RECOGNISER, TranscriptionConfig
from seqlab.tasks.transcription.language_model import load_language_model
from seqlab.tasks.transcription.timing import Timed, Timing, time_tokens, token_texts, words_of
from seqlab.tasks.transcription.transcript import Alternative, Transcript, TranscriptScore, no_text
from seqlab.text import Tokenizer, banned_ids
from seqlab.text.transcripts import TranscriptForm, normalize_transcript

WIDE_BEAM = 16
"""Beside a language model or for alternatives, where no other beam is asked for: a best path has no room for them."""
NO_LIMITS = ("max_length", "max_length_ratio", "max_length_offset")
"""Fields of a search that transcripts have no use for."""
UNLIMITED = 1 << 20
"""Tokens of a transcript: it has no more than its recording has frames."""


class Transcriber:
    """A recogniser, perhaps with a language model."""

    def __init__(
        self,
        model: Any,
        codecs: tuple[RecordingCodec, Tokenizer],
        search: SearchConfig,
        device: torch.device,
        lm: WeightedLm | None = None,
        transcripts: TranscriptForm = "none",
    ) -> None:
        """Take a model that is prepared for inference.

        Args:
            model: a `Recogniser`, or what has its methods.
            codecs: of recordings and of text.
            search: how to search unless a call says otherwise.
            device: where the model is.
            lm: a language model over the same vocabulary, for shallow fusion.
            transcripts: what texts are brought into before they are scored.
        """
        self.model, self.search, self.device, self.lm, self.transcripts = model, search, device, lm, transcripts
        self.codec, self.tokenizer = codecs

    def __repr__(self) -> str:
        return f"Transcriber({type(self.model).__name__}, {self.codec.sample_rate} Hz)"

    def transcribe(self, recordings: Sequence[Any], **search: Unpack[SearchOptions]) -> list[str]:
        """Transcribe recordings and return a text for each; arguments and errors as in `transcribe_detailed`.

        Raises:
            ValueError: a recording cannot be read; `transcribe_detailed` has its `fault` instead.
        """
        found = self.transcribe_detailed(recordings, **search)
        for each in found:
            if each.fault:
                raise ValueError(each.fault)
        return [each.text for each in found]

    def transcribe_detailed(
        self,
        recordings: Sequence[Any],
        *,
        times: bool = False,
        batch_seconds: float = BATCH_SECONDS,
        progress: OnRows | None = None,
        **search: Unpack[SearchOptions],
    ) -> list[Transcript]:
        """Transcribe recordings, in their order.

        Args:
            recordings: of each the path of a file; its content as bytes; or a waveform with its rate, `(samples,
                rate)`: (n,) or (n, channels), int16 or floats in [-1, 1].
            times: whether transcripts come with the times of their tokens and words.
            batch_seconds: seconds of speech, padding counted, computed together: speed and memory, never the answer.
            progress: called after each batch with its number of recordings.
            search: fields of `SearchConfig`; those of validation in training unless given, but for `length_alpha`,
                which is 0.

        Raises:
            ValueError: an option that the search does not have or has no use for. What is wrong with a recording is its
                `fault`.
        """
        read = read_waveforms(recordings, self.codec.sample_rate)
        own = [each for each in read if not isinstance(each, str)]
        config = self._search(search)
        found = iter(
            self.transcribe_waveforms(own, config, times=times, batch_seconds=batch_seconds, progress=progress)
        )
        return [
            replace(no_text(times=times, alternatives=config.num_hypotheses > 1), fault=each)
            if isinstance(each, str)
            else self._named_if_too_short(next(found), recording_name(recording, place), each)
            for place, (recording, each) in enumerate(zip(recordings, read, strict=True))
        ]

    def _named_if_too_short(self, found: Transcript, name: str, waveform: Waveform) -> Transcript:
        is_heard = self.codec.num_frames(len(waveform)) > 0 or not np.any(waveform)
        return found if is_heard else replace(found, fault=f"{name}: {TOO_SHORT}.")

    def transcribe_waveforms(
        self,
        waveforms: Sequence[Waveform],
        search: SearchConfig | None = None,
        *,
        times: bool = False,
        batch_seconds: float = BATCH_SECONDS,
        progress: OnRows | None = None,
    ) -> list[Transcript]:
        """Transcribe waveforms (n,) at the rate of the run; arguments as in `transcribe_detailed`."""
        config = self._search({}) if search is None else search
        rate = self.codec.sample_rate
        found = [
            replace(no_text(times=times, alternatives=config.num_hypotheses > 1), duration=len(each) / rate)
            for each in waveforms
        ]
        # What holds no sound has no text, whatever a model would make of it.
        heard = {i: each for i, each in enumerate(waveforms) if np.any(each)}
        num_answered = 0
        for rows in self._batches(heard, batch_seconds):
            transcripts = self._transcripts([waveforms[i] for i in rows], config, times)
            for i, each in zip(rows, transcripts, strict=True):
                found[i] = each
            num_answered += len(rows)
            if progress is not None:
                progress(len(rows))
        if progress is not None and num_answered < len(waveforms):
            progress(len(waveforms) - num_answered)
        return found

    @torch.inference_mode()
    def score(
        self,
        recordings: Sequence[Any],
        texts: Sequence[str],
        *,
        batch_seconds: float = BATCH_SECONDS,
        progress: OnRows | None = None,
    ) -> list[TranscriptScore]:
        """Score a text for each recording, by all paths of CTC, without a language model.

        Args:
            recordings: as in `transcribe_detailed`.
            texts: brought into the form that the transcripts of training had (`data.transcripts`).
            batch_seconds: seconds of speech, padding counted, computed together: speed and memory, never the answer.
            progress: called after each batch with its number of recordings.

        Raises:
            ValueError: there are not as many texts as recordings. What is wrong with a recording or its text is its
                `fault`.
        """
        refuse_non_strings(texts, "texts")
        if len(recordings) != len(texts):
            raise ValueError(
                f"`texts` must have one text for each recording ({len(recordings)}), but has {len(texts)} instead."
            )
        known = [normalize_transcript(text, self.transcripts) for text in texts]
        rows = self.tokenizer.encode(known)
        read = read_waveforms(recordings, self.codec.sample_rate)
        # An empty text has probability 1 where there is nothing to hear.
        tokens = [[0.0] if not row else [IMPOSSIBLE_LOG_PROB] * (1 + len(row)) for row in rows]
        own = {i: each for i, each in enumerate(read) if not isinstance(each, str)}
        for places in self._batches(own, batch_seconds):
            frames = self.model.frames(self._batch([own[i] for i in places]).to(self.device))
            for i, scores in zip(places, self.model.score_sequences(frames, [rows[i] for i in places]), strict=True):
                tokens[i] = scores
            if progress is not None:
                progress(len(places))
        num_scored = sum(self.codec.num_frames(len(each)) > 0 for each in own.values())
        if progress is not None and num_scored < len(read):
            progress(len(read) - num_scored)
        found = []
        for place, (each, scores, text) in enumerate(zip(read, tokens, known, strict=True)):
            unknown, fault = self.tokenizer.unknown_items(text), each if isinstance(each, str) else ""
            if unknown and not fault:
                listed, name = " ".join(map(repr, unknown)), recording_name(recordings[place], place)
                fault = f"{name}: the vocabulary does not have {listed} of its text."
            nats = [NEG_INF if score == IMPOSSIBLE_LOG_PROB else score for score in scores]
            nats = [] if isinstance(each, str) else nats
            found.append(TranscriptScore(None if fault else sum(nats), len(scores), nats, unknown, fault))
        return found

    @torch.inference_mode()
    def frame_log_probs(self, recordings: Sequence[Any]) -> list[NDArray[np.float32]]:
        """Compute the log-probabilities in nats of each frame: (F', V) for each recording, blank among the V ids.

        `model.output_step` and `model.first_output` say where among the frames of 10 ms (`data.hop_ms`) they are: every
        second one, unless the model has other settings.

        Raises:
            ValueError: a recording cannot be read.
        """
        read = read_waveforms(recordings, self.codec.sample_rate)
        if fault := next((each for each in read if isinstance(each, str)), None):
            raise ValueError(fault)
        own = {i: each for i, each in enumerate(read) if not isinstance(each, str)}
        found = [np.zeros((0, self.model.vocab_size), np.float32)] * len(read)
        for places in self._batches(own, BATCH_SECONDS):
            frames = self.model.frames(self._batch([own[i] for i in places]).to(self.device))
            for i, length, scores in zip(places, frames.lengths.tolist(), frames.log_probs.float().cpu(), strict=True):
                found[i] = scores[:length].numpy()
        return found

    def _batches(self, waveforms: Mapping[int, Waveform], batch_seconds: float) -> Iterator[list[int]]:
        """Divide those that have a frame at least into batches of similar length."""
        if not batch_seconds > 0:
            raise ValueError(f"`batch_seconds` must be above 0, but is {batch_seconds} instead.")
        counts = {i: self.codec.num_frames(len(each)) for i, each in waveforms.items()}
        long_enough = [i for i, count in counts.items() if count > 0]
        for places in length_batches([counts[i] for i in long_enough], self.codec.frames_in(batch_seconds)):
            yield [long_enough[place] for place in places]

    def _batch(self, waveforms: Sequence[Waveform]) -> FrameBatch:
        frames = [self.codec.frames(each).numpy() for each in waveforms]
        tokenizer = self.tokenizer
        ids = {"pad_id": tokenizer.pad_id, "bos_id": tokenizer.bos_id, "eos_id": tokenizer.eos_id}
        return collate_frames(frames, None, range(len(frames)), **ids)

    @torch.inference_mode()
    def _transcripts(self, waveforms: Sequence[Waveform], config: SearchConfig, times: bool) -> list[Transcript]:
        """Transcribe a batch of recordings."""
        batch = self._batch(waveforms).to(self.device)
        needs_scores = config.num_hypotheses > 1
        found = self._searched(batch, config, needs_scores)
        timed = self._timed(batch, [best[0].ids for best in found], waveforms) if times else [None] * len(found)
        transcripts = []
        for waveform, best, tokens in zip(waveforms, found, timed, strict=True):
            texts = [_as_line(text) for text in self.tokenizer.decode([each.ids for each in best])]
            alternatives = [
                Alternative(text, each.score, each.log_prob) for text, each in zip(texts, best, strict=True)
            ]
            transcripts.append(
                Transcript(
                    texts[0],
                    len(waveform) / self.codec.sample_rate,
                    alternatives=alternatives if needs_scores else None,
                    tokens=tokens,
                    words=None if tokens is None else words_of(tokens, texts[0]),
                )
            )
        return transcripts

    def _searched(self, batch: FrameBatch, config: SearchConfig, need_scores: bool) -> list[list[Hypothesis]]:
        """Find the best transcripts of each recording of a batch, best first."""
        unlimited = replace(config, max_length=UNLIMITED)
        banned = [*banned_ids(self.tokenizer), self.tokenizer.unk_id]
        request = SearchRequest(batch, None, banned, need_scores=need_scores, lm=self.lm)
        return select_search(self.model, unlimited)(self.model, unlimited, request)

    def _timed(
        self, batch: FrameBatch, rows: Sequence[Sequence[int]], waveforms: Sequence[Waveform]
    ) -> list[list[Timed]]:
        """Find the time of each token of some transcripts."""
        names = [token_texts(self.tokenizer, row) for row in rows]
        log_mel, rate = self.codec.log_mel, self.codec.sample_rate
        timing = Timing(
            hop=log_mel.hop / rate * self.model.output_step,
            middle=log_mel.frame_time(self.model.first_output),
            frame_step=self.model.output_step,
            first_frame=self.model.first_output,
            blank_id=self.model.blank_id,
        )
        sounds = [active_frames(log_mel(each)) for each in waveforms]
        durations = [len(each) / rate for each in waveforms]
        return time_tokens(self.model.frames(batch), rows, names, sounds, durations, timing)

    def _search(self, options: SearchOptions) -> SearchConfig:
        """Return how to search: as in validation, but for these fields."""
        given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
        if unknown := sorted(given.keys() - {field.name for field in fields(SearchConfig)}):
            known = "`lm`, `lm_weight` and `length_reward` are given to `seqlab.load`"
            raise ValueError(
                f"There is no option `{unknown[0]}` of transcribing ({known}); its options are those of a "
                "`SearchConfig`, `times` and `batch_seconds`."
            )
        if unused := [name for name in NO_LIMITS if name in given]:
            raise ValueError(f"`{unused[0]}` has no use here: a transcript ends with its recording. Leave it out.")
        num_hypotheses = given.get("num_hypotheses", self.search.num_hypotheses)
        if self.lm is not None or num_hypotheses > 1:
            given.setdefault("beam_size", max(self.search.beam_size, WIDE_BEAM, num_hypotheses))
        if self.lm is not None and given["beam_size"] == 1:
            raise ValueError("`beam_size: 1` is the best path of the recogniser alone: beside `lm` take 2 or more.")
        # All transcripts are of the same frames: dividing by their lengths would favour long ones.
        return replace(self.search, **{"length_alpha": 0.0, **given})


def _as_line(text: str) -> str:
    """Write a transcript without control characters, and with single spaces."""
    return " ".join(replace_control_characters(text)[0].split())


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
    """Load a recogniser.

    Args:
        run: a run folder.
        checkpoint: `best` (in validation), `last` or a step number.
        device: `cpu`, `cuda`, `cuda:1`, or `auto`: CUDA where there is one.
        precision: dtype of matrix products: `bf16`, `fp32`, or `auto`: bf16 where the device computes in it.
        lm: the run of an n-gram model of characters, over the recogniser's vocabulary, or of words.
        lm_weight: of its log-probabilities; 0.5 unless given.
        length_reward: what is added for each token beside the language model; 0 unless given.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: it is no recogniser, is damaged or has another format version; several runs are named; the
            vocabulary of the language model does not fit.
    """
    runs = [run] if isinstance(run, str | Path) else list(run)
    checkpoints = [checkpoint] if isinstance(checkpoint, str) else list(checkpoint)
    if len(runs) != 1 or len(checkpoints) != 1:
        raise ValueError(f"One recogniser is loaded at a time, but {len(runs) * len(checkpoints)} are named.")
    for name, value in (("lm_weight", lm_weight), ("length_reward", length_reward)):
        if value is not None and lm is None:
            raise ValueError(f"`{name}` needs a language model, `lm`.")
    chosen = choose_device(device)
    dtype = choose_dtype(precision, chosen)
    loaded = load_run(runs[0], checkpoints[0], product=RECOGNISER)
    data = loaded.config.data
    assert isinstance(data, TranscriptionConfig)
    weighted = None
    if lm is not None:
        tokenizer = loaded.codecs[1]
        weighted = load_language_model(lm, tokenizer, chosen, dtype, weight=lm_weight, length_reward=length_reward)
    prepare_inference(loaded.model, chosen, dtype)
    return Transcriber(
        loaded.model,
        (loaded.codecs[0], loaded.codecs[1]),
        loaded.config.training.valid_search,
        chosen,
        weighted,
        data.transcripts,
    )
