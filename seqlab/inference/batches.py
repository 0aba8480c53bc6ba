"""Which rows are computed together."""

from collections.abc import Iterator, Sequence


def length_batches(lengths: Sequence[int], batch_tokens: int) -> Iterator[list[int]]:
    """Group indices, longest first, so that rows times the longest length stays within `batch_tokens`.

    A sequence that is longer alone is a batch of its own. Equal lengths keep their order.
    """
    if batch_tokens < 1:
        raise ValueError(f"`batch_tokens` must be at least 1, but is {batch_tokens} instead.")
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    start = 0
    while start < len(order):
        count = max(1, batch_tokens // max(1, lengths[order[start]]))
        yield order[start : start + count]
        start += count
