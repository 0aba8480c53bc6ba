"""Layers: tensors in, tensors out. Nothing here knows of text, batches or files."""

from seqlab.nn.mkl import make_repeatable

make_repeatable()
