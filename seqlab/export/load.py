"""CTranslate2 as an engine of translators: a run is exported to it where it has not been."""

import logging
from collections.abc import Sequence
from pathlib import Path

from seqlab.base.atomic_io import folder_lock
from seqlab.base.world import usable_cores
from seqlab.export.engine import CTranslate2Engine, require_ctranslate2
from seqlab.export.folder import ExportFolder, default_folder, origin
from seqlab.runs.checkpoint import choose_step
from seqlab.runs.folder import RunFolder
from seqlab.runs.task_of_run import refuse_other_product
from seqlab.tasks.translation.config import TRANSLATOR
from seqlab.tasks.translation.load import EngineRequest
from seqlab.tasks.translation.run import Run

logger = logging.getLogger(__name__)


def ctranslate2_engine(request: EngineRequest) -> Run:
    """Load a translator with CTranslate2, exported to it where it has not been; registered as `ctranslate2`."""
    for name, value in (("lm", request.lm), ("rescore", request.rescore)):
        if value is not None:
            raise ValueError(f"`{name}` is an option of torch: CTranslate2 decodes with the translator alone.")
    if request.precision != "auto":
        raise ValueError(f"`precision` ({request.precision}) is an option of torch: CTranslate2 takes `quantization`.")
    if request.processes not in (None, 1):
        raise ValueError(f"`processes` ({request.processes}) is an option of torch: CTranslate2 takes `threads`.")
    run, checkpoint = _only(request.run, "run"), str(_only(request.checkpoint, "checkpoint"))
    return _load(run, checkpoint, request.device, request.quantization, request.threads)


def _load(run: str | Path, checkpoint: str, device: str, quantization: str | None, threads: int | None) -> Run:
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


def _only(given: str | Path | Sequence[str | Path], name: str) -> str | Path:
    """Return the one that was given; raises ValueError for several."""
    several = [given] if isinstance(given, str | Path) else list(given)
    if len(several) != 1:
        raise ValueError(
            f"`{name}` names {len(several)}, but CTranslate2 translates with one model: ensembles need `engine` torch."
        )
    return several[0]


def _fresh_export(run: Path, checkpoint: str, quantization: str) -> ExportFolder:
    """Find the run's export of the weights as they are now, or make it."""
    source = RunFolder(run)
    source.refuse_missing()
    source.read_description()
    refuse_other_product(run, TRANSLATOR)
    folder = ExportFolder(default_folder(run, quantization))
    step = choose_step(source, checkpoint)
    wanted = origin(source, step, quantization)
    if folder.was_made_from(wanted):
        return folder
    from seqlab.export.convert import export_run, refuse_other_models

    refuse_other_models(run)
    folder.path.parent.mkdir(exist_ok=True)
    with folder_lock(folder.path.parent, wait=True):
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
