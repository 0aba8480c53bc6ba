"""Kernel benchmark: one row per kernel, and unknown recipes."""

from pathlib import Path

import pytest

from benchmarks import kernels
from benchmarks.__main__ import main, make_parser
from benchmarks.scale import QUICK
from seqlab.nn.kernels import TRAINING_KERNELS


@pytest.mark.learning
def test_each_kernel_has_a_row(tmp_path: Path) -> None:
    options = ["kernels", "--quick", "--threads", "1", "--dtypes", "fp32", "--work_dir", str(tmp_path)]
    report = kernels.run(make_parser().parse_args(options), QUICK)
    assert [row.setting for row in report.rows] == list(TRAINING_KERNELS)
    assert all(float(row.more["speedup"]) > 0 for row in report.rows)


def test_unknown_recipes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="the recipe 'nonsense' does not exist"):
        main(["kernels", "--recipes", "nonsense", "--work_dir", str(tmp_path)])
