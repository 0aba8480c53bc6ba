"""Faults of training, objectives, metrics and data: see `tests/planted_faults.py`."""

from reference.fault import Fault

TRAINING = (
    Fault(
        "resume.sampler_off_by_one",
        "a resumed translator repeats the data of its last step",
        "start, config = next_position(after), self._config",
        "start, config = after or next_position(after), self._config",
        ("training/test_exact_resume.py", "data/test_sampler.py"),
    ),
    Fault(
        "resume.text_sampler_off_by_one",
        "a resumed language model repeats the data of its last step",
        "start = next_position(after)\n",
        "start = after or next_position(after)\n",
        ("data/test_text_sampler.py", "contracts/test_training.py"),
    ),
    Fault(
        "resume.optimizer_not_restored",
        "a resumed run starts with a new optimizer state",
        'self.optimizer.load_state_dict({"state": parts, "param_groups": groups})',
        'self.optimizer.load_state_dict({"state": {}, "param_groups": groups})',
        ("training/test_exact_resume.py", "contracts/test_training.py"),
    ),
    Fault(
        "resume.carry_not_restored",
        "a resumed recurrent language model starts with an empty hidden state",
        'self.accumulator.restore_carry(_with_prefix(tensors, "carry."))',
        "self.accumulator.restore_carry({})",
        ("contracts/test_training.py",),
        select="streams",
    ),
    Fault(
        "resume.seed_without_step",
        "each step has the same dropout masks",
        "np.random.SeedSequence((self.seed, step, micro_step),",
        "np.random.SeedSequence((self.seed, micro_step),",
        ("training/test_step.py", "training/test_exact_resume.py", "contracts/test_training.py"),
    ),
    Fault(
        "resume.random_state_of_process",
        "random numbers depend on earlier draws in the process",
        "yield torch.default_generator.manual_seed(seed)\n    finally:\n        torch.set_rng_state(before)",
        "yield torch.default_generator\n    finally:\n        pass",
        ("training/test_exact_resume.py", "contracts/test_training.py"),
    ),
    Fault(
        "resume.metrics_not_cut_back",
        "after resuming, lines of repeated steps stay in metrics.jsonl",
        "self.metrics_logger.truncate(journal_size)",
        "self.metrics_logger.size()",
        ("training/test_resume_rules.py", "training/test_exact_resume.py", "contracts/test_training.py"),
    ),
    Fault(
        "resume.average_not_restored",
        "a resumed run starts a new average of weights",
        "average[name].copy_(value)",
        "average[name].add_(0.0)",
        ("training/test_exact_resume.py", "contracts/test_training.py"),
    ),
    Fault(
        "training.carry_of_first_rows",
        "each micro-step continues from the hidden states of the first micro-step's rows",
        "rows = slice(first_row, first_row + len(batch.indices))",
        "rows = slice(0, len(batch.indices))",
        ("training/test_text_steps.py",),
    ),
    Fault(
        "training.mean_of_micro_steps",
        "gradients are divided by the number of micro-steps",
        "divisor = count.clamp_min(1.0) / self.accumulator.world_size",
        "divisor = torch.tensor(float(len(self.micro_steps)))",
        ("training/test_step.py",),
    ),
    Fault(
        "training.warmup_off_by_one",
        "the first update has a learning rate of 0",
        "return peak * (step + 1) / (self.warmup_steps + 1)",
        "return peak * step / (self.warmup_steps + 1)",
        ("optim/test_schedules.py",),
    ),
    Fault(
        "checkpoints.average_not_used",
        "inference uses the last weights instead of their average",
        "return AVERAGED if AVERAGED in checksums else WEIGHTS",
        "return WEIGHTS",
        ("runs/test_checkpoint.py", "runs/test_load.py", "training/test_exact_resume.py", "contracts/test_training.py"),
    ),
    Fault(
        "checkpoints.decay_swapped",
        "the moving average swaps the weights of old and new values",
        "[weights[name] for name in self.weights], 1 - decay)",
        "[weights[name] for name in self.weights], decay)",
        ("optim/test_averaging.py",),
    ),
    Fault(
        "checkpoints.worst_kept",
        "the checkpoint with the lowest validation score counts as the best",
        "key=lambda entry: (-entry[0], entry[1], entry[2])",
        "key=lambda entry: (entry[0], entry[1], entry[2])",
        (
            "training/test_step.py",
            "training/test_endings.py",
            "training/test_exact_resume.py",
            "contracts/test_training.py",
        ),
    ),
    Fault(
        "checkpoints.damage_unnoticed",
        "damaged weights are loaded",
        "and zlib.crc32(content) != checksums.get(stem):",
        "and zlib.crc32(content) is None:",
        ("runs/test_checkpoint.py",),
    ),
)

