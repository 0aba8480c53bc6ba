"""Combinations of config fields that are invalid together."""

from typing import Any

import pytest

from seqlab.runs.config import from_dict

DATA = {"train_src": "a.en", "train_tgt": "a.de"}


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"optim": {"average_last": 3, "ema_decay": 0.9}}, r"`optim.average_last` \(3\) and `optim.ema_decay` \(0.9\)"),
        (
            {"data": {"joint_vocabulary": False}},
            "`model.tied_embeddings: all` shares one embedding for both sides, but `data.joint_vocabulary: false`",
        ),
        ({"data": {"subword_sampling": 0.1, "tokenizer": {"kind": "words"}}}, "must be 0 for a `words` tokenizer"),
        ({"model": {"family": "transformer", "d_model": 33, "num_heads": 3}}, "needs an even `d_model`, but it is 33"),
        (
            {"model": {"family": "transformer", "d_model": 12, "num_heads": 4, "positions": "rotary"}},
            "needs an even head size, but `d_model / num_heads` is 3",
        ),
        (
            {"data": {"max_length": 64}, "model": {"family": "transformer", "positions": "learned", "max_length": 64}},
            r"`model.max_length` \(64\) above `data.max_length` \(64\)",
        ),
    ],
)
def test_invalid_combinations_are_refused(sections: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_dict({**sections, "data": {**DATA, **sections.get("data", {})}})


def test_enough_learned_positions_are_accepted() -> None:
    model = {"family": "transformer", "positions": "learned", "max_length": 65}
    config = from_dict({"data": {**DATA, "max_length": 64}, "model": model})
    assert (config.model.max_length, config.data.max_length) == (65, 64)
