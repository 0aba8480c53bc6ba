from .decode import DECODING_BATCH_TOKENS as DECODING_BATCH_TOKENS
from .decode import decode_rows as decode_rows
from .decode import decode_text as decode_text
from .engine import Engine as Engine
from .engine import PairScore as PairScore
from .load_by_task import load as load
from .scorer import score_rows as score_rows
from .torch_engine import TorchEngine as TorchEngine
