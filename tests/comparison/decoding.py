"""Cases of decoding, scoring and evaluation, with trained models."""

from collections.abc import Iterator, Mapping, Sequence

from comparison.families import LABEL, LABELLERS, LANGUAGE_MODELS, NON_AUTOREGRESSIVE, SAMPLE
from comparison.settings import (
    CONTINUOUS_TEXT,
    NUMBERS,
    PAIRS,
    RECURRENT,
    TEXT,
    TRANSFORMER,
    TRANSFORMER_LM,
    TRANSLATE,
    WORDS,
    Case,
    run_of,
)

LONG_TRAINING = {"max_steps": 150, "save_every": 50, "valid_every": 75, "valid_metric": "nll"}
WIDE_TRANSFORMER = TRANSFORMER | {"d_model": 32, "d_ff": 64}
TOKENIZER_OF_RUN = {"kind": "saved", "folder": "@run/tokenizer"}


def decoding() -> Iterator[Case]:
    """Yield all cases of this module."""
    yield Case("decoding_transformer", _runs_with_same_vocabulary(WIDE_TRANSFORMER), _autoregressive())
    yield Case(
        "decoding_lstm",
        _runs_with_same_vocabulary(RECURRENT | {"family": "lstm", "hidden_size": 32}),
        _autoregressive(),
    )
    ctc = run_of(
        NUMBERS, WIDE_TRANSFORMER | {"family": "transformer_ctc"}, objective={"family": "ctc"}, training=LONG_TRAINING
    )
    yield Case("decoding_ctc", {"run": ctc, "lm": _language_model()}, _ctc())
    cmlm = run_of(
        NUMBERS,
        WIDE_TRANSFORMER | NON_AUTOREGRESSIVE["transformer_cmlm"],
        objective={"family": "cmlm", "own_words": 0.5},
    )
    ngram = run_of(TEXT | {"tokenizer": TOKENIZER_OF_RUN}, {"family": "ngram_lm", "order": 3}, optim=None)
    yield Case("decoding_cmlm", {"run": cmlm, "lm": ngram}, _mask_predict())
    yield Case("decoding_ngram", {"run": run_of(TEXT, {"family": "ngram_lm"}, optim=None)}, _ngram())
    for name in ("transformer_lm", "gru_lm"):
        yield Case(
            f"decoding_{name}", {"run": run_of(TEXT, LANGUAGE_MODELS[name], training=LONG_TRAINING)}, _generation()
        )
    yield Case(
        "decoding_running", {"run": run_of(CONTINUOUS_TEXT, TRANSFORMER_LM, training=LONG_TRAINING)}, _continuous_text()
    )
    labellers = {"run": run_of(WORDS, LABELLERS["gru_labeller"]), "other": run_of(WORDS, LABELLERS["lstm_labeller"])}
    ensemble = ("label", "@run", "@other", "--input", "corpora/test_lines.txt", "--json")
    yield Case("decoding_labels", labellers, {**LABEL, "ensemble": ensemble, "plain": ensemble[:-1]})
    evaluations = {
        "bleu": ("evaluate", "corpora/numbers.en", "--ref", "corpora/numbers.de", "--metrics", "bleu", "chrf", "wer"),
        "baseline": (
            *("evaluate", "corpora/test_numbers.en", "--ref", "corpora/test_numbers.de", "--metrics", "bleu", "cer"),
            *("--baseline", "corpora/test_numbers.de", "--src", "corpora/test_numbers.en", "--json"),
        ),
        "confusion": ("evaluate", "corpora/labels.txt", "--ref", "corpora/labels.txt", "--confusion", "--json"),
    }
    yield Case("evaluate", {}, evaluations)


def _runs_with_same_vocabulary(model: dict[str, object]) -> dict[str, dict[str, object]]:
    """Return configs of a run, another run with its vocabulary, and a language model with its vocabulary."""
    run = run_of(NUMBERS, model, training=LONG_TRAINING)
    shared = NUMBERS | {"tokenizer": TOKENIZER_OF_RUN}
    other = run_of(shared, RECURRENT | {"family": "gru"}, training=LONG_TRAINING, seed=3)
    return {"run": run, "other": other, "lm": _language_model()}


def _language_model() -> dict[str, object]:
    return run_of(TEXT | {"tokenizer": TOKENIZER_OF_RUN}, LANGUAGE_MODELS["lstm_lm"], training=LONG_TRAINING)


def _translate(**searches: str) -> dict[str, Sequence[str]]:
    """Return a translate command for each search, given its options as one string."""
    return {name: ("translate", "@run", *TRANSLATE, *options.split()) for name, options in searches.items()}


