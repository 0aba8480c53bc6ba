"""Language modeling task: train language models and masked models, validate by likelihood."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from seqlab.base.world import World
from seqlab.data.batch import Batch, TextBatch
from seqlab.data.prepare import PreparedData, open_prepared, prepare
from seqlab.data.step import Position, TrainingStep
from seqlab.data.survey import PreparationProgress
from seqlab.data.text_sampler import TextSampler, ordered_text_batches
from seqlab.data.tokenizer_training import train_or_load_tokenizer, training_lines
from seqlab.data.workers import Workers
from seqlab.data.workspace import open_or_make_survey, workspace
from seqlab.models.spelling import SpellingModel
from seqlab.runs.codecs import save_spelling
from seqlab.runs.config import Config
from seqlab.runs.folder import RunFolder
from seqlab.runs.load import read_config
from seqlab.tasks.language_modelling.config import LanguageModellingConfig
from seqlab.tasks.language_modelling.language_model import load_language_model
from seqlab.text import Tokenizer, load_tokenizer
from seqlab.training.task import Codecs, Split, Task, rows_of
from seqlab.training.validation import RunInTraining, Validation, inference_model, mean_nll

SAMPLE_TOKENS = 60
"""Maximum number of tokens of a sampled text in a report."""


def _data_config(config: Config) -> LanguageModellingConfig:
    assert isinstance(config.data, LanguageModellingConfig)
    return config.data


class LanguageModellingTask(Task):
    """Language models and masked models of text, validated by the likelihood of held-out text."""

    batch_type = TextBatch
    unit = "rows"

    def write_codecs(self, config: Config, folder: RunFolder, on_progress: PreparationProgress) -> dict[str, int]:
        """Train and save the tokenizer; return its vocabulary size by folder name."""
        tokenizer = train_or_load_tokenizer(_data_config(config), "both", folder.cache, on_progress)
        tokenizer.save(folder.path / "tokenizer")
        return {"tokenizer": tokenizer.vocab_size}

    def complete_codecs(self, config: Config, folder: RunFolder, on_progress: PreparationProgress) -> None:
        """Fit the spelling model of unknown items if the tokenizer has an unknown id and `init_from` gave no model."""
        tokenizer = load_tokenizer(folder.path / "tokenizer")
        if tokenizer.has_unknown and not folder.spelling.is_dir():
            with workspace(folder.cache) as work, Workers(1) as workers:
                lines = training_lines(
                    _data_config(config),
                    survey=lambda corpus: open_or_make_survey(corpus, work, workers, on_progress),
                    on_progress=on_progress,
                )
                save_spelling(SpellingModel.fit(rare_items(lines, tokenizer)), folder.spelling)

    def prepare(
        self, config: Config, tokenizers: Codecs, cache: Path, on_progress: PreparationProgress | None
    ) -> PreparedData:
        """Encode, check and cache the corpora; without `on_progress`, open the cached ones."""
        data = _data_config(config)
        if on_progress is None:
            return open_prepared(data, tokenizers, cache)
        return prepare(data, tokenizers, cache, on_progress)

    def steps(
        self,
        data: PreparedData,
        config: Config,
        tokenizers: Codecs,
        world: World,
        after: Position | None,
    ) -> Iterator[TrainingStep[Batch]]:
        """Yield the training steps of this rank that follow a position."""
        sampler = TextSampler(
            data.train,
            _data_config(config),
            config.seed,
            tokenizers[1],
            rank=world.rank,
            world_size=world.world_size,
        )
        return sampler.steps(after)

    def split_batches(
        self, data: PreparedData, config: Config, tokenizers: Codecs, split: Split
    ) -> Iterator[TextBatch]:
        """Yield each token of a split once: blocks of a continuous text in order, or lines sorted by length."""
        settings = _data_config(config)
        return ordered_text_batches(rows_of(data, split), settings, settings.micro_batch_tokens, tokenizers[1])

    def locate(self, data: PreparedData, index: int) -> str:
        """Return the file and line of a token of the training text."""
        return data.train.locate_token(index)

    def count(self, run: RunInTraining) -> Iterator[str]:
        """Fit a count-based model to the training data; yield lines for the log."""
        documents = (row[:-1] for row in run.data.train.tgt)  # without eos, which the model adds
        run.model.fit(documents, _data_config(run.config).documents)
        for length, level in enumerate(run.model.trie, start=1):
            yield f"{length}-grams: {len(level.keys):,}"

    def sample_outputs(self, run_dir: Path, checkpoint: str, rows: Sequence[int]) -> Iterator[dict[str, Any]]:
        """Yield one sampled text for each row; its seed is the row. A masked model generates nothing."""
        if _data_config(read_config(RunFolder(run_dir))).mask_share:
            return
        model = load_language_model(run_dir, checkpoint)
        for row in rows:
            [[sample]] = model.generate(seed=row, max_length=SAMPLE_TOKENS)
            yield {"prediction": sample.text}

    def validate(self, run: RunInTraining, weights: dict[str, Tensor]) -> Validation:
        """Compute the negative log-likelihood of the validation text.

        Blocks of a continuous text are scored without the previous blocks. For a masked model the metric has another
        name, as masked tokens are predicted from the tokens before and after them.
        """
        data = _data_config(run.config)
        batches = self.split_batches(run.data, run.config, run.codecs, "valid")
        nll = mean_nll(run, inference_model(run, weights), batches)
        return Validation({}, nll, "nll_per_masked_token") if data.mask_share else Validation({}, nll)


def rare_items(lines: Iterable[str], tokenizer: Tokenizer) -> list[str]:
    """Select the training items of a spelling model: unknown ones and those that occur once; if there are none, all."""
    counts: Counter[str] = Counter()
    unknown: set[str] = set()
    for line in lines:
        counts.update(tokenizer.items(line))
        unknown.update(tokenizer.unknown_items(line))
    return sorted(item for item, count in counts.items() if count == 1 or item in unknown) or sorted(counts)
