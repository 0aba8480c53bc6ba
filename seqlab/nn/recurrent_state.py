"""What a recurrent stack carries from one position to the next."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class RecurrentState:
    """The hidden states of a stack and, for LSTMs, the cells: what truncated backpropagation and decoding carry.

    There is one tensor (B, H) for each layer, or two for each layer of a bidirectional stack: forwards, backwards.
    """

    hidden: tuple[Tensor, ...]
    cell: tuple[Tensor, ...] = ()

    def select(self, rows: Tensor) -> "RecurrentState":
        """Keep, reorder and repeat rows: row i of the result is row `rows[i]` (B', int64) of this state."""
        return self._mapped(lambda part: part.index_select(0, rows))

    def fork(self) -> "RecurrentState":
        """Copy, so that changes to one leave the other alone."""
        return self._mapped(lambda part: part.clone())

    def detach(self) -> "RecurrentState":
        """Cut it from the graph that made it: the truncation of backpropagation through time."""
        return self._mapped(lambda part: part.detach())

    def joined(self, num_directions: int) -> "RecurrentState":
        """Put the directions (B, H) of each layer's state beside each other: (B, H * num_directions)."""

        def beside(parts: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            starts = range(0, len(parts), num_directions)
            return tuple(torch.cat(parts[start : start + num_directions], dim=1) for start in starts)

        return RecurrentState(beside(self.hidden), beside(self.cell))

    def tensors(self) -> dict[str, Tensor]:
        """Name the tensors, `hidden.0`, `cell.0` and so on, for a checkpoint."""
        parts = (("hidden", self.hidden), ("cell", self.cell))
        return {f"{name}.{i}": tensor for name, part in parts for i, tensor in enumerate(part)}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> "RecurrentState":
        """Undo `tensors`; raises ValueError where a name is missing or is none of a state."""

        def numbered(name: str) -> tuple[Tensor, ...]:
            count = sum(key.startswith(f"{name}.") for key in tensors)
            return tuple(tensors[f"{name}.{i}"] for i in range(count))

        try:
            state = cls(numbered("hidden"), numbered("cell"))
        except KeyError as error:
            raise ValueError(f"A recurrent state needs `{error.args[0]}`, but has only {sorted(tensors)}.") from error
        if not state.hidden or len(state.tensors()) != len(tensors):
            raise ValueError(f"A recurrent state has `hidden.0` and so on and `cell.0`, but not {sorted(tensors)}.")
        return state

    def _mapped(self, change: Callable[[Tensor], Tensor]) -> "RecurrentState":
        return RecurrentState(tuple(map(change, self.hidden)), tuple(map(change, self.cell)))
