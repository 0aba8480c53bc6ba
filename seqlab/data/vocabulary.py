"""What a run's tokenizers learn from: the training text without what is held out of it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter

from seqlab.data.config import PairsConfig
from seqlab.data.inputs import corpus_key, key_of
from seqlab.data.parallel import ParallelCorpus
from seqlab.data.survey import OnProgress, Survey, ValidationSplit, no_progress, survey
from seqlab.data.workers import Workers, worker_count
from seqlab.data.workspace import KEY_CHARS, kept_survey, workspace
from seqlab.text import Tokenizer, TokenizerConfig, load_tokenizer, train_tokenizer

logger = logging.getLogger(__name__)

Side = Literal["src", "tgt", "both"]
FORMAT = 1  # raise when the same text would be learnt from differently
_CONFIG: TypeAdapter[TokenizerConfig] = TypeAdapter(TokenizerConfig)


def training_corpora(config: PairsConfig) -> list[ParallelCorpus]:
    return [ParallelCorpus.from_specs(src, tgt) for src, tgt in zip(config.train_src, config.train_tgt, strict=True)]


def training_lines(
    config: PairsConfig,
    side: Side = "both",
    surveyor: Callable[[ParallelCorpus], Survey] = survey,
    on_progress: OnProgress = no_progress,
) -> Iterator[str]:
    """Yield the lines that a tokenizer may learn from: `src`, `tgt` or `both` in turn, without the validation set.

    Everything is surveyed before this returns, so that a corpus that cannot be read is an error here (as in `prepare`)
    and not inside the tokenizer's training.
    """
    surveys = [surveyor(corpus) for corpus in training_corpora(config)]
    split = None
    if config.valid_src is None:
        split = ValidationSplit.choose(surveys, config.valid_fraction, config.valid_max_pairs, config.valid_fold)
    total = sum(map(len, surveys))

    def lines() -> Iterator[str]:
        done = 0
        for each in surveys:
            start = 0
            for block in each.corpus.blocks():
                held_out = split.holds(each.src_hashes[start : start + len(block)]).tolist() if split else None
                src, tgt = block.lines()
                start, done = start + len(block), done + len(block)
                lines = [src, tgt] if side == "both" else [src if side == "src" else tgt]
                for index, pair in enumerate(zip(*lines, strict=True)):
                    if held_out is None or not held_out[index]:
                        yield from pair
                on_progress("pairs learnt from", done, total)

    return lines()


def learn_tokenizer(config: PairsConfig, side: Side, cache: Path, on_progress: OnProgress = no_progress) -> Tokenizer:
    """Train a tokenizer on the training text, or load what a set-up that was killed before `cache` was made learnt.

    Raises:
        FileNotFoundError, ValueError: as `prepare`, and as `train_tokenizer`.
    """
    settings = config.tokenizers[side == "tgt"]
    if (existing := settings.existing()) is not None:
        return existing
    corpora = training_corpora(config)
    made_from = [
        *(FORMAT, side, _CONFIG.dump_python(settings, mode="json"), [corpus_key(each) for each in corpora]),
        *(config.valid_src is None, config.valid_fraction, config.valid_max_pairs),
    ]
    if config.valid_fold is not None:  # what was learnt before there was such a field keeps its key
        made_from.append(config.valid_fold)
    columns = [side for corpus in corpora for side in corpus.sides]
    with workspace(cache) as folder, Workers(worker_count(columns)) as workers:
        place = folder / "tokenizers" / key_of(made_from)[:KEY_CHARS]
        try:
            return load_tokenizer(place)
        except ValueError:
            logger.info("Learning a vocabulary.")
        lines = training_lines(
            config, side, lambda corpus: kept_survey(corpus, folder, workers, on_progress), on_progress
        )
        tokenizer = train_tokenizer(settings, lines)
        tokenizer.save(place)
        return tokenizer
