"""How a word is spelt, as a vector: a convolution over its bytes (Kim et al. 2016, arXiv:1508.06615).

Shapes: W words, C bytes with the marks of beginning and end, E size of a byte's embedding, F filters.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqlab.nn.layers import Linear, LockedDropout

PADDING = 0


class WordSpelling(nn.Module):
    """Bytes to a vector: filters over `width` neighbours, of which each gives its largest value in the word."""

    def __init__(self, num_symbols: int, num_filters: int, *, size: int = 32, width: int = 3, dropout: float) -> None:
        """`num_symbols`: bytes, marks and padding, which is symbol 0; `size`: of an embedding."""
        super().__init__()
        self.width = width
        self.weight = nn.Parameter(torch.empty(num_symbols, size).uniform_(-0.5, 0.5))
        self.dropout = LockedDropout(dropout)
        self.filters = Linear(width * size, num_filters)

    def forward(self, spelling: Tensor) -> Tensor:
        """spelling (W, C), padded on the right -> (W, F); padding and other words change nothing."""
        is_text = spelling != PADDING
        symbols = F.pad(spelling.int(), (0, max(0, self.width - spelling.size(1))))
        embedded = (
            F.embedding(symbols, self.weight).float()
            * F.pad(is_text, (0, symbols.size(1) - is_text.size(1)))[..., None]
        )
        windows = self.dropout(embedded).unfold(1, self.width, 1)  # (W, C', E, width)
        found = self.filters(windows.flatten(2)).float()  # (W, C', F)
        lengths = is_text.sum(1)
        last = (lengths - self.width).clamp(min=0)  # where the last window that is all text begins
        is_beyond = torch.arange(found.size(1), device=found.device) > last[:, None]
        return torch.tanh(found.masked_fill(is_beyond[..., None], float("-inf")).amax(1))
