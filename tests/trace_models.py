"""`python tests/trace_models.py`: what one reads to follow a model from its config to its logits.

Building each model and one training forward pass are traced under `reference_kernels()`: the functions of seqlab that
are entered, the files that they are in, and their lines without docstrings, comments and blank lines.
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
from seqlab.models import LstmConfig, TransformerConfig, TransformerLmConfig
from seqlab.nn import reference_kernels

PACKAGE = Path(seqlab.__file__).parent
VOCAB_SIZE = 20


class Side:
    """What a config needs to know of a side."""

    vocab_size, num_labels = VOCAB_SIZE, VOCAB_SIZE - 4
    pad_id, bos_id, eos_id, unk_id, mask_id, blank_id = range(6)
    tag_ids = range(0)
    has_words = False


@dataclass(frozen=True)
class Trace:
    """The functions that were entered, by file: names and lines of code."""

    files: dict[str, dict[str, int]]

    @property
    def lines(self) -> int:
        """All lines of code."""
        return sum(sum(functions.values()) for functions in self.files.values())


def translate(config: TransformerConfig | LstmConfig) -> None:
    """Build a translator and run one training forward pass, to the logits and the attention."""
    rows = torch.randint(6, VOCAB_SIZE, (2, 5))
    batch = Seq2SeqBatch(rows, torch.tensor([5, 4]), rows, rows, torch.arange(2), 10)
    config.build(Side(), Side()).train()(batch, need_attention=True).logits()


def model_language() -> None:
    """Build a language model and run one training forward pass, to the logits."""
    rows = torch.randint(6, VOCAB_SIZE, (2, 8))
    batch = TextBatch(rows, rows, torch.arange(2), 16)
    TransformerLmConfig(max_length=8).build(Side(), Side()).train()(batch).logits()


MODELS: dict[str, Callable[[], None]] = {
    "Transformer": lambda: translate(TransformerConfig()),
    "LSTM translator": lambda: translate(LstmConfig()),
    "Transformer language model": model_language,
}


def trace(run: Callable[[], None]) -> Trace:
    """Record the functions of the package that are entered while `run` runs under the reference kernels."""
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
    """Find the function that begins at a line; None for what is inside of one: lambdas and comprehensions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef) and line in (node.lineno, *(each.lineno for each in node.decorator_list)):
            return node
    return None


def _lines_of_code(path: Path, function: ast.FunctionDef) -> int:
    """Count the lines of a function that are no docstring, comment or blank line."""
    lines = set(range(function.lineno, (function.end_lineno or function.lineno) + 1))
    first = function.body[0]
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        lines -= set(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    text = path.read_text(encoding="utf-8").splitlines()
    return sum(bool(text[number - 1].strip()) and not text[number - 1].lstrip().startswith("#") for number in lines)


def main() -> None:
    """Print the traces; with `--functions` each function, too."""
    for name, run in MODELS.items():
        found = trace(run)
        print(f"{name}: {len(found.files)} files, {found.lines} lines")
        for file, functions in sorted(found.files.items()):
            print(f"  {sum(functions.values()):4} {file}")
            if "--functions" in sys.argv:
                for function, count in functions.items():
                    print(f"         {count:4} {function}")


if __name__ == "__main__":
    main()
