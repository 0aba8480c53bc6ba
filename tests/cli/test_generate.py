"""`seqlab generate`: output to files, terminals and as JSON, options, and errors."""

import io
import json
import sys
from pathlib import Path

import pytest
from reference.tiny_language_models import FAMILIES, TinyRuns

from seqlab.cli.main import main
from seqlab.tasks.language_modelling.language_model import load_language_model

PROMPTS = ["der", "", "die Katze", "日本"]
FAST = ("--max_length", "12", "--precision", "fp32")


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> TinyRuns:
    return TinyRuns(tmp_path_factory.getbasetemp() / "language_models")


@pytest.fixture
def prompts_file(tmp_path: Path) -> Path:
    (tmp_path / "prompts.txt").write_text("".join(f"{prompt}\n" for prompt in PROMPTS), encoding="utf-8")
    return tmp_path / "prompts.txt"


@pytest.mark.parametrize("family", FAMILIES)
def test_one_line_per_continuation(seqlab, runs: TinyRuns, prompts_file: Path, family: str) -> None:
    run_dir = runs(family)
    found = load_language_model(run_dir).generate(PROMPTS, num_samples=2, max_length=12, seed=7)
    result = seqlab("generate", run_dir, "--prompt", *PROMPTS, "--num_samples", "2", "--seed", "7", *FAST)
    texts = [prompt + each.text for prompt, continuations in zip(PROMPTS, found, strict=True) for each in continuations]
    assert (result.status, result.out.decode()) == (0, "".join(f"{text}\n" for text in texts))
    options = ("--num_samples", "2", "--seed", "7", "--json", *FAST)
    from_file = seqlab("generate", run_dir, "--prompts", prompts_file, *options)
    assert [record["prompt"] + record["text"] for record in map(json.loads, from_file.out.splitlines())] == texts
    one_by_one = ("--batch_rows", "1", "--threads", "1")
    piped = seqlab(
        *("generate", run_dir, "--prompts", "-", *options, *one_by_one),
        stdin=prompts_file.read_bytes(),
    )
    in_blocks = seqlab("generate", run_dir, "--prompts", prompts_file, *options, "--buffer_lines", "3")
    assert from_file.out == piped.out == in_blocks.out


@pytest.mark.parametrize("documents", ["lines", "continuous"])
def test_outputs_at_the_default_length_limit_are_counted(seqlab, runs: TinyRuns, documents: str) -> None:
    run_dir = runs("ngram_lm", documents=documents)
    options = ("--prompt", "der", "die", "--num_samples", "4", "--top_k", "1")
    result = seqlab("generate", run_dir, *options, "--json", "--min_length", "256")
    cut = sum(not json.loads(line)["finished"] for line in result.out.splitlines())
    assert cut > 0
    message = f"{cut} of 8 continuations reached `max_length` before the end of the line"
    assert (message in result.err) == (documents == "lines")
    explicit = seqlab("generate", run_dir, *options, "--min_length", "256", "--max_length", "256")
    assert "reached `max_length`" not in explicit.err


def test_texts_with_newlines_are_separated_by_a_line(seqlab, runs: TinyRuns) -> None:
    run_dir = runs("ngram_lm", documents="continuous")
    found = load_language_model(run_dir).generate(["der\nKatze"], num_samples=3, max_length=12)
    result = seqlab("generate", run_dir, "--prompt", "der\nKatze", "--num_samples", "3", *FAST)
    texts = [f"der\nKatze{each.text}" for each in found[0]]
    assert result.out.decode() == "\n---\n".join(texts) + "\n"


def test_separator_lines_do_not_depend_on_blocks(seqlab, runs: TinyRuns, prompts_file: Path) -> None:
    run_dir = runs("ngram_lm", documents="continuous")
    arguments = ("generate", run_dir, "--prompts", prompts_file, *FAST)
    blocks = seqlab(*arguments, "--buffer_lines", "1")
    assert blocks.out == seqlab(*arguments).out
    assert blocks.out.count(b"---\n") == len(PROMPTS) - 1


