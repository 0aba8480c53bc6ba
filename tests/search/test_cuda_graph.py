"""Searches with CUDA graphs, emulated on the CPU, against searches without graphs."""

import gc
import weakref
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from reference.meta_device import disable_autocast
from reference.recorded_kernels import CpuRecordedFunction
from reference.stored_families import assert_same as assert_same_outputs
from reference.stored_families import run_and_read_outputs
from reference.tiny_translators import ALL, BOS, COPYING, EOS, RECURRENT, TRANSFORMERS, VOCAB, batch_of, build

from seqlab.data.batch import collate_prompts
from seqlab.models import TransformerConfig, TransformerLm, TransformerLmConfig
from seqlab.nn import kernels, reference_kernels
from seqlab.nn.precision import prepare_inference
from seqlab.search import cuda_graph
from seqlab.search.beam import beam_search
from seqlab.search.config import SamplingConfig, SearchConfig
from seqlab.search.ensemble import Ensemble
from seqlab.search.fusion import Fusion, WeightedLm
from seqlab.search.hypothesis import Hypothesis
from seqlab.search.protocols import Stepper
from seqlab.search.sampling import sample

VARIANTS = TRANSFORMERS | {"copying": COPYING["transformer, copying"]}


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> type[CpuRecordedFunction]:
    """Emulate CUDA graphs on the CPU, and return the class that counts graphs and replays."""
    counting = type("Counting", (CpuRecordedFunction,), {})
    monkeypatch.setattr(cuda_graph, "has_graphs", lambda device: True)
    monkeypatch.setattr(cuda_graph, "RecordedFunction", counting)
    return counting


def assert_same(found: Sequence[Sequence[Hypothesis]], expected: Sequence[Sequence[Hypothesis]]) -> None:
    """Compare ids exactly, and scores up to rounding, since a softmax over padded caches has more entries."""
    for beam, expected_beam in zip(found, expected, strict=True):
        assert [each.ids for each in beam] == [each.ids for each in expected_beam]
        for hypothesis, expected_hypothesis in zip(beam, expected_beam, strict=True):
            assert hypothesis.token_log_probs == pytest.approx(expected_hypothesis.token_log_probs, abs=1e-4)
            assert hypothesis.score == pytest.approx(expected_hypothesis.score, abs=1e-4)
            if expected_hypothesis.attention is None:
                assert hypothesis.attention is None
            else:
                torch.testing.assert_close(hypothesis.attention, expected_hypothesis.attention)


def build_language_model(max_length: int = 64, **options: Any) -> TransformerLm:
    torch.manual_seed(1)
    config = TransformerLmConfig(d_model=32, d_ff=48, num_heads=4, num_layers=2, max_length=max_length, **options)
    return TransformerLm(config, VOCAB, EOS).eval()


def search(model: Stepper, beam_size: int, **options: Any) -> list[list[Hypothesis]]:
    """Search with limits that end sentences at different steps."""
    config = SearchConfig(
        beam_size=beam_size, num_hypotheses=beam_size, max_length=11, max_length_ratio=1, max_length_offset=2, **options
    )
    batch = batch_of(ALL, with_target=False)
    return beam_search(model, batch, config, banned_ids=[BOS], need_attention=True)


OPTIONS: list[tuple[int, dict[str, Any]]] = [
    (1, {}),
    (3, {"no_repeat_ngram_size": 1, "coverage_penalty": 0.5}),
]


