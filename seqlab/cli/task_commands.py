"""Commands `seqlab score` and `seqlab label`, which the task of a run implements."""

from pathlib import Path

from seqlab.audio.containers import looks_like_audio
from seqlab.base.world import join_world
from seqlab.commands import Command, UsageError
from seqlab.inference.files import refuse_same_file
from seqlab.inference.options import LabelOptions, refuse_text_for_runs
from seqlab.inference.score_command import ScoreOptions


def score(options: ScoreOptions) -> int | None:
    """Score with the implementation of the run's task."""
    from seqlab.runs.task_of_run import run_task_command

    with join_world() as world:
        if options.likeliest != (len(options.tgt) > 1):
            raise UsageError("`--likeliest` needs several files after `--tgt`, and several files need `--likeliest`")
        for name, specs in (("--src", [options.src]), ("--tgt", options.tgt)):
            for spec in specs:
                refuse_same_file("--output", options.output, {name: spec})
        return run_task_command("score", options.runs[0], options, world)


def label(options: LabelOptions) -> int | None:
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


SCORE = Command(ScoreOptions, score)
LABEL = Command(LabelOptions, label, single_process=True)
