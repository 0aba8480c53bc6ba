"""The command `seqlab calibration`."""

import json
import logging
from dataclasses import asdict
from typing import TYPE_CHECKING

from pydantic import Field
from pydantic.dataclasses import dataclass

from seqlab.base.progress import count_progress
from seqlab.commands import Command
from seqlab.inference.options import SETTINGS, Count
from seqlab.search.config import SearchConfig
from seqlab.tasks.translation.commands import search_values
from seqlab.tasks.translation.commands.pairs import PairOptions, load_one_process, read_pairs

if TYPE_CHECKING:
    from seqlab.evaluation import Calibration

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class CalibrationOptions(SearchConfig, PairOptions):
    """Calibration: predicted probability against accuracy, for each token and for each line.

    A token is right where the alignment with the fewest edits puts it on the same token of the reference, and a line
    where it is the reference; out-of-vocabulary tokens of the reference count as wrong. Of translations many are good
    that are not the reference, so that these figures are for comparing models; of words' sounds or forms they say what
    a probability is worth.

    The table has a line for each range of probabilities. The expected calibration error is how far probability and
    share of right answers lie apart, as the mean over all answers. Pairs with an empty side are left out.

    Of mask-predict a token has the probability that the search chose by: given one half of the answer where it chose
    between several lengths after several passes (--pseudo_likelihood), else that of the last pass that predicted it,
    given the other tokens (with --revise most of them the token itself, so that it means little). What a line has is
    the product of these, and no probability of the line.
    """

    batch_tokens: Count | None = None
    """padded source tokens times beam_size at once"""
    num_hypotheses: int = Field(default=1, init=False)


def run(options: CalibrationOptions) -> None:
    """Translate, compare and print."""
    from seqlab.evaluation import calibration_of_lines, calibration_of_tokens
    from seqlab.tasks.translation.pairs import answers_of

    src_lines, tgt_lines, locations = read_pairs(options)
    trained = load_one_process(options)
    with count_progress("pairs", len(src_lines)) as advance:
        answers = answers_of(
            trained,
            src_lines,
            tgt_lines,
            SearchConfig(**search_values(options)),
            batch_tokens=options.batch_tokens,
            locations=locations,
            progress=advance,
        )
    hypotheses, references = [each.ids for each in answers], [each.reference for each in answers]
    found = {"lines": calibration_of_lines(hypotheses, references, [each.log_prob for each in answers])}
    if any(hypotheses):
        log_probs = [each.token_log_probs for each in answers]
        found = {"tokens": calibration_of_tokens(hypotheses, references, log_probs), **found}
    else:
        logger.warning("all answers are empty: there are no tokens to compare")
    if options.json:
        print(json.dumps({name: asdict(each) for name, each in found.items()}))
    else:
        print("\n\n".join("\n".join(lines_of(name, each)) for name, each in found.items()))


def lines_of(name: str, found: "Calibration") -> list[str]:
    """Write a table: a line for each range of probabilities, and one for all."""
    lines = [f"{name:<12}{'count':>10}{'sure':>9}{'right':>9}"]
    size = len(found.bins)
    for i, each in enumerate(found.bins):
        shares = (each.confidence, each.accuracy)
        shown = "".join(f"{'n/a':>9}" if share is None else f"{100 * share:>8.2f}%" for share in shares)
        lines.append(f"{f'{i / size:.2g} to {(i + 1) / size:.2g}':<12}{each.count:>10,}{shown}")
    lines.append(f"{'all':<12}{found.count:>10,}{100 * found.confidence:>8.2f}%{100 * found.accuracy:>8.2f}%")
    lines.append(f"expected calibration error: {100 * found.expected_error:.2f}%")
    return lines


CALIBRATION = Command(CalibrationOptions, run, single_process=True)
