"""Training, perplexity and sampling of language models of each family on number words, on the command line."""

import json
import random
from pathlib import Path

import pytest

from seqlab.corpora.number_words.phrases import cardinal_phrase

from .conftest import run_command

pytestmark = pytest.mark.learning

SEED = 1
MAX_BITS_PER_BYTE = 0.42
"""On unseen numbers. The expected minimum is 0.35, since there are 9,999 numbers of 38 bytes on average."""
MIN_VALID_SAMPLES = 80
"""Number of samples, of 100, that must be number words."""
NEURAL_OPTIONS = (
    *("--data.batch_tokens", "1024", "--data.micro_batch_tokens", "1024", "--data.block_length", "64"),
    *("--optim.optimizer.family", "muon", "--optim.schedule.family", "cosine", "--optim.schedule.warmup_steps", "20"),
    *("--training.max_steps", "160", "--training.valid_every", "160", "--training.precision", "fp32"),
)
FAMILIES = {
    "ngram_lm": ("--model.order", "12"),
    "lstm_lm": (
        *("--model.hidden_size", "128", "--model.input_dropout", "0", "--model.hidden_dropout", "0"),
        *("--model.output_dropout", "0", "--optim.optimizer.lr", "2e-2", *NEURAL_OPTIONS),
    ),
    "transformer_lm": (
        *("--model.d_model", "64", "--model.d_ff", "128", "--model.num_layers", "2", "--model.num_heads", "2"),
        *("--model.dropout", "0", "--optim.optimizer.lr", "1e-2", *NEURAL_OPTIONS),
    ),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_train_perplexity_generate(family: str, tmp_path: Path) -> None:
    print(f"seed {SEED}")
    numbers = [cardinal_phrase(number).en for number in range(1, 10_000)]
    random.Random(SEED).shuffle(numbers)
    for name, part in (("train", numbers[1000:]), ("test", numbers[:1000])):
        (tmp_path / f"{name}.txt").write_text("".join(f"{number}\n" for number in part))
    run_dir = tmp_path / "run"
    options = ("--data.tokenizer.kind", "characters", "--model.family", family, *FAMILIES[family], "--seed", str(SEED))
    run_command(
        "train", "--data.train", tmp_path / "train.txt", *options, "--run_dir", run_dir, "--training.threads", "1"
    )
    result = json.loads(run_command("perplexity", run_dir, tmp_path / "test.txt", "--json").stdout)
    print(result)
    assert result["bits_per_byte"] <= MAX_BITS_PER_BYTE
    samples = run_command("generate", run_dir, "--num_samples", "100", "--seed", str(SEED)).stdout.decode().splitlines()
    assert len(samples) == 100
    assert sum(sample in numbers for sample in samples) >= MIN_VALID_SAMPLES
    beam_output = run_command("generate", run_dir, "--prompt", "nine hundred and", "--beam_size", "3")
    assert beam_output.stdout.decode().removesuffix("\n") in numbers
