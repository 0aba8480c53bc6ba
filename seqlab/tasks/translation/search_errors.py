"""Whose fault a wrong answer is: the search's, which missed something likelier, or the model's, which prefers it.

A search error: the reference has a higher score than the answer. A model error: the answer is not the reference, and
has the higher score. By beam size, and under exact search, which makes no search errors (Stahlberg & Byrne 2019,
D19-1331).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from seqlab.base.world import OnRows
from seqlab.data.sampler import collate_rows
from seqlab.inference.decode import evaluation_mode
from seqlab.inference.torch_engine import TorchEngine
from seqlab.search.config import SearchConfig
from seqlab.search.constraints import has_repeated_ngram
from seqlab.search.exact import MAX_STEPS_PER_SENTENCE, exact_search
from seqlab.search.hypothesis import Hypothesis
from seqlab.search.length import length_limits, length_penalty
from seqlab.tasks.translation.pairs import MeasuredPairs, measured_pairs
from seqlab.tasks.translation.run import Run
from seqlab.text import banned_ids

TOLERANCE = 1e-4
"""Scores that are nearer are equal: a reference is scored in one pass, a hypothesis step by step."""


@dataclass(frozen=True)
class SearchErrors:
    """How the answers of one search compare with the references."""

    beam_size: int | None
    """None for exact search."""
    right: int
    """Answers that are the reference, token for token."""
    search_errors: int
    model_errors: int
    beaten: int
    """Answers that exact search beats, where it was run and complete."""
    unknown: int = 0
    """Sentences on which exact search was run and not complete; they are counted nowhere else, of no search."""
    out_of_reach: int = 0
    """References that the search may not say, as its limits and bans are, or cannot, as the vocabulary lacks something
    of them; they are counted nowhere else."""
    unfinished: int = 0
    """Answers that a limit of the search cut off: among the search errors, for whatever has an end is better."""

    @property
    def num_pairs(self) -> int:
        """All pairs that were looked at."""
        return self.right + self.search_errors + self.model_errors + self.unknown + self.out_of_reach


def search_errors(
    run: Run,
    src_lines: Sequence[str],
    tgt_lines: Sequence[str],
    beam_sizes: Sequence[int],
    config: SearchConfig,
    *,
    exact: bool = False,
    max_steps: int = MAX_STEPS_PER_SENTENCE,
    locations: Sequence[str] | None = None,
    progress: OnRows | None = None,
) -> list[SearchErrors]:
    """Search each line with several beams, and perhaps exactly; pairs with an empty side are left out.

    Args:
        run: what `load` gave, with the torch engine and one process.
        src_lines: text without newlines.
        tgt_lines: as many references.
        beam_sizes: of the searches to compare.
        config: everything else of these searches, their length penalty among it.
        exact: whether to search exactly too, from the best answer of the beams on: for short outputs.
        max_steps: steps of the model for a sentence's exact search at most.
        locations: where each pair stands, for messages; `line 1` and so on unless given.
        progress: called with how many sentences a search has done.

    Raises:
        ValueError: a coverage penalty, which a reference has no score with; a run in bf16; errors of `measured_pairs`.
    """
    if config.coverage_penalty:
        raise ValueError("`coverage_penalty` must be 0 where search errors are counted: references have none.")
    pairs = measured_pairs(run, src_lines, tgt_lines, locations)
    if any(each.dtype == torch.bfloat16 for member in pairs.engine.members for each in member.model.parameters()):
        raise ValueError(
            "`precision` must be fp32 where search errors are counted: bf16 rounds the score of a pair in one pass "
            "otherwise than that of its steps."
        )
    if progress is not None:
        progress(pairs.left_out * (len(beam_sizes) + exact))
    config = config.with_limits(run.translator.output_limits)
    wanted, answers = _references(pairs, config), []
    for size in beam_sizes:
        search = replace(config, beam_size=size, num_hypotheses=1)
        answers.append([best[0] for best in pairs.engine.decode(pairs.src_rows, search, progress=progress)])
    best = _exact(pairs.engine, pairs.src_rows, config, answers, max_steps, progress) if exact else None
    compared = [count_search_errors(size, found, wanted, best) for size, found in zip(beam_sizes, answers, strict=True)]
    return compared if best is None else [*compared, count_search_errors(None, best, wanted, best)]


@dataclass(frozen=True)
class Wanted:
    """A reference."""

    ids: list[int]
    score: float
    is_in_reach: bool
    """Whether the search may and can say it."""


def _references(pairs: MeasuredPairs, config: SearchConfig) -> list[Wanted]:
    """Score the references as a search does."""
    limits = length_limits([len(row) + 1 for row in pairs.src_rows], len(pairs.src_rows), config)
    tokenizer, size = pairs.engine.tokenizer, config.no_repeat_ngram_size
    never_said = {*banned_ids(tokenizer), tokenizer.unk_id}
    wanted = []
    scored = pairs.engine.score(pairs.src_rows, pairs.tgt_rows)
    for row, found, shortest, longest in zip(pairs.tgt_rows, scored, *limits, strict=True):
        is_banned = not never_said.isdisjoint(row) or (size > 0 and has_repeated_ngram(row, size))
        is_in_reach = shortest <= len(row) + 1 <= longest and not is_banned
        wanted.append(Wanted(row, found.log_prob / length_penalty(found.num_tokens, config), is_in_reach))
    return wanted


def _exact(
    engine: TorchEngine,
    src_rows: Sequence[Sequence[int]],
    config: SearchConfig,
    answers: Sequence[Sequence[Hypothesis]],
    max_steps: int,
    progress: OnRows | None,
) -> list[Hypothesis | None]:
    """Give the best hypothesis of each row; None where the search was not complete."""
    tokenizer = engine.tokenizer
    found: list[Hypothesis | None] = [None] * len(src_rows)
    banned = banned_ids(tokenizer)
    with evaluation_mode(engine.model), torch.inference_mode():
        for i in range(len(src_rows)):
            finished = [each[i] for each in answers if each[i].finished]
            start = max(finished, key=lambda each: each.score, default=None)
            batch = collate_rows(src_rows, None, [i], tokenizer).to(engine.device)
            least = None if start is None else [start.score]
            (exact,) = exact_search(
                engine.stepper, batch, config, min_scores=least, banned_ids=banned, max_steps=max_steps
            )
            if exact.is_complete:
                found[i] = exact.best or start
            if progress is not None:
                progress(1)
    return found


def count_search_errors(
    beam_size: int | None,
    found: Sequence[Hypothesis | None],
    wanted: Sequence[Wanted],
    best: Sequence[Hypothesis | None] | None,
) -> SearchErrors:
    """Compare the answers of a search with the references, and with the best answers where these were searched for.

    A sentence whose best answer is not known counts for no search, so that the figures of all are of the same ones.
    """
    right = search = model = beaten = unknown = out_of_reach = unfinished = 0
    for i, (answer, reference) in enumerate(zip(found, wanted, strict=True)):
        rival = None if best is None else best[i]
        if not reference.is_in_reach:
            out_of_reach += 1
            continue
        if answer is None or (best is not None and rival is None):
            unknown += 1
            continue
        score = answer.score if answer.finished else -math.inf
        unfinished += not answer.finished
        if answer.finished and answer.ids == reference.ids:
            right += 1
        elif reference.score > score + TOLERANCE:
            search += 1
        else:
            model += 1
        beaten += rival is not None and rival.score > score + TOLERANCE
    return SearchErrors(beam_size, right, search, model, beaten, unknown, out_of_reach, unfinished)
