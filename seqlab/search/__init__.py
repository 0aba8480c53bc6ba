"""Step scores -> hypotheses: greedy and beam search over any `Stepper`, with constraints and length penalties.

The command line reads `seqlab.search.config` to print its help, which needs no torch, so this file imports nothing.
"""