OBJECTIVES = (
    Fault(
        "objectives.label_smoothing_sign",
        "label smoothing lowers the loss of confident predictions",
        "total = nll + smoothing * ((target_w - mean_w) * h).sum()",
        "total = nll - smoothing * ((target_w - mean_w) * h).sum()",
        ("nn/test_projection.py", "objectives/test_objectives.py"),
    ),
    Fault(
        "objectives.label_smoothing_gradient",
        "label smoothing is in the loss, but not in the gradient of the target",
        "grad_target_logits = (smoothing - other_probs)[:, None]",
        "grad_target_logits = (0.0 - other_probs)[:, None]",
        ("nn/test_projection.py", "objectives/test_objectives.py"),
    ),
    Fault(
        "objectives.r_drop_one_sided",
        "the divergence of R-Drop has a gradient for the first pass only",
        "divergence = ((log_p.exp() - log_q.exp()) * (log_p - log_q)).sum(1)",
        "divergence = ((log_p.exp() - log_q.detach().exp()) * (log_p - log_q.detach())).sum(1)",
        ("nn/test_projection.py", "objectives/test_objectives.py"),
    ),
    Fault(
        "objectives.ctc_blank",
        "the CTC loss uses a wrong blank id",
        "targets = CtcTargets.of(batch.tgt_out, model.blank_id)",
        "targets = CtcTargets.of(batch.tgt_out, model.blank_id + 1)",
        ("objectives/test_ctc.py",),
    ),
)

METRICS = (
    Fault(
        "metrics.wer_without_deletions",
        "WER does not count deletions",
        "return self.substitutions + self.deletions + self.insertions",
        "return self.substitutions + self.insertions",
        ("evaluation/test_edits.py", "evaluation/test_metrics.py"),
    ),
    Fault(
        "metrics.references_misaligned",
        "additional references are those of the next line",
        "for line in lines] for lines in others)]",
        "for line in [*lines[1:], *lines[:1]]] for lines in others)]",
        ("evaluation/test_references.py", "evaluation/test_metrics.py"),
    ),
    Fault(
        "metrics.perplexity_per_word",
        "perplexity per token divides by words",
        "_exp(self.nll / self.tokens)",
        "_exp(self.nll / self.words)",
        ("evaluation/test_likelihood.py",),
    ),
    Fault(
        "metrics.nll_divisor_off_by_one",
        "the validation loss is divided by one token too many",
        "return nll / num_tgt_tokens",
        "return nll / (num_tgt_tokens + 1)",
        ("evaluation/test_likelihood.py", "training/test_step.py"),
    ),
    Fault(
        "metrics.unpaired_bootstrap",
        "system and baseline are resampled independently",
        "            values[index, sample] = system.score_of(lines).value",
        "            lines = generator.choice(num_lines, size=num_lines, replace=True) if index else lines\n"
        "            values[index, sample] = system.score_of(lines).value",
        ("evaluation/test_bootstrap.py",),
    ),
)

DATA = (
    Fault(
        "data.line_shifted_by_filter",
        "after a dropped pair, texts and line numbers belong to other pairs",
        "chosen = candidates[picked]",
        "chosen = picked",
        ("data/test_prepare.py",),
    ),
    Fault(
        "data.targets_shifted",
        "targets belong to the wrong sources",
        "EncodedRows([rows.take(picked) for rows in ids], texts,",
        "EncodedRows([rows.take(np.roll(picked, rows is ids[-1])) for rows in ids], texts,",
        ("data/test_prepare.py",),
    ),
    Fault(
        "data.validation_in_training",
        "sources that are held out for validation are trained on",
        "np.where(is_held_out, RowStatus.VALID_SOURCE, RowStatus.TRAIN)",
        "np.where(is_held_out, RowStatus.TRAIN, RowStatus.TRAIN)",
        ("data/test_prepare.py",),
    ),
    Fault(
        "data.weight_fraction_fixed",
        "a fractional weight selects the same pairs in every epoch",
        "parts.append(start + np.sort(rng.permutation(stop - start)[:size]))",
        "parts.append(start + np.arange(size, dtype=np.int64))",
        ("data/test_epoch.py", "data/test_sampler.py"),
    ),
    Fault(
        "data.padding_predicted",
        "padding of targets is predicted",
        "return tgt_in, _pad(flat, IGNORE, last=eos_id)[0],",
        "return tgt_in, _pad(flat, pad_id, last=eos_id)[0],",
        ("data/test_batch.py",),
    ),
    Fault(
        "data.empty_lines_dropped",
        "empty lines of a file are not read",
        "yield LinePart(line) if isinstance(raw, PartialLine) else line",
        "yield from [LinePart(line) if isinstance(raw, PartialLine) else line] if line else []",
        ("data/test_readers.py", "cli/test_translate.py"),
    ),
)

TRAINING_FAULTS = (*TRAINING, *OBJECTIVES, *METRICS, *DATA)
