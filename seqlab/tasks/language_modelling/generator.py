"""Text generation: continue prompts by sampling or beam search, with any autoregressive language model."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch

from seqlab.data.batch import collate_prompts
from seqlab.inference.lines import continues_word, distinct_texts, is_divided_anew, refuse_non_strings
from seqlab.runs.fields import fields_of
from seqlab.runs.validate import ConfigError, build
from seqlab.search.config import SamplingConfig, SearchConfig
from seqlab.search.ensemble import Ensemble
from seqlab.search.hypothesis import Hypothesis
from seqlab.search.protocols import Stepper
from seqlab.search.sampling import sample
from seqlab.search.search import SearchRequest, evaluation_mode, select_search
from seqlab.tasks.language_modelling.streaming import Detokenizer, OnText, TextStreamer
from seqlab.text import Tokenizer

logger = logging.getLogger(__name__)

SEEDS_PER_PROMPT = 1 << 32
"""Random seeds reserved for the samples of each prompt, so that samples do not depend on `num_samples`."""


@dataclass(frozen=True)
class Continuation:
    """One continuation of a prompt."""

    text: str
    """Text after the prompt."""
    log_prob: float
    """Log-probability of all generated tokens under the unmodified model, in nats."""
    num_tokens: int
    finished: bool
    """Whether the continuation ends at eos or before a stop text; if not, it was cut at the maximum length."""
    control_characters: int
    """Control characters replaced by spaces in `text`; in continuous text they are kept."""
    truncated: bool
    """Whether the prompt is longer than the model's context, so that its first tokens were ignored."""


@dataclass(frozen=True)
class GenerationJob:
    """One continuation to sample, or one prompt to run a beam search on."""

    prompt: int
    """Index of the prompt, from 0."""
    seed: int
    """Seed of the random numbers of the sample."""
    ids: list[int]
    """The start id and the ids of the prompt."""

    @property
    def prompt_ids(self) -> list[int]:
        """Ids of the prompt without the start id."""
        return self.ids[1:]


def choose_search(fields: Mapping[str, Any]) -> SamplingConfig | SearchConfig:
    """Build the config of beam search if `beam_size` is given, else of sampling.

    Raises:
        ConfigError: a field has an invalid value, or does not apply.
    """
    is_search = "beam_size" in fields
    for name in fields:
        can_sample, can_search = (name in fields_of(config) for config in (SamplingConfig, SearchConfig))
        if is_search and can_sample and not can_search:
            raise ConfigError(name, f"`{name}` is for sampling, but `beam_size` is for beam search: leave one out.")
        if not is_search and can_search and not can_sample:
            raise ConfigError(name, f"`{name}` is for beam search: give `beam_size`, too.")
    if is_search:
        return build(SearchConfig, dict(fields))
    return build(SamplingConfig, dict(fields))


