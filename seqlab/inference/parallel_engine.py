"""Inference engine that distributes rows among the ranks of a job or among forked workers."""

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
        """Compute a value per row in several processes; return the values in the order of the rows.

        In each process, `compute` receives the indices of its rows.
        """
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
        """Decode with the engine, in several processes; see `Engine.decode`."""

        def search(indices: list[int], on_rows: ProgressCallback | None) -> list[list[Hypothesis]]:
            rows = [src_rows[i] for i in indices]
            forced = None if prefixes is None else [prefixes[i] for i in indices]
            return self.engine.decode(rows, config, prefixes=forced, progress=on_rows, **options)

        return self.distributor.map_rows([len(row) for row in src_rows], search, progress)

    def score(
        self,
        src_rows: Sequence[Sequence[int]],
        tgt_rows: Sequence[Sequence[int]],
        *,
        progress: ProgressCallback | None = None,
        **options: Any,
    ) -> list[PairScore]:
        """Score with the engine, in several processes; see `Engine.score`."""

        def score(indices: list[int], on_rows: ProgressCallback | None) -> list[PairScore]:
            src, tgt = [src_rows[i] for i in indices], [tgt_rows[i] for i in indices]
            return self.engine.score(src, tgt, progress=on_rows, **options)

        lengths = [max(len(src), len(tgt)) for src, tgt in zip(src_rows, tgt_rows, strict=True)]
        return self.distributor.map_rows(lengths, score, progress)
