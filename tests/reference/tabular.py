"""Models whose probabilities are tables of parameters, so that expectations can be summed over all outputs."""

from collections.abc import Sequence
from itertools import product

import torch
from torch import Tensor, nn

from seqlab.data.batch import FrameBatch, Seq2SeqBatch, collate, collate_frames
from seqlab.models.interfaces import Step
from seqlab.models.outputs import DecoderOutput, FrameLogProbs, FrameOutput

PAD, BOS, EOS = range(3)
VOCAB_SIZE = 5
MAX_LENGTH = 2
SIDES = {"pad_id": PAD, "bos_id": BOS, "eos_id": EOS}


class Vocabulary:
    """Text of ids: a letter for each."""

    pad_id, bos_id, eos_id, unk_id = PAD, BOS, EOS, 3

    def decode(self, rows: Sequence[Sequence[int]]) -> list[str]:
        return ["".join("pbeuxy"[index] for index in row) for row in rows]


class Logits(nn.Module):
    """Projection of hidden states that are logits already."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("weight", torch.eye(VOCAB_SIZE))

    def forward(self, hidden: Tensor) -> Tensor:
        return hidden.clone()  # searches change logits in place

    def target_log_probs(self, hidden: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        log_probs = hidden.log_softmax(-1)
        return log_probs.gather(-1, targets[:, None])[:, 0], log_probs.mean(-1)

    def selected_log_probs(self, hidden: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        log_probs = hidden.log_softmax(-1)
        index = ids.clamp_min(0)[:, None].expand(-1, hidden.size(1), -1)
        return log_probs.gather(2, index).masked_fill(ids[:, None] < 0, -1e9), log_probs.mean(-1)


class TabularTranslator(nn.Module):
    """Translator with a logit for each id after each prefix of fewer than `MAX_LENGTH` ids; the source is ignored."""

    vocab_size, eos_id, bos_id = VOCAB_SIZE, EOS, BOS

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        size = sum(VOCAB_SIZE**length for length in range(MAX_LENGTH))
        self.table = nn.Parameter(torch.randn(size, VOCAB_SIZE, generator=generator, dtype=torch.float64))
        self.projection = Logits()

    def forward(self, batch: Seq2SeqBatch) -> DecoderOutput:
        assert batch.tgt_in is not None
        rows = torch.zeros_like(batch.tgt_in)  # number of the prefix before each position
        for position in range(1, batch.tgt_in.size(1)):
            rows[:, position] = VOCAB_SIZE * rows[:, position - 1] + batch.tgt_in[:, position] + 1
        return DecoderOutput(self.table[rows.clamp_max(len(self.table) - 1)], self.projection)

    def start(self, batch: Seq2SeqBatch, need_attention: bool = False) -> tuple[Tensor, "_Prefixes"]:
        return torch.full((len(batch),), BOS), _Prefixes(torch.full((len(batch),), -1))

    def step(self, last_ids: Tensor, state: "_Prefixes") -> Step:
        rows = torch.where(state.rows < 0, 0, VOCAB_SIZE * state.rows + last_ids + 1)
        return Step(self.table[rows].log_softmax(-1).float(), _Prefixes(rows), None)


class _Prefixes:
    def __init__(self, rows: Tensor) -> None:
        self.rows = rows

    def select(self, rows: Tensor) -> "_Prefixes":
        return _Prefixes(self.rows[rows])

    def fork(self) -> "_Prefixes":
        return self


class TabularRecognizer(nn.Module):
    """CTC model with a logit for each id in each of three frames; the recording is ignored."""

    vocab_size, eos_id, blank_id = VOCAB_SIZE, EOS, PAD
    num_frames = 3

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.table = nn.Parameter(torch.randn(self.num_frames, VOCAB_SIZE, generator=generator, dtype=torch.float64))
        self.projection = Logits()

    def forward(self, batch: FrameBatch, glance: object = None) -> FrameOutput:
        count = len(batch.indices)
        lengths = torch.full((count,), self.num_frames)
        return FrameOutput(self.table.expand(count, -1, -1), self.projection, lengths)  # type: ignore[arg-type]

    def frames(self, batch: FrameBatch) -> FrameLogProbs:
        output = self(batch)
        return FrameLogProbs(output.hidden.log_softmax(-1).detach().float(), output.lengths)

    def score_sequences(self, frames: FrameLogProbs, sequences: Sequence[Sequence[int]]) -> list[list[float]]:
        raise NotImplementedError

    def start(self, batch: FrameBatch, need_attention: bool = False) -> tuple[Tensor, "_Prefixes"]:
        raise NotImplementedError

    def step(self, last_ids: Tensor, state: "_Prefixes") -> Step:
        raise NotImplementedError


def all_actions() -> list[list[int]]:
    """List all samples of the translator, with eos where they end before the maximum length."""
    tokens = [index for index in range(VOCAB_SIZE) if index != EOS]
    ended = [[*prefix, EOS] for length in range(MAX_LENGTH) for prefix in product(tokens, repeat=length)]
    return ended + [list(each) for each in product(tokens, repeat=MAX_LENGTH)]


def one_pair(reference: Sequence[int] = (3, 4)) -> Seq2SeqBatch:
    """Collate a source and a reference."""
    return collate([[3]], [list(reference)], [0], **SIDES)


def one_recording(reference: Sequence[int] = (3, 4)) -> FrameBatch:
    """Collate a recording and a reference."""
    return collate_frames([[[0.0]]], [list(reference)], [0], **SIDES)
