"""The table: a row for every pair of task and model family, and each other part and setting in at least one row.

Add one row for a new part: `test_table.py` fails while it has none.
"""

from typing import Any

from contracts.row import Row, Settings

PAIRS: Settings = {
    "kind": "translation",
    **{"train_src": ["@numbers.en"], "train_tgt": ["@numbers.de"]},
    **{"valid_src": "@test_numbers.en", "valid_tgt": ["@test_numbers.de"], "tokenizer": {"kind": "words"}},
    **{"batch_tokens": 540, "micro_batch_tokens": 270, "chunk_pairs": 130, "prefetch_steps": 2},
}
SUBWORDS: Settings = {
    **{"tokenizer": {"kind": "sentencepiece_bpe", "vocab_size": 300}, "subword_sampling": 0.1},
    **{"batch_tokens": 1800, "micro_batch_tokens": 600},
}
COPIES: Settings = {
    **{"train_src": ["@copies.en"], "train_tgt": ["@copies.de"], "copy_unknown": True},
    "tokenizer": {"kind": "words", "min_count": 2},
}
TAGS: Settings = {
    **{"train_src": ["@forms.src"], "train_tgt": ["@forms.tgt"]},
    **{"valid_src": "@test_forms.src", "valid_tgt": ["@test_forms.tgt"]},
    "tokenizer": {"kind": "characters", "tags": True},
}
LINES: Settings = {
    **{"kind": "labelling", "train_src": ["@lines.txt"], "train_tgt": ["@labels.txt"]},
    **{"valid_src": "@test_lines.txt", "valid_tgt": ["@test_labels.txt"]},
    **{"batch_tokens": 420, "micro_batch_tokens": 210, "chunk_pairs": 100, "prefetch_steps": 2},
}
WORDS = {**LINES, "train_tgt": ["@tags.txt"], "valid_tgt": ["@test_tags.txt"], "labels_of": "words"}
TEXT: Settings = {
    **{"kind": "language_modelling", "train": ["@numbers.de"], "valid": ["@test_numbers.de"]},
    **{"tokenizer": {"kind": "words"}, "block_length": 12, "batch_tokens": 576, "micro_batch_tokens": 96},
    **{"chunk_lines": 130, "prefetch_steps": 2},
}
CONTINUOUS = {
    **{**TEXT, "train": ["@running.txt"], "valid": ["@test_running.txt"], "documents": "continuous"},
    **{"batch_tokens": 1152, "micro_batch_tokens": 384},
}
STREAMS = {**CONTINUOUS, "order": "contiguous"}
TABLE: Settings = {
    **{"kind": "prediction", "train": ["@train.csv"], "valid": "@valid.csv", "inputs": ["size", "age", "city"]},
    **{"target": ["price"], "batch_rows": 24, "micro_batch_rows": 8},
}
CLASSES = {**TABLE, "target": ["class"], "predicts": "class"}
LABEL_SETS = {**TABLE, "target": ["labels"], "predicts": "labels"}
IMAGES: Settings = {
    **{"kind": "prediction", "train": ["@train.npz"], "valid": "@valid.npz", "inputs": ["x"], "target": ["y"]},
    **{"predicts": "class", "batch_rows": 16, "micro_batch_rows": 6},
}
SERIES: Settings = {
    **{"kind": "prediction", "train": ["@train_series.csv"], "valid": "@valid_series.csv"},
    **{"target": ["slope"], "inputs": ["value"], "window": 5, "ahead": 2, "batch_rows": 24, "micro_batch_rows": 8},
}
RECORDINGS: Settings = {
    **{"sample_rate": 8000, "num_bands": 24, "batch_seconds": 8, "micro_batch_seconds": 4, "workers": 2},
    **{"augment_speed": 0.1, "augment_volume": 6, "augment_noise": 0.5, "augment_room": 0.3, "augment_codec": 0.3},
    **{"augment_time_masks": 2, "augment_time_frames": 8, "augment_frequency_masks": 1},
}
SPEECH = {
    **{"kind": "transcription", "train": ["@words/train.jsonl"], "valid": "@words/valid.jsonl"},
    **{"augment_nonspeech": 0.2, **RECORDINGS},
}
SLIDES = {"kind": "recording_labels", "train": ["@slides/train.jsonl"], "valid": "@slides/valid.jsonl", **RECORDINGS}
SIMILARITY: Settings = {
    **{"kind": "similarity", "train_left": ["@numbers.en"], "train_right": ["@numbers.de"]},
    **{"valid_left": "@test_numbers.en", "valid_right": ["@test_numbers.de"], "group_pairs": 24, "groups": 2},
    **{"tokenizer_left": {"kind": "words"}, "tokenizer_right": {"kind": "words"}},
}
POLE: Settings = {
    **{"kind": "control", "environment": "CartPole-v1", "max_episode_steps": 30},
    **{"episodes_per_step": 6, "valid_episodes": 4},
}
CLIFF: Settings = {**POLE, "environment": "CliffWalking-v1"}
PENDULUM: Settings = {**POLE, "environment": "Pendulum-v1"}
REPLAY: Settings = {"replay_size": 300, "batch_transitions": 16, "passes": 3}

