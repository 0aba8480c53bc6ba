"""Layers of seqlab in a plain PyTorch training loop: attention with a padding mask, an LSTM, dropout, and CTC.

    python layers_in_your_own_loop.py

The task: recognize the tokens in noisy frames. Each token lasts for an unknown number of frames; CTC aligns them.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqlab.nn import Dropout, Linear, Recurrent, SelfAttention, additive, can_attend_to_keys, padding_mask

VOCAB_SIZE, BLANK_ID, NOISE = 6, 0, 0.3


class Recognizer(nn.Module):
    def __init__(self, d_model: int = 32) -> None:
        super().__init__()
        self.project_in = Linear(VOCAB_SIZE, d_model)
        self.attention = SelfAttention(d_model, num_heads=2)
        self.lstm = Recurrent("lstm", d_model, d_model // 2, bidirectional=True)
        self.dropout = Dropout(0.1)
        self.project_out = Linear(d_model, VOCAB_SIZE)

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """Map frames (B, F, V) with lengths (B,) to log-probabilities (B, F, V); id 0 is the blank."""
        x = self.project_in(frames)
        bias = additive(can_attend_to_keys(padding_mask(lengths, frames.size(1))))
        x = x + self.dropout(self.attention(x, bias))
        x = self.lstm(x, lengths=lengths).output  # the initial state is zero by default
        return self.project_out(self.dropout(x)).log_softmax(-1)


def draw_batch(size: int = 32) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Draw frames (B, F, V), their lengths (B,), targets (B, 5) and their lengths (B,)."""
    targets = torch.randint(1, VOCAB_SIZE - 1, (size, 5)).cumsum(1) % (VOCAB_SIZE - 1) + 1  # no token twice in a row
    rows = [target.repeat_interleave(torch.randint(2, 5, (5,))) for target in targets]
    frames = nn.utils.rnn.pad_sequence([F.one_hot(row, VOCAB_SIZE).float() for row in rows], batch_first=True)
    return frames + NOISE * torch.randn_like(frames), torch.tensor([*map(len, rows)]), targets, torch.full((size,), 5)


torch.manual_seed(1)
model = Recognizer()
optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
for step in range(201):
    frames, lengths, targets, target_lengths = draw_batch()
    loss = F.ctc_loss(model(frames, lengths).transpose(0, 1), targets, lengths, target_lengths, blank=BLANK_ID)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 40 == 0:
        print(f"step {step:3d}  loss {loss.item():.3f}")
model.eval()
frames, lengths, targets, _ = draw_batch(200)
num_correct = 0
for path, length, target in zip(model(frames, lengths).argmax(-1), lengths, targets, strict=True):
    tokens = torch.unique_consecutive(path[:length])
    num_correct += torch.equal(tokens[tokens != BLANK_ID], target)
print(f"{num_correct} of {len(targets)} sequences are correct")
