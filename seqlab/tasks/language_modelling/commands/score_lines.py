"""Score lines (`seqlab score` for language models)."""

import logging
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from seqlab.base.world import ProgressCallback, World
from seqlab.commands import UsageError
from seqlab.inference.lines import exit_status
from seqlab.inference.options import given_options
from seqlab.inference.score_command import ScoreOptions, read_score_inputs, write_scores
from seqlab.tasks.language_modelling.commands import load_language_models

if TYPE_CHECKING:
    from seqlab.tasks.language_modelling.text_likelihood import LineScore

logger = logging.getLogger(__name__)


def score_lines(options: ScoreOptions, world: World) -> int:
    """Score each line by itself, or as the continuation of its prompt; return the exit status."""
    from seqlab.tasks.language_modelling.text_likelihood import join_prompts

    for name, is_given in (
        ("engine", options.engine != "torch"),
        ("quantization", options.quantization is not None),
        ("processes", options.processes is not None),
    ):
        if is_given:
            raise UsageError(f"{options.runs[0]} is a language model, which has no option `--{name}`")
    model = load_language_models(options, world, precision=options.in_fp32().precision)

    num_lines: Counter[str] = Counter()

    def score(
        prompts: Sequence[str] | None, lines: Sequence[str], locations: Sequence[str], advance: ProgressCallback | None
    ) -> "list[LineScore]":
        contexts = [""] * len(lines) if prompts is None else prompts
        if options.likeliest:  # only scores of complete texts are comparable, see `LanguageModel.score`
            lines = join_prompts(model.tokenizer, contexts, lines)
            contexts = [""] * len(lines)

        def compute(indices: list[int], on_rows: ProgressCallback | None) -> "list[LineScore]":
            scores = model.score(
                [lines[i] for i in indices], [contexts[i] for i in indices], **given_options(options, "batch_tokens")
            )
            if on_rows is not None:
                on_rows(len(indices))
            return scores

        scores = world.map_rows([len(line) for line in lines], compute, advance)
        num_lines["scored"] += len(scores)
        num_lines["unknown"] += sum(bool(line_score.unknown) for line_score in scores)
        return scores

    limit = options.line_limit()
    write_scores(options, world, score, read_score_inputs(options, limit))
    if num_lines["unknown"] and world.is_main:
        treatment = "scored by their spelling" if model.spellings else "not scored, as the run has no spelling model"
        logger.warning("%d of %d lines have unknown words: %s", num_lines["unknown"], num_lines["scored"], treatment)
    return world.broadcast(exit_status(limit))
