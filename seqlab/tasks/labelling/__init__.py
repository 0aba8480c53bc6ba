"""Labeling task: classify lines of text or tag their words."""