@pytest.mark.parametrize("kernel_device", ["CPU", "GPU"])
@pytest.mark.parametrize(("beam_size", "options"), OPTIONS, ids=str)
@pytest.mark.parametrize("name", VARIANTS)
def test_graphs_do_not_change_translations(
    graphs: type[CpuRecordedFunction],
    name: str,
    beam_size: int,
    options: dict[str, Any],
    kernel_device: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The case `GPU` runs the kernels of a GPU on CPU tensors, since a GPU would capture their operations."""
    if kernel_device == "GPU":
        monkeypatch.setattr(kernels, "runs_on_cpu", lambda name, x: False)
    model = build(VARIANTS[name])
    with reference_kernels("cuda_graph"):
        expected = search(model, beam_size, **options)
    assert graphs.recorded == 0
    found = search(model, beam_size, **options)
    assert graphs.recorded == 1
    assert graphs.replayed >= 3
    assert len({len(best[0].ids) for best in found}) > 1
    assert_same(found, expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", TRANSFORMERS)
@torch.inference_mode()
def test_steps_with_the_kernels_of_a_gpu(name: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tensors on `meta` select the kernels of a GPU. They have shapes and dtypes, but no values."""
    disable_autocast(monkeypatch)
    meta = torch.device("meta")
    model = build(TRANSFORMERS[name])
    prepare_inference(model, meta, dtype)
    last_ids, state = model.start(batch_of(ALL, with_target=False).to(meta), need_attention=True)
    step_result = model.step(last_ids, state)
    rows = torch.arange(len(ALL)).repeat_interleave(3)  # on the CPU, because the host reads these rows
    state = step_result.state.select(rows)
    static = cuda_graph.static_state(model, state, 5)
    assert static is not None
    for _ in range(5):
        step_result = model.step(torch.zeros(len(rows), dtype=torch.int64, device=meta), static)
        assert step_result.scores.shape == (len(rows), VOCAB)
        assert step_result.attention is not None
        assert step_result.attention.shape == (len(rows), 10)
        static = static.select(rows.to(meta))


@pytest.mark.parametrize("beam_size", [1, 3])
def test_graphs_do_not_change_results_of_ensembles_and_fusions(
    graphs: type[CpuRecordedFunction], beam_size: int
) -> None:
    members = build(TRANSFORMERS["pre"]), build(TRANSFORMERS["rotary"])
    start = {"start_lm": lambda rows, device: collate_prompts([[BOS]] * rows).to(device)}
    fused = Fusion(Ensemble(members), WeightedLm(build_language_model(), weight=0.3, length_reward=0.1, **start))
    for model in (Ensemble(members), fused):
        with reference_kernels("cuda_graph"):
            expected = search(model, beam_size)
        assert_same(search(model, beam_size), expected)
    assert graphs.recorded == 2


def test_ensembles_with_a_state_of_variable_size_use_no_graph(graphs: type[CpuRecordedFunction]) -> None:
    """The conversion of the other member's state to a fixed size must not change the results."""
    model = Ensemble([build(TRANSFORMERS["pre"]), build(RECURRENT["lstm"])])
    with reference_kernels("cuda_graph"):
        expected = search(model, 3)
    assert_same(search(model, 3), expected)
    assert graphs.recorded == 0


def test_too_few_learned_positions_are_refused(graphs: type[CpuRecordedFunction]) -> None:
    """A graph would read memory after the end of the table."""
    model = build(TransformerConfig(d_model=32, d_ff=48, num_heads=2, positions="learned", max_length=10))
    with pytest.raises(ValueError, match=r"learned positions for 10 tokens, but a sequence has 11"):
        search(model, 3, early_stopping=False)
    assert graphs.recorded == 0


@pytest.mark.parametrize("positions", ["rotary", "sinusoidal", "learned"])
@pytest.mark.parametrize("prompt_length", [1, 4])
def test_graphs_do_not_change_samples_of_language_models(
    graphs: type[CpuRecordedFunction], positions: Any, prompt_length: int
) -> None:
    model = build_language_model(positions=positions)
    batch = collate_prompts([[5 + row, *range(10, 9 + prompt_length)] for row in range(6)])
    config = SamplingConfig(max_length=40, seed=3)
    with reference_kernels("cuda_graph"):
        expected = sample(model, batch, config)
    found = sample(model, batch, config)
    assert graphs.recorded == 1
    assert len({len(each.ids) for each in found}) > 1
    assert_same([found], [expected])


def test_position_tables_grow_before_recording(graphs: type[CpuRecordedFunction]) -> None:
    """A graph captures the address of a position table, so the table must grow before the recording."""
    for positions in ("rotary", "sinusoidal"):
        model, config = (
            build_language_model(max_length=400, positions=positions),
            SamplingConfig(max_length=290, seed=3),
        )
        found = sample(model, collate_prompts([[5], [6]]), config, banned_ids=[EOS], ends_at_eos=False)
        model = build_language_model(max_length=400, positions=positions)
        with reference_kernels("cuda_graph"):
            expected = sample(model, collate_prompts([[5], [6]]), config, banned_ids=[EOS], ends_at_eos=False)
        assert_same([found], [expected])
    assert graphs.recorded == 2


def test_too_large_caches_use_no_graph(graphs: type[CpuRecordedFunction], monkeypatch: pytest.MonkeyPatch) -> None:
    """The cache has 2 layers with 2 tensors each, of 32 features of 4 bytes for 2 rows with 48 entries."""
    config = SamplingConfig(max_length=40, seed=3)
    for limit, recorded in ((2 * 2 * 32 * 4 * 2 * 48 - 1, 0), (2 * 2 * 32 * 4 * 2 * 48, 1)):
        monkeypatch.setattr("seqlab.nn.static_cache.MAX_CACHE_BYTES", limit)
        sample(build_language_model(), collate_prompts([[5], [6]]), config)
        assert graphs.recorded == recorded


def test_texts_longer_than_the_context_use_no_graph(graphs: type[CpuRecordedFunction]) -> None:
    """After the maximum length, half of the context is encoded again."""
    model, config = build_language_model(max_length=16), SamplingConfig(max_length=30, seed=3)
    with reference_kernels("cuda_graph"):
        expected = sample(model, collate_prompts([[5], [6]]), config)
    assert_same([sample(model, collate_prompts([[5], [6]]), config)], [expected])
    assert graphs.recorded == 0


@pytest.mark.parametrize("is_forked", [False, True])
@torch.inference_mode()
def test_graphs_are_freed_with_their_state(graphs: type[CpuRecordedFunction], is_forked: bool) -> None:
    """The memory must be free for the next search, before any garbage collection."""
    model = build(TRANSFORMERS["pre"])
    last_ids, state = model.start(batch_of(ALL, with_target=False))
    step, current = cuda_graph.cuda_graph_step(model, state, last_ids.device, 1, 9)
    gc.disable()
    try:
        for _ in range(4):
            current = step(last_ids, current).state
            current = current.fork() if is_forked else current
        graph = weakref.ref(current.recorded)  # type: ignore[attr-defined]
        assert graph() is not None
        del current, state
        assert graph() is None
    finally:
        gc.enable()


@torch.inference_mode()
def test_forks_are_independent(graphs: type[CpuRecordedFunction]) -> None:
    """Forks are made before and after the conversion to a fixed size, and with a graph."""
    model = build(TRANSFORMERS["rotary"])
    last_ids, state = model.start(batch_of(ALL, with_target=False))
    step, current = cuda_graph.cuda_graph_step(model, state, last_ids.device, 1, 9)
    ids = last_ids
    for number in range(5):
        fork = current.fork() if number else None
        step_result = step(ids, current)
        if fork is not None:
            torch.testing.assert_close(step(ids, fork).scores, step_result.scores)
        ids, current = step_result.scores.argmax(1), step_result.state


@pytest.mark.parametrize("family", ["transformer", "transformer_lm"])
def test_graphs_do_not_change_outputs_of_stored_runs(
    graphs: type[CpuRecordedFunction], family: str, expected_by_family: dict[str, Any]
) -> None:
    """All commands give the expected outputs."""
    for name, use in expected_by_family[family]["uses"].items():
        assert_same_outputs(run_and_read_outputs(use["argv"]), use["lines"], name)
    assert graphs.recorded
