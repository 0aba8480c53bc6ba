"""Cases of every model family, each with a resumed run, and of options of the families."""

from collections.abc import Iterator

from comparison.settings import (
    CONTINUOUS_TEXT,
    ENCODER,
    LINES,
    NUMBERS,
    PAIRS,
    RECURRENT,
    RECURRENT_LABELLER,
    RECURRENT_LM,
    SUBWORDS,
    TEXT,
    TRANSFORMER,
    TRANSFORMER_LM,
    TRANSLATE,
    WORDS,
    Case,
    Settings,
    run_of,
)

NON_AUTOREGRESSIVE_TRANSFORMER = TRANSFORMER | {"num_decoder_layers": 1}
GREEDY = ("translate", "@run", *TRANSLATE, "--beam_size", "1")
BEAM = ("translate", "@run", *TRANSLATE, "--beam_size", "5", "--num_hypotheses", "3")
SCORE = ("score", "@run", *PAIRS, "--json")
CALIBRATION = ("calibration", "@run", *PAIRS, "--json")
TRANSLATOR_COMMANDS = {"greedy": GREEDY, "beam": BEAM, "score": SCORE}
LABEL = {"label": ("label", "@run", "--input", "corpora/test_lines.txt", "--json", "--num_labels", "2")}
SAMPLE = ("generate", "@run", "--prompts", "corpora/prompts.txt", "--json", "--num_samples", "3", "--max_length", "20")
TEXT_COMMANDS = {
    "perplexity": ("perplexity", "@run", "corpora/test_numbers.de", "--json"),
    "per_line": ("perplexity", "@run", "corpora/test_numbers.de", "--json", "--per_line"),
    "score": ("score", "@run", "--tgt", "corpora/test_numbers.de", "--json"),
    "sample": SAMPLE,
}


def families() -> Iterator[Case]:
    """Yield a case for each family; the newer version also resumes the run of the older one."""
    yield Case("transformer", {"run": run_of(NUMBERS, TRANSFORMER)}, TRANSLATOR_COMMANDS, is_resumed=True)
    for kind in ("rnn", "lstm", "gru"):
        model = RECURRENT | {"family": kind}
        yield Case(kind, {"run": run_of(NUMBERS, model)}, TRANSLATOR_COMMANDS, is_resumed=True)
    for name, model in NON_AUTOREGRESSIVE.items():
        yield Case(name, {"run": _non_autoregressive_run(model)}, TRANSLATOR_COMMANDS, is_resumed=True)
    for name, model in LANGUAGE_MODELS.items():
        yield Case(name, {"run": run_of(TEXT, model)}, TEXT_COMMANDS, is_resumed=True)
    masked = run_of(TEXT | {"mask_share": 0.15}, ENCODER | {"family": "transformer_mlm"})
    yield Case("transformer_mlm", {"run": masked}, is_resumed=True)
    for name, model in LABELLERS.items():
        yield Case(f"{name}_lines", {"run": run_of(LINES, model)}, LABEL, is_resumed=True)
        yield Case(f"{name}_words", {"run": run_of(WORDS, model)}, LABEL, is_resumed=name.startswith("gru"))
    without_gradients = {"optim": None, "training": {"max_steps": 1}}
    yield Case(
        "ngram_lm", {"run": run_of(TEXT, {"family": "ngram_lm", "order": 3}, **without_gradients)}, TEXT_COMMANDS
    )
    yield Case(
        "frequency_labeller", {"run": run_of(WORDS, {"family": "frequency_labeller"}, **without_gradients)}, LABEL
    )


def variants() -> Iterator[Case]:
    """Yield runs of families with non-default options."""
    for name, model in TRANSFORMER_VARIANTS.items():
        data = NUMBERS | ({"max_length": 40} if name == "learned_positions" else {})
        data |= {"joint_vocabulary": False} if model.get("tied_embeddings") else {}
        yield Case(f"transformer_{name}", {"run": run_of(data, TRANSFORMER | model)}, {"greedy": GREEDY})
    for name, model in RECURRENT_VARIANTS.items():
        yield Case(f"recurrent_{name}", {"run": run_of(NUMBERS, RECURRENT | model)}, {"beam": BEAM})
    for name, model in NON_AUTOREGRESSIVE_VARIANTS.items():
        yield Case(name, {"run": _non_autoregressive_run(model)}, {"greedy": GREEDY, "score": SCORE})
    for name, model in LM_VARIANTS.items():
        yield Case(f"lm_{name}", {"run": run_of(CONTINUOUS_TEXT, model)}, {"sample": SAMPLE})
    for name, model in LABELLER_VARIANTS.items():
        yield Case(f"labeller_{name}", {"run": run_of(LINES, model)}, LABEL)
    bf16 = {"precision": "bf16"}
    yield Case("bf16_transformer", {"run": run_of(NUMBERS | SUBWORDS, TRANSFORMER, training=bf16)}, {"greedy": GREEDY})
    yield Case("bf16_lstm", {"run": run_of(NUMBERS, RECURRENT | {"family": "lstm"}, training=bf16)}, {"beam": BEAM})
    yield Case("bf16_labeller", {"run": run_of(LINES, LABELLERS["gru_labeller"], training=bf16)}, LABEL)
    yield Case("bf16_lm", {"run": run_of(CONTINUOUS_TEXT, TRANSFORMER_LM, training=bf16)}, {"sample": SAMPLE})
    yield Case("stopped_transformer", {"run": run_of(NUMBERS, TRANSFORMER)}, is_resumed=True, is_stopped=True)
    yield Case(
        "stopped_gru_lm", {"run": run_of(CONTINUOUS_TEXT, LANGUAGE_MODELS["gru_lm"])}, is_resumed=True, is_stopped=True
    )


