"""Translation task: train on pairs of lines, validate by reference likelihood and decoded outputs."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from seqlab.base.world import ProgressCallback, World
from seqlab.data.batch import Batch, Seq2SeqBatch
from seqlab.data.encoded import EncodedCorpus
from seqlab.data.prepare import PreparedData, open_prepared, prepare, read_valid_pairs
from seqlab.data.sampler import Seq2SeqSampler, ordered_batches
from seqlab.data.step import Position, TrainingStep
from seqlab.data.survey import PreparationProgress
from seqlab.data.tokenizer_training import Side, train_or_load_tokenizer
from seqlab.evaluation import evaluate
from seqlab.inference.decode import decode_text
from seqlab.inference.lines import replace_control_characters
from seqlab.models.unreachable_targets import LimitedModel
from seqlab.runs.codecs import load_codecs_for
from seqlab.runs.config import Config
from seqlab.runs.folder import RunFolder
from seqlab.runs.load import read_config
from seqlab.search.config import OutputLimits, SearchConfig
from seqlab.tasks.translation.config import TranslationConfig
from seqlab.tasks.translation.load_translator import load_translator
from seqlab.text import find_unknown
from seqlab.training.task import Codecs, Split, Task, rows_of
from seqlab.training.validation import (
    RunInTraining,
    Validation,
    inference_model,
    mean_nll,
    warn_of_unseen,
    warn_of_word_metric,
)

logger = logging.getLogger(__name__)

DECODED_METRICS = ("bleu", "chrf", "wer", "exact_match")
"""Metrics of each validation. The CER is computed on request only, as it is slow for long lines."""


def _data_config(config: Config) -> TranslationConfig:
    assert isinstance(config.data, TranslationConfig)
    return config.data


class TranslationTask(Task):
    """Pairs of lines, validated by the likelihood of the references and by metrics of decoded outputs."""

    batch_type = Seq2SeqBatch
    unit = "pairs"
    decodes = True

    def write_codecs(self, config: Config, folder: RunFolder, on_progress: PreparationProgress) -> dict[str, int]:
        """Train and save the tokenizers; return their vocabulary sizes by folder name."""
        data = _data_config(config)
        sides: dict[str, Side] = {"tokenizer": "both"}
        if not data.joint_vocabulary:
            sides = {"src_tokenizer": "src", "tgt_tokenizer": "tgt"}
        sizes = {}
        for name, side in sides.items():
            tokenizer = train_or_load_tokenizer(data, side, folder.cache, on_progress)
            tokenizer.save(folder.path / name)
            sizes[name] = tokenizer.vocab_size
        return sizes

    def prepare(
        self, config: Config, tokenizers: Codecs, cache: Path, on_progress: PreparationProgress | None
    ) -> PreparedData:
        """Encode, check and cache the corpora; without `on_progress`, open the cached ones."""
        data = _data_config(config)
        if on_progress is None:
            return open_prepared(data, tokenizers, cache)
        _check_tokenizers(config, tokenizers)
        prepared = prepare(data, tokenizers, cache, on_progress)
        if tokenizers[1].tag_ids:
            for pairs in (prepared.train, prepared.valid):
                _refuse_tagged_targets(pairs, tokenizers[1].tag_ids)
        if tokenizers[0].tag_ids:
            assert prepared.valid.src_text is not None, "validation pairs are cached with their text"
            message = "The tag %r is not in the training data: it is read as unknown"
            warn_of_unseen(prepared.valid, prepared.valid.src_text, tokenizers[0].unknown_tags, message)
            _warn_of_untagged("training", prepared.train, tokenizers[0].tag_ids)
            _warn_of_untagged("validation", prepared.valid, tokenizers[0].tag_ids)
        assert prepared.valid.tgt_text is not None, "validation pairs are cached with their text"
        warn_of_word_metric(config.training.valid_metric, prepared.valid.tgt_text.texts())
        _check_unreachable_targets("training", prepared.train, config)
        _check_unreachable_targets("validation", prepared.valid, config)
        search = _limited_search(config, prepared)
        _warn_of_long_targets("training", prepared.train, search)
        _warn_of_long_targets("validation", prepared.valid, search)
        return prepared

    def steps(
        self,
        data: PreparedData,
        config: Config,
        tokenizers: Codecs,
        world: World,
        after: Position | None,
    ) -> Iterator[TrainingStep[Batch]]:
        """Yield the training steps of this rank that follow a position."""
        sampler = Seq2SeqSampler(
            data.train, _data_config(config), config.seed, *tokenizers, rank=world.rank, world_size=world.world_size
        )
        return sampler.steps(after)

    def split_batches(
        self, data: PreparedData, config: Config, tokenizers: Codecs, split: Split
    ) -> Iterator[Seq2SeqBatch]:
        """Yield each pair of a split once, in batches of similar length."""
        return ordered_batches(rows_of(data, split), _data_config(config).micro_batch_tokens, tokenizers[1])

    def validate(self, run: RunInTraining, weights: dict[str, Tensor]) -> Validation:
        """Score and decode the validation set with the given weights; the model in training is not changed."""
        model, valid = inference_model(run, weights), run.data.valid
        batches = self.split_batches(run.data, run.config, run.codecs, "valid")
        nll = mean_nll(run, model, batches)
        src_rows = [valid.src[index] for index in range(len(valid))]
        search = _limited_search(run.config, run.data)

        unknown = None
        if _data_config(run.config).copy_unknown:
            assert valid.src_text is not None, "validation pairs are cached with their text"
            unknown = find_unknown(run.src_tokenizer, valid.src_text.texts())

        def decode(indices: list[int], on_rows: ProgressCallback | None) -> list[tuple[str, bool]]:
            rows, device = [src_rows[i] for i in indices], run.device_context.device
            row_unknown = None if unknown is None else [unknown[i] for i in indices]
            return decode_text(model, rows, search, run.tgt_tokenizer, unknown=row_unknown, device=device)

        decoded = run.device_context.world.map_rows([len(row) for row in src_rows], decode)
        hypotheses = [replace_control_characters(text)[0] for text, _ in decoded]  # as `translate` does
        cut = sum(not finished for _, finished in decoded)
        if cut and run.device_context.world.is_main:
            # Not a warning: early in training, many outputs do not end with eos.
            logger.info("validation: %s of %s outputs reached the length limit", f"{cut:,}", f"{len(decoded):,}")
        assert valid.tgt_text is not None, "validation pairs are cached with their text"
        # Normalized like outputs; unknown words are kept, so that they count as errors.
        normalize = run.tgt_tokenizer.normalize
        references = [[normalize(text) for text in rows.texts()] for rows in (valid.tgt_text, *run.data.references)]
        names = dict.fromkeys([*DECODED_METRICS, str(run.config.training.valid_metric)])
        metrics = [name for name in names if name != "nll"]
        return Validation(evaluate(hypotheses, references, metrics), nll)

    def validation_predictions(self, run_dir: Path) -> Iterator[dict[str, Any]]:
        """Yield each validation source with its translation and its target."""
        config, pairs = _read_config_and_pairs(run_dir)
        run = load_translator(run_dir, device=config.training.device)
        sources = [src for src, _ in pairs]
        translations = run.translator.translate(sources, config.training.valid_search, need_scores=False)
        for (src, tgt), translation in zip(pairs, translations, strict=True):
            yield {"src": src, "prediction": translation.text, "target": tgt}

    def sample_outputs(self, run_dir: Path, checkpoint: str, rows: Sequence[int]) -> Iterator[dict[str, Any]]:
        """Yield the translations of some validation sources, with the attention of models that have it."""
        config, pairs = _read_config_and_pairs(run_dir)
        sampled_pairs = [pairs[row] for row in rows]
        translator = load_translator(run_dir, checkpoint, config.training.device).translator
        sources, search = [src for src, _ in sampled_pairs], config.training.valid_search
        try:
            translations = translator.translate(sources, search, need_scores=False, need_attention=True)
        except ValueError:  # the model has no attention
            translations = translator.translate(sources, search, need_scores=False)
        for (src, tgt), translation in zip(sampled_pairs, translations, strict=True):
            pieces = [asdict(alignment) for alignment in translation.alignments or []]
            yield {"src": src, "prediction": translation.text, "target": tgt, "pieces": pieces}

    def training_texts(self, run_dir: Path) -> Iterator[str]:
        """Yield the training targets, from the cache of the run."""
        folder = RunFolder(run_dir)
        data = _data_config(read_config(folder))
        tokenizers = load_codecs_for(folder, data)
        for row in open_prepared(data, tokenizers, folder.cache).train.tgt:
            yield from tokenizers[1].decode([row.tolist()])

    def describe(self, data: PreparedData) -> dict[str, Any]:
        """Return the notes of the data and the output length limit."""
        return data.notes() | {"output_bound": data.output_bound}


def _read_config_and_pairs(run_dir: Path) -> tuple[Config, list[tuple[str, str]]]:
    """Read the config and the validation pairs of a run."""
    folder = RunFolder(run_dir)
    config = read_config(folder)
    data = _data_config(config)
    return config, read_valid_pairs(data, load_codecs_for(folder, data), folder.cache)


def _limited_search(config: Config, data: PreparedData) -> SearchConfig:
    """Return the search config of validation, with the length limits of the model and its training data."""
    longest = config.model.context_limit or config.training.valid_search.max_length
    return config.training.valid_search.with_limits(OutputLimits(longest, **data.output_bound))


def _warn_of_long_targets(name: str, pairs: EncodedCorpus, search: SearchConfig) -> None:
    """Warn of pairs with targets that are longer than the output limit of the search."""
    src_lengths, indices = np.unique(pairs.src.lengths + 1, return_inverse=True)
    max_lengths = np.array([search.max_length_for(length) for length in src_lengths.tolist()])
    is_too_long = pairs.tgt.lengths + 1 > max_lengths[indices]
    if count := int(is_too_long.sum()):
        logger.warning(
            "%s of %s %s pairs have targets that are longer than the output limit: raise `model.max_length`, or "
            "`max_length`, `max_length_ratio` or `max_length_offset` of `training.valid_search` and of `translate`; "
            "the first: %s.",
            f"{count:,}",
            f"{len(is_too_long):,}",
            name,
            pairs.locate(int(is_too_long.argmax())),
        )


def _check_tokenizers(config: Config, tokenizers: Codecs) -> None:
    """Raise ValueError if a tokenizer copied from `init_from` does not support the config."""
    if _data_config(config).copy_unknown and not tokenizers[1].has_unknown:
        raise ValueError(
            "`data.copy_unknown` needs a tokenizer with unknown words, but the one copied from `init_from` encodes "
            "every text: leave it out."
        )
    config.model.check_sides(*tokenizers)


def _refuse_tagged_targets(pairs: EncodedCorpus, tag_ids: range) -> None:
    """Raise ValueError if a target has tags."""
    if (are_tagged := pairs.tgt.contains_any(tag_ids)).any():
        location = pairs.locate(int(are_tagged.argmax()))
        raise ValueError(f"{location}: its target has tags after a tab: name one column of targets.")


def _warn_of_untagged(name: str, pairs: EncodedCorpus, tag_ids: range) -> None:
    """Warn of pairs without tags in their source."""
    has_none = ~pairs.src.contains_any(tag_ids)
    if count := int(has_none.sum()):
        message = "%s of %s %s pairs have no tags after a tab in their source (is a column missing?); the first: %s."
        logger.warning(message, f"{count:,}", f"{len(has_none):,}", name, pairs.locate(int(has_none.argmax())))


def _check_unreachable_targets(name: str, pairs: EncodedCorpus, config: Config) -> None:
    """Warn of pairs with targets that the model cannot output; raise ValueError if no pair contributes to the loss."""
    if not isinstance(config.model, LimitedModel):
        return
    unreachable = config.model.unreachable_targets(
        pairs.src.lengths + 1, pairs.tgt.lengths, pairs.tgt.count_repetitions
    )
    if unreachable is None or not unreachable.mask.any():
        return
    if unreachable.yield_no_loss and unreachable.mask.all():
        raise ValueError(
            f"All {len(unreachable.mask):,} {name} pairs {unreachable.reason}: are source and target swapped?"
        )
    first = pairs.locate(int(unreachable.mask.argmax()))
    logger.warning(
        "%s of %s %s pairs %s; the first: %s.",
        f"{int(unreachable.mask.sum()):,}",
        f"{len(unreachable.mask):,}",
        name,
        unreachable.reason,
        first,
    )
