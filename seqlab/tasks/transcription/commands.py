"""The command `seqlab transcribe`."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Annotated

from pydantic.dataclasses import dataclass

from seqlab.commands import AsArgument, Command, UsageError
from seqlab.data.column import in_batches
from seqlab.inference.files import output_stream, refuse_same_file
from seqlab.inference.lines import json_line, write_lines
from seqlab.inference.options import SETTINGS, Count, DeviceOptions, File, RunPath, set_threads
from seqlab.inference.recording_lists import HAS_FAULTS, READ_TOGETHER, listed_paths, warn_of_faults
from seqlab.progress import counting

if TYPE_CHECKING:
    from seqlab.tasks.transcription.transcriber import Transcript


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class TranscribeOptions(DeviceOptions):
    """Recordings in, text out, in order and one line for each recording.

    Recordings are named one after another, or one on each line of a list (--input, or standard input). One that cannot
    be read gives an empty line and a warning, and the exit status is 3. Silence gives an empty line.
    """

    run: RunPath
    """run folder"""
    recordings: Annotated[list[File], AsArgument, "RECORDING"] = ()  # type: ignore[assignment]
    """WAV, FLAC, Ogg, mp3 and others (default: the list on standard input)"""
    input: File | None = None
    """list of recordings, or FILE#COLUMN"""
    output: File | None = None
    """where to write (default: standard output)"""
    json: bool = False
    """one JSON object per line: also duration, times and confidence of tokens and words, and alternatives"""
    beam_size: Count | None = None
    """prefixes that are kept in each frame; 1 takes the best path (default: as in validation)"""
    num_hypotheses: Count | None = None
    """alternatives of each recording, with --json"""
    lm: RunPath | None = None
    """an n-gram model of words, or of characters over the same vocabulary, that decides too"""
    lm_weight: Annotated[float, "W"] | None = None
    """of its log-probabilities (default: 0.5)"""
    length_reward: Annotated[float, "R"] | None = None
    """added for each token beside --lm (default: 0)"""
    batch_seconds: Annotated[float, "S"] | None = None
    """seconds of speech computed together: speed and memory, never the answer (default: 120)"""


def run(options: TranscribeOptions) -> int | None:
    """Transcribe block by block."""
    from seqlab.tasks.transcription.transcriber import load_transcriber

    if (options.num_hypotheses or 1) > 1 and not options.json:
        raise UsageError("more than one hypothesis per recording needs --json")
    if options.recordings and options.input is not None:
        raise UsageError("name recordings, or a list of them with --input, but not both")
    refuse_same_file("--output", options.output, {"the input": options.input})
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
    how = {name: getattr(options, name) for name in ("beam_size", "num_hypotheses")}
    how = {name: value for name, value in how.items() if value is not None}
    if options.batch_seconds is not None:
        how["batch_seconds"] = options.batch_seconds
    faults = 0
    with _paths(options) as paths, output_stream(options.output) as output, counting("recordings") as advance:
        for block in in_batches(paths, READ_TOGETHER):
            found = transcriber.transcribe_detailed(
                [path or None for path in block], times=options.json, progress=advance, **how
            )
            faults += warn_of_faults(each.fault for each in found)
            write_lines(
                output,
                (_as_json(each, path) if options.json else each.text for path, each in zip(block, found, strict=True)),
            )
    return HAS_FAULTS if faults else None


@contextmanager
def _paths(options: TranscribeOptions) -> Iterator[Iterator[str]]:
    if options.recordings:
        yield iter(options.recordings)
    else:
        with listed_paths(options.input) as paths:
            yield paths


def _as_json(transcript: "Transcript", path: str) -> str:
    known = {field.name: getattr(transcript, field.name) for field in fields(transcript)}
    left_out = [name for name, value in known.items() if value is None]
    values = {name: value for name, value in asdict(transcript).items() if name not in left_out}
    return json_line({"audio": path, **values})


TRANSCRIBE = Command(TranscribeOptions, run, in_one_process=True)
