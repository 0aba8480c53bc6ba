"""A run with the engine of choice, exported to it where it has not been."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seqlab.durable import alone_in
from seqlab.export.engine import CTranslate2Engine, require_ctranslate2
from seqlab.export.folder import ExportFolder, default_folder, origin
from seqlab.inference.run import Run
from seqlab.plugins import load_plugin
from seqlab.runs.checkpoint import choose_step
from seqlab.runs.folder import RunFolder
from seqlab.runs.use import is_for, refuse_other_use
from seqlab.world import usable_cores

if TYPE_CHECKING:
    from seqlab.inference.labeller import Labeller
    from seqlab.inference.language_model import LanguageModel

logger = logging.getLogger(__name__)

ENGINES = ("torch", "ctranslate2")


def load(
    run: str | Path | Sequence[str | Path],
    checkpoint: str | Sequence[str] = "best",
    device: str = "auto",
    precision: str = "auto",
    *,
    plugins: Sequence[str | Path] = (),
    **options: Any,
) -> "Run | LanguageModel | Labeller":
    """Load a trained run: a translator, see `load_translator` for all arguments, a labeller or a language model.

    A language model computes in fp32 unless `precision` says otherwise; neither it nor a labeller has `options`.
    `plugins` are imported first, modules or files that end in `.py`: they have the parts that the run needs, and run
    code of their own.

    Raises:
        FileNotFoundError, ValueError: as `load_translator`.
    """
    for plugin in plugins:
        load_plugin(plugin)
    first = run if isinstance(run, str | Path) else next(iter(run), "")
    labels = is_for(first, "labelled")
    if not labels and not is_for(first, "text"):
        return load_translator(run, checkpoint, device, precision, **options)
    given = [name for name, value in options.items() if value is not None]
    if given:
        raise ValueError(f"{first} does not translate: for such a run there is no `{given[0]}`.")
    if labels:
        from seqlab.inference.labeller import load_labeller

        return load_labeller(run, checkpoint, device, precision)
    from seqlab.inference.language_model import load_language_model

    return load_language_model(run, checkpoint, device, "fp32" if precision == "auto" else precision)


def load_translator(
    run: str | Path | Sequence[str | Path],
    checkpoint: str | Sequence[str] = "best",
    device: str = "auto",
    precision: str = "auto",
    *,
    engine: str = "torch",
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
        engine: `torch`, or `ctranslate2`, to which the run is exported at its first use.
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
    if engine not in ENGINES:
        raise ValueError(f"`engine` must be one of {', '.join(ENGINES)}, but is `{engine}` instead.")
    of_lm = {"lm_weight": lm_weight, "length_reward": length_reward}
    of_lm = {name: value for name, value in of_lm.items() if value is not None}
    if lm is None and of_lm:
        raise ValueError(f"`{next(iter(of_lm))}` needs a language model, `lm`.")
    if engine == "torch":
        others: dict[str, Any] = {"rescore": rescore or ()}
        if lm is not None:
            others |= {"lm": lm, **of_lm}
        return _load_torch(run, checkpoint, device, precision, quantization, threads, processes, **others)
    for name, value in (("lm", lm), ("rescore", rescore)):
        if value is not None:
            raise ValueError(f"`{name}` is an option of torch: CTranslate2 decodes with the translator alone.")
    if precision != "auto":
        raise ValueError(f"`precision` ({precision}) is an option of torch: CTranslate2 takes `quantization`.")
    if processes not in (None, 1):
        raise ValueError(f"`processes` ({processes}) is an option of torch: CTranslate2 takes `threads`.")
    return _load_ctranslate2(_only(run, "run"), str(_only(checkpoint, "checkpoint")), device, quantization, threads)


def _load_torch(
    run: str | Path | Sequence[str | Path],
    checkpoint: str | Sequence[str],
    device: str,
    precision: str,
    quantization: str | None,
    threads: int | None,
    processes: int | None,
    **others: Any,
) -> Run:
    import torch

    from seqlab.inference.torch_engine import load as load_with_torch

    if quantization is not None:
        raise ValueError(f"`quantization` ({quantization}) is an option of CTranslate2: torch takes `precision`.")
    if threads is not None:
        torch.set_num_threads(threads)
    return load_with_torch(run, checkpoint, device, precision, processes, **others)


def _only(given: str | Path | Sequence[str | Path], name: str) -> str | Path:
    """Return the one that was given; raises ValueError for several."""
    several = [given] if isinstance(given, str | Path) else list(given)
    if len(several) != 1:
        raise ValueError(
            f"`{name}` names {len(several)}, but CTranslate2 translates with one model: ensembles need `engine` torch."
        )
    return several[0]


def _load_ctranslate2(
    run: str | Path, checkpoint: str, device: str, quantization: str | None, threads: int | None
) -> Run:
    require_ctranslate2()
    folder = ExportFolder(Path(run))
    if folder.exists():
        _refuse_another(folder, checkpoint, quantization)
    else:
        folder = _fresh_export(Path(run), checkpoint, quantization or "float32")
    description = folder.checked()
    src_tokenizer, tgt_tokenizer = folder.tokenizers()
    engine = CTranslate2Engine(
        folder,
        tgt_tokenizer,
        device=device,
        threads=usable_cores() if threads is None else threads,
    )
    return Run(
        engine,
        src_tokenizer,
        tgt_tokenizer,
        max_src_tokens=description.max_src_tokens,
        output_limits=description.output_limits,
    )


def _fresh_export(run: Path, checkpoint: str, quantization: str) -> ExportFolder:
    """Find the run's export of the weights as they are now, or make it."""
    if not run.is_dir():
        raise FileNotFoundError(f"There is no run folder {run}.")
    source = RunFolder(run)
    source.read_description()
    refuse_other_use(run, "parallel")
    folder = ExportFolder(default_folder(run, quantization))
    step = choose_step(source, checkpoint)
    wanted = origin(source, step, quantization)
    if folder.was_made_from(wanted):
        return folder
    from seqlab.export.convert import export_run, refuse_other_models

    refuse_other_models(run)
    folder.path.parent.mkdir(exist_ok=True)
    with alone_in(folder.path.parent, wait=True):
        if not folder.was_made_from(wanted):  # by a process that was here first
            logger.info("exporting step %d of %s to %s %s", step, run, folder.path, _reason(folder))
            export_run(run, checkpoint=str(step), quantization=quantization, overwrite=True)
    return folder


def _reason(folder: ExportFolder) -> str:
    if not folder.exists():
        return "for the first time"
    try:
        return f"anew, as it was made from step {folder.read().origin.step}"
    except ValueError as error:
        return f"anew, as {error}"


def _refuse_another(folder: ExportFolder, checkpoint: str, quantization: str | None) -> None:
    """Raise ValueError where something else is asked for than was exported; which step was best is not known."""
    made = folder.read().origin
    if quantization not in (None, made.quantization):
        raise ValueError(
            f"`quantization` is {quantization}, but {folder.path} was exported as {made.quantization}: leave it out, "
            "or name the run."
        )
    if checkpoint not in ("best", str(made.step)):
        raise ValueError(
            f"`checkpoint` is {checkpoint}, but {folder.path} was exported from step {made.step}: leave it out, or "
            "name the run."
        )
