"""CTC training pairs whose targets need more frames than the model has."""

from dataclasses import replace
from itertools import permutations
from pathlib import Path

import pytest
from reference.tiny_runs import tiny_config

from seqlab.models import TransformerCtcConfig
from seqlab.objectives import CtcConfig
from seqlab.text import CharactersConfig
from seqlab.training import train


def test_an_upsampling_too_low_for_all_targets_is_refused(tmp_path: Path) -> None:
    """Sources have 3 letters and eos. Targets repeat a letter 9 times, which takes 17 frames with the blanks."""
    lines = ["".join(letters) for letters in permutations("abcdef", 3)]
    (tmp_path / "train.en").write_text("".join(f"{line}\n" for line in lines))
    (tmp_path / "train.de").write_text("ddddddddd\n" * len(lines))
    small = TransformerCtcConfig(
        d_model=16, d_ff=32, num_heads=2, num_encoder_layers=1, num_decoder_layers=1, upsampling=4
    )
    data = {"tokenizer": CharactersConfig(), "subword_sampling": 0.0}
    config = replace(tiny_config(tmp_path, data=data, max_steps=1), model=small, objective=CtcConfig())
    with pytest.raises(
        ValueError, match=r"All 108 training pairs .* `model\.upsampling: 4` .* \(5 is enough for all\)"
    ):
        train(config, tmp_path / "run")
    train(replace(config, model=replace(small, upsampling=5)), tmp_path / "run")
