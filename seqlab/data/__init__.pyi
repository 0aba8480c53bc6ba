from .batch import (
    IGNORE as IGNORE,
)
from .batch import (
    Batch as Batch,
)
from .batch import (
    FrameBatch as FrameBatch,
)
from .batch import (
    LabelledBatch as LabelledBatch,
)
from .batch import (
    Seq2SeqBatch as Seq2SeqBatch,
)
from .batch import (
    TextBatch as TextBatch,
)
from .batch import (
    ValueBatch as ValueBatch,
)
from .batch import (
    collate as collate,
)
from .batch import (
    collate_frames as collate_frames,
)
from .batch import (
    collate_labelled as collate_labelled,
)
from .batch import (
    collate_text as collate_text,
)
from .batch import (
    collate_values as collate_values,
)
from .batch import (
    prompts as prompts,
)
from .column import Column as Column
from .columns import parse_column as parse_column
from .config import DataConfig as DataConfig
from .config import PairsConfig as PairsConfig
from .config import TextConfig as TextConfig
from .readers import read_lines as read_lines
