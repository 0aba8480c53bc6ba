"""Command `seqlab score`: compute the log-probabilities of given lines or pairs."""

from seqlab.base.world import join_world
from seqlab.commands import Command, UsageError
from seqlab.inference.files import refuse_same_file
from seqlab.inference.score_command import ScoreOptions


def run(options: ScoreOptions) -> int | None:
    """Score with the implementation of the run's task."""
    from seqlab.runs.task_of_run import run_task_command

    with join_world() as world:
        if options.likeliest != (len(options.tgt) > 1):
            raise UsageError("`--likeliest` needs several files after `--tgt`, and several files need `--likeliest`")
        for name, specs in (("--src", [options.src]), ("--tgt", options.tgt)):
            for spec in specs:
                refuse_same_file("--output", options.output, {name: spec})
        return run_task_command("score", options.runs[0], options, world)


SCORE = Command(ScoreOptions, run)
