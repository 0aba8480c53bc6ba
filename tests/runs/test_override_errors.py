"""Errors of overrides: unknown, missing and invalid fields, each with the nearest valid one."""

from typing import Any

import pytest

from seqlab.runs.overrides import override
from seqlab.runs.validate import ConfigError

CORPUS: dict[str, Any] = {"data": {"train_src": ["a.en"], "train_tgt": ["a.de"]}}
ERRORS = {
    ("optim.optimizer.momentum", "0.9"): (
        "There is no `optim.optimizer.momentum` with `optim.optimizer.family: adam`; `muon` and `rmsprop` and `sgd` "
        "have it."
    ),
    ("optim.schedule.final_ratio", "0.1"): (
        "There is no `optim.schedule.final_ratio` with `optim.schedule.family: inverse_sqrt`; `cosine` and "
        "`exponential` and `linear` and `one_cycle` have it."
    ),
    ("data.tokenizer.min_count", "2"): (
        "There is no `data.tokenizer.min_count` with `data.tokenizer.kind: sentencepiece_bpe`; `bpe` and `characters` "
        "and `words` have it."
    ),
    ("optim.optimizer.family", "adem"): (
        "`optim.optimizer.family` must be one of sgd, adam, adamw, radam, muon, adagrad, rmsprop, sam, schedule_free, "
        "but is 'adem' instead; the nearest is `adam`."
    ),
    ("model.family", "transformer_ml"): (
        "`model.family` must be one of transformer, rnn, lstm, gru, transformer_ctc, transformer_nat, "
        "transformer_cmlm, but is 'transformer_ml' instead; the nearest is `transformer_cmlm`."
    ),
    ("objective.family", "softmx"): (
        "`objective.family` must be one of cross_entropy, r_drop, scheduled_sampling, ctc, minimum_risk, "
        "policy_gradient, parallel_cross_entropy, cmlm, but is 'softmx' instead; a custom one needs its plugin "
        "(`--plugin`)."
    ),
    ("training.valid_metric", "blue"): (
        "`training.valid_metric: blue` is unknown; the nearest is `bleu`: choose nll or bleu or chrf or wer or cer or "
        "exact_match or bleu_zh or bleu_ja_mecab or bleu_flores200 or bleu_char."
    ),
    ("model.d_modle", "64"): "There is no `model.d_modle`; the nearest is `model.d_model`.",
    ("modle.d_model", "64"): "There is no `modle.d_model`; the nearest is `model.d_model`.",
    ("lr", "1"): "There is no `lr`; the nearest is `optim.optimizer.lr`.",
    ("optim.lr", "1"): "There is no `optim.lr`; the nearest is `optim.optimizer.lr`.",
    ("seed.x", "1"): "There is no `seed.x`; the nearest is `seed`.",
    ("", "1"): None,
    ("..", "1"): None,
    ("optim", "1"): "`optim` is a section, not a value: name one of its fields.",
    ("optim.optimizer", "sgd"): "`optim.optimizer` is a section, not a value: name one of its fields.",
    ("model.d_model", "3x"): "`model.d_model` must be a valid integer, but is '3x' instead.",
    ("model.d_model", "30"): "`model`: `d_model` 30 must be divisible by `num_heads` 4.",
    ("model.norm", "after"): "`model.norm` must be 'pre' or 'post', but is 'after' instead.",
    ("optim.optimizer.lr", "0"): "`optim.optimizer.lr` must be above 0, but is 0 instead.",
    ("optim.optimizer.lr", "nan"): "`optim.optimizer.lr` must be a finite number, but is nan instead.",
    ("optim.optimizer.betas", ("0.5", "2")): "`optim.optimizer.betas[1]` must be less than 1, but is '2' instead.",
    ("data.train_weights", "-1"): "`data.train_weights[0]` must be at least 1e-06, but is -1 instead.",
    ("data.train_weights", "[1"): "`data.train_weights[0]` must be a valid number, but is '[1' instead.",
    ("training.valid_search.beam_size", "0"): (
        "`training.valid_search.beam_size` must be at least 1, but is 0 instead."
    ),
    ("seed", ("1", "2")): "`seed` takes one value, but is given 2: 1 2.",
    ("seed", ()): "`seed` takes one value, but is given none.",
}


@pytest.mark.parametrize(("key", "text"), list(ERRORS))
def test_errors_of_invalid_overrides(key: str, text: str | tuple[str, ...]) -> None:
    with pytest.raises(ConfigError) as error:
        override(CORPUS, [(key, text)], source="base.yaml")
    expected = ERRORS[key, text]
    assert "\n" not in str(error.value)
    assert expected is None or str(error.value) == expected


def test_two_weight_averages_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"^`optim.average_last` \(3\) and `optim.ema_decay` \(0.9\)"):
        override(CORPUS, [("optim.average_last", "3"), ("optim.ema_decay", "0.9")])


def test_errors_in_a_base_config_name_its_file() -> None:
    base = {**CORPUS, "model": {"d_model": "x"}}
    with pytest.raises(ConfigError, match=r"^base.yaml: `model.d_model` must be a valid integer, but is 'x' instead."):
        override(base, [("seed", "2")], source="base.yaml")
    assert override(base, [("model.d_model", "64")], source="base.yaml").model.d_model == 64
    with pytest.raises(ConfigError, match=r"^base.yaml: There is no `modle`; the nearest is `model`.$"):
        override({**CORPUS, "modle": {}}, [("seed", "2")], source="base.yaml")


def test_missing_fields_are_named() -> None:
    with pytest.raises(ConfigError, match=r"^`data` is missing: it has no default.$"):
        override(None, [])
    with pytest.raises(ConfigError, match=r"^`data.train_tgt` is missing"):
        override(None, [("data.train_src", "a")])
    assert override(None, [("data.train_src", "a"), ("data.train_tgt", "b")]).data.train_tgt == ["b"]


def test_unsupported_validation_search_is_refused() -> None:
    revised = ("training.valid_search.revise", "true")
    for family, message in (
        ("transformer_nat", "`training.valid_search`: `revise` is for mask-predict"),
        ("transformer_ctc", "`training.valid_search`: `revise` is for mask-predict"),
    ):
        with pytest.raises(ConfigError, match=message):
            override(CORPUS, [("model.family", family), revised])
    assert override(CORPUS, [("model.family", "transformer_cmlm"), revised]).training.valid_search.revise
