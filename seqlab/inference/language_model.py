"""A trained language model, ready to be used: how likely a text is, and how it goes on."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from seqlab.data.config import TextConfig
from seqlab.data.text_sampler import start_id
from seqlab.evaluation.likelihood import TextLikelihood
from seqlab.host_memory import prepare_heap
from seqlab.inference.generator import Continuation, Generator
from seqlab.inference.lines import refuse_newlines
from seqlab.inference.text import Text
from seqlab.inference.text_scorer import BATCH_TOKENS, Reading, score_text
from seqlab.inference.torch_engine import refuse_different_vocabularies
from seqlab.nn.precision import cast_products, choose_device, choose_dtype
from seqlab.runs.load import LoadedRun, load_run
from seqlab.runs.spelling import load_spelling
from seqlab.search.config import SearchConfig
from seqlab.search.sampling_config import SamplingConfig
from seqlab.world import OnRows

logger = logging.getLogger(__name__)

OnText = Callable[[str], None]


@dataclass(frozen=True)
class LineScore:
    """How likely a line is."""

    log_prob: float
    """In nats, the end of line counted; with what the spelling of unknown items costs, where the run can spell."""
    num_tokens: int
    token_log_probs: list[float]
    unknown: list[str]
    """What the vocabulary does not have."""


@dataclass(frozen=True)
class Perplexity:
    """What `LanguageModel.perplexity` found."""

    likelihood: TextLikelihood
    reading: Reading
    lines: list[LineScore]


class LanguageModel:
    """What `seqlab.load` gives for a language model: perplexity, scores and continuations."""

    def __init__(self, members: Sequence[LoadedRun], device: torch.device, dtype: torch.dtype) -> None:
        """Move the models to the device and their products to the dtype, in place.

        Raises:
            ValueError: two members have different vocabularies or learnt from differently read text.
        """
        refuse_different_vocabularies(members)
        self.members, self.device = list(members), device
        first = members[0]
        self.tokenizer = first.tgt_tokenizer
        self.data = _text_config(first)
        for member in members[1:]:
            if _text_config(member).documents != self.data.documents:
                raise ValueError(
                    f"{first.folder.path} and {member.folder.path} read text differently (`data.documents`): they "
                    "cannot be an ensemble."
                )
        if device.type == "cpu":
            prepare_heap()
        for member in members:
            cast_products(member.model, dtype)
            member.model.to(device)
        self.spelling = load_spelling(first.folder.spelling)
        self.start_id = start_id(self.data, self.tokenizer)

    @property
    def is_continuous(self) -> bool:
        """Whether lines belong to one text, so that each is predicted from those before it."""
        return self.data.documents == "continuous"

    def reading(self, context: int | str | None = None, stride: int | None = None) -> Reading:
        """Choose what tokens are predicted from: blocks of the training's length unless said otherwise.

        Args:
            context: tokens read at once, or `all` for everything before.
            stride: how many of them are scored; the context unless given, which makes blocks.

        Raises:
            ValueError: a model looks back on fewer tokens.
        """
        if context == "all":
            for member in self.members:
                if not hasattr(member.model, "score_on"):
                    raise ValueError(
                        f"{member.folder.path}: a `{member.config.model.family}` looks back on {member.max_length} "
                        "tokens at most: give `context` a number, and a `stride` for a sliding window."
                    )
            if stride is not None:
                raise ValueError("`stride` is for a `context` of so many tokens, not for `all`.")
            return Reading(None, 1)
        if isinstance(context, str):
            raise ValueError(f"`context` must be a number of tokens or `all`, but is `{context}` instead.")
        size = self.data.block_length if context is None else context
        for member in self.members:
            limit = member.context_limit
            if limit is not None and size > limit:
                raise ValueError(f"{member.folder.path} looks back on {limit} tokens, but `context` is {size}.")
        return Reading(size, size if stride is None else stride)

    def perplexity(
        self,
        text: Text | Sequence[str],
        *,
        context: int | str | None = None,
        stride: int | None = None,
        batch_tokens: int = BATCH_TOKENS,
        progress: OnRows | None = None,
    ) -> Perplexity:
        """Measure how likely a text is; `reading` explains the arguments. Each line gets a score of its own.

        Raises:
            ValueError: the text is empty, or what `reading` raises.
        """
        text = text if isinstance(text, Text) else Text.of(text)
        reading = self.reading(context, stride)
        rows = [
            np.append(np.asarray(ids, np.int64), self.tokenizer.eos_id) for ids in self.tokenizer.encode(text.lines)
        ]
        log_probs = self._score(rows, self.is_continuous, reading, batch_tokens, progress)
        lines = [self._line_score(*pair) for pair in zip(text.lines, log_probs, strict=True)]
        can_spell = self.spelling is not None or not any(line.unknown for line in lines)
        normalised = sum(len(self.tokenizer.normalize(line).encode("utf-8")) for line in text.lines)
        likelihood = TextLikelihood(
            nll=-sum(line.log_prob for line in lines) if can_spell else None,
            tokens=sum(line.num_tokens for line in lines),
            words=sum(len(line.split()) + 1 for line in text.lines),
            bytes=text.num_bytes,
            unknown=sum(len(line.unknown) for line in lines),
            dropped_bytes=text.num_bytes - normalised - text.num_newlines,
        )
        return Perplexity(likelihood, reading, lines)

    def score(
        self,
        lines: Sequence[str],
        prompts: Sequence[str] | None = None,
        *,
        batch_tokens: int = BATCH_TOKENS,
        progress: OnRows | None = None,
    ) -> list[LineScore]:
        """Score each line as the beginning of a text, or as what goes on after its prompt; its end is counted.

        A prompt and its continuation are segmented together, so that a word may go on where the prompt ends; what is
        scored is all that follows the ids which they share with the prompt alone.

        Raises:
            ValueError: there are not as many prompts as lines, or one holds a newline.
        """
        refuse_newlines(lines, "lines")
        prompts = [""] * len(lines) if prompts is None else prompts
        refuse_newlines(prompts, "prompts")
        if len(prompts) != len(lines):
            raise ValueError(f"`prompts` must have one entry per line ({len(lines)}), but has {len(prompts)}.")
        whole = self.tokenizer.encode([prompt + line for prompt, line in zip(prompts, lines, strict=True)])
        shared = [_common(*pair) for pair in zip(whole, self.tokenizer.encode(prompts), strict=True)]
        rows = [np.append(np.asarray(ids, np.int64), self.tokenizer.eos_id) for ids in whole]
        limits = [member.context_limit for member in self.members if member.context_limit is not None]
        longest = max((len(row) for row in rows), default=1)
        size = min([longest, *limits])
        reading = Reading(size, size if size == longest else max(1, size // 2))
        log_probs = self._score(rows, False, reading, batch_tokens, progress)
        return [
            self._line_score(line, own[skipped:]) for line, own, skipped in zip(lines, log_probs, shared, strict=True)
        ]

    def generate(
        self,
        prompts: Sequence[str] = ("",),
        *,
        num_samples: int = 1,
        stop: Sequence[str] = (),
        search: SamplingConfig | SearchConfig | None = None,
        batch_rows: int = 64,
        on_text: OnText | None = None,
        first_prompt: int = 0,
    ) -> list[list[Continuation]]:
        """Continue each prompt: `num_samples` random continuations, or with a `SearchConfig` the best hypotheses.

        The same seed gives the same text whatever is generated with it.

        Args:
            prompts: what the text begins with; an empty one begins a text.
            num_samples: random continuations of each prompt.
            stop: texts that end a continuation, which does not hold them.
            search: how to sample or search; sampling as it is by default.
            batch_rows: continuations computed together: speed and memory.
            on_text: told of the text of a single continuation as it comes.
            first_prompt: the number of the first prompt, which chooses its random numbers.
        """
        generator = Generator(
            [member.model for member in self.members],
            self.tokenizer,
            self.start_id,
            is_continuous=self.is_continuous,
            limit=min((m.context_limit for m in self.members if m.context_limit is not None), default=None),
            device=self.device,
        )
        return generator.generate(
            prompts,
            search or SamplingConfig(),
            num_samples=num_samples,
            stop=stop,
            batch_rows=batch_rows,
            on_text=on_text,
            first_prompt=first_prompt,
        )

    def _score(
        self,
        rows: Sequence[NDArray[np.int64]],
        as_one: bool,
        reading: Reading,
        batch_tokens: int,
        progress: OnRows | None,
    ) -> list[NDArray[np.float64]]:
        """Score rows of ids, each a text of its own or all of them one; give the log-probabilities row by row."""
        values = np.concatenate(rows) if rows else np.zeros(0, np.int64)
        borders = np.cumsum([0, *map(len, rows)])
        log_probs = score_text(
            [member.model for member in self.members],
            values,
            borders[[0, -1]] if as_one else borders,
            reading,
            start_id=self.start_id,
            batch_tokens=batch_tokens,
            device=self.device,
            progress=progress,
        )
        return np.split(log_probs, borders[1:-1]) if rows else []

    def _line_score(self, line: str, log_probs: NDArray[np.float64]) -> LineScore:
        unknown = self.tokenizer.unknown_items(line)
        spelt = sum(self.spelling.log_prob(item) for item in unknown) if self.spelling is not None else 0.0
        return LineScore(float(log_probs.sum()) + spelt, len(log_probs), log_probs.tolist(), unknown)


def load_language_model(
    run: str | Path | Sequence[str | Path],
    checkpoint: str | Sequence[str] = "best",
    device: str = "auto",
    precision: str = "fp32",
) -> LanguageModel:
    """Load a language model; several runs or checkpoints over one vocabulary become an ensemble.

    The arguments are those of `seqlab.load`, but products are in fp32 unless said otherwise: figures are compared.
    """
    runs = [run] if isinstance(run, str | Path) else list(run)
    checkpoints = [checkpoint] if isinstance(checkpoint, str) else list(checkpoint)
    chosen = choose_device(device)
    dtype = choose_dtype(precision, chosen)
    members = [load_run(path, step, kind="text") for path in runs for step in checkpoints]
    return LanguageModel(members, chosen, dtype)


def _text_config(member: LoadedRun) -> TextConfig:
    assert isinstance(member.config.data, TextConfig), "a language model learns from text"
    return member.config.data


def _common(ids: Sequence[int], others: Sequence[int]) -> int:
    """Count the ids with which both begin."""
    pairs: list[Any] = list(zip(ids, others, strict=False))
    return next((i for i, (one, other) in enumerate(pairs) if one != other), len(pairs))
