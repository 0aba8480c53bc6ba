"""The command `seqlab exposure`."""

import json
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from pydantic.dataclasses import dataclass

from seqlab.base.progress import count_progress
from seqlab.commands import Command
from seqlab.inference.options import SETTINGS, Count, given_options
from seqlab.tasks.translation.commands.pairs import PairOptions, load_one_process, read_pairs

if TYPE_CHECKING:
    from seqlab.tasks.translation.exposure import Exposure, Quality


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class ExposureOptions(PairOptions):
    """Exposure bias: next-token accuracy after the reference's prefix and after the model's own greedy prefix.

    For each position of the target: how often the likeliest next token is one that should come there, and the
    probability of all that should, after the beginning of the reference (true) and after the model's own greedy
    output (own). What should come next is what leaves the fewest edits to the reference: after an error that
    may be one of several tokens, whose mean number is `choices`.

    The difference of the two is what is called exposure bias, as training that only ever shows true prefixes may cause
    it. It is no proof of that, and no bound: an answer that is as good as the reference counts as wrong, and after an
    error more than one token may count as right. It is for comparing models. It is of the positions of each pair that
    both kinds of prefixes have (the line `both`): an answer that ends early, or goes on after the end of the
    reference, makes other predictions besides, which are shown and not compared. No prediction is right where the
    vocabulary lacks what should come. Pairs with an empty side are left out.
    """

    batch_tokens: Count | None = None
    """padded source tokens computed together"""


def run(options: ExposureOptions) -> None:
    """Measure and print a line for each position."""
    from seqlab.tasks.translation.exposure import exposure_of

    src_lines, tgt_lines, locations = read_pairs(options)
    trained = load_one_process(options)
    with count_progress("pairs", len(src_lines)) as advance:
        found = exposure_of(
            trained,
            src_lines,
            tgt_lines,
            locations=locations,
            progress=advance,
            **given_options(options, "batch_tokens"),
        )
    print(json.dumps(as_dict(found)) if options.json else "\n".join(lines_of(found)))


def as_dict(found: "Exposure") -> dict[str, Any]:
    """Give all figures by name."""
    from seqlab.tasks.translation.exposure import Quality, total

    def figures(quality: "Quality") -> dict[str, Any]:
        return {
            "predictions": quality.count,
            "accuracy": quality.accuracy,
            "probability": quality.mean_probability,
            "choices": quality.mean_choices,
        }

    return {
        "true": figures(total(found.true)),
        "own": figures(total(found.own)),
        "both": {"true": figures(found.shared_true), "own": figures(found.shared_own)},
        "after_error": figures(found.after_error),
        "exposure_bias": found.bias,
        "positions": [
            {"position": position, "true": figures(behind_truth), "own": figures(behind_own)}
            for position, (behind_truth, behind_own) in enumerate(
                zip_longest(found.true, found.own, fillvalue=Quality())
            )
        ],
    }


def lines_of(found: "Exposure") -> list[str]:
    """Write a table: a line for each position, then all of them, those that are compared, and what follows an error."""
    figures = as_dict(found)
    lines = [f"{'prefix':<12}{'true':>10}{'right':>9}{'prob.':>9}{'own':>10}{'right':>9}{'prob.':>9}{'choices':>9}"]
    for each in figures["positions"]:
        lines.append(f"{each['position']:<12}{_shown(each['true'])}{_own(each['own'])}")
    lines.append(f"{'all':<12}{_shown(figures['true'])}{_own(figures['own'])}")
    lines.append(f"{'both':<12}{_shown(figures['both']['true'])}{_own(figures['both']['own'])}")
    lines.append(f"{'after error':<12}{'':>28}{_own(figures['after_error'])}")
    lines.append(f"exposure bias: {100 * figures['exposure_bias']:.2f} of 100 predictions")
    return lines


def _shown(figures: dict[str, Any]) -> str:
    if figures["accuracy"] is None:
        return f"{0:>10,}{'n/a':>9}{'n/a':>9}"
    return f"{figures['predictions']:>10,}{100 * figures['accuracy']:>8.2f}%{figures['probability']:>9.4f}"


def _own(figures: dict[str, Any]) -> str:
    choices = figures["choices"]
    return _shown(figures) + (f"{'n/a':>9}" if choices is None else f"{choices:>9.2f}")


EXPOSURE = Command(ExposureOptions, run, single_process=True)
