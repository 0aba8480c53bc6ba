"""Faults of masks, search and inference: see `tests/planted_faults.py`."""

from reference.fault import Fault

MASKS = (
    Fault(
        "masks.padding_ignored",
        "attention reads padding",
        "return ~key_padding_mask[:, None, None, :]",
        "return torch.ones_like(key_padding_mask)[:, None, None, :]",
        ("models/test_transformer.py", "models/test_translators.py"),
    ),
    Fault(
        "masks.padding_off_by_one",
        "the first padding position counts as a token",
        "device=lengths.device) >= lengths[:, None]",
        "device=lengths.device) > lengths[:, None]",
        ("models/test_transformer.py", "models/test_translators.py"),
    ),
    Fault(
        "masks.causal_off_by_one",
        "a position attends to the one after it",
        "dtype=torch.bool, device=device).tril()",
        "dtype=torch.bool, device=device).tril(1)",
        ("nn/test_kernels.py", "models/test_transformer_lm.py"),
    ),
    Fault(
        "masks.cross_attention_padding",
        "the decoder attends to padding of the source",
        "self.cross_attention(y, memory, need_weights)",
        "self.cross_attention(y, memory._replace(bias=0 * memory.bias.clamp_min(0)), need_weights)",
        ("models/test_transformer.py", "models/test_translators.py"),
    ),
    Fault(
        "masks.cross_attention_padding_step",
        "in decoding steps, the decoder attends to padding of the source",
        "self.cross_attention.step(y, memory, at, need_weights)",
        "self.cross_attention.step(y, memory._replace(bias=0 * memory.bias.clamp_min(0)), at, need_weights)",
        ("models/test_transformer.py", "models/test_translators.py"),
    ),
    Fault(
        "masks.packed_documents",
        "packed lines attend to earlier lines of their row",
        "return same & causal(size, positions.device)",
        "return causal(size, positions.device).expand_as(same)",
        ("models/test_transformer_lm.py",),
    ),
    Fault(
        "masks.cache_mask_not_reordered",
        "a hypothesis attends to the cache entries of another row",
        "self.can_attend = self.can_attend[rows]",
        "self.can_attend = self.can_attend[: len(rows)]",
        ("nn/test_kv_cache.py", "models/test_translators.py"),
    ),
    Fault(
        "masks.reversed_with_padding",
        "the backward direction of an RNN reads padding first",
        "return x.flatten(0, 1).index_select(0, self.mirrored).view_as(x)",
        "return x.flip(0)",
        ("models/test_recurrent.py", "nn/test_recurrent.py"),
    ),
    Fault(
        "masks.all_replaced_by_mask",
        "all chosen tokens of a masked language model are replaced by the mask",
        "masked = chosen & (action < MASKED_SHARE)",
        "masked = chosen & (action < 1)",
        ("data/test_masking.py",),
    ),
)