class Generator:
    """Continue prompts with a model or an ensemble."""

    def __init__(
        self,
        models: Sequence[Stepper],
        tokenizer: Tokenizer,
        start_id: int,
        *,
        is_continuous: bool,
        limit: int | None,
        device: torch.device,
    ) -> None:
        """Store models over one vocabulary; `limit` is the length of their context in tokens, None for no limit."""
        self.models, self.tokenizer, self.start_id = list(models), tokenizer, start_id
        self.is_continuous, self.limit, self.device = is_continuous, limit, device
        self.stepper: Stepper = models[0] if len(models) == 1 else Ensemble(models)
        self.banned_ids = (tokenizer.pad_id, tokenizer.bos_id, tokenizer.unk_id)

    def generate(
        self,
        prompts: Sequence[str],
        search: SamplingConfig | SearchConfig,
        *,
        num_samples: int = 1,
        stop: Sequence[str] = (),
        batch_rows: int = 64,
        first_prompt: int = 0,
        on_text: OnText | None = None,
    ) -> list[list[Continuation]]:
        """Continue each prompt; see `LanguageModel.generate`."""
        _check_request(prompts, search, num_samples, stop, batch_rows, on_text)
        if not self.is_continuous and any("\n" in text for text in stop):
            raise ValueError(
                "`stop` contains a newline, but the model was trained on single lines (`data.documents: lines`) and "
                "ends each continuation at the end of its line: leave it out."
            )
        rows = [self._encode(prompt, number) for number, prompt in enumerate(prompts, start=first_prompt + 1)]
        jobs = [
            GenerationJob(i, (first_prompt + i) * SEEDS_PER_PROMPT + k, ids)
            for i, ids in enumerate(rows)
            for k in range(num_samples)
        ]
        min_length = search.min_length if isinstance(search, SamplingConfig) else 0
        detokenizer = Detokenizer(self.tokenizer, stop, min_length, is_continuous=self.is_continuous)
        done = {}
        for group in self._batches(jobs, batch_rows):
            for job, continuations in zip(group, self._run(group, search, detokenizer, on_text), strict=True):
                done[job.seed] = continuations
        by_prompt: list[list[Continuation]] = [[] for _ in prompts]
        for job in jobs:
            by_prompt[job.prompt] += done[job.seed]
        self._warn_of_continued_words(prompts, by_prompt)
        return by_prompt

    def _warn_of_continued_words(self, prompts: Sequence[str], continuations: Sequence[Sequence[Continuation]]) -> None:
        """Warn of continuations of the last word of a prompt in other tokens than those of the word in training."""
        pairs = [
            (prompt, prompt + continuation.text)
            for prompt, some in zip(prompts, continuations, strict=True)
            for continuation in some
        ]
        seams = [
            (prompt.rpartition("\n")[2], text[prompt.rfind("\n") + 1 :].partition("\n")[0]) for prompt, text in pairs
        ]
        unusual = [seam for seam in seams if continues_word(*seam) and is_divided_anew(*seam, self.tokenizer)]
        if unusual:
            logger.warning(
                "%d of %d continuations continue the last word of their prompt, such as `%s` in `%s`, in other tokens "
                "than in training: end prompts with complete words",
                len(unusual),
                len(pairs),
                unusual[0][0].split()[-1],
                unusual[0][1],
            )

    def _encode(self, prompt: str, number: int) -> list[int]:
        """Return the start id and the ids of a prompt; `number` is for messages."""
        lines = prompt.split("\n")
        if len(lines) > 1 and not self.is_continuous:
            raise ValueError(
                f"Prompt {number} contains a newline, but the model was trained on single lines (`data.documents: "
                "lines`): pass each line as a separate prompt."
            )
        unknown = sorted({item for line in lines for item in self.tokenizer.unknown_items(line)})
        if unknown:
            shown = ", ".join(map(repr, unknown[:5])) + (" ..." if len(unknown) > 5 else "")
            logger.warning("prompt %d: not in the vocabulary, read as unknown: %s", number, shown)
        if prompt.endswith(" ") and self._ends_in_separate_space(lines[-1]):
            logger.warning(
                "prompt %d ends with a space, but the tokens of this model include the space before a word: leave it "
                "out to continue with a new word",
                number,
            )
        ids = []
        for row in self.tokenizer.encode(lines):
            ids += [self.tokenizer.eos_id, *row]
        if self._is_too_long(ids):
            logger.warning(
                "prompt %d has %d tokens, but the model's context is %d tokens: the first ones are ignored",
                number,
                len(ids) - 1,
                self.limit,
            )
        return [self.start_id, *ids[1:]]

    def _ends_in_separate_space(self, line: str) -> bool:
        """Return whether the last space of a line is a token that a word after it would not have."""
        ids, with_word = self.tokenizer.encode([line, f"{line}a"])
        return ids != with_word[: len(ids)]

    def _batches(self, jobs: Sequence[GenerationJob], batch_rows: int) -> Iterator[list[GenerationJob]]:
        """Group jobs into batches of prompts of one length; the continuations all begin a line, or none does."""
        groups: dict[tuple[int, bool], list[GenerationJob]] = defaultdict(list)
        for job in jobs:
            groups[len(job.ids), self._begins_line(job)].append(job)
        for _, group in sorted(groups.items()):
            for start in range(0, len(group), batch_rows):
                yield group[start : start + batch_rows]

    def _begins_line(self, job: GenerationJob) -> bool:
        """Return whether the continuation begins a line."""
        return job.ids[-1] == self.start_id

    @torch.inference_mode()
    def _run(
        self,
        group: Sequence[GenerationJob],
        search: SamplingConfig | SearchConfig,
        detokenizer: Detokenizer,
        on_text: OnText | None,
    ) -> list[list[Continuation]]:
        """Sample or search the continuations of one batch of jobs."""
        batch = collate_prompts([job.ids for job in group]).to(self.device)
        streamer = None if on_text is None else TextStreamer(detokenizer, group[0].prompt_ids, on_text)
        with ExitStack() as modes:
            for model in self.models:
                modes.enter_context(evaluation_mode(model))
            if isinstance(search, SearchConfig):
                request = SearchRequest(batch, banned_ids=self.banned_ids)
                outputs = select_search(self.stepper, search)(self.stepper, search, request)
            else:
                samples = sample(
                    self.stepper,
                    batch,
                    search,
                    row_numbers=[job.seed for job in group],
                    prior_ids=batch.tgt_in[:, 1:],
                    banned_ids=self.banned_ids,
                    ends_at_eos=not self.is_continuous,
                    stop=detokenizer.stop_condition(self._begins_line(group[0])),
                    on_step=None if streamer is None else streamer.on_step,
                )
                outputs = [[sample] for sample in samples]
        continuations = [
            distinct_texts(self._continuation(job, hypothesis, detokenizer) for hypothesis in hypotheses)
            for job, hypotheses in zip(group, outputs, strict=True)
        ]
        if streamer is not None:
            streamer.finish(continuations[0][0].text)
        return continuations

    def _continuation(self, job: GenerationJob, hypothesis: Hypothesis, detokenizer: Detokenizer) -> Continuation:
        if hypothesis.finished:
            text, has_ended = detokenizer.continuation(job.prompt_ids, hypothesis.ids), True
        else:
            text, has_ended = detokenizer.until_stop(job.prompt_ids, hypothesis.ids)
        printable, control_characters = detokenizer.printable(text)
        truncated = self._is_too_long(job.ids)
        return Continuation(
            printable, hypothesis.log_prob, hypothesis.num_tokens, has_ended, control_characters, truncated
        )

    def _is_too_long(self, ids: Sequence[int]) -> bool:
        return self.limit is not None and len(ids) > self.limit + 1


def _check_request(
    prompts: Sequence[str],
    search: SamplingConfig | SearchConfig,
    num_samples: int,
    stop: Sequence[str],
    batch_rows: int,
    on_text: OnText | None,
) -> None:
    """Raise ValueError for invalid arguments."""
    for name, texts in (("prompts", prompts), ("stop", stop)):
        refuse_non_strings(texts, name)
    for name, value in (("num_samples", num_samples), ("batch_rows", batch_rows)):
        if value < 1:
            raise ValueError(f"`{name}` must be at least 1, but is {value} instead.")
    if not all(stop):
        raise ValueError("`stop` must contain texts of at least one character, but one is empty.")
    if isinstance(search, SearchConfig) and (num_samples > 1 or stop or on_text is not None):
        raise ValueError(
            "`num_samples`, `stop` and `on_text` are for sampling: beam search has `num_hypotheses`, and ends at the "
            "end of the line."
        )
    if on_text is not None and len(prompts) * num_samples != 1:
        raise ValueError(f"`on_text` needs exactly one continuation, but {len(prompts) * num_samples} are requested.")
