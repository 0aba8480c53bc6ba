"""Prompts in, continuations out: by sampling or by search, through the same code for every family."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch

from seqlab.data.batch import collate_prompts
from seqlab.inference.decode import evaluation_mode
from seqlab.inference.lines import refuse_non_strings
from seqlab.models.interfaces import Stepper
from seqlab.runs.fields import fields_of
from seqlab.runs.validate import ConfigError, build
from seqlab.search.config import SamplingConfig, SearchConfig
from seqlab.search.ensemble import Ensemble
from seqlab.search.hypothesis import Hypothesis
from seqlab.search.sampling import sample
from seqlab.search.search import SearchRequest, select_search
from seqlab.tasks.language_modelling.streaming import OnText, Teller, Wording
from seqlab.text import Tokenizer

logger = logging.getLogger(__name__)

SAMPLES = 1 << 32
"""Numbers that each prompt has for its samples, so that they do not depend on how many are drawn."""


@dataclass(frozen=True)
class Continuation:
    """How a prompt goes on."""

    text: str
    """What follows the prompt, without it."""
    log_prob: float
    """The model's own, in nats, of all that was generated."""
    num_tokens: int
    finished: bool
    """Whether the model ended the text, or a stop text did; if not, the maximum length was reached."""
    control_characters: int
    """How many of them became spaces in `text`; in running text they stay."""
    truncated: bool
    """Whether the prompt is longer than the model looks back, so that its first tokens were not read."""


@dataclass(frozen=True)
class Job:
    """One continuation to sample, or one prompt to search."""

    prompt: int
    """Which prompt, counted from 0."""
    number: int
    """What chooses its random numbers."""
    ids: list[int]
    """The prompt, behind the id that a text begins with."""

    @property
    def prompt_ids(self) -> list[int]:
        return self.ids[1:]


def choose_search(fields: Mapping[str, Any]) -> SamplingConfig | SearchConfig:
    """Build what generates: sampling, or the search that `beam_size` asks for; raises ConfigError for other fields."""
    searches = "beam_size" in fields
    for name in fields:
        can_sample, can_search = (name in fields_of(config) for config in (SamplingConfig, SearchConfig))
        if searches and can_sample and not can_search:
            raise ConfigError(name, f"`{name}` is for sampling, but `beam_size` searches: leave one of them out.")
        if not searches and can_search and not can_sample:
            raise ConfigError(name, f"`{name}` is for beam search: give `beam_size` too.")
    if searches:
        return build(SearchConfig, dict(fields))
    return build(SamplingConfig, dict(fields))


