"""Loading translators: an engine that computes, between the tokenizers of the two sides."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from seqlab.registry import Parts, find_part
from seqlab.tasks.translation.run import Run


@dataclass(frozen=True)
class EngineRequest:
    """What is asked of an engine, as `load_translator` explains; an engine refuses what it does not have."""

    run: str | Path | Sequence[str | Path]
    checkpoint: str | Sequence[str]
    device: str
    precision: str
    quantization: str | None
    threads: int | None
    processes: int | None
    lm: str | Path | None
    lm_weight: float | None
    length_reward: float | None
    rescore: str | Path | Sequence[str | Path] | None


def load_translator(
    run: str | Path | Sequence[str | Path],
    checkpoint: str | Sequence[str] = "best",
    device: str = "auto",
    precision: str = "auto",
    *,
    engine: str | None = None,
    quantization: str | None = None,
    threads: int | None = None,
    processes: int | None = 1,
    lm: str | Path | None = None,
    lm_weight: float | None = None,
    length_reward: float | None = None,
    rescore: str | Path | Sequence[str | Path] | None = None,
) -> Run:
    """Load a trained run to translate and score with; several runs or checkpoints become an ensemble.

    With torch on the CPU the process keeps from then on the memory that it frees: what is faster once is faster always.

    Args:
        run: a run folder, or several that share their vocabularies; with `ctranslate2` one run, or one exported
            folder, which is taken as it is: a step or a quantization that is given must be that of the export.
        checkpoint: `best` (in validation), `last` or a step number; several for an ensemble of checkpoints.
        device: `cpu`, `cuda`, `cuda:1`, or `auto`: CUDA where there is one.
        precision: of torch, dtype of matrix products: `bf16`, `fp32` or `auto`: bf16 where the device computes in it.
        engine: `torch` (the default), `ctranslate2`, to which the run is exported at its first use, or another one.
        quantization: of CTranslate2, type of the weights: `float32` unless given, `int8`, ...
        threads: CPU threads; None takes all cores.
        processes: of torch on the CPU, forked processes that many lines are divided among, of one thread each: faster
            than as many threads. None takes one for each thread, eight at most. Forking a program that runs threads of
            its own is not safe.
        lm: of torch, the run of a language model over the same target vocabulary, which decides with the translator
            (shallow fusion).
        lm_weight: of its log-probabilities; 0.1 unless given.
        length_reward: what is added for each symbol beside the language model, which prefers short texts; 0 unless
            given.
        rescore: of torch, a run of the same vocabularies, or several, whose scores choose between the hypotheses of a
            search, and are the scores of what is chosen.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: it is no run, is damaged or has another format version; vocabularies differ; no such device; an
            option that the engine has not.
    """
    if threads is not None and threads < 1:
        raise ValueError(f"`threads` must be at least 1, but is {threads} instead.")
    if lm is None:
        for name, value in (("lm_weight", lm_weight), ("length_reward", length_reward)):
            if value is not None:
                raise ValueError(f"`{name}` needs a language model, `lm`.")
    others = (quantization, threads, processes, lm, lm_weight, length_reward, rescore)
    request = EngineRequest(run, checkpoint, device, precision, *others)
    return _engine("torch" if engine is None else engine)(request)


def _engine(name: str) -> Callable[[EngineRequest], Run]:
    if name not in Parts("engine"):
        raise ValueError(f"`engine` must be one of {', '.join(Parts('engine'))}, but is `{name}` instead.")
    found: Callable[[EngineRequest], Run] = find_part("engine", name)
    return found
