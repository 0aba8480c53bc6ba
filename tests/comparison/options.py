"""Training runs that both compared versions execute.

They vary objectives, optimizers, weight averages, tokenizers, warm starts, validation, data and the command line.
"""

from collections.abc import Iterator

from comparison.families import (
    BEAM,
    GREEDY,
    LABEL,
    LANGUAGE_MODELS,
    NON_AUTOREGRESSIVE,
    SAMPLE,
    SCORE,
    TEXT_COMMANDS,
    TRANSLATOR_COMMANDS,
)
from comparison.settings import (
    CONTINUOUS_TEXT,
    ENCODER,
    LINES,
    NUMBERS,
    OPTIM,
    RECURRENT,
    SUBWORDS,
    TEXT,
    TRANSFORMER,
    TRANSFORMER_LM,
    WORDS,
    Case,
    Settings,
    run_of,
)

LSTM = RECURRENT | {"family": "lstm"}
LSTM_LM = LANGUAGE_MODELS["lstm_lm"]


def objectives() -> Iterator[Case]:
    """Yield each objective with each of its terms."""
    penalties = {"family": "cross_entropy", "activation_penalty": 2.0, "slowness_penalty": 1.0}
    guided = {"family": "cross_entropy", "guided_attention": 1.0, "guided_width": 0.3, "label_smoothing": 0.2}
    for name, data, model, objective in (
        ("no_smoothing", NUMBERS, TRANSFORMER, {"family": "cross_entropy", "label_smoothing": 0.0}),
        ("penalties", TEXT, LSTM_LM, penalties),
        ("penalties_translator", NUMBERS, LSTM, penalties),
        ("guided_transformer", NUMBERS, TRANSFORMER, guided),
        ("guided_lstm", NUMBERS, LSTM, guided),
        ("r_drop", NUMBERS, TRANSFORMER, {"family": "r_drop"}),
        ("r_drop_labels", LINES, {**ENCODER, "family": "transformer_labeller"}, {"family": "r_drop"}),
    ):
        yield Case(f"objective_{name}", {"run": run_of(data, model, objective=objective)})
    for mixture, decay in (("argmax", "linear"), ("sampled", "exponential"), ("soft", "inverse_sigmoid")):
        sampling: Settings = {"family": "scheduled_sampling", "mixture": mixture, "decay": decay, "decay_steps": 20}
        sampling |= {} if mixture == "argmax" else {"temperature": 0.7, "least_reference": 0.1}
        for name, model in (("transformer", TRANSFORMER), ("lstm", LSTM)):
            yield Case(f"objective_{mixture}_{name}", {"run": run_of(NUMBERS, model, objective=sampling)})
    glancing = {"glancing": 0.5, "least_glancing": 0.1, "decay_steps": 40}
    for name, model, objective in (
        ("ctc_glancing", "transformer_ctc", {"family": "ctc", "label_smoothing": 0.1, **glancing}),
        ("nat_glancing", "transformer_nat", {"family": "parallel_cross_entropy", "length_weight": 0.5, **glancing}),
        ("cmlm_own_words", "transformer_cmlm", {"family": "cmlm", "own_words": 0.5, "length_weight": 0.5}),
    ):
        yield Case(
            f"objective_{name}",
            {"run": run_of(NUMBERS, NON_AUTOREGRESSIVE[model], objective=objective)},
            {"beam": BEAM},
        )


def optimization() -> Iterator[Case]:
    """Yield each optimizer, schedule, weight average and gradient clipping."""
    for name, changes in (
        ("sgd", {"optimizer": {"family": "sgd", "lr": 0.1, "nesterov": True, "weight_decay": 0.01}}),
        ("adam_decay", {"optimizer": {"family": "adam", "lr": 0.01, "weight_decay": 0.01, "betas": [0.8, 0.9]}}),
        ("adamw", {"optimizer": {"family": "adamw", "lr": 0.01, "weight_decay": 0.1}}),
        ("radam", {"optimizer": {"family": "radam", "lr": 0.01, "weight_decay": 0.1}}),
        ("muon", {"optimizer": {"family": "muon", "lr": 0.01, "weight_decay": 0.1}}),
        ("linear", {"schedule": {"family": "linear", "warmup_steps": 6, "final_ratio": 0.1}}),
        ("inverse_sqrt", {"schedule": {"family": "inverse_sqrt", "warmup_steps": 6}}),
        ("cosine", {"schedule": {"family": "cosine", "warmup_steps": 6, "final_ratio": 0.1}}),
        ("no_average", {"average_last": 0, "max_grad_norm": None}),
        ("ema", {"average_last": 0, "ema_decay": 0.9, "max_grad_norm": 0.1}),
        ("trigger", {"average_last": 0, "average_trigger": 1, "max_grad_value": 0.01}),
    ):
        training = {"valid_every": 5} if name == "trigger" else {}
        run = run_of(NUMBERS, TRANSFORMER, optim=OPTIM | changes, training=training)
        yield Case(f"optim_{name}", {"run": run}, {"greedy": GREEDY})


