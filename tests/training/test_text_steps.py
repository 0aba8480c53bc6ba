"""Update steps on monolingual text: the state carried from step to step, and sharded weights."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
import pytest
import torch
from reference.ranks import run_in_ranks
from torch import Tensor, nn

from seqlab.base.world import join_world
from seqlab.data.batch import IGNORE, TextBatch
from seqlab.data.encoded import EncodedCorpus, Span
from seqlab.data.ragged import RaggedArray
from seqlab.data.step import Position, TrainingStep
from seqlab.data.text_sampler import TextSampler
from seqlab.models import TransformerLm, TransformerLmConfig
from seqlab.models.outputs import DecoderOutput
from seqlab.nn.projection import VocabularyProjection
from seqlab.objectives import CrossEntropy, CrossEntropyConfig, StepContext
from seqlab.optim import MuonConfig, Parameters
from seqlab.optim.muon import hidden_matrices
from seqlab.tasks.language_modelling.config import LanguageModellingConfig
from seqlab.training.accumulator import Accumulator, Carry, LossModule
from seqlab.training.data_parallel import gather_shards, parallelize, shard_like
from seqlab.training.device_context import DeviceContext

VOCAB_SIZE, HIDDEN_SIZE, NUM_STEPS = 31, 12, 20
DEVICE_CONTEXT = DeviceContext(torch.device("cpu"), torch.float32)
Arrays = dict[str, np.ndarray]


class Tokenizer:
    pad_id, bos_id, eos_id = 0, 1, 2


def random_text(total: int) -> EncodedCorpus:
    """Return rows of random ids, at least `total` ids in all."""
    rng = np.random.default_rng(5)
    lengths = rng.integers(1, 12, total)
    lengths = lengths[: int(np.searchsorted(np.cumsum(lengths), total)) + 1]
    values = rng.integers(3, VOCAB_SIZE, int(lengths.sum())).astype(np.uint16)
    return EncodedCorpus(
        [RaggedArray.from_flat(values, lengths)],
        [],
        np.arange(len(lengths))[:, None],
        [Span(("text",), 0, len(lengths))],
    )


def steps_of(after: Position | None = None, rank: int = 0, world_size: int = 1, **settings: Any) -> list[TrainingStep]:
    """Return 20 steps of 5 rows of 8 ids; by default, each micro-step has one row."""
    data = {"train": ["text"], "block_length": 8, "batch_tokens": 40, "micro_batch_tokens": 8, **settings}
    sampler = TextSampler(
        random_text(400), LanguageModellingConfig(**data), 1, Tokenizer(), rank=rank, world_size=world_size
    )  # type: ignore[arg-type]
    return list(islice(sampler.steps(after), NUM_STEPS))


STREAMS: dict[str, Any] = {"documents": "continuous", "order": "contiguous"}


class TinyRnn(nn.Module):
    """A minimal RNN that starts from the carried state, and counts the positions it has read (`read`)."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedding = nn.Embedding(VOCAB_SIZE, HIDDEN_SIZE)
        self.recurrent = nn.Linear(HIDDEN_SIZE, HIDDEN_SIZE)
        self.projection = VocabularyProjection(self.embedding.weight)

    def forward(self, batch: TextBatch, carry: Carry | None = None) -> DecoderOutput:
        state = torch.zeros(len(batch), HIDDEN_SIZE) if carry is None else carry["state"]
        hidden = []
        for x in self.embedding(batch.tgt_in).unbind(1):
            state = torch.tanh(x + self.recurrent(state))
            hidden.append(state)
        read = torch.full((len(batch),), float(batch.tgt_in.size(1)))
        read = read if carry is None else read + carry["read"]
        return DecoderOutput(torch.stack(hidden, 1), self.projection, {"state": state.detach(), "read": read})


def transformer() -> TransformerLm:
    torch.manual_seed(0)
    config = TransformerLmConfig(d_model=16, d_ff=32, num_heads=2, num_layers=1, dropout=0.0, max_length=8)
    return TransformerLm(config, VOCAB_SIZE, Tokenizer.eos_id)


def accumulator_of(model: nn.Module, device_context: DeviceContext = DEVICE_CONTEXT) -> Accumulator:
    return Accumulator(model.train(), CrossEntropy(CrossEntropyConfig(label_smoothing=0.1)), device_context, 1)


def carries_after(steps: Sequence[TrainingStep], accumulator: Accumulator) -> list[Carry]:
    """Return the carried state after each step; the weights do not change."""
    found = []
    for step in steps:
        accumulator.backward(step.micro_steps, StepContext(0))
        found.append(accumulator.gather_carry())
    return found