SEARCH = (
    Fault(
        "search.length_penalty_ignored",
        "scores are not divided by the length penalty",
        "return math.pow(base, config.length_alpha)",
        "return math.pow(base, 0.0)",
        ("search/test_beam.py",),
    ),
    Fault(
        "search.eos_not_finished",
        "hypotheses that end with eos are lost",
        "ended = (best.ids == rules.eos_id) & (best.log_probs > NEG_INF)",
        "ended = (best.ids == rules.eos_id) & (best.log_probs <= NEG_INF)",
        ("search/test_beam.py",),
    ),
    Fault(
        "search.tie_break_reversed",
        "among equal scores the higher id wins",
        "        ids = ids.sort(dim=1).values\n",
        "        ids = ids.sort(dim=1, descending=True).values\n",
        ("search/test_top.py", "search/test_beam.py"),
    ),
    Fault(
        "search.later_hypothesis_wins_tie",
        "among equal finished hypotheses the one that ended later wins",
        "torch.cat(pair, dim=1) for pair in zip(old, new, strict=True)",
        "torch.cat(pair, dim=1) for pair in zip(new, old, strict=True)",
        ("search/test_beam.py",),
    ),
    Fault(
        "search.prefix_ignored",
        "a forced prefix is ignored",
        "force_ids(allowed, free, self.prefixes[sentences, position])",
        "force_ids(allowed, free, self.prefixes[sentences, position].new_full((len(sentences),), -1))",
        ("search/test_constraints.py", "search/test_beam.py"),
    ),
    Fault(
        "search.ngram_off_by_one",
        "blocked n-grams are one id too long",
        "ban_repeated_ngrams(allowed, ids, self.no_repeat_ngram_size)",
        "ban_repeated_ngrams(allowed, ids, self.no_repeat_ngram_size + 1)",
        ("search/test_constraints.py", "search/test_beam.py"),
    ),
    Fault(
        "search.beam_rows_swapped",
        "states of a beam are reordered by the wrong rows",
        "else step.state.select(history.parents[-1])",
        "else step.state.select(history.parents[-1].flip(0))",
        ("search/test_beam.py",),
    ),
    Fault(
        "search.beam_rows_not_moved",
        "states of a beam are not reordered with its rows",
        "step.state if in_order and not any_done else",
        "step.state if in_order or not any_done else",
        ("search/test_beam.py",),
    ),
    Fault(
        "search.length_limit_off_by_one",
        "a beam continues after a sentence's maximum length",
        "can_improve | (length >= rules.max_lengths[beam.active])",
        "can_improve | (length > rules.max_lengths[beam.active])",
        ("search/test_beam.py",),
    ),
    Fault(
        "search.back_pointer",
        "back pointers lead to the wrong row",
        "row[inner] = all_parents[t][child]",
        "row[inner] = child",
        ("search/test_beam.py",),
    ),
    Fault(
        "search.ensemble_of_logs",
        "an ensemble averages logarithms instead of probabilities",
        "return torch.logsumexp(torch.stack(list(members)), dim=0) - math.log(len(members))",
        "return torch.stack(list(members)).mean(dim=0)",
        ("search/test_ensemble.py",),
    ),
    Fault(
        "search.top_p_without_last",
        "nucleus sampling drops the last id, which completes the probability mass",
        "sums - sorted_probs >= target[rows]",
        "sums >= target[rows]",
        ("search/test_filters.py",),
    ),
    Fault(
        "search.same_samples",
        "all samples draw the same random numbers",
        "key=np.array([seed, number], dtype=np.uint64)",
        "key=np.array([seed, 0], dtype=np.uint64)",
        ("search/test_sampling.py",),
    ),
    Fault(
        "search.ctc_repetitions",
        "greedy CTC decoding does not merge repeated ids",
        "index for index, _ in groupby(path) if index != model.blank_id",
        "index for index in path if index != model.blank_id",
        ("search/test_ctc.py",),
    ),
    Fault(
        "search.most_confident_repredicted",
        "mask-predict predicts the most confident positions again",
        "return ranks < count[:, None]",
        "return self.is_free & (ranks >= self.is_free.sum(1, keepdim=True) - count[:, None])",
        ("search/test_mask_predict.py",),
    ),
)

INFERENCE = (
    Fault(
        "inference.order_not_restored",
        "translations of a batch are returned in another order",
        "for i, best in zip(indices, hypotheses, strict=True):",
        "for i, best in zip(sorted(indices), hypotheses, strict=True):",
        ("inference/test_translator.py", "inference/test_run.py"),
    ),
    Fault(
        "inference.empty_line_translated",
        "an empty line is translated",
        "filled = [i for i, row in enumerate(src_rows) if len(row)]",
        "filled = [i for i, row in enumerate(src_rows) if len(row) >= 0]",
        ("inference/test_translator.py", "inference/test_run.py"),
    ),
    Fault(
        "inference.long_line_truncated",
        "the first character after a split of a long line is lost",
        "        rest = rest[end:]\n",
        "        rest = rest[end + 1 :]\n",
        ("inference/test_splitting.py",),
    ),
    Fault(
        "inference.dropout",
        "dropout is active while decoding",
        "    if was_training:\n        model.eval()",
        "    if was_training:\n        model.train()",
        ("inference/test_run.py",),
    ),
)

MODEL_FAULTS = (*MASKS, *SEARCH, *INFERENCE)
