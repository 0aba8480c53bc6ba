"""An engine on each of several ranks: everyone is given all rows, computes some, and gets all answers."""

from collections.abc import Sequence
from typing import Any

from seqlab.inference.engine import Engine, PairScore
from seqlab.search.config import SearchConfig
from seqlab.search.hypothesis import Hypothesis
from seqlab.world import World


class SharedEngine:
    """An `Engine` that divides the rows among ranks; `progress` hears of this rank's own."""

    def __init__(self, engine: Engine, world: World) -> None:
        self.engine, self.world = engine, world

    def decode(
        self,
        src_rows: Sequence[Sequence[int]],
        config: SearchConfig,
        *,
        prefixes: Sequence[Sequence[int]] | None = None,
        **options: Any,
    ) -> list[list[Hypothesis]]:
        """Search as the engine does."""

        def search(own: list[int]) -> list[list[Hypothesis]]:
            forced = None if prefixes is None else [prefixes[i] for i in own]
            return self.engine.decode([src_rows[i] for i in own], config, prefixes=forced, **options)

        return self.world.spread([len(row) for row in src_rows], search)

    def score(
        self, src_rows: Sequence[Sequence[int]], tgt_rows: Sequence[Sequence[int]], **options: Any
    ) -> list[PairScore]:
        """Score as the engine does."""
        lengths = [max(len(src), len(tgt)) for src, tgt in zip(src_rows, tgt_rows, strict=True)]
        return self.world.spread(
            lengths,
            lambda own: self.engine.score([src_rows[i] for i in own], [tgt_rows[i] for i in own], **options),
        )
