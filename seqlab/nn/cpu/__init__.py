"""Everything that is done differently on a CPU because it is faster there, or exact.

`seqlab.nn.kernels` calls it for tensors on a CPU, unless `reference_kernels()` is in force. Each module says what it
gains; docs/results/kernels.md has the figures.
"""
