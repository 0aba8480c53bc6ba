"""`python -m benchmarks speech RUN LIST`: speed of a speech recognizer, part by part.

Seconds of speech processed per second on the recordings of a list, in one process: reading, features, features with
encoder, and complete recognition with greedy decoding and prefix beam search, with and without a language model. For
comparison, if installed: the same encoder with the beam search of flashlight-text, and pocketsphinx with its own
English models.
"""

import argparse
import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.machine import measure_machine
from benchmarks.options import refuse_missing_folder
from benchmarks.report import Report, Row
from benchmarks.scale import Scale
from seqlab.audio.reading import read_recording
from seqlab.data.manifests import open_manifest
from seqlab.evaluation import evaluate
from seqlab.tasks.transcription.transcriber import Transcriber, load_transcriber
from seqlab.text.transcripts import normalize_transcript

logger = logging.getLogger(__name__)
QUICK_RECORDINGS = 8
FLASHLIGHT_THRESHOLD = 100.0
"""Beam threshold of flashlight-text in nats; its search uses no lexicon and no language model."""
POCKETSPHINX_RATE = 16_000
"""Sample rate of pocketsphinx's English models."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    parser.add_argument("model", type=Path, metavar="RUN", help="run folder of a speech recognizer")
    parser.add_argument("list", metavar="LIST", help="a list of recordings with transcripts, such as valid.jsonl")
    parser.add_argument("--audio", default="audio", metavar="COLUMN", help="default: %(default)s")
    parser.add_argument("--text", default="text", metavar="COLUMN", help="default: %(default)s")
    parser.add_argument("--lm", type=Path, metavar="RUN", help="an n-gram model for shallow fusion")
    parser.add_argument("--lm_weight", type=float, default=0.5, metavar="W", help="default: %(default)s")
    parser.add_argument("--beam_size", type=int, default=16, metavar="N", help="default: %(default)s")
    parser.add_argument("--repetitions", type=int, metavar="N", help="default: 5")


def run(arguments: argparse.Namespace, scale: Scale) -> Report:
    """Time each part several times and report the medians."""
    refuse_missing_folder("RUN", arguments.model)
    torch.set_num_threads(arguments.threads)
    entries = list(open_manifest(arguments.list, arguments.audio, arguments.text).entries())
    paths, texts = [each.audio for each in entries], [each.text or "" for each in entries]
    if arguments.quick:
        paths, texts = paths[:QUICK_RECORDINGS], texts[:QUICK_RECORDINGS]
    report = Report("speech", measure_machine(arguments))
    transcriber = load_transcriber(arguments.model, "best", arguments.device, "fp32")
    benchmark = _SpeechBenchmark(transcriber, paths, texts, scale.repetitions)
    report.more = {"recordings": len(paths), "minutes": benchmark.seconds / 60}
    report.rows += benchmark.part_rows()
    beam = arguments.beam_size
    report.rows.append(benchmark.recognizer_row("seqlab", "best path", partial(benchmark.transcribe, transcriber, 1)))
    report.rows.append(
        benchmark.recognizer_row("seqlab", f"beam of {beam}", partial(benchmark.transcribe, transcriber, beam))
    )
    if arguments.lm is not None:
        fused = load_transcriber(
            arguments.model, "best", arguments.device, "fp32", lm=arguments.lm, lm_weight=arguments.lm_weight
        )
        report.rows.append(
            benchmark.recognizer_row("seqlab", f"beam of {beam}, --lm", partial(benchmark.transcribe, fused, beam))
        )
    for system, measure in (("flashlight-text", partial(_flashlight, beam_size=beam)), ("pocketsphinx", _pocketsphinx)):
        try:
            report.rows.append(measure(benchmark))
        except ModuleNotFoundError as error:
            report.notes.append(f"{system} is not installed ({error.name})")
    return report


class _SpeechBenchmark:
    """Measurements on recordings with their transcripts."""

    def __init__(self, transcriber: Transcriber, paths: list[str], texts: list[str], repetitions: int) -> None:
        self.transcriber, self.paths, self.repetitions = transcriber, paths, repetitions
        self.references = [normalize_transcript(text, "plain") for text in texts]
        self.waveforms = [read_recording(path, transcriber.codec.sample_rate).samples for path in paths]
        self.seconds = sum(map(len, self.waveforms)) / transcriber.codec.sample_rate

    def time_call(self, compute: Callable[[], Any]) -> tuple[float, Any]:
        """Return the median seconds of a call without the first one, and its result."""
        result, seconds = compute(), []
        for _ in range(self.repetitions):
            started = time.perf_counter()
            compute()
            seconds.append(time.perf_counter() - started)
        return median(seconds), result

    def row(self, system: str, setting: str, seconds: float, **more: Any) -> Row:
        """Return a row with the seconds of speech processed per second."""
        logger.info("%s, %s: %.2f s", system, setting, seconds)
        return Row(system, "speech", "fp32", setting, more={"times_real_time": self.seconds / seconds, **more})

    def part_rows(self) -> list[Row]:
        """Time reading, features and encoder."""
        codec, model = self.transcriber.codec, self.transcriber.model
        rate = codec.sample_rate
        reading, _ = self.time_call(lambda: [read_recording(path, rate) for path in self.paths])
        features, _ = self.time_call(lambda: [codec.frames(each) for each in self.waveforms])
        encoder, _ = self.time_call(self.log_probs)
        parameters = sum(parameter.numel() for parameter in model.parameters())
        return [
            self.row("seqlab", "reading", reading),
            self.row("seqlab", "features", features),
            self.row("seqlab", "features and encoder", encoder, note=f"{parameters:,} parameters"),
        ]

    def log_probs(self) -> list[NDArray[np.float32]]:
        """Compute the log-probabilities for the decoders."""
        rate = self.transcriber.codec.sample_rate
        return self.transcriber.frame_log_probs([(each, rate) for each in self.waveforms])

    def transcribe(self, transcriber: Transcriber, beam_size: int) -> list[str]:
        """Transcribe the waveforms: features, encoder and decoder."""
        rate = transcriber.codec.sample_rate
        return transcriber.transcribe([(each, rate) for each in self.waveforms], beam_size=beam_size)

    def recognizer_row(self, system: str, setting: str, compute: Callable[[], list[str]], **more: Any) -> Row:
        """Time a recognizer, and measure its error rates on lowercase texts without punctuation."""
        seconds, texts = self.time_call(compute)
        found = [normalize_transcript(text, "plain") for text in texts]
        scores = evaluate(found, [self.references], ["wer", "cer"])
        return self.row(system, setting, seconds, **{name: score.value for name, score in scores.items()}, **more)


def _flashlight(benchmark: _SpeechBenchmark, beam_size: int) -> Row:
    """Measure the beam search of flashlight-text on seqlab's log-probabilities."""
    from flashlight.lib.text.decoder import CriterionType, LexiconFreeDecoder, LexiconFreeDecoderOptions, ZeroLM

    tokenizer, model = benchmark.transcriber.tokenizer, benchmark.transcriber.model
    options = LexiconFreeDecoderOptions(
        beam_size=beam_size,
        beam_size_token=model.vocab_size,
        beam_threshold=FLASHLIGHT_THRESHOLD,
        lm_weight=0.0,
        sil_score=0.0,
        log_add=True,
        criterion_type=CriterionType.CTC,
    )
    no_silence = -1
    decoder = LexiconFreeDecoder(options, ZeroLM(), no_silence, model.blank_id, [])

    def recognize() -> list[str]:
        log_probs = map(np.ascontiguousarray, benchmark.log_probs())
        paths = [decoder.decode(each.ctypes.data, *each.shape)[0].tokens for each in log_probs]
        return tokenizer.decode([_collapse_path(path, model.blank_id) for path in paths])

    return benchmark.recognizer_row(
        "flashlight-text", f"beam of {beam_size}", recognize, note="the encoder is seqlab's"
    )


def _collapse_path(path: Sequence[int], blank_id: int) -> list[int]:
    """Remove repetitions, blanks and the delimiters at both ends of a path."""
    without_repetitions = [index for i, index in enumerate(path) if i == 0 or index != path[i - 1]]
    return [index for index in without_repetitions if index not in (blank_id, -1)]


def _pocketsphinx(benchmark: _SpeechBenchmark) -> Row:
    """Measure pocketsphinx with its own models of 130,000 English words, on one thread."""
    from pocketsphinx import Decoder

    decoder = Decoder(samprate=POCKETSPHINX_RATE, loglevel="FATAL")
    waveforms = [read_recording(path, POCKETSPHINX_RATE).samples.tobytes() for path in benchmark.paths]

    def recognize() -> list[str]:
        found = []
        for waveform in waveforms:
            decoder.start_utt()
            decoder.process_raw(waveform, full_utt=True)
            decoder.end_utt()
            best = decoder.hyp()
            found.append("" if best is None else best.hypstr)
        return found

    return benchmark.recognizer_row("pocketsphinx", "its own models", recognize)
