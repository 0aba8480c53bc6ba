"""Label recordings (`seqlab label` for runs with recordings)."""

from typing import TYPE_CHECKING

from seqlab.commands import INCOMPLETE, UsageError
from seqlab.data.blocks import in_batches
from seqlab.data.column import join_lines
from seqlab.data.manifests import ManifestEntry
from seqlab.inference.files import output_stream
from seqlab.inference.lines import json_line, write_lines
from seqlab.inference.options import LabelOptions, set_threads
from seqlab.inference.recording_lists import (
    MAY_BE_WRONG,
    buffer_size,
    choose_channel,
    describe_recording,
    log_recording_faults,
    open_recording_list,
    refuse_recording_as_output,
)

if TYPE_CHECKING:
    from seqlab.tasks.recording_labels.recordings_labeler import LabeledRecording


def label_recordings(options: LabelOptions) -> int | None:
    """Label the recordings of a list, in blocks; a recording that cannot be read gives an empty line."""
    from seqlab.tasks.recording_labels.recordings_labeler import load_recording_labeler

    for name in ("conllu", "batch_tokens"):
        if getattr(options, name) is not None:
            raise UsageError(f"--{name} is for labels of text, but {options.runs[0]} labels recordings")
    if options.num_labels > 1 and not options.json:
        raise UsageError("more than one label per recording needs --json")
    refuse_recording_as_output(options.output)
    set_threads(options.threads)
    labeler = load_recording_labeler(options.runs, options.checkpoint, options.device, options.precision)
    faults = 0
    with (
        open_recording_list(
            options.input, in_folders=True, limit=options.line_limit(), reading=labeler.reading
        ) as paths,
        output_stream(options.output) as output,
    ):
        recordings = choose_channel(paths, options.channel or labeler.channel)
        for block in in_batches(recordings, buffer_size(options.buffer_lines, options.input)):
            results = labeler.label_detailed(block)
            faults += log_recording_faults(result.fault for result in results)
            faults += log_recording_faults((result.warning for result in results), MAY_BE_WRONG)
            pairs = zip(block, results, strict=True)
            write_lines(output, (_format_line(entry, pair, options) for entry, pair in pairs))
    return INCOMPLETE if faults else None


def _format_line(entry: str | ManifestEntry, result: "LabeledRecording", options: LabelOptions) -> str:
    """Format the label of a recording as text or JSON."""
    if not options.json:
        return join_lines(result.label)  # a label can have several lines
    ranked = sorted(result.probs.items(), key=lambda item: -item[1])
    return json_line(
        describe_recording(entry)
        | {"label": result.label, "probs": dict(ranked[: options.num_labels])}
        | {"fault": result.fault, "warning": result.warning}
    )
