"""Files -> examples -> batches.

A name is imported when it is asked for: the rooms that only need the batch types import `seqlab.data.batch`, which
loads torch and nothing else of seqlab.
"""

from typing import TYPE_CHECKING

from seqlab.late import late_names

if TYPE_CHECKING:
    from seqlab.data.batch import (
        IGNORE,
        Batch,
        FrameBatch,
        LabelledBatch,
        Seq2SeqBatch,
        TextBatch,
        ValueBatch,
        collate,
        collate_frames,
        collate_labelled,
        collate_text,
        collate_values,
        prompts,
    )
    from seqlab.data.column import Column
    from seqlab.data.columns import parse_column
    from seqlab.data.config import DataConfig, PairsConfig, TextConfig
    from seqlab.data.readers import read_lines

__all__ = [
    "IGNORE",
    "Batch",
    "Column",
    "DataConfig",
    "FrameBatch",
    "LabelledBatch",
    "PairsConfig",
    "Seq2SeqBatch",
    "TextBatch",
    "TextConfig",
    "ValueBatch",
    "collate",
    "collate_frames",
    "collate_labelled",
    "collate_text",
    "collate_values",
    "parse_column",
    "prompts",
    "read_lines",
]

if not TYPE_CHECKING:  # or any name would do
    __getattr__ = late_names(
        __name__,
        {
            "IGNORE": "batch",
            "Batch": "batch",
            "Column": "column",
            "DataConfig": "config",
            "FrameBatch": "batch",
            "LabelledBatch": "batch",
            "PairsConfig": "config",
            "Seq2SeqBatch": "batch",
            "TextBatch": "batch",
            "TextConfig": "config",
            "ValueBatch": "batch",
            "collate": "batch",
            "collate_frames": "batch",
            "collate_labelled": "batch",
            "collate_text": "batch",
            "collate_values": "batch",
            "parse_column": "columns",
            "prompts": "batch",
            "read_lines": "readers",
        },
    )
