"""Load translators with an inference engine: torch, CTranslate2 or a plugin."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from seqlab.registry import Parts, find_part
from seqlab.tasks.translation.run import Run


@dataclass(frozen=True)
class EngineRequest:
    """Arguments of `load_translator`. An engine raises ValueError for arguments that it does not support."""

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
    """Load a translator; several runs or checkpoints form an ensemble.

    With torch on the CPU, the process keeps freed memory for reuse afterwards, for speed.

    Args:
        run: a run folder, or several with the same vocabularies. With `ctranslate2` one run or one exported folder; a
            given step or quantization must be that of the export.
        checkpoint: `best` (in validation), `last` or a step number; several for an ensemble of checkpoints.
        device: `cpu`, `cuda`, `cuda:1`, or `auto` (CUDA if available).
        precision: for torch, dtype of matrix products: `bf16`, `fp32` or `auto` (bf16 if the device supports it; scores
            of given texts and those of `rescore` are in fp32).
        engine: `torch` (default), `ctranslate2` (the run is exported at first use), or the engine of a plugin.
        quantization: for CTranslate2, type of the weights: `float32` (default), `int8`, ...
        threads: number of CPU threads; None for all cores.
        processes: for torch on the CPU, number of forked processes that share the lines, with one thread each; faster
            than as many threads. None for one per thread, at most eight. Forking is unsafe in a program with threads.
        lm: for torch, the run of a language model over the same target vocabulary, for shallow fusion.
        lm_weight: weight of its log-probabilities; default 0.1.
        length_reward: score added per token with `lm`, which prefers short outputs; default 0.
        rescore: for torch, one or several runs with the same vocabularies that rescore the hypotheses of the search;
            their scores are returned.

    Raises:
        FileNotFoundError: the folder does not exist.
        ValueError: the folder is not a run, is damaged, or has another format version; the vocabularies differ; the
            device does not exist; or the engine does not support an argument.
    """
    if threads is not None and threads < 1:
        raise ValueError(f"`threads` must be at least 1, but is {threads} instead.")
    if lm is None:
        for name, value in (("lm_weight", lm_weight), ("length_reward", length_reward)):
            if value is not None:
                raise ValueError(f"`{name}` needs a language model: give `lm`.")
    options = (quantization, threads, processes, lm, lm_weight, length_reward, rescore)
    request = EngineRequest(run, checkpoint, device, precision, *options)
    return _find_engine("torch" if engine is None else engine)(request)


def _find_engine(name: str) -> Callable[[EngineRequest], Run]:
    if name not in Parts("engine"):
        raise ValueError(f"`engine` must be one of {', '.join(Parts('engine'))}, but is `{name}` instead.")
    engine: Callable[[EngineRequest], Run] = find_part("engine", name)
    return engine
