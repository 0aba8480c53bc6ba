"""Command `seqlab replay`: find where the non-finite value of a failed training step arose."""

from seqlab.base.config_class import dataclass
from seqlab.base.json_text import json_text
from seqlab.commands import Command
from seqlab.inference.options import SETTINGS, File


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class ReplayOptions:
    """Repeat a failed training step on the CPU, and print where its first infinite or NaN value arose.

    A training that meets such a loss or gradient writes the step into `RUN/failures/step_N`. The command names the
    module and its inputs, the parameter, or the loss, and the rows of the batch. It writes nothing.
    """

    folder: File
    """folder of the failed step, RUN/failures/step_N"""
    json: bool = False
    """print one JSON object"""


def run(options: ReplayOptions) -> None:
    """Print the result."""
    from seqlab.diagnosis.step_replay import replay

    result = replay(options.folder)
    print(json_text(result.to_json()) if options.json else "\n".join(result.lines()))


REPLAY = Command(ReplayOptions, run, single_process=True)
