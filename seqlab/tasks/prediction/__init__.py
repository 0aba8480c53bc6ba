"""Prediction task: regression, classification and multi-label classification of table rows, images and time series."""
