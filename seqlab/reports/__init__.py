"""Figures of what was measured: numbers and run folders are read here, nothing is trained."""
