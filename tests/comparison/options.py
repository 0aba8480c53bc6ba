"""Training runs that both compared versions execute, with settings that no row of the table has.

They vary models, objectives, optimizers, tokenizers, warm starts, validation and the command line.
"""

from collections.abc import Iterator

from comparison.families import SAMPLE, case_of, generate, label, translate
from comparison.settings import Case, run_of
from contracts.row import Settings
from contracts.settings import CONTINUOUS, COPIES, ENCODER, LINES, LM, PAIRS, PARALLEL, TAGS, TEXT, TRANSFORMER, WORDS

NAT, CMLM, CTC = ({"family": f"transformer_{name}", **PARALLEL} for name in ("nat", "cmlm", "ctc"))
RNN, LSTM, GRU = ({"family": kind, "hidden_size": 16, "dropout": 0.1} for kind in ("rnn", "lstm", "gru"))
LSTM_LM, GRU_LM = ({"family": f"{kind}_lm", "hidden_size": 16} for kind in ("lstm", "gru"))
LABELER: Settings = {"family": "gru_labeller", "hidden_size": 16, "embedding_size": 8}
TRANSFORMER_LABELER: Settings = {"family": "transformer_labeller", **ENCODER}
MASKED_TEXT: Settings = {**TEXT, "train": ["@lines.txt"], "valid": ["@test_lines.txt"], "mask_share": 0.15}


def models() -> Iterator[Case]:
    """Yield options of model families."""
    rotary = {"positions": "rotary", "rotary_cross_attention": True}
    yield case_of("transformer_swiglu", PAIRS, {**TRANSFORMER, **rotary, "activation": "swiglu"})
    two = {**PAIRS, "joint_vocabulary": False}
    yield case_of("transformer_gelu", two, {**TRANSFORMER, "tied_embeddings": "decoder", "activation": "gelu"})
    yield case_of("gru_additive", PAIRS, {**GRU, "attention": "additive", "bridge": "copy"})
    yield case_of("lstm_dot", PAIRS, {**LSTM, "attention": "dot", "bridge": "zero", "input_feeding": False})
    deep = {"num_encoder_layers": 2, "num_decoder_layers": 2, "residual": True}
    yield case_of("lstm_deep", PAIRS, {**LSTM, **deep})
    forward = {"bidirectional": False, "rotary_cross_attention": True, "embedding_size": 12}
    yield case_of("rnn_forward", PAIRS, {**RNN, **forward})
    end_mark = run_of(PAIRS, {**NAT, "length": "end_mark", "decoder_input": "mask"})
    yield Case("nat_end_mark", {"run": end_mark}, {"greedy": translate(PAIRS)["greedy"]})
    yield case_of("cmlm_ratio", PAIRS, {**CMLM, "length": "ratio", "decoder_input": "uniform_copy"})
    yield case_of("ctc_soft_copy", PAIRS, {**CTC, "upsampling": 2, "decoder_input": "soft_copy"})
    learned, sinusoidal = {"positions": "learned", "max_length": 12}, {"positions": "sinusoidal"}
    untied = {"tied_embeddings": False}
    yield case_of("lm_learned", CONTINUOUS, {**LM, **learned, "norm_kind": "layer_norm", "activation": "relu"})
    yield case_of("lm_swiglu", CONTINUOUS, {**LM, **sinusoidal, **untied, "activation": "swiglu"})
    yield case_of("lm_deep", CONTINUOUS, {**LSTM_LM, "num_layers": 3, "residual": True, "weight_dropout": 0.1})
    yield case_of("lm_untied", CONTINUOUS, {**GRU_LM, **untied, "embedding_size": 12})
    yield case_of("labeller_mean", LINES, {**LABELER, "spelling_size": 8, "pooling": "mean", "embedding_dropout": 0.1})
    yield case_of("labeller_spelling", LINES, {**TRANSFORMER_LABELER, "spelling_size": 8})
    for data, model in ((PAIRS, LSTM), (LINES, LABELER), (CONTINUOUS, LM)):
        yield case_of(f"bf16_{model['family']}", data, model, training={"precision": "bf16"})


