"""Labeling task: train on lines with labels, validate by label accuracy and likelihood."""

import logging
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from seqlab.base.world import ProgressCallback, World
from seqlab.data.batch import Batch, LabelledBatch
from seqlab.data.column import line_locations
from seqlab.data.columns import parse_column
from seqlab.data.conll import looks_like_header
from seqlab.data.conllu import OPTIONAL_COLUMNS, UNKNOWN
from seqlab.data.encoded import EncodedCorpus
from seqlab.data.labels import (
    label_numbers,
    note_doubtful_labels,
    refuse_label_names,
    refuse_tokens_as_lines,
    warn_of_labels,
)
from seqlab.data.parallel_text import has_tabs
from seqlab.data.prepare import PreparedData, open_prepared, prepare, read_valid_pairs
from seqlab.data.sampler import LabeledSampler, ordered_labeled_batches
from seqlab.data.step import Position, TrainingStep
from seqlab.data.survey import PreparationProgress
from seqlab.data.tokenizer_training import Side, train_or_load_tokenizer
from seqlab.evaluation import evaluate, nll_per_tgt_token
from seqlab.runs.codecs import load_codecs_for
from seqlab.runs.config import Config
from seqlab.runs.folder import RunFolder
from seqlab.runs.load import read_config
from seqlab.tasks.labelling.config import ENTITY_METRICS, LabellingConfig
from seqlab.tasks.labelling.text_labeler import Labeller, label_and_score, load_labeler
from seqlab.text import Tokenizer, label_names
from seqlab.training.task import Codecs, OutputKind, Split, Task, rows_of
from seqlab.training.validation import RunInTraining, Validation, inference_model, warn_of_unseen

logger = logging.getLogger(__name__)
SAMPLE_LINES = 1000
"""Number of training lines to check for text without spaces between words."""


def _data_config(config: Config) -> LabellingConfig:
    assert isinstance(config.data, LabellingConfig)
    return config.data


