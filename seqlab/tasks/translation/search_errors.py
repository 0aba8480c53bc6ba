"""Search errors and model errors by beam size, and under exact search (Stahlberg & Byrne 2019, D19-1331).

A search error: the reference has a higher score than the output. A model error: the output differs from the reference
and has the higher score. Exact search makes no search errors.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from seqlab.base.world import ProgressCallback
from seqlab.data.sampler import collate_rows
from seqlab.inference.torch_engine import TorchEngine
from seqlab.search.config import SearchConfig
from seqlab.search.constraints import has_repeated_ngram
from seqlab.search.exact import MAX_STEPS_PER_SENTENCE, exact_search
from seqlab.search.hypothesis import Hypothesis
from seqlab.search.length import length_limits, length_penalty
from seqlab.search.search import evaluation_mode
from seqlab.tasks.translation.encoded_pairs import EncodedPairs, encode_for_stepper
from seqlab.tasks.translation.run import Run
from seqlab.text import banned_ids

TOLERANCE = 1e-4
"""Scores within this difference are equal: a reference is scored in one pass, a hypothesis step by step."""


@dataclass(frozen=True)
class SearchErrors:
    """Comparison of the outputs of one search with the references."""

    beam_size: int | None
    """None for exact search."""
    right: int
    """Outputs that equal the reference, token by token."""
    search_errors: int
    """Outputs with a lower score than the reference."""
    model_errors: int
    """Other outputs that differ from the reference."""
    beaten: int
    """Outputs with a lower score than the result of exact search, if it was run."""
    unknown: int = 0
    """Sentences for which exact search did not complete; they are not in the other counts."""
    out_of_reach: int = 0
    """References that the search cannot produce, because of its limits, banned tokens, or tokens that are not in the
    vocabulary; they are not in the other counts."""
    unfinished: int = 0
    """Outputs that were cut at a length limit; they count as search errors."""

    @property
    def num_pairs(self) -> int:
        """Number of all pairs."""
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
    progress: ProgressCallback | None = None,
) -> list[SearchErrors]:
    """Count search errors and model errors for several beam sizes, and optionally exact search.

    Pairs with an empty side are left out.

    Args:
        run: a loaded run with the torch engine and one process.
        src_lines: text without newlines.
        tgt_lines: as many references, without newlines.
        beam_sizes: beam sizes to compare.
        config: the other settings of the searches, such as the length penalty.
        exact: whether to run exact search, too, starting from the best output of the beams; for short outputs.
        max_steps: maximum model steps of exact search per sentence.
        locations: source location of each pair, for messages; `line 1`, `line 2`, ... by default.
        progress: called with numbers of finished sentences of each search.

    Raises:
        ValueError: there is a coverage penalty, the run is in bf16, or `encode_for_stepper` raises it.
    """
    if config.coverage_penalty:
        raise ValueError("`coverage_penalty` must be 0 to count search errors: references are scored without it.")
    pairs = encode_for_stepper(run, src_lines, tgt_lines, locations)
    if any(
        parameter.dtype == torch.bfloat16 for member in pairs.engine.members for parameter in member.model.parameters()
    ):
        raise ValueError(
            "`precision` must be fp32 to count search errors: in bf16 the score of a pair in one pass differs from "
            "the sum over its steps."
        )
    if progress is not None:
        progress(pairs.num_left_out * (len(beam_sizes) + exact))
    config = config.with_limits(run.translator.output_limits)
    references, outputs = _score_references(pairs, config), []
    for size in beam_sizes:
        search = replace(config, beam_size=size, num_hypotheses=1)
        outputs.append([best[0] for best in pairs.engine.decode(pairs.src_rows, search, progress=progress)])
    best = _search_exactly(pairs.engine, pairs.src_rows, config, outputs, max_steps, progress) if exact else None
    errors = [
        count_search_errors(size, hypotheses, references, best)
        for size, hypotheses in zip(beam_sizes, outputs, strict=True)
    ]
    return errors if best is None else [*errors, count_search_errors(None, best, references, best)]


@dataclass(frozen=True)
class ScoredReference:
    """A reference and its score under the model."""

    ids: list[int]
    score: float
    is_reachable: bool
    """Whether the search can produce it."""


def _score_references(pairs: EncodedPairs, config: SearchConfig) -> list[ScoredReference]:
    """Score the references with the length penalty of the search."""
    limits = length_limits([len(row) + 1 for row in pairs.src_rows], len(pairs.src_rows), config)
    tokenizer, size = pairs.engine.tokenizer, config.no_repeat_ngram_size
    impossible = {*banned_ids(tokenizer), tokenizer.unk_id}
    references = []
    scored = pairs.engine.score(pairs.src_rows, pairs.tgt_rows)
    for row, scored_pair, shortest, longest in zip(pairs.tgt_rows, scored, *limits, strict=True):
        is_banned = not impossible.isdisjoint(row) or (size > 0 and has_repeated_ngram(row, size))
        is_reachable = shortest <= len(row) + 1 <= longest and not is_banned
        references.append(
            ScoredReference(row, scored_pair.log_prob / length_penalty(scored_pair.num_tokens, config), is_reachable)
        )
    return references


def _search_exactly(
    engine: TorchEngine,
    src_rows: Sequence[Sequence[int]],
    config: SearchConfig,
    outputs: Sequence[Sequence[Hypothesis]],
    max_steps: int,
    progress: ProgressCallback | None,
) -> list[Hypothesis | None]:
    """Find the best hypothesis of each row by exact search; None if the search did not complete."""
    tokenizer = engine.tokenizer
    best_outputs: list[Hypothesis | None] = [None] * len(src_rows)
    banned = banned_ids(tokenizer)
    with evaluation_mode(engine.model), torch.inference_mode():
        for i in range(len(src_rows)):
            finished = [output[i] for output in outputs if output[i].finished]
            start = max(finished, key=lambda hypothesis: hypothesis.score, default=None)
            batch = collate_rows(src_rows, None, [i], tokenizer).to(engine.device)
            min_scores = None if start is None else [start.score]
            (exact,) = exact_search(
                engine.stepper, batch, config, min_scores=min_scores, banned_ids=banned, max_steps=max_steps
            )
            if exact.is_complete:
                best_outputs[i] = exact.best or start
            if progress is not None:
                progress(1)
    return best_outputs


def count_search_errors(
    beam_size: int | None,
    outputs: Sequence[Hypothesis | None],
    references: Sequence[ScoredReference],
    best: Sequence[Hypothesis | None] | None,
) -> SearchErrors:
    """Compare the outputs of a search with the references and, if given, with the `best` outputs of exact search.

    A sentence for which exact search did not complete is left out for all searches, so that they are compared on the
    same sentences.
    """
    correct = search_errors = model_errors = worse = unknown = unreachable = unfinished = 0
    for i, (output, reference) in enumerate(zip(outputs, references, strict=True)):
        exact = None if best is None else best[i]
        if not reference.is_reachable:
            unreachable += 1
            continue
        if output is None or (best is not None and exact is None):
            unknown += 1
            continue
        score = output.score if output.finished else -math.inf
        unfinished += not output.finished
        if output.finished and output.ids == reference.ids:
            correct += 1
        elif reference.score > score + TOLERANCE:
            search_errors += 1
        else:
            model_errors += 1
        worse += exact is not None and exact.score > score + TOLERANCE
    return SearchErrors(beam_size, correct, search_errors, model_errors, worse, unknown, unreachable, unfinished)
