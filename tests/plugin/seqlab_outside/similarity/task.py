"""Training and validation of the similarity task: groups of random pairs, and retrieval metrics."""

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from seqlab.base.world import World
from seqlab.data.encoded import EncodedCorpus
from seqlab.data.epoch import seeded_generator
from seqlab.data.prepare import PreparedData, open_prepared, prepare
from seqlab.data.step import Position, TrainingStep
from seqlab.data.survey import PreparationProgress
from seqlab.data.tokenizer_training import Side, train_or_load_tokenizer
from seqlab.evaluation import Score
from seqlab.runs.config import Config
from seqlab.runs.folder import RunFolder
from seqlab.training.task import Codecs, Task
from seqlab.training.validation import RunInTraining, Validation, inference_model
from seqlab_outside.similarity.config import SimilarityConfig
from seqlab_outside.similarity.model import Contrastive, ContrastiveConfig, PairBatch, TwoEncoders

SIDES: tuple[Side, ...] = ("src", "tgt")


def _data_config(config: Config) -> SimilarityConfig:
    assert isinstance(config.data, SimilarityConfig)
    return config.data


class SimilarityTask(Task):
    """The similarity task, validated by retrieval of the partner of each text."""

    batch_type = PairBatch
    unit = "pairs"
    needs = (TwoEncoders,)

    def write_codecs(self, config: Config, folder: RunFolder, on_progress: PreparationProgress) -> dict[str, int]:
        """Train and save a tokenizer for each side; return the vocabulary sizes."""
        sizes = {}
        for side in SIDES:
            tokenizer = train_or_load_tokenizer(_data_config(config).pairs(), side, folder.cache, on_progress)
            tokenizer.save(folder.tokenizer(side))
            sizes[folder.tokenizer(side).name] = tokenizer.vocab_size
        return sizes

    def prepare(
        self, config: Config, codecs: Codecs, cache: Path, on_progress: PreparationProgress | None
    ) -> PreparedData:
        """Encode the pairs, or open the encoded pairs of the cache if `on_progress` is None."""
        pairs = _data_config(config).pairs()
        if on_progress is None:
            return open_prepared(pairs, codecs, cache)
        return prepare(pairs, codecs, cache, on_progress)

    def steps(
        self, data: PreparedData, config: Config, codecs: Codecs, world: World, after: Position | None
    ) -> Iterator[TrainingStep[PairBatch]]:
        """Yield steps of groups of random pairs.

        A group is not divided among ranks, since its pairs are each other's negatives.
        """
        settings = _data_config(config)
        size = settings.group_pairs * settings.groups
        epoch, first = (0, 0) if after is None else (after.epoch, after.step + 1)
        while True:
            order = seeded_generator(config.seed, epoch).permutation(len(data.train))
            count = max(1, len(order) // size)  # the remaining pairs are left out in this epoch
            for number in range(first, count):
                pairs = order[number * size : (number + 1) * size]
                groups = [pairs[i : i + settings.group_pairs] for i in range(0, len(pairs), settings.group_pairs)]
                batches = [_batch(data.train, group.tolist()) for group in groups[world.rank :: world.world_size]]
                idle = _batch(data.train, groups[0].tolist()).without_targets()
                num_idle = -(-len(groups) // world.world_size) - len(batches)  # same number of batches on all ranks
                progress = epoch + (number + 1) / count
                yield TrainingStep(Position(epoch, 0, number), progress, batches + [idle] * num_idle)
            epoch, first = epoch + 1, 0

    def validate(self, run: RunInTraining, weights: dict[str, Tensor]) -> Validation:
        """Rank all right texts of the validation set by their similarity to each left text."""
        model, valid = inference_model(run, weights), run.data.valid
        with torch.inference_mode():
            left, right = model(_batch(valid, range(len(valid))).to(run.device_context.device))
            cosines = left @ right.T
        objective = run.config.objective
        assert isinstance(objective, ContrastiveConfig)
        nll = float(Contrastive.nll(cosines / objective.temperature).mean())
        return Validation(retrieval(cosines), nll, "nll_per_pair")


def retrieval(similarities: Tensor) -> dict[str, Score]:
    """Compute MRR and recall at 1 from similarities (B, B) with partners on the diagonal; at ties, they rank last."""
    ranks = (similarities >= similarities.diagonal()[:, None]).sum(1).double()  # from 1
    values = {"mrr": ranks.reciprocal(), "recall_at_1": (ranks == 1).double()}
    signature = f"candidates:{len(ranks)}"
    return {name: Score(name, 100 * float(each.mean()), signature) for name, each in values.items()}


def _batch(pairs: EncodedCorpus, indices: range | list[int]) -> PairBatch:
    return PairBatch.of([pairs.src[i] for i in indices], [pairs.tgt[i] for i in indices], indices)