class LabellingTask(Task):
    """Labels of lines or of their words, validated by accuracy, macro F1 and the label likelihood."""

    batch_type = LabelledBatch
    unit = "lines"
    needs = (Labeller,)

    def write_codecs(self, config: Config, folder: RunFolder, on_progress: PreparationProgress) -> dict[str, int]:
        """Train and save the tokenizers; return their vocabulary sizes by folder name."""
        return {f"{side}_tokenizer": _train_tokenizer(side, config, folder, on_progress) for side in ("src", "tgt")}

    def complete_codecs(self, config: Config, folder: RunFolder, on_progress: PreparationProgress) -> None:
        """Complete the tokenizers copied from `init_from`.

        The tokenizer of a language model becomes the source tokenizer. A new label vocabulary is built unless all
        weights of the model are copied.
        """
        joint = folder.path / "tokenizer"
        if joint.is_dir():
            joint.rename(folder.path / "src_tokenizer")
            shutil.rmtree(folder.spelling, ignore_errors=True)  # only language models need a spelling model
        if config.init_parts == "matching" or not (folder.path / "tgt_tokenizer").is_dir():
            _train_tokenizer("tgt", config, folder, on_progress)

    def prepare(
        self, config: Config, tokenizers: Codecs, cache: Path, on_progress: PreparationProgress | None
    ) -> PreparedData:
        """Encode, check and cache the corpora; without `on_progress`, open the cached ones."""
        data = _data_config(config)
        config.model.check_sides(*tokenizers)
        if data.labels_of == "words" and not tokenizers[0].has_words:
            raise ValueError(
                "`data.labels_of: words` needs a tokenizer of kind `words`, but the one copied from `init_from` has "
                "another kind."
            )
        if data.labels_of == "words" and " " in tokenizers[0].normalize("x´y"):
            raise ValueError(
                "`data.labels_of: words` needs a normalization that does not split words, but the tokenizer copied "
                "from `init_from` normalizes text to `nfkc`, which splits some of them: choose another run."
            )
        if on_progress is None:
            return open_prepared(data, tokenizers, cache)
        if data.labels_of == "lines" and config.training.valid_metric in ENTITY_METRICS:
            raise ValueError(
                f"`training.valid_metric: {config.training.valid_metric}` needs labels of words: set `data.labels_of: "
                "words`, or choose another metric."
            )
        if data.labels_of == "words":
            for corpus in [*data.corpora("train"), *data.corpora("valid")]:
                refuse_tokens_as_lines(corpus, corpus.rows())
        prepared = prepare(data, tokenizers, cache, on_progress)
        assert prepared.valid.tgt_text is not None, "validation pairs are cached with their text"
        message = "The label %r is not in the training data: it counts as an error in metrics, but not in `nll`"
        warn_of_unseen(prepared.valid, prepared.valid.tgt_text, tokenizers[1].unknown_items, message)
        if len(names := label_names(tokenizers[1])) == 1:
            logger.warning("The training data has only one label, %r: check that this is the right column", names[0])
        warn_of_labels(names)
        note_doubtful_labels(names)
        _warn_of_text(config, prepared.train, tokenizers[0])
        _warn_of_headers(data)
        _warn_of_tabs(data)
        if UNKNOWN in names:
            _warn_of_unannotated(data)
        if (prepared.valid.tgt.values == tokenizers[1].unk_id).all():
            raise ValueError(
                f"No label of the validation set is in the training data ({prepared.valid.locate(0)}): use a "
                "validation set with known labels, or hold out more lines (`data.valid_fraction`)."
            )
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
        sampler = LabeledSampler(
            data.train, _data_config(config), config.seed, *tokenizers, rank=world.rank, world_size=world.world_size
        )
        return sampler.steps(after)

    def split_batches(
        self, data: PreparedData, config: Config, tokenizers: Codecs, split: Split
    ) -> Iterator[LabelledBatch]:
        """Yield each line of a split once, in batches of similar length."""
        batch_tokens = _data_config(config).micro_batch_tokens
        return ordered_labeled_batches(rows_of(data, split), batch_tokens, tokenizers)

    def count(self, run: RunInTraining) -> Iterator[str]:
        """Fit a count-based model to the training data; yield lines for the log."""
        pairs = run.data.train
        words = torch.from_numpy(pairs.src.values.astype("int64"))
        run.model.count(words, torch.from_numpy(label_numbers(pairs.tgt.values, run.tgt_tokenizer)))
        yield f"words: {int((run.model.counts.sum(1) > 0).sum()):,}, in {len(words):,} occurrences"

    def validate(self, run: RunInTraining, weights: dict[str, Tensor]) -> Validation:
        """Label the validation set and compute metrics and the likelihood of its labels."""
        model, valid = inference_model(run, weights), run.data.valid
        batches = list(self.split_batches(run.data, run.config, run.codecs, "valid"))
        names = label_names(run.tgt_tokenizer)

        def label_batches(numbers: list[int], on_rows: ProgressCallback | None) -> list[tuple[list[str], float]]:
            with torch.inference_mode():
                return [label_and_score(model, batches[i].to(run.device_context.device), names) for i in numbers]

        results = run.device_context.world.map_rows([batch.src.numel() for batch in batches], label_batches)
        hypotheses = [""] * len(valid)
        for batch, (lines, _) in zip(batches, results, strict=True):
            for index, line in zip(batch.indices.tolist(), lines, strict=True):
                hypotheses[index] = line
        nll = nll_per_tgt_token(-sum(score for _, score in results), sum(batch.num_tgt_tokens for batch in batches))
        assert valid.tgt_text is not None, "validation pairs are cached with their text"
        metric_names = dict.fromkeys([*run.config.data.task_metrics, str(run.config.training.valid_metric)])
        metrics = [name for name in metric_names if name != "nll"]
        references = [run.tgt_tokenizer.normalize(text) for text in valid.tgt_text.texts()]
        scores = evaluate(hypotheses, [references], metrics)
        return Validation(scores, nll, "nll_per_label")

    def constant_scores(self, run: RunInTraining) -> dict[str, float]:
        """Return the accuracy of the most frequent label of the training data."""
        most_frequent = np.bincount(run.data.train.tgt.values).argmax()
        return {"accuracy": 100 * float((run.data.valid.tgt.values == most_frequent).mean())}

    def validation_predictions(self, run_dir: Path) -> Iterator[dict[str, Any]]:
        """Yield each validation line with its predicted and its target labels."""
        yield from _label_pairs(run_dir, "best", slice(None))

    def sample_outputs(self, run_dir: Path, checkpoint: str, rows: Sequence[int]) -> Iterator[dict[str, Any]]:
        """Yield the labels of some validation lines."""
        yield from _label_pairs(run_dir, checkpoint, rows)

    def output_kind(self, config: Config) -> OutputKind:
        """Return whether lines or their words have labels."""
        return "label" if _data_config(config).labels_of == "lines" else "labels of words"

    def training_texts(self, run_dir: Path) -> Iterator[str]:
        """Yield the training lines, from the cache of the run."""
        folder = RunFolder(run_dir)
        data = _data_config(read_config(folder))
        tokenizers = load_codecs_for(folder, data)
        for row in open_prepared(data, tokenizers, folder.cache).train.src:
            yield from tokenizers[0].decode([row.tolist()])


