"""Inference for language models: perplexity, scores of lines, and generation."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Unpack

import numpy as np
import torch
from numpy.typing import NDArray

from seqlab.base.malloc import prepare_heap
from seqlab.base.world import ProgressCallback
from seqlab.data.ragged import RaggedArray
from seqlab.data.row_encoder import encode_text
from seqlab.data.text_sampler import start_id
from seqlab.evaluation.likelihood import TextLikelihood
from seqlab.inference.lines import refuse_newlines
from seqlab.inference.torch_engine import refuse_different_vocabularies
from seqlab.models.spelling import SpellingModel
from seqlab.nn.precision import choose_device, choose_dtype, prepare_inference
from seqlab.runs.codecs import load_spelling
from seqlab.runs.load import LoadedRun, load_run
from seqlab.search.config import GenerationOptions
from seqlab.tasks.language_modelling.config import LANGUAGE_MODEL, LanguageModellingConfig
from seqlab.tasks.language_modelling.generator import Continuation, Generator, choose_search
from seqlab.tasks.language_modelling.streaming import OnText
from seqlab.tasks.language_modelling.text import Text
from seqlab.tasks.language_modelling.text_likelihood import (
    BlockwiseLikelihood,
    LineScore,
    added_items,
    join_prompts,
    line_score,
)
from seqlab.tasks.language_modelling.text_scorer import (
    LM_BATCH_TOKENS,
    CarryingScorer,
    ContextWindow,
    score_text,
    window_for_lines,
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Perplexity:
    """Result of `LanguageModel.perplexity`."""

    likelihood: TextLikelihood
    window: ContextWindow
    lines: list[LineScore] = field(repr=False)


class LanguageModel:
    """A language model or an ensemble, for perplexity, scoring and generation. Returned by `seqlab.load`."""

    def __init__(self, members: Sequence[LoadedRun], device: torch.device, dtype: torch.dtype) -> None:
        """Move the models to the device and set the dtype of their matrix products, in place.

        Raises:
            ValueError: the members differ in their vocabularies or in `data.documents`.
        """
        refuse_different_vocabularies(members)
        self.members, self.device = list(members), device
        first = members[0]
        self.tokenizer = first.tgt_tokenizer
        self.data = text_config(first)
        for member in members[1:]:
            if text_config(member).documents != self.data.documents:
                paths = f"{first.folder.path} and {member.folder.path}"
                raise ValueError(f"{paths} have different values of `data.documents`: they cannot form an ensemble.")
        if device.type == "cpu":
            prepare_heap()
        for member in members:
            prepare_inference(member.model, device, dtype)
        spellings = (load_spelling(member.folder) for member in members)
        self.spellings: list[SpellingModel] = [spelling for spelling in spellings if spelling is not None]
        self.start_id = start_id(self.data, self.tokenizer)

    def __repr__(self) -> str:
        return f"LanguageModel({self.members}, {self.device}, {self.tokenizer.vocab_size:,} ids)"

    @property
    def is_continuous(self) -> bool:
        """Whether lines form one text, so that a line is predicted from the lines before it."""
        return self.data.is_continuous

    @property
    def context_limit(self) -> int | None:
        """Shortest context length of the members in tokens; None if none of them has a limit."""
        limits = (member.context_limit for member in self.members)
        return min((limit for limit in limits if limit is not None), default=None)

    def choose_window(self, context: int | str | None = None, stride: int | None = None) -> ContextWindow:
        """Choose the context of each token: by default, blocks of the `block_length` used in training.

        If each line is a separate text, the window moves only over lines that are longer than the window.

        Args:
            context: length of the window in tokens, or `all` for all previous tokens.
            stride: number of tokens by which the window moves; each window scores as many. By default `context`, so
                that the windows are blocks without overlap.

        Raises:
            ValueError: `context` exceeds the context length of a model, or `context` or `stride` is invalid.
        """
        if context == "all":
            for member in self.members:
                if not isinstance(member.model, CarryingScorer):
                    raise ValueError(
                        f"{member.folder.path}: a `{member.config.model}` has a context of {member.max_length} tokens"
                        ": give a number as `context`, and a `stride` for a sliding window."
                    )
            if stride is not None:
                raise ValueError("`stride` needs a number as `context`, but `context` is `all`.")
            return ContextWindow(None, 1, not self.is_continuous)
        if isinstance(context, str):
            raise ValueError(f"`context` must be a number of tokens or `all`, but is `{context}` instead.")
        size = min(text_config(member).block_length for member in self.members) if context is None else context
        for member in self.members:
            limit = member.context_limit
            if limit is not None and size > limit:
                raise ValueError(f"{member.folder.path} has a context of {limit} tokens, but `context` is {size}.")
        return ContextWindow(size, size if stride is None else stride, not self.is_continuous)

    def perplexity(
        self,
        text: Text | str | Sequence[str],
        *,
        context: int | str | None = None,
        stride: int | None = None,
        batch_tokens: int = LM_BATCH_TOKENS,
        progress: ProgressCallback | None = None,
    ) -> Perplexity:
        """Measure the perplexity of a text and score each of its lines.

        A string is the content of a text file; a list holds its lines. For `context` and `stride` see `choose_window`.

        Raises:
            ValueError: the text is empty, or `choose_window` raises it.
        """
        if isinstance(text, str):
            blocks = list(Text.blocks(io.BytesIO(text.encode("utf-8", "surrogatepass")), "text"))
        else:
            blocks = [text if isinstance(text, Text) else Text.of(text)]
        if not any(block.lines for block in blocks):
            raise ValueError("The text is empty: it has no line to score.")
        lines: list[LineScore] = []
        window = self.choose_window(context, stride)
        likelihood = self.measure(blocks, window, batch_tokens=batch_tokens, progress=progress, on_line=lines.append)
        return Perplexity(likelihood, window, lines)

    def measure(
        self,
        blocks: Iterable[Text],
        window: ContextWindow,
        *,
        batch_tokens: int = LM_BATCH_TOKENS,
        progress: ProgressCallback | None = None,
        on_line: Callable[[LineScore], object] | None = None,
    ) -> TextLikelihood:
        """Measure the likelihood of a text that is read in blocks, in bounded memory.

        Args:
            blocks: lines, and parts of long lines, in order.
            window: the context of each token, from `choose_window`.
            batch_tokens: tokens per batch; affects memory and speed.
            progress: called after each batch with its number of tokens.
            on_line: called with the score of each line.

        Raises:
            ValueError: the text is empty.
        """
        text = BlockwiseLikelihood(
            [member.model for member in self.members],
            self.tokenizer,
            self.spellings,
            window,
            on_line,
            start_id=self.start_id,
            batch_tokens=batch_tokens,
            device=self.device,
            progress=progress,
        )
        for block in blocks:
            text.add(block)
        return text.finish()

    def score(
        self,
        lines: Sequence[str],
        prompts: Sequence[str] | None = None,
        *,
        batch_tokens: int = LM_BATCH_TOKENS,
        progress: ProgressCallback | None = None,
    ) -> list[LineScore]:
        """Score each line, including its end, at the beginning of a text or as the continuation of a prompt.

        If the tokens are words, a line starts with a new word. Otherwise it starts with a space if it starts with a new
        word: prompt and line are tokenized together, so a token may cross the end of the prompt. The score covers all
        ids after the longest common prefix with the ids of the prompt. Continuations of one prompt may have common
        prefixes of different lengths with it: to compare them, score prompt and continuation together as one line.

        A line that is longer than the model's context is read by a sliding window: each token has at least half of the
        context length, or all previous tokens of the line, as context. A warning gives the number of such lines.

        Raises:
            ValueError: the numbers of prompts and lines differ, or one contains a newline.
        """
        refuse_newlines(lines, "lines")
        prompts = [""] * len(lines) if prompts is None else prompts
        refuse_newlines(prompts, "prompts")
        if len(prompts) != len(lines):
            raise ValueError(f"`prompts` must have one entry per line ({len(lines)}), but has {len(prompts)}.")
        if not lines:
            return []
        texts = join_prompts(self.tokenizer, prompts, lines)
        rows = encode_text(self.tokenizer, texts)
        window = window_for_lines(np.diff(rows.offsets), self.context_limit)
        log_probs = self._log_probs(rows, window, batch_tokens, progress)
        scores = []
        for row, row_log_probs, text, prompt in zip(rows, log_probs, texts, prompts, strict=True):
            items = added_items(self.tokenizer, row[:-1].tolist(), text, prompt)
            unknown = [item for item in items if isinstance(item, str)]
            scored = row_log_probs[len(row_log_probs) - 1 - len(items) :]
            scores.append(line_score(scored, unknown, self.spellings))
        return scores

    def generate(
        self,
        prompts: Sequence[str] = ("",),
        *,
        num_samples: int = 1,
        stop: Sequence[str] = (),
        batch_rows: int = 64,
        first_prompt: int = 0,
        on_text: OnText | None = None,
        **search: Unpack[GenerationOptions],
    ) -> list[list[Continuation]]:
        """Continue each prompt: sample `num_samples` continuations, or run a beam search if `beam_size` is given.

        A sample depends on the seed, on the index of its prompt and on its index among the samples of the prompt. It
        does not depend on other prompts or on `batch_rows`.

        Args:
            prompts: texts to continue; an empty prompt starts a text. If a prompt exceeds the model's context, only its
                last tokens are read, with a warning.
            num_samples: number of sampled continuations per prompt.
            stop: texts that end a continuation after at least `min_length` ids; they are not part of it.
            batch_rows: continuations computed together; affects speed and memory.
            first_prompt: index of the first prompt, if the prompts are a part of a longer list.
            on_text: called with each new piece of text of the single continuation.
            search: fields of `SamplingConfig` (temperature, top_k, max_length, seed, ...) or, with beam_size, those of
                `SearchConfig`.

        Raises:
            ValueError: an argument is invalid, or a prompt contains a newline and the model was trained on lines.
        """
        generator = Generator(
            [member.stepper for member in self.members],
            self.tokenizer,
            self.start_id,
            is_continuous=self.is_continuous,
            limit=self.context_limit,
            device=self.device,
        )
        return generator.generate(
            prompts,
            choose_search(search),
            num_samples=num_samples,
            stop=stop,
            batch_rows=batch_rows,
            first_prompt=first_prompt,
            on_text=on_text,
        )

    def _log_probs(
        self, rows: RaggedArray, window: ContextWindow, batch_tokens: int, progress: ProgressCallback | None
    ) -> list[NDArray[np.float64]]:
        """Score the ids of rows, each a separate text; return the log-probabilities of each row."""
        log_probs = score_text(
            [member.model for member in self.members],
            rows.values,
            rows.offsets,
            window,
            start_id=self.start_id,
            batch_tokens=batch_tokens,
            device=self.device,
            progress=progress,
        )
        return np.split(log_probs, rows.offsets[1:-1])


def load_with_fp32_default(
    run: str | Path | Sequence[str | Path],
    checkpoint: str | Sequence[str] = "best",
    device: str = "auto",
    precision: str = "auto",
) -> LanguageModel:
    """Load a language model for `seqlab.load`, with `precision="auto"` as fp32; see `load_language_model`."""
    return load_language_model(run, checkpoint, device, "fp32" if precision == "auto" else precision)


def load_language_model(
    run: str | Path | Sequence[str | Path],
    checkpoint: str | Sequence[str] = "best",
    device: str = "auto",
    precision: str = "fp32",
) -> LanguageModel:
    """Load a language model; several runs or checkpoints with one vocabulary form an ensemble.

    The arguments are those of `seqlab.load`. The default precision is fp32, so that perplexities are comparable.
    """
    runs = [run] if isinstance(run, str | Path) else list(run)
    checkpoints = [checkpoint] if isinstance(checkpoint, str) else list(checkpoint)
    chosen_device = choose_device(device)
    members = [load_run(path, step, model_noun=LANGUAGE_MODEL) for path in runs for step in checkpoints]
    return LanguageModel(members, chosen_device, choose_dtype(precision, chosen_device))


def text_config(member: LoadedRun) -> LanguageModellingConfig:
    """Return the data section of the config of a language model run."""
    assert isinstance(member.config.data, LanguageModellingConfig), "load the run by its `model_noun`"
    return member.config.data
