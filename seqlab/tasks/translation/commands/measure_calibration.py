"""Measure the calibration of a translator (`seqlab calibration`)."""

import logging
from dataclasses import asdict
from typing import TYPE_CHECKING

from pydantic import Field

from seqlab.base.config_class import dataclass
from seqlab.base.json_text import json_text
from seqlab.base.progress import count_progress
from seqlab.commands import Command
from seqlab.inference.options import SETTINGS, Count
from seqlab.search.config import SearchConfig
from seqlab.tasks.translation.commands import search_values
from seqlab.tasks.translation.commands.pairs import PairOptions, load_single_process, read_pairs

if TYPE_CHECKING:
    from seqlab.evaluation import Calibration

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class CalibrationOptions(SearchConfig, PairOptions):
    """Measure calibration: predicted probability against accuracy, for each token and for each line.

    A token is correct if the minimum edit alignment matches it to the same token of the reference, and a line if it
    equals the reference. Tokens of the reference that are not in the vocabulary count as wrong. As a good translation
    may differ from the reference, use these figures to compare translation models. For pronunciation or inflection,
    they measure the calibration of a single model.

    The table has a line for each range of probabilities. The expected calibration error is the mean difference between
    confidence and accuracy over all predictions. Pairs with an empty side are left out.

    With mask-predict, the probability of a token is that of the last pass that predicted it, given the other tokens. If
    the search chose between several lengths after several passes (--pseudo_likelihood), it is given one half of the
    output instead. With --revise the input usually contains the token itself, so its probability means little. The
    probability of a line is the product of those of its tokens, and not a probability under the model.
    """

    batch_tokens: Count | None = None
    """padded source tokens times beam_size per batch"""
    num_hypotheses: int = Field(default=1, init=False)


def run(options: CalibrationOptions) -> None:
    """Translate the sources, compare with the references, and print the calibration."""
    from seqlab.evaluation import calibration_of_lines, calibration_of_tokens
    from seqlab.tasks.translation.encoded_pairs import decode_pairs

    src_lines, tgt_lines, locations = read_pairs(options)
    translator = load_single_process(options)
    with count_progress("pairs", len(src_lines)) as advance:
        predictions = decode_pairs(
            translator,
            src_lines,
            tgt_lines,
            SearchConfig(**search_values(options)),
            batch_tokens=options.batch_tokens,
            locations=locations,
            progress=advance,
        )
    hypotheses, references = (
        [prediction.ids for prediction in predictions],
        [prediction.reference for prediction in predictions],
    )
    calibrations = {
        "lines": calibration_of_lines(hypotheses, references, [prediction.log_prob for prediction in predictions])
    }
    if any(hypotheses):
        log_probs = [prediction.token_log_probs for prediction in predictions]
        calibrations = {"tokens": calibration_of_tokens(hypotheses, references, log_probs), **calibrations}
    else:
        logger.warning("all predictions are empty: there are no tokens to compare")
    if options.json:
        print(json_text({name: asdict(calibration) for name, calibration in calibrations.items()}))
    else:
        print("\n\n".join("\n".join(table_lines(name, calibration)) for name, calibration in calibrations.items()))


def table_lines(name: str, calibration: "Calibration") -> list[str]:
    """Format a table: a line for each range of probabilities, and one for all predictions."""
    lines = [f"{name:<12}{'count':>10}{'prob.':>9}{'correct':>9}"]
    size = len(calibration.bins)
    for i, interval in enumerate(calibration.bins):
        shares = (interval.confidence, interval.accuracy)
        shown = "".join(f"{'n/a':>9}" if share is None else f"{100 * share:>8.2f}%" for share in shares)
        lines.append(f"{f'{i / size:.2g} to {(i + 1) / size:.2g}':<12}{interval.count:>10,}{shown}")
    lines.append(
        f"{'all':<12}{calibration.count:>10,}{100 * calibration.confidence:>8.2f}%{100 * calibration.accuracy:>8.2f}%"
    )
    lines.append(f"expected calibration error: {100 * calibration.expected_error:.2f}%")
    return lines


CALIBRATION = Command(CalibrationOptions, run, single_process=True)