class Generator:
    """Continue prompts with one model, or with several that decide together."""

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
        """Take models over one vocabulary; `limit` is how many tokens they look back on, None for all."""
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
                "`stop` holds a newline, but the model has learnt single lines (`data.documents: lines`), each of "
                "which it ends by itself: leave it out."
            )
        rows = [self._encode(prompt, number) for number, prompt in enumerate(prompts, start=first_prompt + 1)]
        jobs = [Job(i, (first_prompt + i) * SAMPLES + k, ids) for i, ids in enumerate(rows) for k in range(num_samples)]
        min_length = search.min_length if isinstance(search, SamplingConfig) else 0
        wording = Wording(self.tokenizer, stop, min_length, is_continuous=self.is_continuous)
        done = {}
        for group in self._groups(jobs, batch_rows):
            for job, continuations in zip(group, self._run(group, search, wording, on_text), strict=True):
                done[job.number] = continuations
        found: list[list[Continuation]] = [[] for _ in prompts]
        for job in jobs:
            found[job.prompt] += done[job.number]
        return found

    def _encode(self, prompt: str, number: int) -> list[int]:
        """Give a prompt's ids behind the one that a text begins with; `number` is for messages."""
        lines = prompt.split("\n")
        if len(lines) > 1 and not self.is_continuous:
            raise ValueError(
                f"Prompt {number} holds a newline, but the model has learnt single lines (`data.documents: "
                "lines`): give each line as a prompt of its own."
            )
        unknown = sorted({item for line in lines for item in self.tokenizer.unknown_items(line)})
        if unknown:
            shown = ", ".join(map(repr, unknown[:5])) + (" ..." if len(unknown) > 5 else "")
            logger.warning("prompt %d has what the vocabulary lacks, it is read as unknown: %s", number, shown)
        ids = []
        for row in self.tokenizer.encode(lines):
            ids += [self.tokenizer.eos_id, *row]
        if self._is_too_long(ids):
            logger.warning(
                "prompt %d has %d tokens, but the model looks back on %d: the first ones are not read",
                number,
                len(ids) - 1,
                self.limit,
            )
        return [self.start_id, *ids[1:]]

    def _groups(self, jobs: Sequence[Job], batch_rows: int) -> Iterator[list[Job]]:
        """Group what is read at once and ends alike: prompts of one length, which all end with a line or none does."""
        alike: dict[tuple[int, bool], list[Job]] = defaultdict(list)
        for job in jobs:
            alike[len(job.ids), self._begins_line(job)].append(job)
        for _, group in sorted(alike.items()):
            for start in range(0, len(group), batch_rows):
                yield group[start : start + batch_rows]

    def _begins_line(self, job: Job) -> bool:
        return job.ids[-1] == self.start_id

    @torch.inference_mode()
    def _run(
        self, group: Sequence[Job], search: SamplingConfig | SearchConfig, wording: Wording, on_text: OnText | None
    ) -> list[list[Continuation]]:
        batch = collate_prompts([job.ids for job in group]).to(self.device)
        told = None if on_text is None else Teller(wording, group[0].prompt_ids, on_text)
        with ExitStack() as modes:
            for model in self.models:
                modes.enter_context(evaluation_mode(model))
            if isinstance(search, SearchConfig):
                request = SearchRequest(batch, banned_ids=self.banned_ids)
                found = select_search(self.stepper, search)(self.stepper, search, request)
            else:
                samples = sample(
                    self.stepper,
                    batch,
                    search,
                    row_numbers=[job.number for job in group],
                    said=batch.tgt_in[:, 1:],
                    banned_ids=self.banned_ids,
                    ends_at_eos=not self.is_continuous,
                    stop=wording.stopper(self._begins_line(group[0])),
                    on_step=None if told is None else told.on_step,
                )
                found = [[each] for each in samples]
        continuations = [
            [self._continuation(job, each, wording) for each in hypotheses]
            for job, hypotheses in zip(group, found, strict=True)
        ]
        if told is not None:
            told.finish(continuations[0][0].text)
        return continuations

    def _continuation(self, job: Job, hypothesis: Hypothesis, wording: Wording) -> Continuation:
        if hypothesis.finished:
            text, has_ended = wording.added(job.prompt_ids, hypothesis.ids), True
        else:
            text, has_ended = wording.cut(job.prompt_ids, hypothesis.ids)
        shown, control_characters = wording.shown(text)
        truncated = self._is_too_long(job.ids)
        return Continuation(shown, hypothesis.log_prob, hypothesis.num_tokens, has_ended, control_characters, truncated)

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
    """Raise ValueError for what cannot be generated."""
    for name, texts in (("prompts", prompts), ("stop", stop)):
        refuse_non_strings(texts, name)
    for name, value in (("num_samples", num_samples), ("batch_rows", batch_rows)):
        if value < 1:
            raise ValueError(f"`{name}` must be at least 1, but is {value} instead.")
    if not all(stop):
        raise ValueError("`stop` must hold texts of at least one character, but one is empty.")
    if isinstance(search, SearchConfig) and (num_samples > 1 or stop or on_text is not None):
        raise ValueError(
            "`num_samples`, `stop` and `on_text` are for sampling: a beam search has `num_hypotheses`, and ends "
            "with the line."
        )
    if on_text is not None and len(prompts) * num_samples != 1:
        raise ValueError(f"`on_text` is told of one continuation, but {len(prompts) * num_samples} are asked for.")