def objectives() -> Iterator[Case]:
    """Yield objectives with other terms than those of the rows."""
    smoothing, lengths = {"label_smoothing": 0.1}, {"length_weight": 0.5}
    guided = {"family": "cross_entropy", "guided_attention": 1.0, "guided_width": 0.3, "label_smoothing": 0.2}
    penalties = {"family": "cross_entropy", "activation_penalty": 2.0, "slowness_penalty": 1.0}
    decaying = {"glancing": 0.5, "least_glancing": 0.1, "decay_steps": 40}
    for name, model, objective in (
        ("no_smoothing", TRANSFORMER, {"family": "cross_entropy", "label_smoothing": 0.0}),
        ("penalties", LSTM, penalties),
        ("guided", TRANSFORMER, guided),
        ("ctc_glancing", CTC, {"family": "ctc", **smoothing, **decaying}),
        ("nat_glancing", NAT, {"family": "parallel_cross_entropy", **lengths, **decaying}),
        ("cmlm_own_words", CMLM, {"family": "cmlm", "own_words": 0.5, **lengths}),
    ):
        yield case_of(f"objective_{name}", PAIRS, model, objective=objective)
    for mixture, decay in (("argmax", "linear"), ("sampled", "exponential"), ("soft", "inverse_sigmoid")):
        sampling: Settings = {"family": "scheduled_sampling", "mixture": mixture, "decay": decay, "decay_steps": 20}
        for name, model in (("transformer", TRANSFORMER), ("lstm", LSTM)):
            objective = {**sampling, "temperature": 0.7, "least_reference": 0.1} if mixture != "argmax" else sampling
            yield case_of(f"objective_{mixture}_{name}", PAIRS, model, objective=objective)


def optimization() -> Iterator[Case]:
    """Yield options of optimizers and schedules, and gradient clipping."""
    for name, optimizer, changes in (
        ("sgd_decay", {"family": "sgd", "lr": 0.1, "weight_decay": 0.01}, {"average_last": 0, "max_grad_norm": 0.1}),
        ("betas", {"family": "adam", "lr": 0.01, "weight_decay": 0.01, "betas": [0.8, 0.9]}, {"max_grad_value": 0.01}),
        ("radam_decay", {"family": "radam", "lr": 0.01, "weight_decay": 0.1}, {"max_grad_norm": None}),
        ("muon_decay", {"family": "muon", "lr": 0.01, "weight_decay": 0.1}, {"average_last": 0, "average_trigger": 1}),
    ):
        schedule = {"family": "linear" if "radam" in name else "cosine", "warmup_steps": 6, "final_ratio": 0.1}
        optim = {"optimizer": optimizer, "schedule": schedule, "average_last": 3, **changes}
        yield case_of(f"optim_{name}", PAIRS, TRANSFORMER, optim=optim, training={"valid_every": 10})


def tokenizers() -> Iterator[Case]:
    """Yield other tokenizers than those of the rows, and models that copy or read tags."""
    for name, data in (
        ("sentencepiece_unigram", {"tokenizer": {"kind": "sentencepiece_unigram", "vocab_size": 300}}),
        ("bpe", {"tokenizer": {"kind": "bpe", "vocab_size": 300}}),
        ("characters", {"tokenizer": {"kind": "characters", "normalization": "nfd"}}),
        ("words_cut", {"tokenizer": {"kind": "words", "vocab_size": 30, "normalization": "nfkc"}}),
        ("two", {"joint_vocabulary": False, "tokenizer_tgt": {"kind": "characters"}}),
    ):
        model = {**TRANSFORMER, **({"tied_embeddings": "decoder"} if name == "two" else {})}
        yield case_of(f"tokenizer_{name}", {**PAIRS, **data}, model)
    yield case_of("tokenizer_of_lm", {**TEXT, "tokenizer": {"kind": "bpe", "vocab_size": 300}}, LSTM_LM)
    for name, data, model in (
        ("copying_transformer", COPIES, {**TRANSFORMER, "copying": True}),
        ("tags_symbols_transformer", TAGS, {**TRANSFORMER, "copying": True, "tags": "symbols"}),
        ("tags_symbols_lstm", TAGS, {**LSTM, "copying": True, "tags": "symbols"}),
        ("tags_sum_lstm", TAGS, {**LSTM, "copying": True, "tags": "sum"}),
    ):
        yield case_of(name, {**PAIRS, **data}, model)