def test_an_unreadable_prompt_keeps_the_output_of_earlier_blocks(seqlab, runs: TinyRuns, tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_bytes(b"der\ndie\n\xff\n")
    run_dir = runs("gru_lm")
    result = seqlab("generate", run_dir, "--prompts", tmp_path / "prompts.txt", "--buffer_lines", "1", *FAST)
    assert result.status == 2
    assert "line 3" in result.err
    expected = seqlab("generate", run_dir, "--prompt", "der", "die", *FAST)
    assert result.out == expected.out


def test_a_space_after_the_prompt_is_written_once(seqlab, runs: TinyRuns) -> None:
    words, subwords = runs("ngram_lm", "words"), runs("gru_lm", "sentencepiece")
    expected = seqlab("generate", words, "--prompt", "dog sees", *FAST)
    assert seqlab("generate", words, "--prompt", "dog sees ", *FAST) == expected
    message = "prompt 1 ends with a space, but the tokens of this model include the space before a word"
    assert message in seqlab("generate", subwords, "--prompt", "dog sees ", *FAST).err
    assert message not in seqlab("generate", subwords, "--prompt", "dog sees", *FAST).err


def test_json_has_all_fields(seqlab, runs: TinyRuns, tmp_path: Path) -> None:
    run_dir = runs("gru_lm", documents="continuous")
    options = ("--json", "--num_samples", "2", "--stop", "e", "\n", *FAST, "--output", tmp_path / "out.jsonl")
    result = seqlab("generate", run_dir, "--prompt", "der", "größer\n", *options)
    assert (result.status, result.out) == (0, b"")
    assert result.err == (
        "warning: 4 of 4 continuations have U+FFFD: the model's output has bytes there that are not a character\n"
    )
    records = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text("utf-8").removesuffix("\n").split("\n")]
    assert [record.pop("prompt") for record in records] == ["der", "der", "größer\n", "größer\n"]
    found = load_language_model(run_dir).generate(["der", "größer\n"], num_samples=2, stop=["e", "\n"], max_length=12)
    expected = [each for continuations in found for each in continuations]
    assert [record["text"] for record in records] == [each.text for each in expected]
    assert [record["finished"] for record in records] == [each.finished for each in expected]
    assert [record["log_prob"] for record in records] == pytest.approx([each.log_prob for each in expected])
    assert not any("e" in record["text"] or "\n" in record["text"] for record in records)


@pytest.mark.parametrize(
    ("options", "config"),
    [
        (("--temperature", "0.5"), {"temperature": 0.5, "max_length": 12}),
        (("--top_k", "3", "--top_p", "0.8"), {"top_k": 3, "top_p": 0.8, "max_length": 12}),
        (("--min_p", "0.1"), {"min_p": 0.1, "max_length": 12}),
        (("--typical_p", "0.6"), {"typical_p": 0.6, "max_length": 12}),
        (("--repetition_penalty", "1.3"), {"repetition_penalty": 1.3, "max_length": 12}),
        (("--min_length", "10"), {"min_length": 10, "max_length": 12}),
        (("--beam_size", "4"), {"beam_size": 4, "max_length": 12}),
        (
            ("--beam_size", "4", "--num_hypotheses", "2", "--length_alpha", "0"),
            {"beam_size": 4, "num_hypotheses": 2, "length_alpha": 0, "max_length": 12},
        ),
    ],
)
def test_sampling_and_search_options_match_the_python_interface(
    seqlab, runs: TinyRuns, options: tuple[str, ...], config
) -> None:
    run_dir = runs("rnn_lm")
    result = seqlab("generate", run_dir, "--prompt", "der", "die", *options, *FAST)
    found = load_language_model(run_dir).generate(["der", "die"], **config)
    texts = [
        prompt + each.text
        for prompt, continuations in zip(["der", "die"], found, strict=True)
        for each in continuations
    ]
    assert result.out.decode() == "".join(f"{text}\n" for text in texts)


