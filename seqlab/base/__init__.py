"""File, stream, process and limit helpers that every other folder uses; importing it does not import torch."""
