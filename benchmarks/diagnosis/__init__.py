"""Planted faults: how often `seqlab diagnose` names the right cause of a training that does not learn."""