ENCODER: Settings = {"d_model": 16, "d_ff": 32, "num_heads": 2, "num_encoder_layers": 1, "dropout": 0.1}
TRANSFORMER: Settings = {"family": "transformer", "num_decoder_layers": 1, "max_length": 48, **ENCODER}
PARALLEL: Settings = {"num_decoder_layers": 1, **ENCODER}
LM: Settings = {
    **{"family": "transformer_lm", "d_model": 16, "d_ff": 32, "num_heads": 2, "num_layers": 1, "max_length": 16},
}
FRAMES: Settings = {"num_layers": 1, "hidden_size": 16, "channels": [4, 4], "dropout": 0.1}
NGRAMS: Settings = {"ngram_order": 3, "num_ngrams": 40}
OUTSIDE: Settings = {"encoder": {"family": "neighbors", "hidden_size": 16}}
ATTENTION_FRAMES: Settings = {"channels": [4, 4], **ENCODER}
MUON: dict[str, Any] = {"rounding": 2e-3, "exact": {"optim.optimizer.lr": 0.002}}
"""Muon normalizes the singular values of gradients, and thus increases the rounding errors of small ones."""
EMA, LAST, TRIGGER = {"ema_decay": 0.9}, {"average_last": 3}, {"average_trigger": 1}
"""Ways of averaging weights."""


def optim(optimizer: str = "adam", schedule: str = "constant", lr: float = 0.01, **options: Any) -> Settings:
    """Return the `optim` section; fields of the optimizer are in `optimizer_options`."""
    optimizer_options = options.pop("optimizer_options", {})
    warmup = {"warmup_steps": 2} if schedule in ("constant", "linear", "inverse_sqrt", "cosine") else {}
    return {
        "optimizer": {"family": optimizer, "lr": lr, **optimizer_options},
        "schedule": {"family": schedule, **warmup},
        **options,
    }


