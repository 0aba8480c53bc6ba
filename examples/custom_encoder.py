"""Train with an encoder of your own: decaying sums of the inputs so far (python custom_encoder.py [FOLDER]).

It serves each model that is an encoder and a head: seqlab train --plugin custom_encoder.py --data.kind labelling
--data.train_src lines.txt --data.train_tgt labels.txt --model.encoder.family decayed_sums
"""

import sys
from pathlib import Path
from typing import Literal

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor

import seqlab
from seqlab.corpora.number_words import write
from seqlab.models import SETTINGS, Encoder, EncoderConfig, Size
from seqlab.nn import Linear


@seqlab.register("encoder")
@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class DecayedSumsConfig(EncoderConfig):
    """Sums of the inputs so far, each feature with a decay of its own."""

    family: Literal["decayed_sums"] = "decayed_sums"
    is_causal = True  # reads forward only, so a language model may use it
    hidden_size: Size = 128
    """Size of the hidden states."""

    def build(self, input_size: int, max_length: int | None = None) -> "DecayedSums":
        return DecayedSums(input_size, self.hidden_size)


class DecayedSums(Encoder):
    """A linear recurrence: state = decay * state + input, then a gate."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.output_size = hidden_size
        self.value, self.gate = Linear(input_size, hidden_size), Linear(input_size, hidden_size)
        self.decay = torch.nn.Parameter(torch.linspace(-2, 4, hidden_size))

    def forward(self, x: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor | None]:
        states = [torch.zeros(1)]
        for value in self.value(x).float().unbind(1):  # padding is at the end, so it changes no state before it
            states.append(self.decay.sigmoid() * states[-1] + value)
        return torch.stack(states[1:], 1).tanh() * self.gate(x).float().sigmoid(), lengths


if __name__ == "__main__":
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/custom_encoder")
    folder.mkdir(parents=True, exist_ok=True)
    lines = write("number_words")["train"]["en"].read_text("utf-8").splitlines()
    rows = [f"{'thousands' if 'thousand' in line else 'smaller'}\t{line}\n" for line in lines]
    (folder / "lines.tsv").write_text("label\ttext\n" + "".join(rows), "utf-8")
    columns = {"data.train_src": f"{folder}/lines.tsv#text", "data.train_tgt": f"{folder}/lines.tsv#label"}
    fields = {"data.kind": "labelling", **columns, "model.encoder.family": "decayed_sums", "training.max_steps": 300}
    labeler = seqlab.load(seqlab.train(seqlab.config_for(fields), folder / "run"))
    print(labeler.label(["seven hundred and three", "two thousand and seven"]))
