"""Command `seqlab info`: summarize a run."""

from seqlab.base.config_class import dataclass
from seqlab.base.json_text import json_text
from seqlab.commands import Command
from seqlab.inference.options import SETTINGS, RunPath


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class InfoOptions:
    """Summarize a run: config, data, model, time, checkpoints and the best validation."""

    run_dir: RunPath
    """run folder"""
    json: bool = False
    """print one JSON object"""


def run(options: InfoOptions) -> None:
    """Print the summary."""
    from seqlab.runs.summary import summarize

    summary = summarize(options.run_dir)
    print(json_text(summary.as_dict()) if options.json else "\n".join(summary.lines()))


INFO = Command(InfoOptions, run)