def tokenizers() -> Iterator[Case]:
    """Yield each kind of tokenizer, models that copy, and tags."""
    for name, data in (
        ("sentencepiece_bpe", SUBWORDS),
        ("sentencepiece_unigram", {"tokenizer": {"kind": "sentencepiece_unigram", "vocab_size": 300}}),
        ("bpe", {"tokenizer": {"kind": "bpe", "vocab_size": 300}}),
        ("characters", {"tokenizer": {"kind": "characters", "normalization": "nfd"}}),
        ("words_cut", {"tokenizer": {"kind": "words", "vocab_size": 30, "normalization": "nfkc"}}),
        ("two", {"joint_vocabulary": False, "tokenizer_tgt": {"kind": "characters"}}),
    ):
        model = TRANSFORMER | ({"tied_embeddings": "decoder"} if name == "two" else {})
        yield Case(f"tokenizer_{name}", {"run": run_of(NUMBERS | data, model)}, {"greedy": GREEDY, "score": SCORE})
    for name, model in (("transformer", TRANSFORMER), ("lstm", LSTM)):
        data = NUMBERS | {"train_src": ["corpora/copies.en"], "train_tgt": ["corpora/copies.de"], "copy_unknown": True}
        data["tokenizer"] = {"kind": "words", "min_count": 2}
        copy = {"greedy": ("translate", "@run", "--input", "corpora/test_copies.en", "--json", "--beam_size", "3")}
        yield Case(f"copying_{name}", {"run": run_of(data, model | {"copying": True})}, copy)
        for tags in ("symbols", "sum"):
            data = NUMBERS | {"train_src": ["corpora/forms.src"], "train_tgt": ["corpora/forms.tgt"]}
            data["tokenizer"] = {"kind": "characters", "tags": True}
            inflect = {"beam": ("translate", "@run", "--input", "corpora/test_forms.src", "--json")}
            yield Case(f"tags_{tags}_{name}", {"run": run_of(data, model | {"tags": tags, "copying": True})}, inflect)


def warm_starts() -> Iterator[Case]:
    """Yield runs that start from other runs or from word vectors, weighted corpora, and folds."""
    base = run_of(NUMBERS, TRANSFORMER, training={"max_steps": 30})
    same_shape = run_of(NUMBERS, TRANSFORMER, init_from="@base", seed=2)
    deeper = run_of(NUMBERS, TRANSFORMER | {"num_decoder_layers": 2}, init_from="@base", init_parts="matching")
    yield Case("init_from", {"base": base, "run": same_shape, "deeper": deeper}, {"greedy": GREEDY})
    masked_text = TEXT | {"train": ["corpora/lines.txt"], "mask_share": 0.15}
    masked = run_of(masked_text, ENCODER | {"family": "transformer_mlm"})
    labeller = ENCODER | {"family": "transformer_labeller"}
    matching = run_of(LINES, labeller, init_from="@base", init_parts="matching")
    yield Case("init_from_masked", {"base": masked, "run": matching}, LABEL)
    lm = run_of(TEXT, LSTM_LM)
    yield Case("init_from_lm", {"base": lm, "run": run_of(NUMBERS, LSTM, init_from="@base", init_parts="matching")})
    vectors = {"vectors_src": "corpora/vectors_en.txt", "vectors_tgt": "corpora/vectors_de.txt"}
    separate = NUMBERS | {"joint_vocabulary": False, **vectors}
    untied = TRANSFORMER | {"tied_embeddings": "none"}
    yield Case("vectors", {"run": run_of(separate, untied)})
    yield Case("vectors_frozen", {"run": run_of(separate, untied, optim=OPTIM | {"frozen_vectors": True})})
    yield Case("vectors_lm", {"run": run_of(TEXT | {"vectors": "corpora/vectors_de.txt"}, LSTM_LM)})
    yield Case("vectors_labeller", {"run": run_of(LINES | {"vectors_src": "corpora/vectors_lines.txt"}, labeller)})
    twice = {name: NUMBERS[name] * 2 for name in ("train_src", "train_tgt")}
    yield Case("weighted_corpora", {"run": run_of(NUMBERS | twice | {"train_weights": [0.5, 1.5]}, TRANSFORMER)})
    yield Case("folds", {"run": run_of(WORDS | {"valid_fold": 2}, labeller)}, LABEL)


