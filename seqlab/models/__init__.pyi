from .config import (
    SETTINGS as SETTINGS,
)
from .config import (
    LanguageModelConfig as LanguageModelConfig,
)
from .config import (
    ModelConfig as ModelConfig,
)
from .config import (
    Probability as Probability,
)
from .config import (
    Size as Size,
)
from .config import (
    TokenSide as TokenSide,
)
from .config import (
    Unreachable as Unreachable,
)
from .frequency_labeller import (
    FrequencyLabeller as FrequencyLabeller,
)
from .frequency_labeller import (
    FrequencyLabellerConfig as FrequencyLabellerConfig,
)
from .interfaces import (
    CarryingScorer as CarryingScorer,
)
from .interfaces import (
    FrameModel as FrameModel,
)
from .interfaces import (
    Labeller as Labeller,
)
from .interfaces import (
    PositionModel as PositionModel,
)
from .interfaces import (
    Scorer as Scorer,
)
from .interfaces import (
    State as State,
)
from .interfaces import (
    Step as Step,
)
from .interfaces import (
    Stepper as Stepper,
)
from .labelling import LabellerConfig as LabellerConfig
from .labelling import LabellingModel as LabellingModel
from .ngram import NgramConfig as NgramConfig
from .ngram import NgramModel as NgramModel
from .outputs import (
    DecoderOutput as DecoderOutput,
)
from .outputs import (
    FrameOutput as FrameOutput,
)
from .outputs import (
    Frames as Frames,
)
from .outputs import (
    PositionOutput as PositionOutput,
)
from .outputs import (
    TensorState as TensorState,
)
from .recurrent import (
    GruConfig as GruConfig,
)
from .recurrent import (
    LstmConfig as LstmConfig,
)
from .recurrent import (
    RecurrentTranslator as RecurrentTranslator,
)
from .recurrent import (
    RnnConfig as RnnConfig,
)
from .recurrent_labeller import (
    GruLabellerConfig as GruLabellerConfig,
)
from .recurrent_labeller import (
    LstmLabellerConfig as LstmLabellerConfig,
)
from .recurrent_labeller import (
    RecurrentLabeller as RecurrentLabeller,
)
from .recurrent_labeller import (
    RnnLabellerConfig as RnnLabellerConfig,
)
from .recurrent_lm import (
    GruLmConfig as GruLmConfig,
)
from .recurrent_lm import (
    LstmLmConfig as LstmLmConfig,
)
from .recurrent_lm import (
    RecurrentLm as RecurrentLm,
)
from .recurrent_lm import (
    RnnLmConfig as RnnLmConfig,
)
from .transformer import Transformer as Transformer
from .transformer import TransformerConfig as TransformerConfig
from .transformer_ctc import TransformerCtc as TransformerCtc
from .transformer_ctc import TransformerCtcConfig as TransformerCtcConfig
from .transformer_labeller import (
    TransformerLabeller as TransformerLabeller,
)
from .transformer_labeller import (
    TransformerLabellerConfig as TransformerLabellerConfig,
)
from .transformer_lm import TransformerLm as TransformerLm
from .transformer_lm import TransformerLmConfig as TransformerLmConfig
from .transformer_mlm import TransformerMlm as TransformerMlm
from .transformer_mlm import TransformerMlmConfig as TransformerMlmConfig
from .transformer_nat import (
    TransformerCmlmConfig as TransformerCmlmConfig,
)
from .transformer_nat import (
    TransformerNat as TransformerNat,
)
from .transformer_nat import (
    TransformerNatConfig as TransformerNatConfig,
)
from .uncached import UncachedLm as UncachedLm
from .uncached import UncachedTranslator as UncachedTranslator
