"""Cases of decoding, scoring and evaluation, with trained models."""

from collections.abc import Iterator, Mapping
from typing import Any

from comparison.families import BEAM, SAMPLE, Commands, generate, label
from comparison.options import CMLM, CTC, GRU, GRU_LM, LABELER, LSTM, LSTM_LM
from comparison.settings import Case, run_of
from contracts.row import Settings
from contracts.settings import CONTINUOUS, LM, PAIRS, TEXT, TRANSFORMER, WORDS

LONG_TRAINING = {"max_steps": 150, "save_every": 50, "valid_every": 75, "valid_metric": "nll"}
WIDE: Settings = {"d_model": 32, "d_ff": 64}
TOKENIZER_OF_RUN = {"kind": "saved", "folder": "%run/tokenizer"}
SRC, TGT = "@test_numbers.en", "@test_numbers.de"
TRANSLATE = f"translate %run --input {SRC}"
FILES = f"--src {SRC} --tgt {TGT} --json"
SCORE, CALIBRATION = f"score %run {FILES}", f"calibration %run {FILES}"


def translations(**searches: str) -> Commands:
    """Return a translate command for each search, given its options as one string."""
    return {name: f"{TRANSLATE} --json {options}" for name, options in searches.items()}


AUTOREGRESSIVE: Commands = {
    **translations(
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
        prefix="--beam_size 3 --prefix @test_prefixes.de",
        prefix_greedy="--beam_size 1 --prefix @test_prefixes.de",
        small_batches="--beam_size 3 --batch_tokens 40 --buffer_lines 7",
        fusion="--beam_size 4 --lm %lm --lm_weight 0.3 --length_reward 0.1",
        fusion_greedy="--beam_size 1 --lm %lm",
        rescored="--beam_size 4 --num_hypotheses 4 --rescore %other",
        bf16="--beam_size 4 --precision bf16",
        last="--beam_size 4 --checkpoint last",
        checkpoints="--beam_size 4 --checkpoint best last",
        alignment="--beam_size 2 --alignment %%/alignment.jsonl",
    ),
    "plain": TRANSLATE,
    "ensemble": f"translate %run %other --input {SRC} --json --num_hypotheses 3",
    "score": SCORE,
    "likeliest": f"score %run --src {SRC} --tgt {TGT} {SRC} --likeliest --json",
    "calibration": CALIBRATION,
    "exposure": f"exposure %run {FILES}",
    "search_errors": f"search-errors %run {FILES} --beam_sizes 1 3",
    "exact": f"search-errors %run {FILES} --beam_sizes 2 --exact --max_steps 200",
    "distill": f"distill %run --src {SRC} --ref {TGT} --out %%/distilled.de --json --beam_size 2",
}
PREFIX_BEAM_SEARCH: Commands = {
    **translations(
        greedy="--beam_size 1",
        prefix_beam="--beam_size 6 --num_hypotheses 3",
        fusion="--beam_size 4 --lm %lm --lm_weight 0.3 --length_reward 0.1",
        prefix="--beam_size 3 --prefix @test_prefixes.de",
        no_repeat="--beam_size 3 --no_repeat_ngram_size 2",
    ),
    "score": SCORE,
    "calibration": CALIBRATION,
}
MASK_PREDICT: Commands = {
    **translations(
        one="--iterations 1",
        four="--iterations 4 --beam_size 3 --num_hypotheses 2",
        no_pseudo_likelihood="--iterations 3 --beam_size 3 --pseudo_likelihood false",
        revised="--iterations 3 --revise true --early_stopping true",
        fusion="--beam_size 3 --lm %lm --lm_weight 0.3",
    ),
    "score": SCORE,
    "calibration": f"{CALIBRATION} --iterations 3",
}
GENERATION: Commands = {
    "temperature": f"{SAMPLE} --temperature 0.7",
    "top_k": f"{SAMPLE} --top_k 3 --seed 5",
    "top_p": f"{SAMPLE} --top_p 0.8",
    "min_p": f"{SAMPLE} --min_p 0.1 --repetition_penalty 1.3",
    "typical": f"{SAMPLE} --typical_p 0.9 --min_length 4",
    "stop": f"{SAMPLE} --stop und",
    "two_best": f"{BEAM} --num_hypotheses 2",
    "beam_no_repeat": f"{BEAM} --no_repeat_ngram_size 1",
    "continuation": f"score %run --src {TGT} --tgt {TGT}",
    **generate(TEXT),
}
NGRAM: Commands = {
    **GENERATION,
    "export": "export %run --format arpa --out %%/model.arpa",
    "import": "import %%/model.arpa --run_dir %imported",
    "imported": f"perplexity %imported {TGT} --json",
}
PERPLEXITY = "perplexity %run @test_running.txt"
CONTINUATION: Commands = {
    "blocks": f"{PERPLEXITY} --json",
    "window": f"{PERPLEXITY} --json --context 16 --stride 4",
    "plain": PERPLEXITY,
    "sample": "generate %run --prompt 'after one' two --num_samples 2 --max_length 40",
}
EVALUATION: Commands = {
    "bleu": "evaluate @numbers.en --ref @numbers.de --metrics bleu chrf wer",
    "baseline": f"evaluate {SRC} --ref {TGT} --metrics bleu cer --baseline {TGT} --src {SRC} --json",
    "confusion": "evaluate @labels.txt --ref @labels.txt --confusion --json",
}


