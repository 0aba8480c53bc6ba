"""Speed and quality, side by side with what a user would pick instead and with the machine's limit.

`python -m benchmarks training` (`decoding`, `quality`, `tradeoff`, `growth`, ...) from the root of the repository; the
README here says how. Nothing is installed: systems that are missing are listed as missing. No test depends on a time
measured here.
The process that is started imports no torch; every measurement is a process of its own (`benchmarks.workers`).
"""
