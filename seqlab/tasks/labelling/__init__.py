"""Labelling: labels of lines or of their words."""
