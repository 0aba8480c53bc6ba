"""The command `seqlab label`."""

from seqlab.commands import Command
from seqlab.inference.label_options import LabelOptions


def run(options: LabelOptions) -> int | None:
    """Label as the task of the run does."""
    from seqlab.runs.use import serve  # which reads a config

    return serve("label", options.runs[0], options)


LABEL = Command(LabelOptions, run, in_one_process=True)
