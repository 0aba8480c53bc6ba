"""Faults of regression and classification: see `tests/planted_faults.py`."""

from reference.fault import Fault

PREDICTION_FAULTS = (
    Fault(
        "prediction.batch_norm_of_one_rank",
        "each rank normalizes by its own statistics",
        "layer.sum_over_ranks = SumOverRanks.apply",
        "pass",
        ("prediction/test_training.py",),
    ),
    Fault(
        "prediction.sam_weights_not_restored",
        "sharpness-aware minimization does not restore the weights before its step",
        "for p, value in zip(perturbed, original, strict=True):\n                    p.copy_(value)",
        "for p, value in zip(perturbed, original, strict=True):\n                    p.copy_(p)",
        ("optim/test_optimizers.py",),
    ),
    Fault(
        "prediction.second_pass_adds_gradients",
        "the gradients of a second pass are added to those of the first",
        "            self.optimizer.zero_grad(set_to_none=False)\n            self.accumulator.carry",
        "            self.accumulator.carry",
        ("training/test_several_gradients.py",),
    ),
    Fault(
        "prediction.mixup_without_targets",
        "mixup does not mix the targets",
        "return mix(inputs), mix(targets)",
        "return mix(inputs), targets",
        ("prediction/test_distributions.py",),
    ),
    Fault(
        "prediction.shared_covariance_unweighted",
        "a shared covariance ignores the number of examples per class",
        "(means.T @ (priors[:, None] * means))",
        "(means.T @ means / classes)",
        ("models/test_gaussian_classifier.py",),
    ),
    Fault(
        "prediction.gaussian_without_determinant",
        "the density of a Gaussian leaves out the determinant",
        "- 0.5 * (log_dets + size * math.log(2 * math.pi))",
        "- 0.5 * (0 * log_dets + size * math.log(2 * math.pi))",
        ("models/test_gaussian_classifier.py",),
    ),
    Fault(
        "prediction.patches_of_flattened_images",
        "patches of an image are cut from its flattened pixels",
        "return split.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)",
        "return inputs.flatten(1).unflatten(1, (-1, size * size * inputs.size(1)))",
        ("models/test_transformer_predictor.py",),
    ),
    Fault(
        "prediction.log_loss_of_the_most_probable",
        "log loss uses the highest probability instead of that of the target class",
        "return [_nll(probs.get(reference, 0.0))]",
        "return [_nll(max(probs.values()))]",
        ("evaluation/test_probabilities.py",),
    ),
    Fault(
        "prediction.one_hot_counted_by_column",
        "an example with a probability for each class is counted as several units",
        "present = present.all(1) if losses.dim() < present.dim() else present",
        "present = present if losses.dim() == present.dim() else present.sum(1)",
        ("prediction/test_distributions.py",),
    ),
    Fault(
        "prediction.validation_in_training",
        "held-out rows are also trained on",
        "for rows in (np.flatnonzero(~is_held_out), np.flatnonzero(is_held_out)):",
        "for rows in (np.arange(len(is_held_out)), np.flatnonzero(is_held_out)):",
        ("prediction/test_data.py", "prediction/test_cross_validation.py", "prediction/test_training.py"),
    ),
    Fault(
        "prediction.window_without_ahead",
        "the target of a window is in its last row instead of a later one",
        "rows + self.window - 1 + self.ahead if self.window",
        "rows + self.window - 1 if self.window",
        ("prediction/test_data.py", "prediction/test_predicting.py"),
    ),
)
