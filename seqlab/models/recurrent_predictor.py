"""Recurrent networks for sequences and windows of time series: a linear layer on the last hidden state.

Shapes: B examples, F frames of D features each, H hidden size, O outputs (numbers, classes or labels).
"""

from typing import ClassVar, Literal

from torch import Tensor, nn

from seqlab.base.config_class import dataclass
from seqlab.data.batch import ValueBatch
from seqlab.models.config import SETTINGS, Probability, Size
from seqlab.models.predictor import InputSide, PredictorConfig, TargetSide
from seqlab.nn.layers import Linear
from seqlab.nn.recurrent import Recurrent, RecurrentKind


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class RecurrentPredictorConfig(PredictorConfig):
    """Common fields of recurrent predictors."""

    hidden_size: Size = 64
    """Size of the hidden states."""
    num_layers: Size = 1
    """Number of layers."""
    dropout: Probability = 0.0
    """Dropout probability between layers and before the output layer, with one mask per sequence."""
    weight_dropout: Probability = 0.0
    """Dropout probability of the recurrent weights (DropConnect), drawn once per micro-step."""

    kind: ClassVar[RecurrentKind]

    def check_inputs(self, shape: tuple[int, ...]) -> None:
        """Raise ValueError for images, which are not sequences."""
        if len(shape) != 2:
            raise ValueError(
                f"`model.family: {self.family}` reads sequences, but the inputs are images: set `model.family` to "
                "`cnn` or `mlp`, or set `data.layout: frames`."
            )

    def build(self, src: InputSide, tgt: TargetSide) -> "RecurrentPredictor":
        """Build the model."""
        self.check_inputs(src.shape)
        return RecurrentPredictor(self, src.shape[1], tgt.size)


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class RnnPredictorConfig(RecurrentPredictorConfig):
    """A predictor of tanh RNNs (Elman 1990)."""

    family: Literal["rnn_predictor"] = "rnn_predictor"
    """Name of the model family."""
    kind: ClassVar[RecurrentKind] = "rnn"


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class LstmPredictorConfig(RecurrentPredictorConfig):
    """A predictor of LSTMs (Hochreiter & Schmidhuber 1997)."""

    family: Literal["lstm_predictor"] = "lstm_predictor"
    """Name of the model family."""
    kind: ClassVar[RecurrentKind] = "lstm"


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class GruPredictorConfig(RecurrentPredictorConfig):
    """A predictor of gated recurrent units (Cho et al. 2014)."""

    family: Literal["gru_predictor"] = "gru_predictor"
    """Name of the model family."""
    kind: ClassVar[RecurrentKind] = "gru"


class RecurrentPredictor(nn.Module):
    """Recurrent predictor; implements `Predictor`."""

    def __init__(self, config: RecurrentPredictorConfig, inputs: int, outputs: int) -> None:
        super().__init__()
        self.layers = Recurrent(
            config.kind,
            inputs,
            config.hidden_size,
            config.num_layers,
            hidden_dropout=config.dropout,
            output_dropout=config.dropout,
            weight_dropout=config.weight_dropout,
        )
        self.project = Linear(config.hidden_size, outputs)

    def forward(self, batch: ValueBatch) -> Tensor:
        """Compute the outputs of a batch: (B, O)."""
        outputs: Tensor = self.project(self.layers(batch.src).output[:, -1])
        return outputs
