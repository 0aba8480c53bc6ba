"""CPU kernels that are faster than PyTorch's, or whose results do not depend on the batch.

`seqlab.nn.kernels` calls them for tensors on a CPU, unless `reference_kernels()` is active. Each module states its
speedup; docs/results/kernels.md has the measurements.
"""
