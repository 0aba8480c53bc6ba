"""Experiments that find out why a model does not learn, the shape of its loss, and the inspection of data."""
