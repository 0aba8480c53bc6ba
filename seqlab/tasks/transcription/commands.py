"""Transcribe recordings (`seqlab transcribe`), and score transcripts (`seqlab score` for recordings)."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields, replace
from typing import TYPE_CHECKING, Annotated, Literal

from seqlab.audio.channel_names import Channel
from seqlab.base.bounds import Finite, Positive
from seqlab.base.config_class import dataclass
from seqlab.base.progress import count_progress
from seqlab.base.raw_lines import LineLimit
from seqlab.base.world import ProgressCallback, World
from seqlab.commands import INCOMPLETE, AsArgument, Command, UsageError
from seqlab.data.blocks import in_batches
from seqlab.data.column import zip_equal
from seqlab.data.manifests import ManifestEntry
from seqlab.inference.files import output_stream, refuse_same_file
from seqlab.inference.lines import TextCounts, exit_status, json_line, write_lines
from seqlab.inference.options import SETTINGS, Count, DeviceOptions, File, RunPath, given_options, set_threads
from seqlab.inference.recording_lists import (
    BUFFER_RECORDINGS,
    MAY_BE_WRONG,
    buffer_size,
    choose_channel,
    describe_recording,
    is_recording_list,
    log_recording_faults,
    open_recording_list,
    refuse_recording_as_output,
)
from seqlab.inference.score_command import ScoreInput, ScoreOptions, write_scores

if TYPE_CHECKING:
    from seqlab.tasks.transcription.transcript import Transcript


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class TranscribeOptions(DeviceOptions):
    """Transcribe recordings: one output line per recording, in order.

    Recordings are given as arguments, or in a list with one per line (--input, or standard input). A recording that
    cannot be read gives an empty line, a warning, and exit status 3; with --on_fault refuse, the command stops with an
    error. Silence gives an empty line.
    """

    run: RunPath
    """run folder"""
    recordings: Annotated[list[File], AsArgument, "RECORDING"] = ()  # type: ignore[assignment]
    """WAV, FLAC, Ogg, mp3 and others, or one list of recordings (default: the list on standard input)"""
    input: File | None = None
    """list of recordings: one path per line, or a list as for training (FILE#COLUMN unless its column is `audio`)"""
    output: File | None = None
    """output file (default: standard output)"""
    json: bool = False
    """write one JSON object per line, with duration, alternatives, and times and confidence of tokens and words"""
    beam_size: Count | None = None
    """prefixes kept in each frame; 1 decodes the best path (default: as in validation)"""
    num_hypotheses: Count | None = None
    """transcripts per recording, with --json"""
    lm: RunPath | None = None
    """run of a language model for shallow fusion: an n-gram model of words, or a model over the same vocabulary"""
    lm_weight: Annotated[Finite, "W"] | None = None
    """weight of the language model's log-probabilities (default: 0.5)"""
    length_reward: Annotated[Finite, "R"] | None = None
    """score added per token, with --lm (default: 0)"""
    channel: Annotated[Channel, "N"] | None = None
    """channel of recordings without a column `channel`: number, left, right, mean (default: as in training)"""
    batch_seconds: Annotated[Positive, "S"] | None = None
    """seconds of audio per batch; affects speed and memory, not the transcripts (default: 120)"""
    buffer_lines: Count | None = None
    """recordings per block (default: 64; 1 on a terminal)"""
    on_fault: Literal["skip", "refuse"] = "skip"
    """action for a recording that cannot be transcribed"""


def run(options: TranscribeOptions) -> int | None:
    """Transcribe recordings block by block; return the exit status."""
    from seqlab.tasks.transcription.transcriber import load_transcriber

    if (options.num_hypotheses or 1) > 1 and not options.json:
        raise UsageError("more than one hypothesis per recording needs --json")
    if options.recordings and options.input is not None:
        raise UsageError("name either recordings or, with --input, a list of them")
    if len(options.recordings) == 1 and is_recording_list(options.recordings[0]):
        options = replace(options, recordings=[], input=options.recordings[0])
    refuse_same_file("--output", options.output, {"the input": options.input})
    refuse_recording_as_output(options.output, options.recordings)
    set_threads(options.threads)
    transcriber = load_transcriber(
        options.run,
        options.checkpoint,
        options.device,
        options.precision,
        lm=options.lm,
        lm_weight=options.lm_weight,
        length_reward=options.length_reward,
    )
    settings = given_options(options, "beam_size", "num_hypotheses", "batch_seconds")
    faults, counts = 0, TextCounts("transcripts", num_hypotheses=options.num_hypotheses or 1)
    with (
        _open_paths(options, options.channel or transcriber.channel, transcriber.reading) as paths,
        output_stream(options.output) as out,
        count_progress("recordings") as advance,
    ):
        for block in in_batches(paths, buffer_size(options.buffer_lines, options.input)):
            results = transcriber.transcribe_detailed(block, times=options.json, progress=advance, **settings)
            if options.on_fault == "refuse" and (
                fault := next((result.fault for result in results if result.fault), "")
            ):
                raise ValueError(fault)
            faults += log_recording_faults(result.fault for result in results)
            faults += log_recording_faults((result.warning or "" for result in results), MAY_BE_WRONG)
            counts.add_outputs([result.text for result in results])
            counts.add_alternatives(result.alternatives or () for result in results)
            counts.add_hypotheses(result.alternatives for result in results if result.alternatives)
            pairs = zip(block, results, strict=True)
            write_lines(out, (_as_json(pair, entry) if options.json else pair.text for entry, pair in pairs))
    counts.warn()
    return INCOMPLETE if faults else None


def score_transcripts(options: ScoreOptions, world: World) -> int | None:
    """Score each text given its recording; return the exit status."""
    from seqlab.tasks.transcription.transcriber import load_transcriber
    from seqlab.tasks.transcription.transcript import TranscriptScore

    for name, is_given in (
        ("engine", options.engine != "torch"),
        ("quantization", options.quantization is not None),
        ("processes", options.processes is not None),
        ("batch_tokens", options.batch_tokens is not None),
    ):
        if is_given:
            raise UsageError(f"{options.runs[0]} transcribes recordings: `--{name}` is for other runs")
    if options.src is None:
        raise UsageError(f"{options.runs[0]} transcribes recordings: name the list of recordings with `--src`")
    set_threads(world.thread_count() if options.threads is None else options.threads)
    device = world.device_name(options.device)
    transcriber = load_transcriber(options.runs, options.checkpoint, device, options.in_fp32().precision)
    faults = 0

    def score(
        paths: Sequence[str | ManifestEntry] | None,
        texts: Sequence[str],
        _locations: Sequence[str],
        advance: ProgressCallback | None,
    ) -> list[TranscriptScore]:
        nonlocal faults
        assert paths is not None

        def compute(indices: list[int], on_rows: ProgressCallback | None) -> list[TranscriptScore]:
            return transcriber.score([paths[i] for i in indices], [texts[i] for i in indices], progress=on_rows)

        results = world.map_rows([len(text) for text in texts], compute, advance)
        faults += log_recording_faults((result.fault for result in results), "There is no score.")
        return results

    limit = options.line_limit()
    write_scores(options, world, score, _read_pairs(options, options.src, limit, transcriber.reading))
    return INCOMPLETE if faults else world.broadcast(exit_status(limit))


def _read_pairs(options: ScoreOptions, src: str, limit: LineLimit, reading: int) -> Iterator[ScoreInput]:
    """Read paths of recordings and their texts in blocks; raises ValueError if the files differ in length."""
    from seqlab.data.columns import parse_column

    texts = [parse_column(spec, limit, reading) for spec in options.tgt]
    with open_recording_list(src, limit=limit, reading=reading) as paths:
        rows = zip_equal([src, *map(str, texts)], [paths, *(column.values() for column in texts)])
        for block in in_batches(rows, options.buffer_lines or BUFFER_RECORDINGS):
            block_paths, *targets = zip(*block, strict=True)
            yield ScoreInput(block_paths, targets, [()] * len(targets))


@contextmanager
def _open_paths(options: TranscribeOptions, channel: str, reading: int) -> Iterator[Iterator[str | ManifestEntry]]:
    """Yield the recordings of the arguments or of the list, with a channel for those that name none."""
    if options.recordings:
        yield choose_channel(options.recordings, channel)
    else:
        with open_recording_list(options.input, reading=reading) as paths:
            yield choose_channel(paths, channel)


def _as_json(transcript: "Transcript", entry: str | ManifestEntry) -> str:
    """Format a transcript as JSON, without the fields that are None."""
    present = [field.name for field in fields(transcript) if getattr(transcript, field.name) is not None]
    values = {name: value for name, value in asdict(transcript).items() if name in present}
    return json_line(describe_recording(entry) | values)


TRANSCRIBE = Command(TranscribeOptions, run, single_process=True)