def validations() -> Iterator[Case]:
    """Yield validation metrics, on separate validation sets."""
    beam = {"beam_size": 2, "length_penalty": "gnmt", "length_alpha": 0.6}
    valid = {
        "valid_src": "corpora/test_numbers.en",
        "valid_tgt": ["corpora/test_numbers.de", "corpora/test_numbers.en"],
    }
    for metric in ("chrf", "wer", "exact_match"):
        training = {"valid_metric": metric, "valid_search": beam, "valid_every": 10, "patience": 2}
        yield Case(f"valid_{metric}", {"run": run_of(NUMBERS | valid, TRANSFORMER, training=training)})
    test = {"test_src": ["corpora/test_lines.txt"], "test_tgt": ["corpora/test_tags.txt"]}
    labeller = ENCODER | {"family": "transformer_labeller"}
    yield Case("valid_macro_f1", {"run": run_of(WORDS | test, labeller, training={"valid_metric": "macro_f1"})})


def texts() -> Iterator[Case]:
    """Yield the orders and block settings of language-model data."""
    contiguous = CONTINUOUS_TEXT | {"order": "contiguous", "block_length": 12}
    commands = {"perplexity": ("perplexity", "@run", "corpora/test_running.txt", "--json", "--context", "all")}
    yield Case("contiguous_lstm", {"run": run_of(contiguous, LSTM_LM)}, commands, is_resumed=True)
    yield Case("contiguous_varied", {"run": run_of(contiguous | {"vary_block_length": True}, LSTM_LM)}, commands)
    yield Case("running_transformer", {"run": run_of(CONTINUOUS_TEXT, TRANSFORMER_LM)}, {"sample": SAMPLE})
    yield Case("packing", {"run": run_of(TEXT | {"packing": True}, TRANSFORMER_LM)}, TEXT_COMMANDS)
    yield Case("subwords_lm", {"run": run_of(TEXT | {"tokenizer": SUBWORDS["tokenizer"]}, TRANSFORMER_LM)})


def zero_config() -> Iterator[Case]:
    """Yield runs without a config file: a corpus, and options that keep the run short."""
    limits = ("--training.max_steps", "12", "--training.device", "cpu", "--training.precision", "fp32")
    pairs = ("--data.train_src", "corpora/numbers.en", "--data.train_tgt", "corpora/numbers.de")
    small = ("--model.d_model", "16", "--model.d_ff", "32")
    yield Case("zero_pairs", {"run": (*pairs, *limits)}, TRANSLATOR_COMMANDS)
    yield Case("zero_pairs_gru", {"run": (*pairs, "--model.family", "gru", "--model.hidden_size", "16", *limits)})
    yield Case("zero_pairs_ctc", {"run": (*pairs, "--model.family", "transformer_ctc", *small, *limits)})
    for name, labels in (("lines", "labels"), ("words", "tags")):
        corpus = ("--data.train_src", "corpora/lines.txt", "--data.train_tgt", f"corpora/{labels}.txt")
        kind = ("--data.kind", "labelled") if name == "lines" else ("--data.labels_of", "words")
        yield Case(f"zero_{name}", {"run": (*corpus, *kind, *limits)}, LABEL)
    yield Case("zero_text", {"run": ("--data.train", "corpora/running.txt", *limits)}, {"sample": SAMPLE})
    yield Case(
        "zero_ngram", {"run": ("--data.train", "corpora/numbers.de", "--model.family", "ngram_lm")}, TEXT_COMMANDS
    )
    yield Case("recipe_number_words", {"run": ("number_words", *small, *limits)}, TRANSLATOR_COMMANDS)
