"""MKL's products, in which a row must not depend on the rows beside it."""

import os

import torch

VARIABLE = "MKL_CBWR"
"""What MKL reads at its first call (conditional numerical reproducibility, oneMKL Developer Guide)."""


def make_repeatable() -> None:
    """Ask MKL for its strict mode on Intel processors, unless the environment says what it is to do.

    Without it a product of small matrices, as in attention, has other last bits there with other batches and numbers of
    threads, so that answers would depend on the batch; it costs 5% of such a product, and of training Multi30k's
    translator in fp32. Other processors get kernels that have no such choice. It comes too late where a program has
    multiplied before it trains or loads a model.
    """
    cpu = torch.cpu.get_capabilities()
    if "Intel" in cpu.get("cpu_name", "") and cpu.get("avx2", False):
        os.environ.setdefault(VARIABLE, "AVX512,STRICT" if cpu.get("avx512_f", False) else "AVX2,STRICT")
