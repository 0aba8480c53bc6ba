"""The command `seqlab label`."""

from seqlab.commands import Command
from seqlab.inference.files import refuse_same_file
from seqlab.inference.label_options import LabelOptions


def run(options: LabelOptions) -> int | None:
    """Label as the task of the run does."""
    from seqlab.runs.use import serve  # which reads a config

    refuse_same_file("--output", options.output, {"the input": options.input})
    return serve("label", options.runs[0], options)


LABEL = Command(LabelOptions, run, in_one_process=True)
