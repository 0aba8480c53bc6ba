"""Decoding on a GPU with CUDA graphs: the same results as without, and few synchronizations."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from reference.device_waits import count_waits
from reference.tiny_translators import ALL, BOS, COPYING, EOS, TRANSFORMERS, VOCAB, batch_of, build

from seqlab.data.batch import collate_prompts
from seqlab.models import TransformerLm, TransformerLmConfig
from seqlab.nn import reference_kernels
from seqlab.nn.precision import choose_device, prepare_inference
from seqlab.search import cuda_graph
from seqlab.search.beam import beam_search
from seqlab.search.config import SamplingConfig, SearchConfig
from seqlab.search.ensemble import Ensemble
from seqlab.search.hypothesis import Hypothesis
from seqlab.search.sampling import sample

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]
CUDA = torch.device("cuda", 0)
VARIANTS = TRANSFORMERS | {"copying": COPYING["transformer, copying"]}
WAITS_PER_STEP = 4
"""Maximum synchronizations per step: for ties, for finished sentences, and two more if sentences leave the batch."""


class GraphCounter:
    """Counts graphs."""

    def __init__(self) -> None:
        self.count = 0


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> GraphCounter:
    """Count the graphs of searches."""
    recorded, record = GraphCounter(), cuda_graph.GraphMemory.record

    def counted(memory: cuda_graph.GraphMemory, function: Any) -> Any:
        recorded.count += hasattr(memory, "anchor")  # the first graph of each memory is not from a search
        return record(memory, function)

    monkeypatch.setattr(cuda_graph.GraphMemory, "record", counted)
    return recorded


def on_gpu(model: Any, dtype: torch.dtype = torch.float32) -> Any:
    prepare_inference(model, choose_device("cuda:0"), dtype)
    return model


def searched(model: Any, beam_size: int, repeated: int = 1) -> list[list[Hypothesis]]:
    config = SearchConfig(
        beam_size=beam_size, num_hypotheses=beam_size, max_length=11, max_length_ratio=1, max_length_offset=2
    )
    batch = batch_of(repeated * ALL, with_target=False).to(CUDA)
    return beam_search(model, batch, config, banned_ids=[BOS], need_attention=True)


def assert_same(found: Sequence[Hypothesis], wanted: Sequence[Hypothesis]) -> None:
    assert [each.ids for each in found] == [each.ids for each in wanted]
    for one, other in zip(found, wanted, strict=True):
        assert one.token_log_probs == pytest.approx(other.token_log_probs, abs=1e-3)
        if other.attention is not None:
            torch.testing.assert_close(one.attention, other.attention, atol=1e-3, rtol=0)


@pytest.mark.parametrize("beam_size", [1, 4])
@pytest.mark.parametrize("name", VARIANTS)
def test_a_translator(graphs: GraphCounter, name: str, beam_size: int) -> None:
    """Several successive searches, whose graphs share memory."""
    model = on_gpu(build(VARIANTS[name]))
    with reference_kernels("cuda_graph"):
        wanted = [searched(model, beam_size, repeated) for repeated in (1, 8, 2)]
    assert graphs.count == 0
    found = [searched(model, beam_size, repeated) for repeated in (1, 8, 2)]
    assert graphs.count == 3
    for sentences, expected in zip(found, wanted, strict=True):
        for one, other in zip(sentences, expected, strict=True):
            assert_same(one, other)


@pytest.mark.parametrize("name", TRANSFORMERS)
@torch.inference_mode()
def test_steps_in_bf16(graphs: GraphCounter, name: str) -> None:
    """With given ids, because rounding may change the path of a search."""
    model, batch = on_gpu(build(TRANSFORMERS[name]), torch.bfloat16), batch_of(ALL, with_target=False).to(CUDA)

    def scores() -> list[torch.Tensor]:
        last_ids, state = model.start(batch)
        step, current = cuda_graph.cuda_graph_step(model, state, CUDA, 1, 9)
        found = []
        for number in range(9):
            taken = step(torch.full_like(last_ids, 5 + number), current)
            current = taken.state
            found.append(taken.scores)
        return found

    with reference_kernels("cuda_graph"):
        wanted = scores()
    torch.testing.assert_close(scores(), wanted, atol=0.1, rtol=0)
    assert graphs.count == 1


def test_searches_leak_no_memory(graphs: GraphCounter) -> None:
    model = on_gpu(build(TRANSFORMERS["pre"]))
    sizes = (1, 8, 2, 5)
    for repeated in sizes:
        searched(model, 4, repeated)
    idle, reserved = len(cuda_graph.GraphMemory._idle[CUDA]), torch.cuda.memory_reserved()
    for number in range(100):
        searched(model, 4, sizes[number % len(sizes)])
    assert len(cuda_graph.GraphMemory._idle[CUDA]) == idle
    assert torch.cuda.memory_reserved() <= reserved + 2**25


def test_two_searches_at_once(graphs: GraphCounter) -> None:
    """Their graphs have separate memory: alternating steps give the same results as each search alone."""
    models = [on_gpu(build(TRANSFORMERS[name])) for name in ("pre", "rotary")]
    batch = batch_of(ALL, with_target=False).to(CUDA)

    def steps(count: int, *models: Any) -> list[list[torch.Tensor]]:
        started = [model.start(batch) for model in models]
        running = [
            (*cuda_graph.cuda_graph_step(model, state, CUDA, 1, count), last_ids)
            for model, (last_ids, state) in zip(models, started, strict=True)
        ]
        scores: list[list[torch.Tensor]] = [[] for _ in models]
        for _ in range(count):
            taken = [(step, step(last_ids, state)) for step, state, last_ids in running]
            for own, (_, step) in zip(scores, taken, strict=True):
                own.append(step.scores)
            running = [(function, step.state, step.scores.argmax(1)) for function, step in taken]
        return scores

    with torch.inference_mode():
        [first], [second] = (steps(8, model) for model in models)
        together = steps(8, *models)
    for found, wanted in zip(together, (first, second), strict=True):
        torch.testing.assert_close(found, wanted)
    assert graphs.count == 4


def test_an_ensemble_and_a_language_model(graphs: GraphCounter) -> None:
    ensemble = Ensemble([on_gpu(build(TRANSFORMERS[name])) for name in ("pre", "rotary")])
    torch.manual_seed(1)
    config = TransformerLmConfig(d_model=32, d_ff=48, num_heads=4, num_layers=2, max_length=64)
    model = on_gpu(TransformerLm(config, VOCAB, EOS).eval())
    batch, sampling = collate_prompts([[5 + row] for row in range(6)]).to(CUDA), SamplingConfig(max_length=40, seed=3)
    with reference_kernels("cuda_graph"):
        wanted, drawn = searched(ensemble, 3), sample(model, batch, sampling)
    for one, other in zip(searched(ensemble, 3), wanted, strict=True):
        assert_same(one, other)
    assert_same(sample(model, batch, sampling), drawn)
    assert graphs.count == 2


@pytest.mark.parametrize("beam_size", [1, 4])
def test_synchronizations_per_step(beam_size: int) -> None:
    model = on_gpu(build(TRANSFORMERS["pre"]))
    searched(model, beam_size)  # libraries synchronize when they first allocate
    start_and_end = 40  # limits are copied to the device, hypotheses back
    waits = count_waits(lambda: searched(model, beam_size))
    assert waits.total() <= WAITS_PER_STEP * 11 + start_and_end