@torch.no_grad()
def states_of_streams(steps: Sequence[TrainingStep]) -> list[Tensor]:
    """Compute the state after each step from the entire stream since the start of the epoch."""
    model, ids, states = TinyRnn(), torch.zeros(5, 0, dtype=torch.int64), []
    for step in steps:
        new = torch.cat([batch.tgt_in for batch in step.micro_steps])  # type: ignore[attr-defined]
        ids = torch.cat([ids, new], dim=1) if step.position.step else new
        batch = TextBatch(ids, torch.full_like(ids, IGNORE), torch.arange(5), 0)
        states.append(model(batch).hidden[:, -1])
    return states


def test_carried_states_equal_those_of_the_unsplit_stream() -> None:
    steps = steps_of(**STREAMS)
    found = carries_after(steps, accumulator_of(TinyRnn()))
    for carry, state in zip(found, states_of_streams(steps), strict=True):
        torch.testing.assert_close(carry["state"], state, rtol=0, atol=1e-6)
    assert found[0]["read"].tolist() == [8.0] * 5
    assert found[1]["read"].tolist() == [16.0] * 5


def states_in_rank(after: Position | None, count: int, before: Arrays) -> list[Arrays]:
    """Continue from a carried state in one of several ranks.

    States are numpy arrays: torch would send tensors through a file that is deleted when the rank exits.
    """
    with join_world() as world:
        accumulator = accumulator_of(TinyRnn(), replace(DEVICE_CONTEXT, world=world))
        accumulator.restore_carry({name: torch.from_numpy(value) for name, value in before.items()})
        steps = steps_of(after, world.rank, world.world_size, **STREAMS)[:count]
        return [{name: value.numpy() for name, value in carry.items()} for carry in carries_after(steps, accumulator)]


def weights_after_muon(is_sharded: bool) -> list[np.ndarray]:
    """Return the weights after three steps of Muon with the same random gradients in every rank."""
    with join_world() as world:
        model = transformer()
        device_context = replace(DEVICE_CONTEXT, world=world, is_sharded=is_sharded)
        module = parallelize(LossModule(model, CrossEntropy(CrossEntropyConfig())), device_context)
        parameters = list(module.parameters())
        optimizer = MuonConfig(lr=0.1).build(Parameters(parameters, hidden_matrices=hidden_matrices(model)))
        for step in range(3):
            generator = torch.Generator().manual_seed(step)
            grads = {str(i): torch.randn(p.shape, generator=generator) for i, p in enumerate(parameters)}
            shards = shard_like(grads, {str(i): p for i, p in enumerate(parameters)})
            for i, parameter in enumerate(parameters):
                parameter.grad = shards[str(i)]
            optimizer.step()
        return [gather_shards(parameter).detach().numpy() for parameter in parameters]


def test_muon_updates_sharded_weights_like_unsharded_ones() -> None:
    """The tolerance allows for bf16 in the orthogonalization; separate orthogonalization of each shard exceeds it."""
    start = [parameter.detach().numpy() for parameter in transformer().parameters()]
    expected, found = weights_after_muon(False), run_in_ranks(2, weights_after_muon, True)
    for initial, rank_0, rank_1, wanted in zip(start, *found, expected, strict=True):
        np.testing.assert_array_equal(rank_0, rank_1)
        assert np.linalg.norm(rank_0 - wanted) < 0.1 * np.linalg.norm(wanted - initial)


@pytest.mark.parametrize(("first", "then"), [(2, 3), (3, 1), (1, 6)])
def test_carried_states_continue_with_another_number_of_ranks(first: int, then: int) -> None:
    """There are 5 streams and one row per micro-step, so some ranks have fewer rows than others, or none."""
    steps = steps_of(**STREAMS)
    expected = carries_after(steps, accumulator_of(TinyRnn()))
    found: list[Arrays] = []
    for world_size, stop in ((first, 6), (then, 14)):  # the last steps are in the second epoch
        arguments = (steps[len(found) - 1].position if found else None, stop - len(found), found[-1] if found else {})
        ranks = (
            [states_in_rank(*arguments)] if world_size == 1 else run_in_ranks(world_size, states_in_rank, *arguments)
        )
        for other in ranks[1:]:  # every rank has all states
            for one, another in zip(other, ranks[0], strict=True):
                np.testing.assert_array_equal(one["state"], another["state"])
        found += ranks[0]
    for carry, wanted in zip(found, expected, strict=False):
        np.testing.assert_allclose(carry["state"], wanted["state"].numpy(), rtol=0, atol=1e-6)
        assert carry["read"].tolist() == wanted["read"].tolist()


def test_models_without_a_state_have_an_empty_carry() -> None:
    accumulator = accumulator_of(transformer())
    assert carries_after(steps_of(documents="continuous")[:2], accumulator) == [{}, {}]
    accumulator.restore_carry({})
    assert accumulator.carry is None
