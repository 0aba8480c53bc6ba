"""Encode and decode parallel text for the diagnosis of a translator."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from seqlab.base.world import ProgressCallback
from seqlab.inference.lines import locations_or_numbers
from seqlab.inference.torch_engine import TorchEngine
from seqlab.search.config import SearchConfig
from seqlab.search.protocols import Stepper
from seqlab.tasks.translation.run import Run
from seqlab.text import Tokenizer

logger = logging.getLogger(__name__)
MAX_NAMED_PAIRS = 5
"""Maximum number of pairs with an empty side that the warning names."""


@dataclass(frozen=True)
class EncodedPairs:
    """Token ids of pairs, with the engine and model to score them."""

    engine: TorchEngine
    stepper: Stepper
    """The engine's model."""
    src_rows: list[list[int]]
    tgt_rows: list[list[int]]
    num_left_out: int
    """Number of pairs with an empty side."""


def comparable_references(tgt_rows: Sequence[Sequence[int]], tokenizer: Tokenizer) -> list[list[int]]:
    """Replace unknown tokens in references by padding, so that no prediction matches them, not even `<unk>`."""
    return [[tokenizer.pad_id if token == tokenizer.unk_id else token for token in row] for row in tgt_rows]


def encode_for_stepper(
    run: Run, src_lines: Sequence[str], tgt_lines: Sequence[str], locations: Sequence[str] | None
) -> EncodedPairs:
    """Encode pairs for the step-by-step diagnosis of a run; warn of pairs that are left out because a side is empty.

    `locations`: source location of each pair, for messages.

    Raises:
        ValueError: the engine is not torch in one process, the model is not autoregressive, or
            `encode_nonempty_pairs` raises it.
    """
    if not isinstance(run.engine, TorchEngine):
        raise ValueError("Step-by-step diagnosis needs a run with the torch engine and one process.")
    stepper = run.engine.stepper
    return EncodedPairs(run.engine, stepper, *encode_nonempty_pairs(run, src_lines, tgt_lines, locations))


def encode_nonempty_pairs(
    run: Run, src_lines: Sequence[str], tgt_lines: Sequence[str], locations: Sequence[str] | None
) -> tuple[list[list[int]], list[list[int]], int]:
    """Encode the pairs without an empty side; warn of the others.

    `locations`: source location of each pair, for messages.

    Returns:
        Ids of the sources, ids of the targets, and the number of pairs that were left out.

    Raises:
        ValueError: no pair is left, or `Run.encode_pairs` raises it.
    """
    src_rows, tgt_rows = run.encode_pairs(src_lines, tgt_lines, locations)
    kept = [i for i in range(len(src_rows)) if src_rows[i] and tgt_rows[i]]
    if not kept:
        raise ValueError("There are no pairs to measure: each has an empty side.")
    left_out = sorted(set(range(len(src_rows))) - set(kept))
    if left_out:
        named = locations_or_numbers(locations, len(src_rows))
        shown = "; ".join(named[i] for i in left_out[:MAX_NAMED_PAIRS]) + (
            "; ..." if len(left_out) > MAX_NAMED_PAIRS else ""
        )
        logger.warning("%d of %d pairs have an empty side and are left out: %s", len(left_out), len(src_rows), shown)
    return [src_rows[i] for i in kept], [tgt_rows[i] for i in kept], len(left_out)


@dataclass(frozen=True)
class DecodedPair:
    """The best hypothesis of a source and its reference, both without ends of sentence."""

    reference: list[int]
    """Ids of the reference, see `comparable_references`."""
    ids: list[int]
    token_log_probs: list[float]
    """Log-probability of each of `ids` in nats, from the search; for mask-predict see `seqlab.search.mask_predict`."""
    log_prob: float
    """Log-probability of the hypothesis in nats, including its end."""


def decode_pairs(
    run: Run,
    src_lines: Sequence[str],
    tgt_lines: Sequence[str],
    config: SearchConfig,
    *,
    batch_tokens: int | None = None,
    locations: Sequence[str] | None = None,
    progress: ProgressCallback | None = None,
) -> list[DecodedPair]:
    """Decode each source line; leave out pairs with an empty side.

    Args:
        run: a loaded run with an engine that returns token probabilities, such as torch.
        src_lines: text without newlines.
        tgt_lines: as many references, without newlines.
        config: settings of the search.
        batch_tokens: padded source tokens times `beam_size` per batch.
        locations: source location of each pair, for messages; `line 1`, `line 2`, ... by default.
        progress: called with numbers of finished pairs.

    Raises:
        ValueError: `encode_nonempty_pairs` raises it.
    """
    src_rows, tgt_rows, num_left_out = encode_nonempty_pairs(run, src_lines, tgt_lines, locations)
    if progress is not None:
        progress(num_left_out)
    limited = config.with_limits(run.translator.output_limits)
    n_best = run.engine.decode(src_rows, limited, batch_tokens=batch_tokens, progress=progress)
    return [
        DecodedPair(reference, best.ids, best.token_log_probs[: len(best.ids)], best.log_prob)
        for reference, (best, *_) in zip(comparable_references(tgt_rows, run.tgt_tokenizer), n_best, strict=True)
    ]
