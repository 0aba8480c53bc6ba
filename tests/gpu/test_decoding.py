"""Decoding on a GPU with CUDA graphs: results equal those without graphs, and synchronizations are few."""

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
MAX_SYNCHRONIZATIONS_PER_STEP = 4
"""One for ties, one for finished sentences, and two if sentences leave the batch."""


class GraphCounter:
    """Number of recorded CUDA graphs."""

    def __init__(self) -> None:
        self.count = 0


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> GraphCounter:
    """Count the CUDA graphs that searches record."""
    counter, record = GraphCounter(), cuda_graph.GraphMemory.record

    def record_and_count(memory: cuda_graph.GraphMemory, function: Any) -> Any:
        counter.count += hasattr(memory, "anchor")  # the first graph of each memory is not a search
        return record(memory, function)

    monkeypatch.setattr(cuda_graph.GraphMemory, "record", record_and_count)
    return counter


def on_gpu(model: Any, dtype: torch.dtype = torch.float32) -> Any:
    prepare_inference(model, choose_device("cuda:0"), dtype)
    return model


def run_beam_search(model: Any, beam_size: int, repetitions: int = 1) -> list[list[Hypothesis]]:
    config = SearchConfig(
        beam_size=beam_size, num_hypotheses=beam_size, max_length=11, max_length_ratio=1, max_length_offset=2
    )
    batch = batch_of(repetitions * ALL, with_target=False).to(CUDA)
    return beam_search(model, batch, config, banned_ids=[BOS], need_attention=True)


def assert_same(found: Sequence[Hypothesis], wanted: Sequence[Hypothesis]) -> None:
    assert [each.ids for each in found] == [each.ids for each in wanted]
    for one, other in zip(found, wanted, strict=True):
        assert one.token_log_probs == pytest.approx(other.token_log_probs, abs=1e-3)
        if other.attention is not None:
            torch.testing.assert_close(one.attention, other.attention, atol=1e-3, rtol=0)


@pytest.mark.parametrize("beam_size", [1, 4])
@pytest.mark.parametrize("name", VARIANTS)
def test_graphs_do_not_change_beam_search_of_translators(graphs: GraphCounter, name: str, beam_size: int) -> None:
    """Several searches in succession; their graphs share memory."""
    model = on_gpu(build(VARIANTS[name]))
    with reference_kernels("cuda_graph"):
        wanted = [run_beam_search(model, beam_size, repetitions) for repetitions in (1, 8, 2)]
    assert graphs.count == 0
    found = [run_beam_search(model, beam_size, repetitions) for repetitions in (1, 8, 2)]
    assert graphs.count == 3
    for sentences, expected in zip(found, wanted, strict=True):
        for one, other in zip(sentences, expected, strict=True):
            assert_same(one, other)


@pytest.mark.parametrize("name", TRANSFORMERS)
@torch.inference_mode()
def test_graphs_do_not_change_bf16_scores(graphs: GraphCounter, name: str) -> None:
    """The ids are given, because rounding may change the result of a search."""
    model, batch = on_gpu(build(TRANSFORMERS[name]), torch.bfloat16), batch_of(ALL, with_target=False).to(CUDA)

    def scores() -> list[torch.Tensor]:
        last_ids, state = model.start(batch)
        step, current = cuda_graph.cuda_graph_step(model, state, CUDA, 1, 9)
        found = []
        for number in range(9):
            output = step(torch.full_like(last_ids, 5 + number), current)
            current = output.state
            found.append(output.scores)
        return found

    with reference_kernels("cuda_graph"):
        wanted = scores()
    torch.testing.assert_close(scores(), wanted, atol=0.1, rtol=0)
    assert graphs.count == 1


def test_repeated_searches_do_not_leak_memory(graphs: GraphCounter) -> None:
    model = on_gpu(build(TRANSFORMERS["pre"]))
    sizes = (1, 8, 2, 5)
    for repetitions in sizes:
        run_beam_search(model, 4, repetitions)
    num_idle, reserved = len(cuda_graph.GraphMemory._idle[CUDA]), torch.cuda.memory_reserved()
    for number in range(100):
        run_beam_search(model, 4, sizes[number % len(sizes)])
    assert len(cuda_graph.GraphMemory._idle[CUDA]) == num_idle
    assert torch.cuda.memory_reserved() <= reserved + 2**25


def test_graphs_of_concurrent_searches_have_separate_memory(graphs: GraphCounter) -> None:
    """Alternating the steps of two searches gives the same scores as each search by itself."""
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
            outputs = [(step, step(last_ids, state)) for step, state, last_ids in running]
            for model_scores, (_, step) in zip(scores, outputs, strict=True):
                model_scores.append(step.scores)
            running = [(function, step.state, step.scores.argmax(1)) for function, step in outputs]
        return scores

    with torch.inference_mode():
        [first], [second] = (steps(8, model) for model in models)
        together = steps(8, *models)
    for found, wanted in zip(together, (first, second), strict=True):
        torch.testing.assert_close(found, wanted)
    assert graphs.count == 4


def test_graphs_do_not_change_ensembles_and_language_model_sampling(graphs: GraphCounter) -> None:
    ensemble = Ensemble([on_gpu(build(TRANSFORMERS[name])) for name in ("pre", "rotary")])
    torch.manual_seed(1)
    config = TransformerLmConfig(d_model=32, d_ff=48, num_heads=4, num_layers=2, max_length=64)
    model = on_gpu(TransformerLm(config, VOCAB, EOS).eval())
    batch, sampling = collate_prompts([[5 + row] for row in range(6)]).to(CUDA), SamplingConfig(max_length=40, seed=3)
    with reference_kernels("cuda_graph"):
        wanted, drawn = run_beam_search(ensemble, 3), sample(model, batch, sampling)
    for one, other in zip(run_beam_search(ensemble, 3), wanted, strict=True):
        assert_same(one, other)
    assert_same(sample(model, batch, sampling), drawn)
    assert graphs.count == 2


@pytest.mark.parametrize("beam_size", [1, 4])
def test_searches_have_few_synchronizations_per_step(beam_size: int) -> None:
    model = on_gpu(build(TRANSFORMERS["pre"]))
    run_beam_search(model, beam_size)  # libraries synchronize when they first allocate
    max_at_start_and_end = 40  # limits are copied to the device, hypotheses back
    waits = count_waits(lambda: run_beam_search(model, beam_size))
    assert waits.total() <= MAX_SYNCHRONIZATIONS_PER_STEP * 11 + max_at_start_and_end