def decoding() -> Iterator[Case]:
    """Yield all cases of this module."""
    yield Case("decoding_transformer", _runs_with_same_vocabulary({**TRANSFORMER, **WIDE}), AUTOREGRESSIVE)
    yield Case("decoding_lstm", _runs_with_same_vocabulary({**LSTM, "hidden_size": 32}), AUTOREGRESSIVE)
    yield Case("decoding_ctc", {"run": _long_run(PAIRS, {**CTC, **WIDE}), "lm": _language_model()}, PREFIX_BEAM_SEARCH)
    cmlm = run_of(PAIRS, {**CMLM, **WIDE}, objective={"family": "cmlm", "own_words": 0.5})
    ngram = run_of({**TEXT, "tokenizer": TOKENIZER_OF_RUN}, {"family": "ngram_lm", "order": 3}, optim=None)
    yield Case("decoding_cmlm", {"run": cmlm, "lm": ngram}, MASK_PREDICT)
    yield Case("decoding_ngram", {"run": run_of(TEXT, {"family": "ngram_lm"}, optim=None)}, NGRAM)
    for model in (LM, GRU_LM):
        yield Case(f"decoding_{model['family']}", {"run": _long_run(TEXT, model)}, GENERATION)
    yield Case("decoding_running", {"run": _long_run(CONTINUOUS, {**LM, "max_length": 48})}, CONTINUATION)
    labelers = {"run": run_of(WORDS, LABELER), "other": run_of(WORDS, {**LABELER, "family": "lstm_labeller"})}
    ensemble = "label %run %other --input @test_lines.txt"
    yield Case("decoding_labels", labelers, {**label(WORDS), "ensemble": f"{ensemble} --json", "plain": ensemble})
    yield Case("evaluate", {}, EVALUATION)


def _long_run(data: Settings, model: Settings, **sections: Any) -> Settings:
    return run_of(data, model, training=LONG_TRAINING, **sections)


def _runs_with_same_vocabulary(model: Settings) -> Mapping[str, Settings]:
    """Return configs of a run, another run with its vocabulary, and a language model with its vocabulary."""
    shared = {**PAIRS, "tokenizer": TOKENIZER_OF_RUN}
    other = _long_run(shared, GRU, seed=3)
    return {"run": _long_run(PAIRS, model), "other": other, "lm": _language_model()}


def _language_model() -> Settings:
    return _long_run({**TEXT, "tokenizer": TOKENIZER_OF_RUN}, LSTM_LM)