def _autoregressive() -> Mapping[str, Sequence[str]]:
    """Return the commands for autoregressive translators."""
    searches = _translate(
        greedy="--beam_size 1",
        best_of_five="--beam_size 5 --num_hypotheses 5",
        gnmt="--beam_size 4 --length_penalty gnmt --length_alpha 0.6 --num_hypotheses 2",
        no_penalty="--beam_size 4 --length_alpha 0",
        coverage="--beam_size 4 --coverage_penalty 0.2",
        no_repeat="--beam_size 3 --no_repeat_ngram_size 2",
        no_repeat_greedy="--beam_size 1 --no_repeat_ngram_size 1",
        least_length="--beam_size 3 --min_length_ratio 1.5",
        limits="--beam_size 3 --max_length_ratio 1 --max_length_offset 1",
        late="--beam_size 4 --early_stopping false",
        prefix="--beam_size 3 --prefix corpora/test_prefixes.de",
        prefix_greedy="--beam_size 1 --prefix corpora/test_prefixes.de",
        small_batches="--beam_size 3 --batch_tokens 40 --buffer_lines 7",
        fusion="--beam_size 4 --lm @lm --lm_weight 0.3 --length_reward 0.1",
        fusion_greedy="--beam_size 1 --lm @lm",
        rescored="--beam_size 4 --num_hypotheses 4 --rescore @other",
        bf16="--beam_size 4 --precision bf16",
        last="--beam_size 4 --checkpoint last",
        checkpoints="--beam_size 4 --checkpoint best last",
        alignment="--beam_size 2 --alignment @@/alignment.jsonl",
    )
    return {
        **searches,
        "plain": ("translate", "@run", *TRANSLATE[:-1]),
        "ensemble": ("translate", "@run", "@other", *TRANSLATE, "--num_hypotheses", "3"),
        "score": ("score", "@run", *PAIRS, "--json"),
        "likeliest": ("score", "@run", *PAIRS, "corpora/test_numbers.en", "--likeliest", "--json"),
        "calibration": ("calibration", "@run", *PAIRS, "--json"),
        "exposure": ("exposure", "@run", *PAIRS, "--json"),
        "search_errors": ("search-errors", "@run", *PAIRS, "--json", "--beam_sizes", "1", "3"),
        "exact": ("search-errors", "@run", *PAIRS, "--json", "--beam_sizes", "2", "--exact", "--max_steps", "200"),
        "distill": (
            *("distill", "@run", "--src", PAIRS[1], "--ref", PAIRS[3], "--out", "@@/distilled.de", "--json"),
            *("--beam_size", "2"),
        ),
    }


def _ctc() -> Mapping[str, Sequence[str]]:
    """Return the commands for a CTC translator, which is decoded by prefix beam search."""
    searches = _translate(
        greedy="--beam_size 1",
        prefix_beam="--beam_size 6 --num_hypotheses 3",
        fusion="--beam_size 4 --lm @lm --lm_weight 0.3 --length_reward 0.1",
        prefix="--beam_size 3 --prefix corpora/test_prefixes.de",
        no_repeat="--beam_size 3 --no_repeat_ngram_size 2",
    )
    return {
        **searches,
        "score": ("score", "@run", *PAIRS, "--json"),
        "calibration": ("calibration", "@run", *PAIRS, "--json"),
    }


def _mask_predict() -> Mapping[str, Sequence[str]]:
    """Return the commands for a mask-predict translator."""
    searches = _translate(
        one="--iterations 1",
        four="--iterations 4 --beam_size 3 --num_hypotheses 2",
        no_pseudo_likelihood="--iterations 3 --beam_size 3 --pseudo_likelihood false",
        revised="--iterations 3 --revise true --early_stopping true",
        fusion="--beam_size 3 --lm @lm --lm_weight 0.3",
    )
    return {
        **searches,
        "score": ("score", "@run", *PAIRS, "--json"),
        "calibration": ("calibration", "@run", *PAIRS, "--json", "--iterations", "3"),
    }


def _generation() -> Mapping[str, Sequence[str]]:
    """Return the commands for a language model of lines."""
    sampled = {
        "temperature": "--temperature 0.7",
        "top_k": "--top_k 3 --seed 5",
        "top_p": "--top_p 0.8",
        "min_p": "--min_p 0.1 --repetition_penalty 1.3",
        "typical": "--typical_p 0.9 --min_length 4",
        "stop": "--stop und",
    }
    beam = ("generate", "@run", "--prompts", "corpora/prompts.txt", "--json", "--beam_size", "4", "--max_length", "12")
    perplexity = ("perplexity", "@run", "corpora/test_numbers.de", "--json")
    return {
        **{name: (*SAMPLE, *options.split()) for name, options in sampled.items()},
        "beam": (*beam, "--num_hypotheses", "2"),
        "beam_no_repeat": (*beam, "--no_repeat_ngram_size", "1"),
        "perplexity": perplexity,
        "per_line": (*perplexity, "--per_line"),
        "score": ("score", "@run", "--tgt", "corpora/test_numbers.de", "--json"),
        "continuation": ("score", "@run", "--src", "corpora/test_numbers.de", "--tgt", "corpora/test_numbers.de"),
    }


def _ngram() -> Mapping[str, Sequence[str]]:
    """Return the commands for an n-gram model, including export to ARPA and import."""
    return {
        **_generation(),
        "export": ("export", "@run", "--format", "arpa", "--out", "@@/model.arpa"),
        "import": ("import", "@@/model.arpa", "--run_dir", "@imported"),
        "imported": ("perplexity", "@imported", "corpora/test_numbers.de", "--json"),
    }


def _continuous_text() -> Mapping[str, Sequence[str]]:
    """Return the commands for a language model of continuous text."""
    perplexity = ("perplexity", "@run", "corpora/test_running.txt", "--json")
    return {
        "blocks": perplexity,
        "window": (*perplexity, "--context", "16", "--stride", "4"),
        "plain": perplexity[:-1],
        "sample": ("generate", "@run", "--prompt", "after one", "two", "--num_samples", "2", "--max_length", "40"),
    }
