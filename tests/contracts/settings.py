"""Sections of configs that rows of the table, and the comparison of versions, have in common."""

from typing import Any

from contracts.row import Settings

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