def warm_starts() -> Iterator[Case]:
    """Yield runs that start from other runs or from word vectors, weighted corpora, and folds."""
    matching: Settings = {"init_from": "%base", "init_parts": "matching"}
    same_shape = run_of(PAIRS, TRANSFORMER, init_from="%base", seed=2)
    deeper = run_of(PAIRS, {**TRANSFORMER, "num_decoder_layers": 2}, **matching)
    base = run_of(PAIRS, TRANSFORMER, training={"max_steps": 30})
    yield Case("init_from", {"base": base, "run": same_shape, "deeper": deeper}, translate(PAIRS))
    masked = run_of(MASKED_TEXT, {"family": "transformer_mlm", **ENCODER})
    labeler = run_of(LINES, TRANSFORMER_LABELER, **matching)
    yield Case("init_from_masked", {"base": masked, "run": labeler}, label(LINES))
    yield Case("init_from_lm", {"base": run_of(TEXT, LSTM_LM), "run": run_of(PAIRS, LSTM, **matching)})
    yield case_of("vectors_lm", {**TEXT, "vectors": "@vectors_de.txt"}, LSTM_LM)
    yield case_of("vectors_labeller", {**LINES, "vectors_src": "@vectors_lines.txt"}, TRANSFORMER_LABELER)
    twice = {name: PAIRS[name] * 2 for name in ("train_src", "train_tgt")}
    yield case_of("weighted_corpora", {**PAIRS, **twice, "train_weights": [0.5, 1.5]}, TRANSFORMER)
    held_out = {**WORDS, "valid_src": None, "valid_tgt": None, "valid_fraction": 0.1, "valid_fold": 2}
    yield Case("folds", {"run": run_of(held_out, TRANSFORMER_LABELER)}, label(WORDS))


def validations() -> Iterator[Case]:
    """Yield validation metrics, and test sets."""
    beam = {"beam_size": 2, "length_penalty": "gnmt", "length_alpha": 0.6}
    references = {**PAIRS, "valid_tgt": ["@test_numbers.de", "@test_numbers.en"]}
    for metric in ("chrf", "wer", "exact_match"):
        training = {"valid_metric": metric, "valid_search": beam, "valid_every": 10, "patience": 2}
        yield case_of(f"valid_{metric}", references, TRANSFORMER, training=training)
    test = {"test_src": ["@test_lines.txt"], "test_tgt": ["@test_tags.txt"]}
    yield case_of("valid_macro_f1", {**WORDS, **test}, LABELER, training={"valid_metric": "macro_f1"})


def zero_config() -> Iterator[Case]:
    """Yield runs without a config file: a corpus, and options that keep the run short."""
    limits = "--training.max_steps 12 --training.device cpu --training.precision fp32"
    pairs = "--data.train_src @numbers.en --data.train_tgt @numbers.de"
    small = "--model.d_model 16 --model.d_ff 32"
    lines = "--data.train_src @lines.txt --data.train_tgt"
    for name, options, commands in (
        ("zero_pairs", pairs, translate(PAIRS)),
        ("zero_pairs_gru", f"{pairs} --model.family gru --model.hidden_size 16", {}),
        ("zero_pairs_ctc", f"{pairs} --model.family transformer_ctc {small}", {}),
        ("zero_lines", f"{lines} @labels.txt --data.kind labelling", label(LINES)),
        ("zero_words", f"{lines} @tags.txt --data.labels_of words", label(WORDS)),
        ("zero_text", "--data.train @running.txt", {"sample": SAMPLE}),
        ("recipe_number_words", f"number_words {small}", translate(PAIRS)),
    ):
        yield Case(name, {"run": f"{options} {limits}"}, commands)
    yield Case("zero_ngram", {"run": "--data.train @numbers.de --model.family ngram_lm"}, generate(TEXT))
