"""Engine that distributes rows among the ranks of a job or among forked workers."""

from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

from seqlab.base.world import ComputeRows, ProgressCallback
from seqlab.inference.engine import Engine, PairScore
from seqlab.search.config import SearchConfig
from seqlab.search.hypothesis import Hypothesis

T = TypeVar("T")


class RowDistributor(Protocol):
    """Distributes rows among processes: a `World` or `ForkedWorkers`."""

    def map_rows(
        self, lengths: Sequence[int], compute: ComputeRows[T], on_rows: ProgressCallback | None = None
    ) -> list[T]:
        """Compute values of rows, whose indices `compute` receives, in several processes; return them in order."""
        ...


class ParallelEngine:
    """An `Engine` that distributes its rows among processes."""

    def __init__(self, engine: Engine, distributor: RowDistributor) -> None:
        self.engine, self.distributor = engine, distributor

    def decode(
        self,
        src_rows: Sequence[Sequence[int]],
        config: SearchConfig,
        *,
        prefixes: Sequence[Sequence[int]] | None = None,
        progress: ProgressCallback | None = None,
        **options: Any,
    ) -> list[list[Hypothesis]]:
        """Decode as the engine does."""

        def search(own: list[int], report: ProgressCallback | None) -> list[list[Hypothesis]]:
            forced = None if prefixes is None else [prefixes[i] for i in own]
            return self.engine.decode([src_rows[i] for i in own], config, prefixes=forced, progress=report, **options)

        return self.distributor.map_rows([len(row) for row in src_rows], search, progress)

    def score(
        self,
        src_rows: Sequence[Sequence[int]],
        tgt_rows: Sequence[Sequence[int]],
        *,
        progress: ProgressCallback | None = None,
        **options: Any,
    ) -> list[PairScore]:
        """Score as the engine does."""

        def score(own: list[int], report: ProgressCallback | None) -> list[PairScore]:
            src, tgt = [src_rows[i] for i in own], [tgt_rows[i] for i in own]
            return self.engine.score(src, tgt, progress=report, **options)

        lengths = [max(len(src), len(tgt)) for src, tgt in zip(src_rows, tgt_rows, strict=True)]
        return self.distributor.map_rows(lengths, score, progress)
