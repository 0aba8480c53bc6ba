"""Measure the exposure bias of a translator (`seqlab exposure`)."""

from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from seqlab.base.config_class import dataclass
from seqlab.base.json_text import json_text
from seqlab.base.progress import count_progress
from seqlab.commands import Command
from seqlab.inference.options import SETTINGS, Count, given_options
from seqlab.tasks.translation.commands.pairs import PairOptions, load_single_process, read_pairs

if TYPE_CHECKING:
    from seqlab.tasks.translation.exposure import Exposure, PredictionCounts


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class ExposureOptions(PairOptions):
    """Measure exposure bias: next-token accuracy after the reference's prefix and after the model's own greedy prefix.

    For each target position, the table shows how often the most probable next token is correct, and the total
    probability of the correct tokens: after the prefix of the reference (`true`) and after the model's own greedy
    prefix (`own`). A token is correct if it minimizes the edits to the reference. After an error there may be several
    correct tokens; `choices` is their mean number.

    Exposure bias is the difference of the two accuracies. Training on true prefixes only may cause it. The number is
    neither a proof nor a bound: an output as good as the reference counts as wrong, and after an error several tokens
    may count as correct. Use it to compare models. It covers the positions that have both kinds of prefixes (the line
    `both`). Positions that only the reference or only the output has are shown, but not compared. If the token of the
    reference is not in the vocabulary, no prediction is correct. Pairs with an empty side are left out.
    """

    batch_tokens: Count | None = None
    """padded source tokens per batch"""


def run(options: ExposureOptions) -> None:
    """Measure exposure bias and print a line for each position."""
    from seqlab.tasks.translation.exposure import exposure_of

    src_lines, tgt_lines, locations = read_pairs(options)
    translator = load_single_process(options)
    with count_progress("pairs", len(src_lines)) as advance:
        exposure = exposure_of(
            translator,
            src_lines,
            tgt_lines,
            locations=locations,
            progress=advance,
            **given_options(options, "batch_tokens"),
        )
    print(json_text(as_dict(exposure)) if options.json else "\n".join(table_lines(exposure)))


def as_dict(exposure: "Exposure") -> dict[str, Any]:
    """Return all figures by name, for JSON."""
    from seqlab.tasks.translation.exposure import PredictionCounts, total

    def figures(counts: "PredictionCounts") -> dict[str, Any]:
        return {
            "predictions": counts.count,
            "accuracy": counts.accuracy,
            "probability": counts.mean_probability,
            "choices": counts.mean_choices,
        }

    return {
        "true": figures(total(exposure.true)),
        "own": figures(total(exposure.own)),
        "both": {"true": figures(exposure.shared_true), "own": figures(exposure.shared_own)},
        "after_error": figures(exposure.after_error),
        "exposure_bias": exposure.bias,
        "positions": [
            {"position": position, "true": figures(true), "own": figures(own)}
            for position, (true, own) in enumerate(
                zip_longest(exposure.true, exposure.own, fillvalue=PredictionCounts())
            )
        ],
    }


def table_lines(exposure: "Exposure") -> list[str]:
    """Format a table: a line for each position, then for all, for those compared, and for those after an error."""
    figures = as_dict(exposure)
    lines = [f"{'prefix':<12}{'true':>10}{'correct':>9}{'prob.':>9}{'own':>10}{'correct':>9}{'prob.':>9}{'choices':>9}"]
    for row in figures["positions"]:
        lines.append(f"{row['position']:<12}{_format_counts(row['true'])}{_format_own_counts(row['own'])}")
    lines.append(f"{'all':<12}{_format_counts(figures['true'])}{_format_own_counts(figures['own'])}")
    lines.append(f"{'both':<12}{_format_counts(figures['both']['true'])}{_format_own_counts(figures['both']['own'])}")
    lines.append(f"{'after error':<12}{'':>28}{_format_own_counts(figures['after_error'])}")
    lines.append(f"exposure bias: {100 * figures['exposure_bias']:.2f} percentage points")
    return lines


def _format_counts(figures: dict[str, Any]) -> str:
    if figures["accuracy"] is None:
        return f"{0:>10,}{'n/a':>9}{'n/a':>9}"
    return f"{figures['predictions']:>10,}{100 * figures['accuracy']:>8.2f}%{figures['probability']:>9.4f}"


def _format_own_counts(figures: dict[str, Any]) -> str:
    choices = figures["choices"]
    return _format_counts(figures) + (f"{'n/a':>9}" if choices is None else f"{choices:>9.2f}")


EXPOSURE = Command(ExposureOptions, run, single_process=True)
