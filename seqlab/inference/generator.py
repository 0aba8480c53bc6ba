"""Prompts in, continuations out: by sampling or by search, through the same code for every family."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import torch

from seqlab.data.batch import prompts as prompt_batch
from seqlab.inference.decode import evaluation_mode
from seqlab.models.interfaces import Stepper
from seqlab.search.beam import beam_search
from seqlab.search.config import SearchConfig
from seqlab.search.ensemble import Ensemble
from seqlab.search.hypothesis import Hypothesis
from seqlab.search.sampling import sample
from seqlab.search.sampling_config import SamplingConfig
from seqlab.text import Tokenizer

logger = logging.getLogger(__name__)

OnText = Callable[[str], None]
UNFINISHED = "\ufffd"
"""What a character is decoded to while bytes of it are missing."""
LONGEST_CHARACTER = 4
"""Ids that a character may take: its bytes."""


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


@dataclass(frozen=True)
class Job:
    """One continuation to sample, or one prompt to search."""

    prompt: int
    """Which prompt, counted from 0."""
    number: int
    """What chooses its random numbers."""
    ids: list[int]
    """The prompt, with the id that a text begins with."""


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
        on_text: OnText | None = None,
        first_prompt: int = 0,
    ) -> list[list[Continuation]]:
        """Continue each prompt; see `LanguageModel.generate`."""
        for name, value in (("num_samples", num_samples), ("batch_rows", batch_rows)):
            if value < 1:
                raise ValueError(f"`{name}` must be at least 1, but is {value} instead.")
        if isinstance(search, SearchConfig) and (num_samples > 1 or stop):
            raise ValueError("`num_samples` and `stop` are for sampling: a beam search has `num_hypotheses`.")
        if any(not each for each in stop):
            raise ValueError("`stop` must hold texts of at least one character, but one is empty.")
        rows = [self._encode(prompt) for prompt in prompts]
        jobs = [
            Job(i, (first_prompt + i) * num_samples + k, ids) for i, ids in enumerate(rows) for k in range(num_samples)
        ]
        if on_text is not None and len(jobs) != 1:
            raise ValueError(f"`on_text` is told of a single continuation, but {len(jobs)} are asked for.")
        found: list[list[Continuation]] = [[] for _ in prompts]
        order = {}
        for group in _groups(jobs, batch_rows):
            for job, hypotheses in zip(group, self._run(group, search, stop, on_text), strict=True):
                order[job.number] = job.prompt, [self._continuation(job, each, stop) for each in hypotheses]
        for _, (prompt, continuations) in sorted(order.items()):
            found[prompt] += continuations
        return found

    def text_of(self, ids: Sequence[int]) -> str:
        """Decode ids; in a continuous text eos is the end of a line."""
        if not self.is_continuous:
            return self.tokenizer.decode([ids])[0]
        lines: list[list[int]] = [[]]
        for each in ids:
            if each == self.tokenizer.eos_id:
                lines.append([])
            else:
                lines[-1].append(each)
        return "\n".join(self.tokenizer.decode(lines))

    def _encode(self, prompt: str) -> list[int]:
        lines = prompt.split("\n")
        if len(lines) > 1 and not self.is_continuous:
            raise ValueError(
                "A prompt holds a newline, but the model has learnt single lines (`data.documents: lines`): give each "
                "line as a prompt of its own."
            )
        unknown = sorted({item for line in lines for item in self.tokenizer.unknown_items(line)})
        if unknown:
            shown = ", ".join(map(repr, unknown[:5])) + (" ..." if len(unknown) > 5 else "")
            logger.warning("the prompt has what the vocabulary does not have, it is read as unknown: %s", shown)
        ids = [self.start_id]
        for number, row in enumerate(self.tokenizer.encode(lines)):
            ids += [self.tokenizer.eos_id, *row] if number else row
        if self.limit is not None and len(ids) > self.limit:
            logger.warning(
                "a prompt has %d tokens, but the model looks back on %d: the first ones are not read",
                len(ids) - 1,
                self.limit,
            )
        return ids

    @torch.inference_mode()
    def _run(
        self, group: Sequence[Job], search: SamplingConfig | SearchConfig, stop: Sequence[str], on_text: OnText | None
    ) -> list[list[Hypothesis]]:
        batch = prompt_batch([job.ids for job in group]).to(self.device)
        with ExitStack() as modes:
            for model in self.models:
                modes.enter_context(evaluation_mode(model))
            if isinstance(search, SearchConfig):
                return beam_search(self.stepper, batch, search, banned_ids=self.banned_ids)
            told = None if on_text is None else Teller(self, group[0].ids, stop, on_text)
            samples = sample(
                self.stepper,
                batch,
                search,
                row_numbers=[job.number for job in group],
                banned_ids=self.banned_ids,
                ends_at_eos=not self.is_continuous,
                stop=self._stopper(stop),
                on_step=None if told is None else told.on_step,
            )
            if told is not None:
                told.finish()
        return [[each] for each in samples]

    def _stopper(self, stop: Sequence[str]) -> Callable[[list[int]], bool] | None:
        """Look for the stop texts in so many of the last ids as they can take."""
        if not stop:
            return None
        tail = LONGEST_CHARACTER * (max(map(len, stop)) + 1)

        def has_ended(ids: list[int]) -> bool:
            text = self.text_of(ids[-tail:])
            return any(each in text for each in stop)

        return has_ended

    def continuation_text(self, prompt_ids: Sequence[int], ids: Sequence[int], stop: Sequence[str]) -> str:
        """Give what generated ids add to the text of a prompt, up to the first stop text."""
        prompt = list(prompt_ids[1:])
        text = self.text_of([*prompt, *ids])[len(self.text_of(prompt)) :]
        return text[: min((place for each in stop if (place := text.find(each)) >= 0), default=len(text))]

    def _continuation(self, job: Job, hypothesis: Hypothesis, stop: Sequence[str]) -> Continuation:
        stopper = self._stopper(stop)
        stopped = stopper is not None and stopper(hypothesis.ids)
        text = self.continuation_text(job.ids, hypothesis.ids, stop)
        return Continuation(text, hypothesis.log_prob, hypothesis.num_tokens, hypothesis.finished or stopped)


class Teller:
    """Tell of a text as it grows: only what no later id can change."""

    def __init__(self, generator: Generator, prompt_ids: Sequence[int], stop: Sequence[str], on_text: OnText) -> None:
        self._generator, self._prompt_ids, self._stop, self._on_text = generator, prompt_ids, stop, on_text
        self._ids: list[int] = []
        self._told = 0

    def on_step(self, rows: list[int], ids: list[int]) -> None:
        """Hear of the ids that were drawn; the single row has one at each step."""
        self._ids += ids
        text = self._text()
        pending = next((size for size in range(len(text), 0, -1) if self._may_stop(text[-size:])), 0)
        safe = text[: len(text) - pending].rstrip(UNFINISHED)
        self._tell(safe)

    def finish(self) -> None:
        """Tell the rest."""
        self._tell(self._text())

    def _text(self) -> str:
        eos_id = self._generator.tokenizer.eos_id
        ids = self._ids if self._generator.is_continuous else [each for each in self._ids if each != eos_id]
        return self._generator.continuation_text(self._prompt_ids, ids, self._stop)

    def _may_stop(self, ending: str) -> bool:
        return any(each.startswith(ending) and each != ending for each in self._stop)

    def _tell(self, text: str) -> None:
        if len(text) > self._told:
            self._on_text(text[self._told :])
            self._told = len(text)


def _groups(jobs: Sequence[Job], batch_rows: int) -> Iterator[list[Job]]:
    """Group what has prompts of one length, which are read at once."""
    by_length: dict[int, list[Job]] = defaultdict(list)
    for job in jobs:
        by_length[len(job.ids)].append(job)
    for _, same in sorted(by_length.items()):
        for start in range(0, len(same), batch_rows):
            yield same[start : start + batch_rows]
