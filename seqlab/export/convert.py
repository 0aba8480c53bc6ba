"""Export a translator to CTranslate2, and verify on real lines that model and export compute the same."""

import copy
import logging
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import torch

import seqlab
from seqlab.base.raw_lines import LineLimit
from seqlab.base.world import usable_cores
from seqlab.data.encoded import EncodedCorpus
from seqlab.data.readers import read_lines
from seqlab.export.ctranslate2_engine import CTranslate2Engine, require_ctranslate2
from seqlab.export.export_folder import (
    ExportDescription,
    ExportFolder,
    atomic_folder,
    default_export_path,
    export_origin,
    file_checksums,
    refuse_existing,
    save_tokenizers,
    write_export_description,
)
from seqlab.export.parity import MAX_SCORE_DIFFERENCE, MIN_IDENTICAL, Parity, compare_engines
from seqlab.inference.torch_engine import TorchEngine, max_source_tokens
from seqlab.models import Transformer, TransformerConfig
from seqlab.runs.codecs import load_tokenizers
from seqlab.runs.folder import RunFolder
from seqlab.runs.load import LoadedRun, load_run, read_config
from seqlab.tasks.translation.config import TRANSLATOR

logger = logging.getLogger(__name__)

MAX_CHECK_LINES = 100
"""Maximum number of lines that both engines translate and score."""


def export_run(
    run: str | Path,
    out: str | Path | None = None,
    *,
    checkpoint: str = "best",
    quantization: str = "float32",
    check: str | Path | None = None,
    overwrite: bool = False,
) -> Path:
    """Export a translator to CTranslate2, and compare the outputs of model and export; return the folder.

    The conversion is always verified in fp32. The effect of another quantization is measured and logged.

    Args:
        run: a run folder.
        out: the folder to write; `RUN/export/ctranslate2-QUANTIZATION` by default.
        checkpoint: `best` (in validation), `last` or a step number.
        quantization: type of the weights, one of `QUANTIZATIONS`.
        check: a file of source lines for the comparison; by default the validation set in the run's cache.
        overwrite: replace an existing export.

    Raises:
        ValueError: CTranslate2 is not installed or cannot represent the model; the folder exists; there are no lines
            for the comparison; the outputs differ (the folder is deleted).
    """
    require_ctranslate2()
    final = default_export_path(Path(run), quantization) if out is None else Path(out)
    refuse_existing(final, overwrite)
    loaded = load_run(run, checkpoint, model_noun=TRANSLATOR)
    refuse_unsupported_models(run)
    src_rows, tgt_rows = load_check_rows(loaded, check)
    with atomic_folder(final) as folder:
        save_tokenizers(folder, *load_tokenizers(loaded.folder))
        parity = convert(loaded, folder, "float32", src_rows, tgt_rows)
        if not parity.is_exact:
            raise ValueError(
                f"{final} was not written, since the outputs of CTranslate2 differ from those of {run}: {parity}. In "
                f"fp32 the log-probabilities of a token must agree within {MAX_SCORE_DIFFERENCE} nats, and "
                f"{MIN_IDENTICAL:.0%} of the greedy translations must be the same."
            )
        logger.info("fp32: %s", parity)
        if quantization != "float32":
            parity = convert(loaded, folder, quantization, src_rows, tgt_rows)
            logger.info("%s: %s", quantization, parity)
        write_export_description(folder, export_description(loaded, folder, quantization, parity))
    return final


def convert(
    loaded: LoadedRun,
    folder: Path,
    quantization: str,
    src_rows: Sequence[Sequence[int]],
    tgt_rows: Sequence[Sequence[int]] | None,
) -> Parity:
    """Write CTranslate2's files into a folder, and compare its outputs with those of the run in fp32."""
    from seqlab.export.specification import make_specification  # imports CTranslate2, which may be missing

    assert isinstance(loaded.model, Transformer), "`refuse_unsupported_models` allows only Transformers"
    # A copy, since CTranslate2 quantizes weights in place.
    specification = make_specification(copy.deepcopy(loaded.model), loaded.src_tokenizer, loaded.tgt_tokenizer)
    specification.validate()
    specification.optimize(quantization)
    specification.save(str(folder))
    tokenizer = loaded.tgt_tokenizer
    engine = CTranslate2Engine(ExportFolder(folder), tokenizer, device="cpu", threads=usable_cores())
    reference = TorchEngine([loaded], torch.device("cpu"), torch.float32)
    return compare_engines(engine, reference, src_rows, tgt_rows, tokenizer, loaded.output_limits)


def refuse_unsupported_models(run: str | Path) -> None:
    """Raise ValueError if CTranslate2 cannot represent the model of a run."""
    from seqlab.export.specification import refuse_unsupported_fields  # imports CTranslate2, which may be missing

    model = read_config(RunFolder(Path(run))).model
    if not isinstance(model, TransformerConfig):
        raise ValueError(
            f"{run} has `model.family: {model.family}`, but CTranslate2 supports only Transformers: use "
            "`seqlab translate` without an export."
        )
    refuse_unsupported_fields(model)


def load_check_rows(loaded: LoadedRun, check: str | Path | None) -> tuple[list[list[int]], list[list[int]] | None]:
    """Encode the lines of a file for the comparison, or load the encoded pairs of the validation set.

    Raises:
        ValueError: all lines are empty or longer than the model reads.
    """
    longest = max_source_tokens(loaded)
    if check is not None:
        file_lines = read_lines(Path(check), LineLimit(None))
        lines = [line for line, _ in zip(file_lines, range(MAX_CHECK_LINES), strict=False)]
        rows = [row for row in loaded.src_tokenizer.encode(lines) if 0 < len(row) <= longest]
        if not rows:
            raise ValueError(
                f"{check}: the first {MAX_CHECK_LINES} lines are empty or too long for the model, so that the export "
                "cannot be checked."
            )
        return rows, None
    advice = "The export cannot be checked: name a file of source lines with `--check`."
    try:
        pairs = EncodedCorpus.open(loaded.folder.cache / "valid")
    except ValueError as error:
        raise ValueError(f"{error} {advice}") from None
    checked_pairs = [(pairs.src[i].tolist(), pairs.tgt[i].tolist()) for i in range(min(len(pairs), MAX_CHECK_LINES))]
    checked_pairs = [(src, tgt) for src, tgt in checked_pairs if len(src) <= longest and len(tgt) < loaded.max_length]
    if not checked_pairs:
        raise ValueError(f"All pairs in {loaded.folder.cache} are too long for the model. {advice}")
    return [src for src, _ in checked_pairs], [tgt for _, tgt in checked_pairs]


def export_description(loaded: LoadedRun, folder: Path, quantization: str, parity: Parity) -> ExportDescription:
    """Build the content of seqlab.json: the origin of the export, its limits and the result of the comparison."""
    return ExportDescription(
        origin=export_origin(loaded.folder, loaded.step, quantization),
        run=str(loaded.folder.path),
        seqlab_version=seqlab.__version__,
        ctranslate2_version=version("ctranslate2"),
        max_src_tokens=max_source_tokens(loaded),
        max_length=loaded.max_length,
        max_length_ratio=loaded.output_limits.ratio,
        max_length_offset=loaded.output_limits.offset,
        has_single_spaces=loaded.src_tokenizer.has_single_spaces,
        check=asdict(parity),
        crc32=file_checksums(folder),
    )
