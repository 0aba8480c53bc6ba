"""Play episodes with a trained agent (`seqlab play`)."""

import logging
from pathlib import Path
from typing import Annotated

from seqlab.base.bounds import CountOrZero
from seqlab.base.config_class import dataclass
from seqlab.commands import Command
from seqlab.inference.files import output_stream
from seqlab.inference.lines import json_line, write_lines
from seqlab.inference.options import SETTINGS, Count, File, RunOptions, set_threads

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class PlayOptions(RunOptions):
    """Play episodes with a trained agent, without exploration: one line for each episode, with its return and length.

    The last line has the mean of the returns. With --frames, the states of the first episode are drawn.
    """

    episodes: Count = 1
    """number of episodes"""
    seed: Annotated[CountOrZero, "N"] = 1
    """seed of the episodes"""
    frames: File | None = None
    """draw the first episode: a .gif file, or a folder for PNG files"""
    output: File | None = None
    """output file (default: standard output)"""
    json: bool = False
    """write one JSON object per episode, without the mean"""


def run(options: PlayOptions) -> int:
    """Play the episodes, and draw the first one if requested."""
    from seqlab.data.images import check_frames_path, write_frames
    from seqlab.tasks.control.agent import load_agent

    path = Path(options.frames or "")
    if options.frames:
        check_frames_path(path)
    set_threads(options.threads)
    agent = load_agent(options.runs, options.checkpoint, options.device, options.precision)
    if agent.behavior.num_uniforms:
        logger.warning("the run has learned the values of random actions: the episodes are random, too")
    if options.frames and not agent.run.folder.read_description()["data"]["is_repeatable"]:
        logger.warning("the environment does not repeat itself: the frames are not those of the first episode")
    played = agent.play(options.episodes, seed=options.seed)
    with output_stream(options.output) as stream:
        for number, (total, length) in enumerate(played):
            row = {"episode": number, "return": total, "length": length}
            text = f"episode {number}: return {total:g}, {length} steps"
            write_lines(stream, [json_line(row) if options.json else text])
        if not options.json:
            write_lines(stream, [f"mean return {sum(episode.total for episode in played) / len(played):.2f}"])
    if options.frames:
        write_frames(agent.frames(seed=options.seed), path)
    return 0


PLAY = Command(PlayOptions, run, single_process=True)
