"""A trained run, or several that decide together, ready to be used."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from seqlab.inference.decode import BATCH_TOKENS
from seqlab.inference.scorer import SCORE_TOKENS, PairScore, score_lines
from seqlab.inference.translator import Translation, Translator
from seqlab.models.interfaces import Stepper
from seqlab.nn.precision import cast_products, choose_device, choose_dtype
from seqlab.runs import Config, LoadedRun, load_run
from seqlab.runs.validate import build
from seqlab.search.config import SearchConfig
from seqlab.search.ensemble import Ensemble
from seqlab.text import Tokenizer

LENGTH_MARGIN = 1.25
"""How much longer than the longest line of the training text a line may be before it is cut into pieces."""


class Run:
    """What `seqlab.load` gives: translate and score with one run, or with an ensemble of several."""

    def __init__(self, members: Sequence[LoadedRun], device: torch.device, dtype: torch.dtype) -> None:
        refuse_different_vocabularies(members)
        self.members = list(members)
        self.device, self.dtype = device, dtype
        for member in members:
            cast_products(member.model, dtype)
            member.model.to(device)
        first = members[0]
        self.model: Stepper = first.model if len(members) == 1 else Ensemble([member.model for member in members])
        self.translator = Translator(
            self.model,
            first.src_tokenizer,
            first.tgt_tokenizer,
            max_src_tokens=min(map(longest_source, members)),
            max_length=min(member.config.model.max_length for member in members),
            device=device,
        )

    @property
    def config(self) -> Config:
        """The config of the run; of the first where there are several."""
        return self.members[0].config

    def translate(self, lines: Sequence[str], **options: Any) -> list[str]:
        """Translate lines and give the best hypothesis of each; the options are those of `translate_detailed`."""
        return [translation.text for translation in self.translate_detailed(lines, **options)]

    def translate_detailed(
        self,
        lines: Sequence[str],
        *,
        prefixes: Sequence[str] | None = None,
        batch_tokens: int = BATCH_TOKENS,
        progress: Callable[[int], None] | None = None,
        first_line: int = 1,
        **search: Any,
    ) -> list[Translation]:
        """Translate lines and give n-best lists with scores and what happened to each line.

        Args:
            lines: text without newlines.
            prefixes: for each line the text that its translations must begin with.
            batch_tokens: padded source tokens times `beam_size` that are searched together: speed and memory.
            progress: called after each batch with how many lines (pieces of lines that were cut) are done.
            first_line: the number of the first line in its file, for messages.
            search: fields of `SearchConfig`: beam_size, num_hypotheses, length_alpha, ...
        """
        config = build(SearchConfig, search)
        return self.translator.translate(
            lines, config, prefixes=prefixes, batch_tokens=batch_tokens, progress=progress, first_line=first_line
        )

    def score(
        self,
        src_lines: Sequence[str],
        tgt_lines: Sequence[str],
        *,
        batch_tokens: int = SCORE_TOKENS,
        progress: Callable[[int], None] | None = None,
    ) -> list[PairScore]:
        """Give the log-probability of each target line given its source line, in nats, and its number of tokens.

        Args:
            src_lines: text without newlines.
            tgt_lines: as many.
            batch_tokens: padded tokens of the longer side that are scored together.
            progress: called after each batch with its number of pairs.

        Raises:
            ValueError: the sides have different numbers of lines, or a line is too long for learned positions.
        """
        first = self.members[0]
        return score_lines(
            [member.model for member in self.members],
            src_lines,
            tgt_lines,
            first.src_tokenizer,
            first.tgt_tokenizer,
            batch_tokens=batch_tokens,
            device=self.device,
            progress=progress,
        )


def longest_source(member: LoadedRun) -> int:
    """Tell how many tokens a line may have, eos not counted: by the model, and by what it has learnt to translate.

    A Transformer makes up a short sentence, or repeats itself, for lines well beyond those that it was trained on.
    """
    by_model = member.config.model.max_length - 1
    if member.longest_src_tokens is None:
        return by_model
    return min(by_model, math.ceil(LENGTH_MARGIN * member.longest_src_tokens))


def refuse_different_vocabularies(members: Sequence[LoadedRun]) -> None:
    """Raise ValueError unless all members give each id the same meaning, on both sides."""
    if not members:
        raise ValueError("`run` must name at least 1 run, but names 0 instead.")
    first = members[0]
    for member in members[1:]:
        for side in ("src", "tgt"):
            if _vocabulary(getattr(first, f"{side}_tokenizer")) != _vocabulary(getattr(member, f"{side}_tokenizer")):
                raise ValueError(
                    f"{first.folder.path} and {member.folder.path} have different {side} vocabularies: the runs of an "
                    "ensemble must share their tokenizers (train the second with `--init_from`)."
                )


def _vocabulary(tokenizer: Tokenizer) -> list[str]:
    return tokenizer.tokens(range(tokenizer.vocab_size))


def load(
    run: str | Path | Sequence[str | Path],
    checkpoint: str | Sequence[str] = "best",
    device: str = "auto",
    precision: str = "auto",
) -> Run:
    """Load a trained run for inference; several runs or checkpoints become an ensemble.

    Args:
        run: a run folder, or several that share their vocabularies.
        checkpoint: `best` (in validation), `last` or a step number; several for an ensemble of checkpoints.
        device: `cpu`, `cuda`, `cuda:1`, or `auto`: CUDA where there is one.
        precision: dtype of matrix products, `bf16`, `fp32` or `auto`: bf16 where the device computes in it.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: it is no run, is damaged or has another format version; vocabularies differ; no such device.
    """
    runs = [run] if isinstance(run, str | Path) else list(run)
    checkpoints = [checkpoint] if isinstance(checkpoint, str) else list(checkpoint)
    chosen = choose_device(device)
    dtype = choose_dtype(precision, chosen)
    return Run([load_run(path, step) for path in runs for step in checkpoints], chosen, dtype)
