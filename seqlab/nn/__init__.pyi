from .attention import CrossAttention as CrossAttention
from .attention import KeyValueCache as KeyValueCache
from .attention import SelfAttention as SelfAttention
from .bridge import Bridge as Bridge
from .dropout import Dropout as Dropout
from .dropout import dropout_add as dropout_add
from .embedding import Embedding as Embedding
from .feed_forward import FeedForward as FeedForward
from .gradient_flow import gradient_norms as gradient_norms
from .gradient_flow import jacobian_norms as jacobian_norms
from .input_mixing import InputMixing as InputMixing
from .linear import Linear as Linear
from .locked_dropout import EmbeddingDropout as EmbeddingDropout
from .locked_dropout import LockedDropout as LockedDropout
from .masks import (
    additive as additive,
)
from .masks import (
    can_attend_to_keys as can_attend_to_keys,
)
from .masks import (
    causal as causal,
)
from .masks import (
    padding_mask as padding_mask,
)
from .memory_attention import Memory as Memory
from .memory_attention import MemoryAttention as MemoryAttention
from .ngram_embedding import NgramEmbedding as NgramEmbedding
from .norms import LayerNorm as LayerNorm
from .norms import RmsNorm as RmsNorm
from .norms import make_norm as make_norm
from .positions import (
    LearnedPositions as LearnedPositions,
)
from .positions import (
    RotaryPositions as RotaryPositions,
)
from .positions import (
    SinusoidalPositions as SinusoidalPositions,
)
from .positions import (
    make_positions as make_positions,
)
from .projection import VocabularyProjection as VocabularyProjection
from .recurrent import Recurrent as Recurrent
from .recurrent import RecurrentOutput as RecurrentOutput
from .recurrent_state import RecurrentState as RecurrentState
from .transformer import DecoderLayer as DecoderLayer
from .transformer import Residual as Residual
from .transformer import SelfAttentionLayer as SelfAttentionLayer
from .word_spelling import WordSpelling as WordSpelling
