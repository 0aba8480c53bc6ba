"""Layers: tensors in, tensors out. Nothing here knows of text, batches or files."""
