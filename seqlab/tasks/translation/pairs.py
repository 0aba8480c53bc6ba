"""Pairs that a translator is measured on, by this process alone."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from seqlab.base.world import OnRows
from seqlab.inference.lines import locations_or_numbers
from seqlab.inference.torch_engine import TorchEngine
from seqlab.models.interfaces import Stepper
from seqlab.search.config import SearchConfig
from seqlab.tasks.translation.run import Run
from seqlab.text import Tokenizer

_log = logging.getLogger(__name__)
SHOWN = 5
"""Pairs that are named."""


@dataclass(frozen=True)
class MeasuredPairs:
    """Ids of pairs, and what computes with them."""

    engine: TorchEngine
    stepper: Stepper
    """The engine's model."""
    src_rows: list[list[int]]
    tgt_rows: list[list[int]]
    left_out: int
    """Pairs with a side that has no id."""


def comparable(tgt_rows: Sequence[Sequence[int]], tokenizer: Tokenizer) -> list[list[int]]:
    """Give references as answers are compared with them: no answer has the id of what the vocabulary lacks.

    To say `<unk>` is not right there.
    """
    return [[tokenizer.pad_id if token == tokenizer.unk_id else token for token in row] for row in tgt_rows]


def measured_pairs(
    run: Run, src_lines: Sequence[str], tgt_lines: Sequence[str], locations: Sequence[str] | None
) -> MeasuredPairs:
    """Encode pairs for a run that `load` gave, with a warning where some are left out, as a side is empty.

    `locations`: where each pair stands, for messages.

    Raises:
        ValueError: another engine than torch computes for the run; its model has no steps; errors of
            `encoded_pairs`.
    """
    if not isinstance(run.engine, TorchEngine):
        raise ValueError("What is measured step by step needs a run with the torch engine and one process.")
    stepper = run.engine.stepper
    return MeasuredPairs(run.engine, stepper, *encoded_pairs(run, src_lines, tgt_lines, locations))


def encoded_pairs(
    run: Run, src_lines: Sequence[str], tgt_lines: Sequence[str], locations: Sequence[str] | None
) -> tuple[list[list[int]], list[list[int]], int]:
    """Give the ids of both sides of pairs, and how many were left out, as a side of them is empty: with a warning.

    `locations`: where each pair stands, for messages.

    Raises:
        ValueError: no pair is left; errors of `Run.encode_pairs`.
    """
    src_rows, tgt_rows = run.encode_pairs(src_lines, tgt_lines, locations)
    kept = [i for i in range(len(src_rows)) if src_rows[i] and tgt_rows[i]]
    if not kept:
        raise ValueError("There is no pair to measure on: one side of each is empty.")
    left_out = sorted(set(range(len(src_rows))) - set(kept))
    if left_out:
        named = locations_or_numbers(locations, len(src_rows))
        shown = "; ".join(named[i] for i in left_out[:SHOWN]) + ("; ..." if len(left_out) > SHOWN else "")
        _log.warning("%d of %d pairs have an empty side and are left out: %s", len(left_out), len(src_rows), shown)
    return [src_rows[i] for i in kept], [tgt_rows[i] for i in kept], len(left_out)


@dataclass(frozen=True)
class Answer:
    """The best hypothesis of one source; ids are without ends of sentences, which not all families say."""

    reference: list[int]
    """To compare with, see `comparable`."""
    ids: list[int]
    token_log_probs: list[float]
    """One for each of `ids`, in nats, as the search gives them; see `mask_predict` for what those of its are."""
    log_prob: float
    """Of the whole answer, its end among it, in nats."""


def answers_of(
    run: Run,
    src_lines: Sequence[str],
    tgt_lines: Sequence[str],
    config: SearchConfig,
    *,
    batch_tokens: int | None = None,
    locations: Sequence[str] | None = None,
    progress: OnRows | None = None,
) -> list[Answer]:
    """Search the best answer to each line; pairs with an empty side are left out.

    Args:
        run: what `load` gave, with an engine that keeps the probabilities of tokens, as torch's does.
        src_lines: text without newlines.
        tgt_lines: as many references.
        config: how to search.
        batch_tokens: padded source tokens times `beam_size` that are searched together.
        locations: where each pair stands, for messages; `line 1` and so on unless given.
        progress: called with how many pairs are done.

    Raises:
        ValueError: what `encoded_pairs` raises.
    """
    src_rows, tgt_rows, left_out = encoded_pairs(run, src_lines, tgt_lines, locations)
    if progress is not None:
        progress(left_out)
    limited = config.with_limits(run.translator.output_limits)
    found = run.engine.decode(src_rows, limited, batch_tokens=batch_tokens, progress=progress)
    return [
        Answer(reference, best.ids, best.token_log_probs[: len(best.ids)], best.log_prob)
        for reference, (best, *_) in zip(comparable(tgt_rows, run.tgt_tokenizer), found, strict=True)
    ]
