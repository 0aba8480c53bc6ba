"""Benchmarks of speed and quality against other libraries and the peak rate of the machine.

Run `python -m benchmarks training` (`decoding`, `quality`, `tradeoff`, `growth`, ...) from the root of the repository;
see README.md in this folder. Nothing is installed: missing systems are listed as missing. No test depends on a time
measured here. The main process does not import torch; each measurement runs in its own process (`benchmarks.workers`).
"""