def _non_autoregressive_run(model: Settings) -> Settings:
    """Return the config of a non-autoregressive translator with the objective of its family."""
    objectives = {"transformer_ctc": "ctc", "transformer_cmlm": "cmlm", "transformer_nat": "parallel_cross_entropy"}
    return run_of(NUMBERS, model, objective={"family": objectives[model["family"]]})


NON_AUTOREGRESSIVE: dict[str, Settings] = {
    name: NON_AUTOREGRESSIVE_TRANSFORMER | {"family": name}
    for name in ("transformer_ctc", "transformer_nat", "transformer_cmlm")
}
LANGUAGE_MODELS: dict[str, Settings] = {
    "transformer_lm": TRANSFORMER_LM,
    **{f"{kind}_lm": RECURRENT_LM | {"family": f"{kind}_lm"} for kind in ("rnn", "lstm", "gru")},
}
LABELLERS: dict[str, Settings] = {
    **{f"{kind}_labeller": RECURRENT_LABELLER | {"family": f"{kind}_labeller"} for kind in ("rnn", "lstm", "gru")},
    "transformer_labeller": ENCODER | {"family": "transformer_labeller"},
}
TRANSFORMER_VARIANTS: dict[str, Settings] = {
    "post_norm": {"norm": "post", "num_encoder_layers": 2, "num_decoder_layers": 2},
    "learned_positions": {"positions": "learned", "activation": "gelu"},
    "rotary": {"positions": "rotary", "rotary_cross_attention": True, "activation": "swiglu"},
    "all_dropouts": {"attention_dropout": 0.1, "activation_dropout": 0.1, "dropout": 0.2},
    "untied": {"tied_embeddings": "none"},
    "tied_decoder": {"tied_embeddings": "decoder"},
}
RECURRENT_VARIANTS: dict[str, Settings] = {
    "additive": {"family": "gru", "attention": "additive", "bridge": "copy"},
    "dot": {"family": "lstm", "attention": "dot", "bridge": "zero", "input_feeding": False},
    "deep": {"family": "lstm", "num_encoder_layers": 2, "num_decoder_layers": 2, "residual": True},
    "forward": {"family": "rnn", "bidirectional": False, "rotary_cross_attention": True, "embedding_size": 12},
    "dropouts": {"family": "gru", "embedding_dropout": 0.1, "weight_dropout": 0.1},
}
NON_AUTOREGRESSIVE_VARIANTS: dict[str, Settings] = {
    "nat_ratio": NON_AUTOREGRESSIVE["transformer_nat"] | {"length": "ratio", "decoder_input": "soft_copy"},
    "nat_end_mark": NON_AUTOREGRESSIVE["transformer_nat"] | {"length": "end_mark", "decoder_input": "mask"},
    "cmlm_ratio": NON_AUTOREGRESSIVE["transformer_cmlm"] | {"length": "ratio", "decoder_input": "uniform_copy"},
    "ctc_soft_copy": NON_AUTOREGRESSIVE["transformer_ctc"] | {"upsampling": 2, "decoder_input": "soft_copy"},
}
LM_VARIANTS: dict[str, Settings] = {
    "learned": TRANSFORMER_LM | {"positions": "learned", "norm_kind": "layer_norm", "activation": "relu"},
    "swiglu": TRANSFORMER_LM | {"activation": "swiglu", "positions": "sinusoidal", "tied_embeddings": False},
    "deep_lstm": {"family": "lstm_lm", "hidden_size": 16, "num_layers": 3, "residual": True, "weight_dropout": 0.1},
    "untied_gru": {"family": "gru_lm", "hidden_size": 16, "embedding_size": 12, "tied_embeddings": False},
}
LABELLER_VARIANTS: dict[str, Settings] = {
    "ngrams": LABELLERS["lstm_labeller"] | {"ngram_order": 3, "num_ngrams": 50, "pooling": "mean"},
    "spelling": LABELLERS["gru_labeller"] | {"spelling_size": 8, "unknown_share": 0.1, "embedding_dropout": 0.1},
    "transformer_all": LABELLERS["transformer_labeller"] | {"spelling_size": 8, "ngram_order": 2, "num_ngrams": 50},
}
