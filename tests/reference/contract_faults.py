"""Faults in resuming, ranks, batches and folds, most of them detected by `tests/contracts`."""

from reference.fault import Fault

TABLE = "contracts/test_training.py"
"""Test of resuming, micro-steps and ranks for each row of the table."""
OUTPUTS = "contracts/test_outputs.py"
"""Test of validation, loading and batches for each row of the table."""

RESUME = (
    Fault(
        "resume.best_forgotten",
        "a resumed run does not know its best validation",
        'self.progress, journal_size = validate_type(state["progress"], Progress)',
        'self.progress, journal_size = validate_type(state["progress"] | {"best": []}, Progress)',
        (TABLE,),
        select="rnn",
    ),
    Fault(
        "resume.metrics_of_the_interval",
        "the first log line after resuming covers only the steps since then",
        'self.metrics = validate_type(state["figures"], TrainingMetrics)',
        "self.metrics = TrainingMetrics()",
        (TABLE,),
        select="rnn",
    ),
    Fault(
        "resume.recordings_off_by_one",
        "a resumed recognizer repeats the data of its last step",
        "start, counts = next_position(after), self.frame_counts(indices)",
        "start, counts = after or next_position(after), self.frame_counts(indices)",
        (TABLE,),
        select="gru_recogniser",
    ),
    Fault(
        "resume.examples_off_by_one",
        "a resumed predictor repeats the data of its last step",
        "settings, start = _data_config(config), next_position(after)\n        count = len(data.train)",
        "settings, start = _data_config(config), after or next_position(after)\n        count = len(data.train)",
        (TABLE,),
        select="linear_model",
    ),
    Fault(
        "resume.augmentation_of_the_process",
        "the augmentation of recordings differs between processes",
        "seeded_generator(self.seed, epoch, index, AUGMENTATION_STREAM)",
        "np.random.default_rng()",
        (TABLE,),
        select="gru_recogniser",
    ),
    Fault(
        "resume.average_of_all_checkpoints",
        "a mean of checkpoints includes those of signals and validations",
        "regular = [step for step in steps if step % save_every == 0 or step in timed]",
        "regular = steps",
        ("training/test_exact_resume.py", TABLE),
    ),
    Fault(
        "resume.average_starts_again",
        "a resumed run starts its triggered average at the checkpoint",
        "self.moving_average = RunningMean(self.weights(), self.progress.average_from)",
        "self.moving_average = RunningMean(self.weights(), self.progress.step)",
        (TABLE,),
        select="triggered",
    ),
    Fault(
        "resume.checkpoint_not_atomic",
        "a kill leaves a part of a checkpoint under its final name",
        'temporary = folder / f"{final.name}.tmp"\n    shutil.rmtree',
        "temporary = final\n    shutil.rmtree",
        ("training/test_kill_points.py",),
    ),
)
RANKS = (
    Fault(
        "ranks.gradient_too_small",
        "gradients of several ranks are divided by the number of ranks twice",
        "divisor = count.clamp_min(1.0) / self.accumulator.world_size",
        "divisor = count.clamp_min(1.0)",
        (TABLE,),
        select="linear_model",
    ),
    Fault(
        "ranks.sums_of_one_rank",
        "losses and counts are those of one rank",
        "values = world.sum(torch.stack([sums[name].double() if name in sums else zero for name in self._names]))",
        "values = torch.stack([sums[name].double() if name in sums else zero for name in self._names])",
        (TABLE,),
        select="linear_model",
    ),
    Fault(
        "ranks.validation_of_one_shard",
        "every rank validates the same batches",
        "for batch in islice(batches, world.rank, None, world.world_size):",
        "for batch in islice(batches, 0, None, world.world_size):",
        (TABLE,),
        select="rnn_lm",
    ),
    Fault(
        "ranks.results_not_interleaved",
        "results of several ranks are in the order of the ranks",
        "items[rank :: self.world_size] = part",
        "items[sum(map(len, parts[:rank])) : sum(map(len, parts[: rank + 1]))] = part",
        ("base/test_world.py", TABLE),
    ),
    Fault(
        "ranks.buffers_of_each_rank",
        "a checkpoint is averaged with buffers of another rank",
        "if tensors and not self.device_context.world.is_single_process:",
        "if False:",
        ("training/test_buffers.py",),
    ),
    Fault(
        "ranks.same_pairs",
        "every rank trains on the pairs of rank 0",
        "collate_rank(shares, self._rank, partial(self._collate, chunk)),",
        "collate_rank(shares, 0, partial(self._collate, chunk)),",
        (TABLE,),
        select="rnn and not lm",
    ),
    Fault(
        "ranks.same_text",
        "every rank trains on the text of rank 0",
        "batches, parts = collate_rank(shares, self._rank, collate), nonempty_micro_steps(shares)",
        "batches, parts = collate_rank(shares, 0, collate), nonempty_micro_steps(shares)",
        (TABLE,),
        select="rnn_lm",
    ),
    Fault(
        "ranks.idle_batches_count",
        "a batch that only keeps the ranks synchronized is trained on",
        'changes = {"tgt_out": torch.full_like(self.tgt_out, IGNORE), "num_tgt_tokens": 0}',
        'changes = {"num_tgt_tokens": 0}',
        (OUTPUTS, TABLE),
        select="rnn",
    ),
)
BATCHES = (
    Fault(
        "batches.pooling_reads_padding",
        "the mean of a line's words depends on the longest line of the batch",
        "return sums / lengths[:, None]",
        "return sums / memory.size(1)",
        (OUTPUTS,),
        select="lstm_labeller",
    ),
    Fault(
        "batches.frames_of_the_longest",
        "labels of recordings depend on the padding of the batch",
        "pooled = hidden.masked_fill(is_padding, 0).sum(1) / lengths[:, None]",
        "pooled = hidden.mean(1)",
        (OUTPUTS,),
        select="gru_recording or lstm_recording",
    ),
    Fault(
        "batches.product_of_few_rows",
        "products with few rows are rounded differently",
        "size = padded_rows(rows, min_rows)\n",
        "size = rows\n",
        ("nn/cpu/test_linear.py", OUTPUTS),
    ),
)
FOLDS = (
    Fault(
        "folds.not_stratified",
        "folds have different shares of the classes",
        'return order if classes is None else order[np.argsort(classes[order], kind="stable")]',
        "return order",
        ("data/test_folds.py",),
    ),
    Fault(
        "folds.groups_divided",
        "rows of a group are in several folds",
        "folds[order] = fold_of_group[group_of_row]",
        "folds[order] = np.arange(len(groups)) % num_folds",
        ("data/test_folds.py",),
    ),
    Fault(
        "folds.same_for_all_seeds",
        "the seed does not change the folds",
        "order = _shuffle_rows(count, seeded_generator(seed, count, num_folds), classes)",
        "order = _shuffle_rows(count, seeded_generator(0, count, num_folds), classes)",
        ("data/test_folds.py",),
    ),
    Fault(
        "folds.off_by_one",
        "the last fold is never held out",
        "fold = (data.valid_fold or 1) - 1",
        "fold = max(0, (data.valid_fold or 1) - 2)",
        ("prediction/test_cross_validation.py",),
    ),
    Fault(
        "folds.standard_error",
        "the standard error of folds is a standard deviation",
        "stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0",
        "stdev(values) if len(values) > 1 else 0.0",
        ("prediction/test_cross_validation.py",),
    ),
    Fault(
        "folds.predictions_of_one_fold",
        "the file of predictions names the wrong fold",
        'predictions += [{"fold": number, **each} for each in fold_predictions]',
        'predictions += [{"fold": 1, **each} for each in fold_predictions]',
        ("prediction/test_cross_validation.py", "recording_labels/test_labels.py"),
    ),
)
CONTRACT_FAULTS = RESUME + RANKS + BATCHES + FOLDS
