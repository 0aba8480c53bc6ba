"""Count the code that a reader follows from a model's config to its logits: `python tests/trace_models.py`.

For each model, construction and one training forward pass are traced under `reference_kernels()`. Prints the files and
functions of seqlab that are called, and their lines without docstrings, comments and blank lines.
"""

import ast
import sys
import types
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

import seqlab
from seqlab.data.batch import Seq2SeqBatch, TextBatch
from seqlab.models import RecurrentConfig, TransformerConfig, TransformerLmConfig
from seqlab.nn import reference_kernels

PACKAGE = Path(seqlab.__file__).parent
VOCAB_SIZE = 20


class StubVocabulary:
    """The sizes and ids of a tokenizer that model configs read."""

    vocab_size, num_labels = VOCAB_SIZE, VOCAB_SIZE - 4
    pad_id, bos_id, eos_id, unk_id, mask_id, blank_id = range(6)
    tag_ids = range(0)
    has_words = False


@dataclass(frozen=True)
class Trace:
    """The called functions and their lines of code, by file."""

    files: dict[str, dict[str, int]]

    @property
    def lines(self) -> int:
        """Total lines of code."""
        return sum(sum(functions.values()) for functions in self.files.values())


def run_translator(config: TransformerConfig | RecurrentConfig) -> None:
    """Build a translator and run one training forward pass, to the logits and the attention."""
    rows = torch.randint(6, VOCAB_SIZE, (2, 5))
    batch = Seq2SeqBatch(rows, torch.tensor([5, 4]), rows, rows, torch.arange(2), 10)
    config.build(StubVocabulary(), StubVocabulary()).train()(batch, need_attention=True).logits()


def run_language_model() -> None:
    """Build a language model and run one training forward pass, to the logits."""
    rows = torch.randint(6, VOCAB_SIZE, (2, 8))
    batch = TextBatch(rows, rows, torch.arange(2), 16)
    TransformerLmConfig(max_length=8).build(StubVocabulary(), StubVocabulary()).train()(batch).logits()


MODELS: dict[str, Callable[[], None]] = {
    "Transformer": lambda: run_translator(TransformerConfig()),
    "LSTM translator": lambda: run_translator(RecurrentConfig(family="lstm")),
    "Transformer language model": run_language_model,
}


def trace(run: Callable[[], None]) -> Trace:
    """Record the functions of the package that `run` calls under the reference kernels."""
    entered: set[types.CodeType] = set()

    def record(frame: types.FrameType, event: str, argument: object) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(str(PACKAGE)):
            entered.add(frame.f_code)

    with reference_kernels():
        sys.setprofile(record)
        try:
            run()
        finally:
            sys.setprofile(None)
    files: dict[str, dict[str, int]] = defaultdict(dict)
    for code in entered:
        path = Path(code.co_filename)
        function = _function_at(path, code.co_firstlineno)
        if function is not None:
            files[str(path.relative_to(PACKAGE))][code.co_qualname] = _lines_of_code(path, function)
    return Trace(dict(files))


def _function_at(path: Path, line: int) -> ast.FunctionDef | None:
    """Find the function that starts at a line; return None for lambdas and comprehensions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef) and line in (node.lineno, *(each.lineno for each in node.decorator_list)):
            return node
    return None


def _lines_of_code(path: Path, function: ast.FunctionDef) -> int:
    """Count the lines of a function without docstring, comments and blank lines."""
    lines = set(range(function.lineno, (function.end_lineno or function.lineno) + 1))
    first = function.body[0]
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        lines -= set(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    text = path.read_text(encoding="utf-8").splitlines()
    return sum(bool(text[number - 1].strip()) and not text[number - 1].lstrip().startswith("#") for number in lines)


def main() -> None:
    """Print the traces by file; with `--functions`, also by function."""
    for name, run in MODELS.items():
        traced = trace(run)
        print(f"{name}: {len(traced.files)} files, {traced.lines} lines")
        for file, functions in sorted(traced.files.items()):
            print(f"  {sum(functions.values()):4} {file}")
            if "--functions" in sys.argv:
                for function, count in functions.items():
                    print(f"         {count:4} {function}")


if __name__ == "__main__":
    main()
