"""Training of tokenizers on the training text, without the held-out rows."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter

from seqlab.data.config import TokensConfig
from seqlab.data.corpus import Corpus, row_unit
from seqlab.data.input_hashes import corpus_key, hash_json
from seqlab.data.line_sample import LineSample
from seqlab.data.survey import PreparationProgress, Survey, no_progress, survey_corpus
from seqlab.data.workers import Workers, worker_count
from seqlab.data.workspace import KEY_CHARS, open_or_make_survey, workspace
from seqlab.text import FIRST_LABEL_ID, Tokenizer, TokenizerConfig, load_tokenizer, train_tokenizer
from seqlab.text.normalization import single_spaces
from seqlab.text.scripts import invisible_variants
from seqlab.text.transcripts import normalize_transcript

logger = logging.getLogger(__name__)

Side = Literal["src", "tgt", "both"]
TOKENIZER_CACHE_FORMAT = 2  # increase it when training on the same text gives a different tokenizer
SAMPLED_LINES = 1000
"""Maximum number of lines of each file to check for text without spaces between words."""
_CONFIG: TypeAdapter[TokenizerConfig] = TypeAdapter(TokenizerConfig)


def training_lines(
    config: TokensConfig,
    side: Side = "both",
    survey: Callable[[Corpus], Survey] = survey_corpus,
    on_progress: PreparationProgress = no_progress,
) -> Iterator[str]:
    """Return an iterator over the lines to train a tokenizer on: one or both sides, without the validation set.

    Empty lines are included. All corpora are surveyed before this function returns. Therefore, errors of corpora that
    cannot be read are raised here (as in `prepare`), and not during the training of the tokenizer.
    """
    surveys = [survey(corpus) for corpus in config.corpora("train")]
    held_out = None if config.corpora("valid") else config.hold_out(surveys).held_out_rows(surveys)
    total = sum(map(len, surveys))

    def lines() -> Iterator[str]:
        done = 0
        for number, corpus_survey in enumerate(surveys):
            start = stop = 0
            for block in corpus_survey.corpus.blocks():
                stop = start + len(block)
                if stop > len(corpus_survey):
                    break
                columns = list(block.lines())
                if config.has_single_spaces:
                    columns[0] = [single_spaces(line, has_tags=config.tokenizer.has_tags) for line in columns[0]]
                if config.text_form is not None:
                    columns = [[normalize_transcript(line, config.text_form) for line in lines] for lines in columns]
                sides = columns if side == "both" else [columns[0 if side == "src" else -1]]
                mask = [False] * len(block) if held_out is None else held_out[number][start:stop].tolist()
                for is_held_out, row in zip(mask, zip(*sides, strict=True), strict=True):
                    if not is_held_out:
                        yield from row
                start, done = stop, done + len(block)
                on_progress(f"{row_unit(len(columns))} used to train a tokenizer", done, total)
            if stop != len(corpus_survey):
                raise ValueError(f"{corpus_survey.corpus}: changed while it was being read.")

    return lines()


def train_or_load_tokenizer(
    config: TokensConfig,
    side: Side,
    cache: Path,
    on_progress: PreparationProgress = no_progress,
    *,
    is_text: bool = True,
) -> Tokenizer:
    """Train a tokenizer on the training text, or load it from the workspace of an interrupted call.

    Warns of text without spaces between words if it is divided into words. `is_text` is false for labels.

    Raises:
        FileNotFoundError, ValueError: as in `prepare` and `train_tokenizer`.
    """
    settings = config.tokenizers[side == "tgt"]
    existing = settings.load_existing()
    tokenizer = _train_or_reload(config, side, settings, cache, on_progress) if existing is None else existing
    if is_text and tokenizer.has_words:
        _warn_of_text_without_spaces(config.corpora("train"), side)
    return tokenizer


def _train_or_reload(
    config: TokensConfig, side: Side, settings: TokenizerConfig, cache: Path, on_progress: PreparationProgress
) -> Tokenizer:
    """Train a tokenizer, or load it from the workspace; see `train_or_load_tokenizer`."""
    corpora = config.corpora("train")
    made_from = [
        *(
            TOKENIZER_CACHE_FORMAT,
            side,
            _CONFIG.dump_python(settings, mode="json"),
            [corpus_key(corpus) for corpus in corpora],
        ),
        *(
            config.has_single_spaces,
            config.text_form,
            bool(config.corpora("valid")),
            [getattr(config, name) for name in config.split_fields],
        ),
    ]
    columns = [column for corpus in corpora for column in corpus.columns]
    with workspace(cache) as folder, Workers(worker_count(columns)) as workers:
        path = folder / "tokenizers" / hash_json(made_from)[:KEY_CHARS]
        try:
            return load_tokenizer(path)
        except ValueError:
            logger.info("Training a tokenizer.")
        lines = training_lines(
            config, side, lambda corpus: open_or_make_survey(corpus, folder, workers, on_progress), on_progress
        )
        tokenizer = train_tokenizer(settings, lines)
        if tokenizer.has_words:
            _warn_of_invisible_variants(tokenizer)
        tokenizer.save(path)
        return tokenizer


def _warn_of_text_without_spaces(corpora: Sequence[Corpus], side: Side) -> None:
    """Warn of files whose lines a tokenizer of words reads as one word each; streams can be read only once."""
    for corpus in corpora:
        if not any(column.is_stream for column in corpus.columns):
            columns = zip(*islice(corpus.rows(), SAMPLED_LINES), strict=True)
            named = list(zip(map(str, corpus.columns), columns, strict=False))
            for name, lines in {"src": named[:1], "tgt": named[-1:], "both": named}[side]:
                warn_of_undivided_words(name, lines)


def warn_of_undivided_words(name: str, lines: Sequence[str]) -> None:
    """Warn of a text for a tokenizer of words if it is written without spaces between words."""
    if LineSample(list(lines)).lacks_word_spaces:
        logger.warning(
            "%s is written without spaces between words, so that a tokenizer of `kind: words` reads each line as one "
            "word: choose `characters` or `bpe` (with labels: `data.labels_of: lines`), or divide the text into words",
            name,
        )


def _warn_of_invisible_variants(tokenizer: Tokenizer) -> None:
    """Warn of words that look equal to others, but have an invisible character, such as a byte order mark."""
    variants = invisible_variants(
        tokenizer.decode([[index] for index in range(FIRST_LABEL_ID, tokenizer.vocab_size)])  # the words
    )
    if variants:
        text = "%s words differ from others only in invisible characters (the first: %s): the vocabulary has both"
        logger.warning(text, f"{len(variants):,}", ascii(variants[0]))
