"""Command `seqlab label`: label lines, their words or recordings."""

from pathlib import Path

from seqlab.audio.containers import looks_like_audio
from seqlab.commands import Command, UsageError
from seqlab.inference.files import refuse_same_file
from seqlab.inference.options import LabelOptions, refuse_text_for_runs


def run(options: LabelOptions) -> int | None:
    """Label with the implementation of the run's task."""
    from seqlab.runs.task_of_run import run_task_command

    for path in options.runs:
        if Path(path).is_file() and looks_like_audio(path):
            raise UsageError(
                f"{path} is a recording: write the paths of recordings into a list, and name it with --input"
            )
    refuse_text_for_runs(options.runs, "standard input, `echo 'TEXT' | seqlab label RUN`, or from --input FILE")
    refuse_same_file("--output", options.output, {"the input": options.input})
    return run_task_command("label", options.runs[0], options)


LABEL = Command(LabelOptions, run, single_process=True)