def _label_pairs(run_dir: Path, checkpoint: str, rows: Sequence[int] | slice) -> Iterator[dict[str, Any]]:
    """Yield validation lines with their predicted and their target labels."""
    folder = RunFolder(run_dir)
    config = read_config(folder)
    data = _data_config(config)
    pairs = read_valid_pairs(data, load_codecs_for(folder, data), folder.cache)
    sampled_pairs = pairs[rows] if isinstance(rows, slice) else [pairs[row] for row in rows]
    labeler = load_labeler(run_dir, checkpoint, config.training.device)
    predictions = labeler.label([line for line, _ in sampled_pairs])
    for (line, target), prediction in zip(sampled_pairs, predictions, strict=True):
        yield {"src": line, "prediction": prediction, "target": target}


def _train_tokenizer(side: Side, config: Config, folder: RunFolder, on_progress: PreparationProgress) -> int:
    """Train and save the tokenizer of one side; return its vocabulary size."""
    data = _data_config(config)
    tokenizer = train_or_load_tokenizer(data, side, folder.cache, on_progress, is_text=side == "src")
    if side == "tgt" and data.labels_of == "lines":
        refuse_label_names(label_names(tokenizer), data.corpora("train"))
    tokenizer.save(folder.path / f"{side}_tokenizer")
    return tokenizer.vocab_size


def _warn_of_text(config: Config, train: EncodedCorpus, tokenizer: Tokenizer) -> None:
    """Warn of text that the model cannot read as a person does."""
    data = _data_config(config)
    longest = int(train.src.lengths.max())
    if data.labels_of == "words" and longest == 1:
        logger.warning(
            "Each line has one word, so that the model sees no other words. If the lines are the words of sentences, "
            "put each sentence on a line, or use a .conll file with empty lines between sentences"
        )
    limit = config.model.context_limit or longest
    if longest > limit:
        logger.warning(
            "The longest training line has %s tokens, but `seqlab label` reads at most `model.encoder.max_length` (%s) "
            "at once and splits longer lines: raise it to read lines as in training",
            f"{longest:,}",
            f"{limit:,}",
        )


def _warn_of_headers(data: LabellingConfig) -> None:
    """Warn of files whose first line names the columns, but is read as a text with its label."""
    for corpus in data.corpora("train"):
        first = next(corpus.rows(), None)
        if first is not None and looks_like_header(first):
            [location] = corpus.locations(0, 1)
            text = "%s: looks like a header (%s), but is trained like any other line: remove it, or name the columns"
            logger.warning(text, location, ", ".join(first))


def _warn_of_tabs(data: LabellingConfig) -> None:
    """Warn of texts of which all lines have a tab, such as one after the id of the line."""
    for corpus in data.corpora("train"):
        source = corpus.columns[0]
        if source.kind == "text" and has_tabs(source):
            text = "%s: each line has a tab, which is read as a space: for one of several columns, name the file .tsv"
            logger.warning(text, source)


def _warn_of_unannotated(data: LabellingConfig) -> None:
    """Warn of the first sentence of each treebank that has a word without a label (`_`)."""
    for spec in data.train_tgt:
        column = parse_column(spec)
        if column.kind != "conllu" or str(column.column).lower() in OPTIONAL_COLUMNS:
            continue
        for index, labels in enumerate(column.values()):
            if UNKNOWN in labels.split():
                [location] = line_locations(spec, column.line_numbers(index, 1))
                message = "%s: words have the label `_` (missing), which is trained like any other label"
                logger.warning(message, location)
                break
