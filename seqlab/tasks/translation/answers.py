"""What a translator says to given sources, with how sure it is of each token, beside what it should say."""

from collections.abc import Sequence
from dataclasses import dataclass

from seqlab.base.world import OnRows
from seqlab.search.config import SearchConfig
from seqlab.tasks.translation.pairs import comparable, encoded_pairs
from seqlab.tasks.translation.run import Run


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
    places: Sequence[str] | None = None,
    progress: OnRows | None = None,
) -> list[Answer]:
    """Search the best answer to each line; pairs with an empty side are left out.

    Args:
        run: what `load` gave, with an engine that keeps the probabilities of tokens, as torch's does.
        src_lines: text without newlines.
        tgt_lines: as many references.
        config: how to search.
        batch_tokens: padded source tokens times `beam_size` that are searched together.
        places: where each pair stands, for messages; `line 1` and so on unless given.
        progress: called with how many pairs are done.

    Raises:
        ValueError: what `encoded_pairs` raises.
    """
    src_rows, tgt_rows, left_out = encoded_pairs(run, src_lines, tgt_lines, places)
    if progress is not None:
        progress(left_out)
    limited = config.limited_to(run.translator.output_limits)
    found = run.engine.decode(src_rows, limited, batch_tokens=batch_tokens, progress=progress)
    return [
        Answer(reference, best.ids, best.token_log_probs[: len(best.ids)], best.log_prob)
        for reference, (best, *_) in zip(comparable(tgt_rows, run.tgt_tokenizer), found, strict=True)
    ]
