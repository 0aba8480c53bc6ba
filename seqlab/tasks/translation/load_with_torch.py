"""The torch engine of translators: a run or an ensemble, with optional language model fusion and rescoring."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from seqlab.inference.forks import ForkedWorkers, default_num_workers
from seqlab.inference.rescoring import RescoringEngine
from seqlab.inference.torch_engine import (
    TorchEngine,
    has_copied_unknowns,
    max_source_tokens,
    refuse_different_vocabularies,
)
from seqlab.nn.precision import choose_device, choose_dtype, choose_scoring_dtype
from seqlab.runs.load import LoadedRun, load_run
from seqlab.search.config import OutputLimits
from seqlab.search.protocols import PositionModel
from seqlab.tasks.translation.config import TRANSLATOR
from seqlab.tasks.translation.load_translator import EngineRequest
from seqlab.tasks.translation.run import Run

LANGUAGE_MODEL = "a language model"
"""`DataConfig.model_noun` of the runs that can be fused with a translator."""


def torch_engine(request: EngineRequest) -> Run:
    """Load translators with torch; registered as engine `torch`."""
    if request.quantization is not None:
        raise ValueError(f"`quantization` ({request.quantization}) is for CTranslate2: with torch, use `precision`.")
    if request.threads is not None:
        torch.set_num_threads(request.threads)
    options = {"lm_weight": request.lm_weight, "length_reward": request.length_reward}
    fusion_options = {name: value for name, value in options.items() if value is not None}
    return load_with_torch(
        request.run,
        request.checkpoint,
        request.device,
        request.precision,
        request.processes,
        lm=request.lm,
        rescore=request.rescore or (),
        **fusion_options,
    )


def load_with_torch(
    run: str | Path | Sequence[str | Path],
    checkpoint: str | Sequence[str] = "best",
    device: str = "auto",
    precision: str = "auto",
    processes: int | None = 1,
    lm: str | Path | None = None,
    lm_weight: float = 0.1,
    length_reward: float = 0.0,
    rescore: str | Path | Sequence[str | Path] = (),
) -> Run:
    """Load a translator with torch; several runs or checkpoints form an ensemble.

    On the CPU, the process keeps freed memory for reuse afterwards, see `prepare_heap`.

    Args:
        run: a run folder, or several with the same vocabularies.
        checkpoint: `best` (in validation), `last` or a step number; several for an ensemble of checkpoints.
        device: `cpu`, `cuda`, `cuda:1`, or `auto` (CUDA if available).
        precision: dtype of matrix products: `bf16`, `fp32` or `auto` (bf16 if the device supports it; scores of given
            texts and those of `rescore` are in fp32).
        processes: on the CPU, number of forked processes that share the lines, with one thread each; None for one per
            thread, at most `MAX_WORKERS`. Forking is unsafe in a program with threads.
        lm: the run of a language model over the same target vocabulary, for shallow fusion.
        lm_weight: weight of its log-probabilities.
        length_reward: score added per token with `lm`, which prefers short outputs.
        rescore: one or several runs with the same vocabularies that rescore the hypotheses of the search, each with its
            best checkpoint.

    Raises:
        FileNotFoundError: the folder does not exist.
        ValueError: the folder is not a run, is damaged, or has another format version; the vocabularies differ; the
            device does not exist; or there is more than one process on another device than the CPU, or without `fork`.
    """
    runs = [run] if isinstance(run, str | Path) else list(run)
    checkpoints = [checkpoint] if isinstance(checkpoint, str) else list(checkpoint)
    chosen_device = choose_device(device)
    forks = ForkedWorkers(default_num_workers(chosen_device) if processes is None else processes)
    if forks.count > 1 and chosen_device.type != "cpu":
        raise ValueError(
            f"`processes` must be 1 on {chosen_device}, but is {forks.count} instead: worker processes are for the CPU."
        )
    dtype, scoring_dtype = choose_dtype(precision, chosen_device), choose_scoring_dtype(precision, chosen_device)
    members = [load_run(path, step, model_noun=TRANSLATOR) for path in runs for step in checkpoints]
    engine = TorchEngine(members, chosen_device, dtype, scoring_dtype)
    if lm is not None:
        engine.fuse(load_run(lm, model_noun=LANGUAGE_MODEL), lm_weight, length_reward, dtype)
    rescorers = [
        load_run(path, model_noun=TRANSLATOR) for path in ([rescore] if isinstance(rescore, str | Path) else rescore)
    ]
    all_runs = [*members, *rescorers]
    refuse_different_vocabularies(all_runs)
    if rescorers and isinstance(engine.model, PositionModel) and engine.model.ends_at_eos:
        raise ValueError(
            f"{members[0].folder.path} outputs a single hypothesis, which ends at the first eos: `rescore` has nothing "
            "to choose from."
        )
    # Runs of earlier versions (`data.src_spaces: keep`) can read single spaces, which other runs need.
    src_tokenizers = [run.src_tokenizer for run in all_runs]
    translator = Run(
        RescoringEngine(engine, TorchEngine(rescorers, chosen_device, scoring_dtype)) if rescorers else engine,
        next((tokenizer for tokenizer in src_tokenizers if tokenizer.has_single_spaces), src_tokenizers[0]),
        members[0].tgt_tokenizer,
        max_src_tokens=min(map(max_source_tokens, all_runs)),
        output_limits=_output_limits(members, rescorers),
        has_copied_unknowns=has_copied_unknowns(all_runs),
    )
    return translator.distributed(forks) if forks.count > 1 else translator


def _output_limits(members: Sequence[LoadedRun], rescorers: Sequence[LoadedRun]) -> OutputLimits:
    """Return the output limits of an ensemble and its rescoring runs."""
    limits = OutputLimits.combined([member.output_limits for member in members])
    if not rescorers:
        return limits
    # The rescoring runs append eos to an output that was cut at the length limit.
    return replace(limits, max_length=min(member.max_length for member in (*members, *rescorers)) - 1)
