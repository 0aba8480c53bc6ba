"""What a validation set has that training never saw, named by file and line."""

import logging
from collections.abc import Callable
from itertools import islice

from seqlab.data.encoded import EncodedCorpus
from seqlab.data.ragged import RaggedArray

logger = logging.getLogger(__name__)

SHOWN_ITEMS = 10
"""Items named; of more only how many there are."""
SHOWN = 3
"""Lines named of those that have the same item."""


def warn_of_unseen(valid: EncodedCorpus, text: RaggedArray, find: Callable[[str], list[str]], message: str) -> None:
    """Warn of what `find` finds in lines of the validation set, each item once: `message` says with %r what it is."""
    found: dict[str, list[str]] = {}
    for index, line in enumerate(text.texts()):
        for item in dict.fromkeys(find(line)):
            found.setdefault(item, []).append(valid.locate(index))
    for item, places in islice(found.items(), SHOWN_ITEMS):
        more = f" and {len(places) - SHOWN} more" if len(places) > SHOWN else ""
        logger.warning(f"{message}: %s%s.", item, "; ".join(places[:SHOWN]), more)
    if len(found) > SHOWN_ITEMS:
        logger.warning("Nor %d others: are the columns of the validation set the right ones?", len(found) - SHOWN_ITEMS)
