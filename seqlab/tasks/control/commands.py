"""Play episodes with a trained agent (`seqlab play`)."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from seqlab.base.bounds import CountOrZero
from seqlab.base.config_class import dataclass
from seqlab.commands import Command, UsageError
from seqlab.inference.files import output_stream
from seqlab.inference.lines import json_line, write_lines
from seqlab.inference.options import SETTINGS, Count, File, RunOptions, set_threads

if TYPE_CHECKING:
    from seqlab.tasks.control.agent import Agent, Played

FRAMES_PER_SECOND = 30


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
    from seqlab.tasks.control.agent import load_agent

    path = Path(options.frames or "")
    if path.suffix not in ("", ".gif"):
        raise UsageError("`--frames` must be a file that ends in .gif, or a folder without a dot in its name")
    set_threads(options.threads)
    agent = load_agent(options.runs, options.checkpoint, options.device, options.precision)
    played = agent.play(options.episodes, seed=options.seed)
    with output_stream(options.output) as stream:
        write_lines(stream, (_format_line(number, each, options.json) for number, each in enumerate(played)))
        if not options.json:
            write_lines(stream, [f"mean return {sum(each.total for each in played) / len(played):.2f}"])
    if options.frames:
        _draw(agent, path, options.seed)
    return 0


def _format_line(number: int, played: "Played", as_json: bool) -> str:
    if as_json:
        return json_line({"episode": number, "return": played.total, "length": played.length})
    return f"episode {number}: return {played.total:g}, {played.length} steps"


def _draw(agent: "Agent", path: Path, seed: int) -> None:
    """Draw the first episode as a GIF file, or as a folder of PNG files."""
    from PIL import Image

    images = [Image.fromarray(frame) for frame in agent.frames(seed=seed)]
    if path.suffix:
        images[0].save(path, save_all=True, append_images=images[1:], duration=1000 // FRAMES_PER_SECOND, loop=0)
        return
    path.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(images):
        image.save(path / f"{number:05d}.png")


PLAY = Command(PlayOptions, run, single_process=True)
