"""Non-autoregressive translators with predicted lengths: length models, observed tokens, scores, search limits."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from reference.tiny_translators import ALL, BOS, EOS, PAD, SRC, TGT, VOCAB, batch_of

from seqlab.data.batch import IGNORE, collate
from seqlab.models import TransformerCmlmConfig, TransformerNat, TransformerNatConfig
from seqlab.models.target_length import LengthClassifier, LengthRatio
from seqlab.models.transformer_nat import IMPOSSIBLE_LOG_PROB
from seqlab.objectives import CmlmConfig, ParallelCrossEntropyConfig
from seqlab.search.config import SearchConfig
from seqlab.search.mask_predict import mask_predict
from seqlab.testing import check_model, check_objective, token_pairs
from seqlab.testing.models import build as build_model

SMALL: dict[str, Any] = {"d_model": 32, "d_ff": 48, "num_heads": 4, "num_encoder_layers": 2, "num_decoder_layers": 2}
CONFIGS = {
    "classifier": TransformerNatConfig(**SMALL, max_length_difference=8),
    "ratio": TransformerNatConfig(**SMALL, length="ratio", decoder_input="soft_copy", norm="post"),
    "end mark": TransformerNatConfig(**SMALL, length="end_mark", end_mark_ratio=3, positions="rotary"),
    "cmlm": TransformerCmlmConfig(**SMALL, tied_embeddings="decoder"),
    "cmlm, ratio": TransformerCmlmConfig(**SMALL, length="ratio", decoder_input="uniform_copy", positions="learned"),
}


def build(name: str) -> Any:
    return build_model(replace(CONFIGS[name], dropout=0.0), token_pairs(VOCAB))


@pytest.mark.parametrize("name", CONFIGS)
def test_models_pass_the_public_checks(name: str) -> None:
    is_cmlm = isinstance(CONFIGS[name], TransformerCmlmConfig)
    objective = CmlmConfig() if is_cmlm else ParallelCrossEntropyConfig(glancing=0.5)
    check_model(CONFIGS[name], token_pairs(), objective=objective)
    check_objective(objective, CONFIGS[name], token_pairs(), is_random=True)
    if not is_cmlm:
        check_objective(ParallelCrossEntropyConfig(), CONFIGS[name], token_pairs())


@pytest.mark.parametrize("name", CONFIGS)
def test_positions_are_those_of_the_target_or_of_the_source(name: str) -> None:
    model = build(name)
    lengths, targets = model(batch_of(ALL)).positions.lengths, model.position_targets(batch_of(ALL))
    for row in ALL:
        tokens = TGT[row] + ([EOS] if name == "end mark" else [])
        assert targets[row].tolist() == tokens + [IGNORE] * (targets.size(1) - len(tokens))
        expected = max(3 * (len(SRC[row]) + 1), len(tokens)) if name == "end mark" else len(tokens)
        assert lengths[row] == expected


@pytest.mark.parametrize("name", CONFIGS)
def test_observed_tokens_change_every_position(name: str) -> None:
    model, batch = build(name), batch_of([0])
    plain = model(batch).positions.hidden
    no_tokens = torch.full(plain.shape[:2], IGNORE)
    torch.testing.assert_close(model(batch, shown=no_tokens).positions.hidden, plain)
    for position in (0, len(TGT[0]) - 1):
        shown = no_tokens.clone()
        shown[0, position] = 17
        found = model(batch, shown=shown).positions.hidden
        assert (found != plain).any(2).all()
        torch.testing.assert_close(model(batch, glance=lambda _, shown=shown: shown).positions.hidden, found)


@torch.inference_mode()
@pytest.mark.parametrize("name", CONFIGS)
def test_positions_attend_only_to_their_source(name: str) -> None:
    model, batch = build(name), batch_of(ALL)
    source, lengths = model.encode(batch), model(batch).positions.lengths
    plain, with_attention = model.predict(source, lengths), model.predict(source, lengths, need_attention=True)
    torch.testing.assert_close(with_attention.hidden, plain.hidden, rtol=1e-4, atol=1e-5)
    assert plain.attention is None
    assert with_attention.attention.shape == (len(ALL), int(lengths.max()), batch.src.size(1))
    for row, (length, size) in enumerate(zip(lengths.tolist(), batch.src_lengths.tolist(), strict=True)):
        weights = with_attention.attention[row, :length]
        torch.testing.assert_close(weights[:, :size].sum(1), torch.ones(length))
        assert not weights[:, size:].any()
        single = model.predict(source.select(torch.tensor([row])), lengths[row : row + 1], need_attention=True)
        torch.testing.assert_close(single.attention[0, :length], weights, rtol=1e-4, atol=1e-5)


@torch.inference_mode()
def test_copied_inputs_differ_from_observed_tokens_in_masked_models() -> None:
    """Both sides share embeddings. The copied source tokens equal the observed target tokens."""
    cmlm = TransformerCmlmConfig(**SMALL, decoder_input="uniform_copy")
    batch = collate([[17, 17, 17, 17]], [[17, 17, 17]], [0], pad_id=PAD, bos_id=BOS, eos_id=EOS)
    for config, is_different in ((cmlm, True), (CONFIGS["classifier"], False)):
        torch.manual_seed(0)
        model = TransformerNat(config, VOCAB, VOCAB, mask_id=BOS, eos_id=EOS).eval()
        copied, observed = model(batch), model(batch, shown=torch.tensor([[17, 17, 17]]))
        assert torch.equal(copied.positions.hidden, observed.positions.hidden) != is_different


@pytest.mark.parametrize("name", CONFIGS)
@torch.inference_mode()
def test_scores_are_those_of_tokens_and_length(name: str) -> None:
    model, batch = build(name), batch_of(ALL)
    scores = model.score(batch)
    output, targets = model(batch), model.position_targets(batch)
    log_probs = model.projection(output.positions.hidden).log_softmax(-1)
    for row in ALL:
        token_scores = log_probs[row].gather(1, targets[row].clamp_min(0)[:, None])[:, 0]
        torch.testing.assert_close(scores[row, : len(TGT[row])], token_scores[: len(TGT[row])])
        end_score = scores[row, len(TGT[row])]
        if name == "end mark":
            torch.testing.assert_close(end_score, token_scores[len(TGT[row])])
        else:
            assert float(end_score) == -float(output.length_nll[row])
        assert not scores[row, len(TGT[row]) + 1 :].any()


@torch.inference_mode()
def test_length_classifier_is_a_distribution_over_positive_lengths() -> None:
    torch.manual_seed(0)
    classifier = LengthClassifier(8, max_difference=4)
    end, src_lengths = torch.randn(3, 8), torch.tensor([2, 5, 9])  # 1, 4 and 8 tokens
    for row, src_length in enumerate([1, 4, 8]):
        lengths = torch.arange(max(1, src_length - 4), src_length + 5)
        rows = torch.full((len(lengths),), row)
        nll = classifier.nll(end[rows], src_lengths[rows], lengths)
        assert float((-nll).exp().sum()) == pytest.approx(1.0)
        found = classifier.most_probable(end, src_lengths, 9, torch.ones(3).long(), torch.full((3,), 100))
        is_possible = found.log_probs[row] > -torch.inf
        order = nll.argsort()
        assert found.lengths[row][is_possible].tolist() == lengths[order].tolist()
        torch.testing.assert_close(found.log_probs[row][is_possible], -nll[order])
        assert float(classifier.nll(end[:1], src_lengths[:1], torch.tensor([90]))) == pytest.approx(
            float(classifier.nll(end[:1], src_lengths[:1], torch.tensor([5])))
        )


def test_lengths_respect_their_bounds() -> None:
    torch.manual_seed(0)
    end, src_lengths = torch.randn(2, 8), torch.tensor([5, 9])
    for model in (LengthClassifier(8, max_difference=4), LengthRatio()):
        for shortest, longest in (([2, 2], [3, 6]), ([20, 1], [30, 2]), ([3, 3], [3, 3])):
            found = model.most_probable(end, src_lengths, 5, torch.tensor(shortest), torch.tensor(longest))
            for row in range(2):
                lengths = found.lengths[row][found.log_probs[row] > -torch.inf].tolist()
                assert len(lengths) == len(set(lengths)) > 0
                assert all(shortest[row] <= length <= longest[row] for length in lengths)


@torch.inference_mode()
def test_length_ratio_is_a_distribution() -> None:
    ratio = LengthRatio()
    ratio.log_ratio.fill_(0.3)
    ratio.log_width.fill_(-1.5)
    for src_length in (1, 4, 30, 100):
        lengths, src_lengths = torch.arange(1, 900), torch.tensor([src_length + 1])
        probs = (-ratio.nll(torch.zeros(1, 1), src_lengths, lengths)).exp()
        assert float(probs.sum()) == pytest.approx(1.0, abs=1e-5)
        for count in (1, 4):
            found = ratio.most_probable(torch.zeros(1, 1), src_lengths, count, torch.tensor([1]), torch.tensor([900]))
            torch.testing.assert_close(found.log_probs[0].exp(), probs.sort(descending=True).values[:count])
            torch.testing.assert_close(probs[found.lengths[0] - 1], found.log_probs[0].exp())


@pytest.mark.parametrize("factor", [0.2, 0.5, 3.0, 8.0])
def test_length_ratio_converges_from_a_distant_initial_value(factor: float) -> None:
    ratio = LengthRatio()
    src_lengths = torch.tensor([10, 20, 40])
    tgt_lengths = (factor * src_lengths).long() - 1
    optimizer = torch.optim.Adam(ratio.parameters(), lr=0.05)
    for _ in range(400):
        optimizer.zero_grad()
        ratio.nll(torch.zeros(3, 1), src_lengths, tgt_lengths).sum().backward()
        optimizer.step()
    found = ratio.most_probable(torch.zeros(3, 1), src_lengths, 3, torch.ones(3).long(), torch.full((3,), 400))
    assert found.lengths[:, 0].tolist() == pytest.approx(tgt_lengths.tolist(), rel=0.05)


def test_empty_targets_are_impossible() -> None:
    for name in ("classifier", "cmlm, ratio"):
        model = build(name)
        batch = collate([SRC[0], SRC[1]], [[], TGT[0]], [0, 1], pad_id=0, bos_id=BOS, eos_id=EOS)
        scores = model.score(batch)
        assert scores[0].tolist() == [IMPOSSIBLE_LOG_PROB] + [0.0] * len(TGT[0])
        assert scores[1].isfinite().all()
        assert float(scores[1].sum()) > IMPOSSIBLE_LOG_PROB


@pytest.mark.parametrize(
    ("config", "fields", "name"),
    [
        (TransformerNatConfig, {"length": "ratio", "max_length_difference": 9}, "max_length_difference"),
        (TransformerNatConfig, {"end_mark_ratio": 3}, "end_mark_ratio"),
        (TransformerCmlmConfig, {"length": "ratio", "max_length_difference": 9}, "max_length_difference"),
    ],
)
def test_fields_of_other_length_predictors_are_refused(config: type, fields: dict[str, Any], name: str) -> None:
    with pytest.raises(ValueError, match=f"`{name}` applies to `length: "):
        config(**fields)


@torch.inference_mode()
def test_length_limit_cuts_targets_of_models_with_an_end_mark() -> None:
    """As in training, the decoder has 3 positions per source token, even if the length limit is lower."""
    model = build("end mark")
    batch = collate([[5, 6, 7, 8, 9, 10, 11] * 2], None, [0], pad_id=PAD, bos_id=BOS, eos_id=EOS)
    ((unlimited,),) = mask_predict(model, batch, SearchConfig(beam_size=1, max_length_ratio=4), banned_ids=[EOS])
    assert len(unlimited.ids) > 40
    for limit in (40, 20, 2):
        ((limited,),) = mask_predict(model, batch, SearchConfig(beam_size=1, max_length=limit), banned_ids=[EOS])
        assert (limited.ids, limited.token_log_probs, limited.finished) == (
            unlimited.ids[:limit],
            unlimited.token_log_probs[:limit],
            False,
        )


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("prefix", [(), (30,), (30, 31, 32, 33, 34, 35, 36)])
def test_outputs_follow_forced_prefixes_and_length_limits(name: str, prefix: tuple[int, ...]) -> None:
    model, batch = build(name), batch_of([2, 0], with_target=False)
    for limit in (9, 4 if len(prefix) < 3 else 8):
        config = SearchConfig(beam_size=3, max_length=limit)
        with torch.inference_mode():
            found = mask_predict(model, batch, config, prefixes=[prefix, ()], banned_ids=[0, BOS])
        for expected_prefix, (best,) in zip((prefix, ()), found, strict=True):
            assert tuple(best.ids[: len(expected_prefix)]) == expected_prefix
            assert len(best.ids) + best.finished <= limit
            assert not {0, BOS, EOS} & set(best.ids)