def test_an_ensemble_matches_the_python_interface(seqlab, runs: TinyRuns) -> None:
    members = [runs("ngram_lm"), runs("lstm_lm")]
    result = seqlab("generate", *members, "--top_k", "1", *FAST)
    expected = load_language_model(members).generate(top_k=1, max_length=12)
    assert result.out.decode() == expected[0][0].text + "\n"


class Terminal(io.StringIO):
    """Stream that is a terminal and records each write."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[str] = []

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self.pieces.append(text)
        return len(text)


@pytest.mark.parametrize("documents", ["lines", "continuous"])
def test_a_terminal_shows_the_text_token_by_token(
    seqlab, runs: TinyRuns, monkeypatch: pytest.MonkeyPatch, documents: str
) -> None:
    options = (
        "generate",
        runs("ngram_lm", documents=documents),
        "--prompt",
        "der",
        "--min_length",
        "9",
        "--stop",
        "blorp",
    )
    expected = seqlab(*options).out.decode()
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    assert main([str(each) for each in options]) == 0
    assert "".join(terminal.pieces) == expected
    assert len(terminal.pieces) > 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["RUN", "--prompt", "a", "--prompts", "b"], "give `--prompt` or `--prompts`, not both"),
        (["RUN", "--prompts", "EMPTY"], "is empty: it has no prompt."),
        (["RUN", "--prompts", "nowhere.txt"], "nowhere.txt: there is no such file."),
        (["RUN", "--prompt", "a\nb"], "Prompt 1 contains a newline, but the model was trained on single lines"),
        (["RUN", "--prompt", "a\udcff"], "`--prompt[0]`: contains bytes that are not UTF-8"),
        (["RUN", "--num_samples", "0"], "`--num_samples` must be at least 1, but is 0 instead."),
        (["RUN", "--batch_rows", "0"], "`--batch_rows` must be at least 1, but is 0 instead."),
        (["RUN", "--temperature", "0"], "`--temperature` must be at least 0.0001, but is 0 instead."),
        (["RUN", "--temperature", "warm"], "`--temperature` must be a valid number, but is 'warm' instead."),
        (["RUN", "--stop", ""], "`stop` must contain texts of at least one character, but one is empty."),
        (["RUN", "--seed", "-1"], "`--seed` must be at least 0"),
        (["RUN", "--no_repeat_ngram_size", "2"], "`no_repeat_ngram_size` is for beam search: give `beam_size`, too"),
        (["RUN", "--beam_size", "2", "--top_k", "3"], "`top_k` is for sampling, but `beam_size` is for beam search"),
        (["RUN", "--beam_size", "2", "--num_samples", "2"], "beam search has `num_hypotheses`"),
        (["RUN", "--max_length_ratio", "2"], "there is no option `--max_length_ratio`; the nearest is"),
        (["TRANSLATOR"], "translates: use `seqlab translate` or `seqlab score`."),
        (["nowhere"], "There is no run folder nowhere."),
    ],
)
def test_invalid_arguments_are_reported(
    seqlab, runs: TinyRuns, run_dir: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    (tmp_path / "empty.txt").touch()
    paths = {"RUN": runs("ngram_lm"), "EMPTY": tmp_path / "empty.txt", "TRANSLATOR": run_dir}
    result = seqlab("generate", *(paths.get(each, each) for each in arguments))
    assert (result.status, result.out) == (2, b"")
    assert message in result.err
    assert result.err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["translate", "RUN"],
        ["translate", "RUN", "--engine", "ctranslate2"],
        ["export", "RUN", "--format", "ctranslate2"],
    ],
    ids=" ".join,
)
def test_commands_of_other_tasks_are_refused(seqlab, runs: TinyRuns, arguments: list[str]) -> None:
    run_dir = str(runs("gru_lm"))
    result = seqlab(*(each.replace("RUN", run_dir) for each in arguments), stdin=b"der\n")
    assert (result.status, result.out) == (2, b"")
    hint = "it is a language model: use `seqlab generate`, `seqlab perplexity` or `seqlab score`."
    assert result.err.splitlines()[-1] == f"seqlab: error: {run_dir} is not a translator; {hint}"