SGD = {"lr": 0.1}
SAMPLES: Settings = {"reward": "wer", "num_samples": 2, "max_length": 12}
ROWS: tuple[Row, ...] = (
    # translation
    Row("transformer", {**PAIRS, **SUBWORDS}, TRANSFORMER, optim=optim(**LAST)),
    Row(
        "transformer, bf16, R-Drop",
        {**PAIRS, "max_length": 40},
        {**TRANSFORMER, "norm": "post", "positions": "learned", "attention_dropout": 0.1, "activation_dropout": 0.1},
        {"family": "r_drop"},
        optim("adamw", "linear", optimizer_options={"weight_decay": 0.1}, **EMA),
        {"precision": "bf16", "threads": 2},
        exact={"training.precision": "fp32"},
    ),
    Row(
        "transformer, scheduled sampling",
        {**PAIRS, "prefetch_steps": 0},
        {**TRANSFORMER, "tags": "symbols"},
        {"family": "scheduled_sampling", "mixture": "sampled", "least_reference": 0.2, "decay_steps": 5},
        optim("radam", "cosine"),
        exact={"objective": {"family": "cross_entropy"}},
    ),
    Row(
        "transformer, frozen vectors",
        {**PAIRS, "joint_vocabulary": False, "vectors_src": "@vectors_en.txt", "vectors_tgt": "@vectors_de.txt"},
        {**TRANSFORMER, "tied_embeddings": "none"},
        optim=optim("adamw", optimizer_options={"weight_decay": 0.1}, frozen_vectors=True),
        parallel="fsdp",
    ),
    Row(
        "transformer, summed tags, copying",
        {**PAIRS, **TAGS},
        {**TRANSFORMER, "tags": "sum", "copying": True, "positions": "rotary"},
        optim=optim("muon", "inverse_sqrt", lr=0.02),
        parallel="fsdp",
        **MUON,
    ),
    Row(
        "rnn, other intervals",
        PAIRS,
        {"family": "rnn", "hidden_size": 16},
        optim=optim("rmsprop", "exponential", lr=0.003, optimizer_options={"momentum": 0.5}),
        training={"keep_best": 3, "log_every": 1, "save_every": 5, "valid_every": 3},
        checkpoints=(3, 5, 6),
    ),
    Row(
        "lstm, copying, guided attention",
        {**PAIRS, **COPIES},
        {"family": "lstm", "hidden_size": 16, "copying": True, "embedding_dropout": 0.1},
        {"family": "cross_entropy", "guided_attention": 1.0},
        optim("sgd", "linear", **SGD, average_last=10, max_grad_norm=None),
    ),
    Row(
        "gru, scheduled sampling",
        PAIRS,
        {"family": "gru", "hidden_size": 16, "embedding_dropout": 0.1, "weight_dropout": 0.1},
        {"family": "scheduled_sampling", "decay_steps": 5},
        optim("adagrad", "one_cycle"),
        exact={"objective": {"family": "cross_entropy"}},
    ),
    Row(
        "gru, actor-critic with several passes",
        PAIRS,
        {"family": "gru", "hidden_size": 16},
        {
            **{"family": "policy_gradient", "returns": "to_go", "baseline": "critic", "trace_decay": 0.9, **SAMPLES},
            **{"passes": 2, "cross_entropy": 0.5, "start_penalty": 0.1},
        },
        optim(**EMA),
    ),
    Row(
        "transformer, moving mean of rewards",
        PAIRS,
        TRANSFORMER,
        {"family": "policy_gradient", "baseline": "moving_mean", **SAMPLES},
    ),
    Row(
        "lstm, minimum risk",
        PAIRS,
        {"family": "lstm", "hidden_size": 16},
        {"family": "minimum_risk", "candidates": "beam", "cross_entropy": 0.5, **SAMPLES},
    ),
    Row(
        "transformer_ctc, glancing",
        PAIRS,
        {"family": "transformer_ctc", **PARALLEL, "upsampling": 2},
        {"family": "ctc", "glancing": 0.5},
        exact={"objective.glancing": 0.0},
        parallel="fsdp",
    ),
    Row(
        "transformer_nat, glancing",
        PAIRS,
        {"family": "transformer_nat", **PARALLEL, "length": "ratio", "decoder_input": "soft_copy"},
        {"family": "parallel_cross_entropy", "glancing": 0.5},
        exact={"objective.glancing": 0.0},
    ),
    Row("transformer_cmlm", PAIRS, {"family": "transformer_cmlm", **PARALLEL}, is_random=True),
    Row(
        "convolutional of a plugin",
        {**PAIRS, **SUBWORDS},
        {"family": "convolutional", "d_model": 16, "num_encoder_layers": 1, "num_decoder_layers": 2, "max_length": 48},
        {"family": "focal", "gamma": 1.5, "learned_weight": True},
        optim("adam", "triangle", **LAST),
        {"valid_metric": "distinct"},
        plugin=True,
    ),
    # language models
    Row(
        "transformer_lm, lines",
        TEXT,
        LM,
        optim=optim("schedule_free", lr=0.02, optimizer_options={"weight_decay": 0.01}),
    ),
    Row("transformer_lm, packed", {**TEXT, "packing": True}, LM, optim=optim("sam", lr=0.01)),
    Row("transformer_lm, continuous, muon", CONTINUOUS, LM, optim=optim("muon", lr=0.05), parallel="fsdp", **MUON),
    Row(
        "gru_lm, standardized rewards",
        TEXT,
        {"family": "gru_lm", "hidden_size": 16},
        {"family": "policy_gradient", "standardize": True, **SAMPLES},
    ),
    Row("rnn_lm", TEXT, {"family": "rnn_lm", "hidden_size": 16}, optim=optim("adam", "plateau", **EMA)),
    Row(
        "lstm_lm, streams, triggered average",
        STREAMS,
        {"family": "lstm_lm", "hidden_size": 16, "num_layers": 2, "weight_dropout": 0.1},
        {"family": "cross_entropy", "activation_penalty": 2.0, "slowness_penalty": 1.0},
        optim("sgd", lr=6.0, **TRIGGER),
        {"valid_every": 1, "save_every": 1, "keep_best": 8},
    ),
    Row(
        "gru_lm, streams, varied blocks, muon",
        {**STREAMS, "vary_block_length": True},
        {"family": "gru_lm", "hidden_size": 16, "num_layers": 2},
        optim=optim("muon", lr=0.05),
        parallel="fsdp",
        **MUON,
    ),
    Row("ngram_lm", TEXT, {"family": "ngram_lm", "order": 3}, is_count_based=True),
    Row("transformer_mlm", {**TEXT, "mask_share": 0.3}, {"family": "transformer_mlm", **ENCODER}),
    # labels of lines and of words
    Row("rnn_labeller, words", WORDS, {"family": "rnn_labeller", "hidden_size": 16, "embedding_size": 8}),
    Row(
        "lstm_labeller, n-grams",
        LINES,
        {**{"family": "lstm_labeller", "hidden_size": 16, "embedding_size": 8}, **NGRAMS, "pooling": "mean"},
        optim=optim(**EMA),
    ),
    Row(
        "gru_labeller, words, spelling",
        WORDS,
        {"family": "gru_labeller", "hidden_size": 16, "embedding_size": 8, "spelling_size": 8, "unknown_share": 0.2},
        {"family": "r_drop"},
        optim(**LAST),
    ),
    Row(
        "transformer_labeller, words",
        WORDS,
        {"family": "transformer_labeller", **ENCODER, "unknown_share": 0.2, **NGRAMS},
    ),
    Row(
        "transformer_labeller",
        LINES,
        {"family": "transformer_labeller", **ENCODER, "pooling": "max"},
        optim=optim("adamw"),
    ),
    Row(
        "cnn_labeller",
        LINES,
        {"family": "cnn_labeller", "embedding_size": 8, "num_filters": 4, "widths": [2, 3]},
        invariance=1e-4,
    ),
    Row("frequency_labeller", WORDS, {"family": "frequency_labeller"}, is_count_based=True),
    # numbers, classes and label sets
    Row(
        "linear_model",
        TABLE,
        {"family": "linear_model"},
        {"family": "squared_error"},
        optim("sgd", **SGD, l1_penalty=1e-3, optimizer_options={"nesterov": True}),
    ),
    Row(
        "mlp, batch norm, moving average",
        {**TABLE, "augment_noise": 0.1},
        {"family": "mlp", "hidden_sizes": [16, 16], "norm": "batch", "residual": True, "dropout": 0.1},
        {"family": "absolute_error"},
        optim("sgd", lr=0.05, **EMA),
        norm_over_micro_steps=True,
        exact={"data.micro_batch_rows": 24},
    ),
    Row(
        "mlp, label sets, mean of the last",
        {**LABEL_SETS, "augment_noise": 0.1},
        {"family": "mlp", "hidden_sizes": [16], "norm": "layer", "dropout": 0.1},
        {"family": "sigmoid"},
        optim("sam", **LAST),
    ),
    Row(
        "cnn, batch norm, mean of the last",
        {**IMAGES, "augment_shift": 1, "augment_rotation": 10.0, "augment_noise": 0.1, "augment_mixup": 0.2},
        {"family": "cnn", "channels": [4], "norm": "batch", "dropout": 0.1},
        {"family": "softmax"},
        optim("sgd", lr=0.05, **LAST),
        norm_over_micro_steps=True,
        exact={"data.micro_batch_rows": 24},
        invariance=1e-4,
    ),
    Row(
        "transformer_predictor",
        IMAGES,
        {"family": "transformer_predictor", "d_model": 16, "d_ff": 16, "num_heads": 2, "num_layers": 1},
        {"family": "softmax", "label_smoothing": 0.1},
    ),
    Row("gaussian_classifier", CLASSES, {"family": "gaussian_classifier"}, is_count_based=True),
    Row("rnn_predictor", SERIES, {"family": "rnn_predictor", "hidden_size": 8}, {"family": "huber"}),
    Row(
        "lstm_predictor",
        SERIES,
        {"family": "lstm_predictor", "hidden_size": 8, "num_layers": 2, "dropout": 0.1, "weight_dropout": 0.1},
        optim=optim("schedule_free"),
    ),
    Row("gru_predictor", SERIES, {"family": "gru_predictor", "hidden_size": 8, "dropout": 0.1}),
    # recordings
    Row(
        "lstm_recogniser",
        SPEECH,
        {"family": "lstm_recogniser", **FRAMES, "num_layers": 2, "weight_dropout": 0.1},
        optim=optim(**EMA),
        invariance=1e-4,
    ),
    Row(
        "gru_recogniser, greedy baseline",
        SPEECH,
        {"family": "gru_recogniser", **FRAMES},
        {"family": "policy_gradient", "baseline": "greedy", "cross_entropy": 1.0, **SAMPLES},
        invariance=1e-4,
    ),
    Row("gru_recogniser", SPEECH, {"family": "gru_recogniser", **FRAMES}, optim=optim(**LAST), invariance=1e-4),
    Row(
        "transformer_recogniser",
        SPEECH,
        {"family": "transformer_recogniser", **ATTENTION_FRAMES, "attention_window": 6, "positions": "rotary"},
        invariance=1e-4,
        parallel="fsdp",
    ),
    Row(
        "cnn_recording_labeller",
        SLIDES,
        {"family": "cnn_recording_labeller", "channels": [4, 8], "hidden_size": 16},
        invariance=1e-4,
    ),
    Row("lstm_recording_labeller", SLIDES, {"family": "lstm_recording_labeller", **FRAMES}, invariance=1e-4),
    Row(
        "gru_recording_labeller",
        SLIDES,
        {"family": "gru_recording_labeller", **FRAMES, "pooling": "max"},
        invariance=1e-4,
    ),
    Row(
        "transformer_recording_labeller",
        SLIDES,
        {"family": "transformer_recording_labeller", **ATTENTION_FRAMES},
        invariance=1e-4,
    ),
    # agents
    Row(
        "mlp, actor and critic with several passes",
        POLE,
        {"family": "mlp", "hidden_sizes": [16], "dropout": 0.1},
        {"family": "episode_policy_gradient", "trace_decay": 0.9, "passes": 2, "entropy": 0.01},
    ),
    Row("table, Q-learning", CLIFF, {"family": "table"}, {"family": "q_learning", **REPLAY}, single_process=True),
    Row(
        "gru_predictor, SARSA over windows",
        {**POLE, "window": 3},
        {"family": "gru_predictor", "hidden_size": 8},
        {"family": "sarsa", "epsilon_start": 0.5},
    ),
    Row("linear_model, TD", CLIFF, {"family": "linear_model"}, {"family": "td"}, training={"valid_metric": "nll"}),
    Row(
        "mlp, DDPG",
        PENDULUM,
        {"family": "mlp", "hidden_sizes": [16]},
        {"family": "ddpg", "random_steps": 1, **REPLAY},
        single_process=True,
    ),
    # an encoder of a plugin, in every model that is an encoder and a head
    Row(
        "language model of a plugin",
        TEXT,
        {"encoder": {**OUTSIDE["encoder"], "reads_next": False}, "family": "language_model", "embedding_size": 16},
        plugin=True,
    ),
    Row("labeler of a plugin, words", WORDS, {**OUTSIDE, "family": "labeler", "spelling_size": 8}, plugin=True),
    Row("labeler of a plugin, lines", LINES, {**OUTSIDE, "family": "labeler", **NGRAMS}, plugin=True),
    Row("predictor of a plugin", SERIES, {**OUTSIDE, "family": "predictor"}, plugin=True),
    Row(
        "predictor of a plugin, images",
        IMAGES,
        {**OUTSIDE, "family": "predictor", "patch_size": 3},
        {"family": "softmax"},
        plugin=True,
    ),
    Row(
        "recognizer of a plugin",
        SPEECH,
        {**OUTSIDE, "family": "recognizer", "channels": [4, 4], "frame_size": 16},
        plugin=True,
        invariance=1e-4,
    ),
    Row(
        "recording labeler of a plugin",
        SLIDES,
        {**OUTSIDE, "family": "recording_labeler", "channels": [4, 4], "frame_size": 16},
        plugin=True,
        invariance=1e-4,
    ),
    # a task of a plugin
    Row("similarity of a plugin", SIMILARITY, {"family": "bags", "d_model": 16}, plugin=True),
)
