"""Load a translator with CTranslate2, exporting the run at first use."""

import logging
from collections.abc import Sequence
from pathlib import Path

from seqlab.base.atomic_io import folder_lock
from seqlab.base.world import usable_cores
from seqlab.export.ctranslate2_engine import CTranslate2Engine, require_ctranslate2
from seqlab.export.export_folder import ExportFolder, default_export_path, export_origin
from seqlab.runs.checkpoint import choose_step
from seqlab.runs.folder import RunFolder
from seqlab.runs.task_of_run import refuse_other_models
from seqlab.tasks.translation.config import TRANSLATOR
from seqlab.tasks.translation.load_translator import EngineRequest
from seqlab.tasks.translation.run import Run

logger = logging.getLogger(__name__)


def ctranslate2_engine(request: EngineRequest) -> Run:
    """Load a translator with CTranslate2; exports the run if its export is missing or outdated.

    Registered as the engine `ctranslate2`.

    Raises:
        ValueError: an option is for other engines; CTranslate2 is not installed or cannot represent the model; the
            export is damaged, or is of another checkpoint or quantization.
    """
    for name, value in (("lm", request.lm), ("rescore", request.rescore)):
        if value is not None:
            raise ValueError(f"`{name}` needs the engine `torch`: CTranslate2 decodes with a single translator.")
    if request.precision != "auto":
        raise ValueError(
            f"`precision` ({request.precision}) needs the engine `torch`: CTranslate2 has `quantization` instead."
        )
    if request.processes not in (None, 1):
        raise ValueError(
            f"`processes` ({request.processes}) needs the engine `torch`: CTranslate2 has `threads` instead."
        )
    run, checkpoint = _require_single(request.run, "run"), str(_require_single(request.checkpoint, "checkpoint"))
    return _load(run, checkpoint, request.device, request.quantization, request.threads)


def _load(run: str | Path, checkpoint: str, device: str, quantization: str | None, threads: int | None) -> Run:
    require_ctranslate2()
    folder = ExportFolder(Path(run))
    if folder.exists():
        _refuse_other_origin(folder, checkpoint, quantization)
    else:
        folder = _current_export(Path(run), checkpoint, quantization or "float32")
    description = folder.verify()
    src_tokenizer, tgt_tokenizer = folder.tokenizers()
    engine = CTranslate2Engine(
        folder,
        tgt_tokenizer,
        device=device,
        threads=usable_cores() if threads is None else threads,
    )
    return Run(
        engine,
        src_tokenizer.with_single_spaces() if description.has_single_spaces else src_tokenizer,
        tgt_tokenizer,
        max_src_tokens=description.max_src_tokens,
        output_limits=description.output_limits,
    )


def _require_single(argument: str | Path | Sequence[str | Path], name: str) -> str | Path:
    """Return the only value; raises ValueError if there are several."""
    values = [argument] if isinstance(argument, str | Path) else list(argument)
    if len(values) != 1:
        raise ValueError(
            f"`{name}` has {len(values)} values, but CTranslate2 takes one model: ensembles need the engine `torch`."
        )
    return values[0]


def _current_export(run: Path, checkpoint: str, quantization: str) -> ExportFolder:
    """Return the run's export of the checkpoint's current weights; create it if it is missing or outdated."""
    source = RunFolder(run)
    source.refuse_missing()
    source.read_description()
    refuse_other_models(run, TRANSLATOR)
    folder = ExportFolder(default_export_path(run, quantization))
    step = choose_step(source, checkpoint)
    origin = export_origin(source, step, quantization)
    if folder.has_origin(origin):
        return folder
    from seqlab.export.convert import export_run, refuse_unsupported_models

    refuse_unsupported_models(run)
    folder.path.parent.mkdir(exist_ok=True)
    with folder_lock(folder.path.parent, wait=True):
        if not folder.has_origin(origin):  # another process may have exported it while this one waited
            logger.info("exporting step %d of %s to %s %s", step, run, folder.path, _export_reason(folder))
            export_run(run, checkpoint=str(step), quantization=quantization, overwrite=True)
    return folder


def _export_reason(folder: ExportFolder) -> str:
    """Return the reason for an export, for the log."""
    if not folder.exists():
        return "for the first time"
    try:
        return f"again, since the existing export is of step {folder.read_description().origin.step}"
    except ValueError as error:
        return f"again: {error}"


def _refuse_other_origin(folder: ExportFolder, checkpoint: str, quantization: str | None) -> None:
    """Raise ValueError if an exported folder is of another quantization or step; `best` accepts any step."""
    origin = folder.read_description().origin
    if quantization not in (None, origin.quantization):
        raise ValueError(
            f"`quantization` is {quantization}, but {folder.path} was exported as {origin.quantization}: leave it out, "
            "or name the run instead of the export."
        )
    if checkpoint not in ("best", str(origin.step)):
        raise ValueError(
            f"`checkpoint` is {checkpoint}, but {folder.path} was exported from step {origin.step}: leave it out, or "
            "name the run instead of the export."
        )
