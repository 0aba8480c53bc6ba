"""A trained language model, ready to be used: how likely a text is, and how it goes on."""

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
from seqlab.base.world import OnRows
from seqlab.data.ragged import RaggedArray
from seqlab.data.row_encoder import encode_text
from seqlab.data.text_sampler import start_id
from seqlab.evaluation.likelihood import TextLikelihood
from seqlab.inference.lines import refuse_newlines
from seqlab.inference.torch_engine import refuse_different_vocabularies
from seqlab.models.interfaces import CarryingScorer
from seqlab.models.spelling import SpellingModel
from seqlab.nn.precision import choose_device, choose_dtype, prepare_inference
from seqlab.runs.codecs import load_spelling
from seqlab.runs.load import LoadedRun, load_run
from seqlab.search.config import GenerationOptions
from seqlab.tasks.language_modelling.config import LANGUAGE_MODEL, LanguageModellingConfig
from seqlab.tasks.language_modelling.generator import Continuation, Generator, choose_search
from seqlab.tasks.language_modelling.streaming import OnText
from seqlab.tasks.language_modelling.text import Text
from seqlab.tasks.language_modelling.text_likelihood import LikelihoodOfBlocks, LineScore, added_items, line_score
from seqlab.tasks.language_modelling.text_scorer import LM_BATCH_TOKENS, Reading, reading_of_lines, score_text

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Perplexity:
    """What `LanguageModel.perplexity` found."""

    likelihood: TextLikelihood
    reading: Reading
    lines: list[LineScore] = field(repr=False)


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
        self.data = text_config(first)
        for member in members[1:]:
            if text_config(member).documents != self.data.documents:
                paths = f"{first.folder.path} and {member.folder.path}"
                raise ValueError(f"{paths} read text differently (`data.documents`): they cannot be an ensemble.")
        if device.type == "cpu":
            prepare_heap()
        for member in members:
            prepare_inference(member.model, device, dtype)
        spellings = (load_spelling(member.folder) for member in members)
        self.spellings: list[SpellingModel] = [each for each in spellings if each is not None]
        self.start_id = start_id(self.data, self.tokenizer)

    def __repr__(self) -> str:
        return f"LanguageModel({self.members}, {self.device}, {self.tokenizer.vocab_size:,} ids)"

    @property
    def is_continuous(self) -> bool:
        """Whether lines belong to one text, so that each is predicted from those before it."""
        return self.data.is_continuous

    @property
    def context_limit(self) -> int | None:
        """Tokens that all members look back on; None where each remembers all that it has read."""
        limits = (member.context_limit for member in self.members)
        return min((limit for limit in limits if limit is not None), default=None)

    def reading(self, context: int | str | None = None, stride: int | None = None) -> Reading:
        """Choose what tokens are predicted from: blocks of the training's length unless said otherwise.

        Lines that are texts of their own are cut into blocks too where they are longer.

        Args:
            context: tokens read at once, or `all` for everything before.
            stride: how many of them are new, and scored; the context unless given, which makes blocks.

        Raises:
            ValueError: a model looks back on fewer tokens.
        """
        if context == "all":
            for member in self.members:
                if not isinstance(member.model, CarryingScorer):
                    raise ValueError(
                        f"{member.folder.path}: a `{member.config.model.family}` looks back on {member.max_length} "
                        "tokens at most: give `context` a number, and a `stride` for a sliding window."
                    )
            if stride is not None:
                raise ValueError("`stride` is for a `context` of so many tokens, not for `all`.")
            return Reading(None, 1, not self.is_continuous)
        if isinstance(context, str):
            raise ValueError(f"`context` must be a number of tokens or `all`, but is `{context}` instead.")
        size = min(text_config(member).block_length for member in self.members) if context is None else context
        for member in self.members:
            limit = member.context_limit
            if limit is not None and size > limit:
                raise ValueError(f"{member.folder.path} looks back on {limit} tokens, but `context` is {size}.")
        return Reading(size, size if stride is None else stride, not self.is_continuous)

    def perplexity(
        self,
        text: Text | str | Sequence[str],
        *,
        context: int | str | None = None,
        stride: int | None = None,
        batch_tokens: int = LM_BATCH_TOKENS,
        progress: OnRows | None = None,
    ) -> Perplexity:
        """Measure how likely a text is; `reading` explains the arguments. Each line gets a score of its own.

        One string is a whole text, as a file would hold it; in a list, each is a line.

        Raises:
            ValueError: the text is empty, or what `reading` raises.
        """
        if isinstance(text, str):
            blocks = list(Text.blocks(io.BytesIO(text.encode("utf-8", "surrogatepass")), "text"))
        else:
            blocks = [text if isinstance(text, Text) else Text.of(text)]
        if not any(block.lines for block in blocks):
            raise ValueError("The text is empty: it holds no line to score.")
        lines: list[LineScore] = []
        reading = self.reading(context, stride)
        found = self.measure(blocks, reading, batch_tokens=batch_tokens, progress=progress, on_line=lines.append)
        return Perplexity(found, reading, lines)

    def measure(
        self,
        blocks: Iterable[Text],
        reading: Reading,
        *,
        batch_tokens: int = LM_BATCH_TOKENS,
        progress: OnRows | None = None,
        on_line: Callable[[LineScore], object] | None = None,
    ) -> TextLikelihood:
        """Measure how likely a text is that comes in blocks, which need not fit into memory together.

        Args:
            blocks: lines, and parts of lines, in order.
            reading: what `reading` gave.
            batch_tokens: tokens that are scored together: memory and speed.
            progress: called with how many more tokens are done.
            on_line: called with the score of each line.

        Raises:
            ValueError: the text is empty.
        """
        text = LikelihoodOfBlocks(
            [member.model for member in self.members],
            self.tokenizer,
            self.spellings,
            reading,
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
        progress: OnRows | None = None,
    ) -> list[LineScore]:
        """Score each line as the beginning of a text, or as what goes on after its prompt; its end is counted.

        A prompt and its continuation are segmented together, so that a word may go on where the prompt ends; what is
        scored is all that follows the ids which they share with the prompt alone. Continuations of one prompt may share
        different numbers of ids with it: to compare them, score each whole, the prompt in front of it.

        A line that is longer than a model looks back is read by a sliding window: each token is given at least half of
        that many tokens before it, where there are as many. A warning counts such lines.

        Raises:
            ValueError: there are not as many prompts as lines, or one holds a newline.
        """
        refuse_newlines(lines, "lines")
        prompts = [""] * len(lines) if prompts is None else prompts
        refuse_newlines(prompts, "prompts")
        if len(prompts) != len(lines):
            raise ValueError(f"`prompts` must have one entry per line ({len(lines)}), but has {len(prompts)}.")
        if not lines:
            return []
        whole = [prompt + line for prompt, line in zip(prompts, lines, strict=True)]
        rows = encode_text(self.tokenizer, whole)
        reading = reading_of_lines(np.diff(rows.offsets), self.context_limit)
        log_probs = self._log_probs(rows, reading, batch_tokens, progress)
        scores = []
        for row, own, text, prompt in zip(rows, log_probs, whole, prompts, strict=True):
            items = added_items(self.tokenizer, row[:-1].tolist(), text, prompt)
            unknown = [each for each in items if isinstance(each, str)]
            scores.append(line_score(own[len(own) - 1 - len(items) :], unknown, self.spellings))
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
        """Continue each prompt: `num_samples` random continuations, or with `beam_size` the best hypotheses.

        A sample depends on the seed, on the number of its prompt and on its own number among the prompt's samples: not
        on what else is generated, nor on `batch_rows`.

        Args:
            prompts: what the text begins with; an empty one begins a text. Of one that is longer than the model looks
                back the last tokens are read, with a warning.
            num_samples: random continuations of each prompt.
            stop: texts that end a continuation, which does not hold them, once it has `min_length` ids.
            batch_rows: continuations computed together: speed and memory.
            first_prompt: the number of the first prompt, for those that are a part of more.
            on_text: told of the text of a single continuation as it comes.
            search: fields of `SamplingConfig`: temperature, top_k, max_length, seed, ...; or, with beam_size, those of
                `SearchConfig`.

        Raises:
            ValueError: an argument is impossible, or a prompt holds a newline and the model has learnt single lines.
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
        self, rows: RaggedArray, reading: Reading, batch_tokens: int, progress: OnRows | None
    ) -> list[NDArray[np.float64]]:
        """Score the ids of rows, each a text of its own; give the log-probabilities row by row."""
        log_probs = score_text(
            [member.model for member in self.members],
            rows.values,
            rows.offsets,
            reading,
            start_id=self.start_id,
            batch_tokens=batch_tokens,
            device=self.device,
            progress=progress,
        )
        return np.split(log_probs, rows.offsets[1:-1])


def load(
    run: str | Path | Sequence[str | Path],
    checkpoint: str | Sequence[str] = "best",
    device: str = "auto",
    precision: str = "auto",
) -> LanguageModel:
    """Load a language model as `seqlab.load` does: as `load_language_model`, but `auto` is fp32."""
    return load_language_model(run, checkpoint, device, "fp32" if precision == "auto" else precision)


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
    members = [load_run(path, step, product=LANGUAGE_MODEL) for path in runs for step in checkpoints]
    return LanguageModel(members, chosen, choose_dtype(precision, chosen))


def text_config(member: LoadedRun) -> LanguageModellingConfig:
    """Return the data section of a language model's run."""
    assert isinstance(member.config.data, LanguageModellingConfig), "load the run by its `product`"
    return member.config.data
