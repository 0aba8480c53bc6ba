"""The torch engine of translators: one run, or several that decide together, perhaps with a language model."""

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
from seqlab.models.interfaces import PositionModel
from seqlab.nn.precision import choose_device, choose_dtype
from seqlab.runs.load import LoadedRun, load_run
from seqlab.search.config import OutputLimits
from seqlab.tasks.translation.config import TRANSLATOR
from seqlab.tasks.translation.load import EngineRequest
from seqlab.tasks.translation.run import Run

LANGUAGE_MODEL = "a language model"
"""What may decide with a translator: any run that is for this."""


def torch_engine(request: EngineRequest) -> Run:
    """Load translators with torch; registered as the engine `torch`."""
    if request.quantization is not None:
        raise ValueError(
            f"`quantization` ({request.quantization}) is an option of CTranslate2: torch takes `precision`."
        )
    if request.threads is not None:
        torch.set_num_threads(request.threads)
    given = {"lm_weight": request.lm_weight, "length_reward": request.length_reward}
    of_lm = {name: value for name, value in given.items() if value is not None}
    return load_with_torch(
        request.run,
        request.checkpoint,
        request.device,
        request.precision,
        request.processes,
        lm=request.lm,
        rescore=request.rescore or (),
        **of_lm,
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
    """Load a trained run for inference; several runs or checkpoints become an ensemble.

    On the CPU the process keeps from then on the memory that it frees, see `prepare_heap`.

    Args:
        run: a run folder, or several that share their vocabularies.
        checkpoint: `best` (in validation), `last` or a step number; several for an ensemble of checkpoints.
        device: `cpu`, `cuda`, `cuda:1`, or `auto`: CUDA where there is one.
        precision: dtype of matrix products, `bf16`, `fp32` or `auto`: bf16 where the device computes in it.
        processes: forked processes that many rows are divided among, on the CPU, of one thread each; None takes one for
            each thread, `MAX_WORKERS` at most. Forking a program that runs threads of its own is not safe.
        lm: the run of a language model over the same target vocabulary, which decides with the translator.
        lm_weight: of its log-probabilities.
        length_reward: what is added for each symbol when there is a language model, as that prefers short texts.
        rescore: a run of the same vocabularies, or several, whose scores choose between the hypotheses of a search; of
            each the best checkpoint.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: it is no run, is damaged or has another format version; vocabularies differ; no such device; more
            than one process with another device than the CPU, or where there is no forking.
    """
    runs = [run] if isinstance(run, str | Path) else list(run)
    checkpoints = [checkpoint] if isinstance(checkpoint, str) else list(checkpoint)
    chosen = choose_device(device)
    forks = ForkedWorkers(default_num_workers(chosen) if processes is None else processes)
    if forks.count > 1 and chosen.type != "cpu":
        raise ValueError(f"`processes` is {forks.count}, but on {chosen} one decodes: more are for the CPU.")
    dtype = choose_dtype(precision, chosen)
    members = [load_run(path, step, product=TRANSLATOR) for path in runs for step in checkpoints]
    engine = TorchEngine(members, chosen, dtype)
    if lm is not None:
        engine.fuse(load_run(lm, product=LANGUAGE_MODEL), lm_weight, length_reward, dtype)
    judges = [
        load_run(path, product=TRANSLATOR) for path in ([rescore] if isinstance(rescore, str | Path) else rescore)
    ]
    everyone = [*members, *judges]
    refuse_different_vocabularies(everyone)
    if judges and isinstance(engine.model, PositionModel) and engine.model.ends_at_eos:
        raise ValueError(
            f"{members[0].folder.path} has one answer, which it cuts at the first eos: there is nothing that `rescore` "
            "could choose."
        )
    trained = Run(
        RescoringEngine(engine, TorchEngine(judges, chosen, dtype)) if judges else engine,
        members[0].src_tokenizer,
        members[0].tgt_tokenizer,
        max_src_tokens=min(map(max_source_tokens, everyone)),
        output_limits=_output_limits(members, judges),
        has_copied_unknowns=has_copied_unknowns(everyone),
    )
    return trained.shared(forks) if forks.count > 1 else trained


def _output_limits(members: Sequence[LoadedRun], judges: Sequence[LoadedRun]) -> OutputLimits:
    """Return the limits of runs that translate together, and of those that score what is found."""
    limits = OutputLimits.combined([member.output_limits for member in members])
    if not judges:
        return limits
    # The judges read an output that the length limit ended with eos after it.
    return replace(limits, max_length=min(member.max_length for member in (*members, *judges)) - 1)
