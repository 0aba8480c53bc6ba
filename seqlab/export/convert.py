"""A run to a folder that CTranslate2 loads, checked on real lines before it gets its name."""

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
from seqlab.export.engine import CTranslate2Engine, require_ctranslate2
from seqlab.export.folder import (
    Description,
    ExportFolder,
    building,
    default_folder,
    file_checksums,
    origin,
    refuse_occupied,
    save_tokenizers,
    write_description,
)
from seqlab.export.parity import MIN_IDENTICAL, TOLERANCE, Parity, compare_engines
from seqlab.inference.torch_engine import TorchEngine, max_source_tokens
from seqlab.models import Transformer, TransformerConfig
from seqlab.runs.folder import RunFolder
from seqlab.runs.load import LoadedRun, load_run, read_config
from seqlab.tasks.translation.config import TRANSLATOR

logger = logging.getLogger(__name__)

CHECK_LINES = 100
"""Lines that are translated and scored by both, at most."""


def export_run(
    run: str | Path,
    out: str | Path | None = None,
    *,
    checkpoint: str = "best",
    quantization: str = "float32",
    check: str | Path | None = None,
    overwrite: bool = False,
) -> Path:
    """Convert a run for CTranslate2, compare what it says with what the run says, and give the folder.

    The conversion is checked in fp32 whatever the quantization, which is then compared and reported.

    Args:
        run: a run folder.
        out: the folder to write; `RUN/export/ctranslate2-QUANTIZATION` unless given.
        checkpoint: `best` (in validation), `last` or a step number.
        quantization: type of the weights, one of `QUANTIZATIONS`.
        check: a file of source lines to check with; the validation set in the run's cache unless given.
        overwrite: replace an export that is there.

    Raises:
        ValueError: CTranslate2 is not installed or cannot represent the model; the folder is taken; there are no
            lines to check with; the exported model does not say what the run says (nothing is left then).
    """
    require_ctranslate2()
    final = default_folder(Path(run), quantization) if out is None else Path(out)
    refuse_occupied(final, overwrite)
    member = load_run(run, checkpoint, product=TRANSLATOR)
    refuse_other_models(run)
    src_rows, tgt_rows = check_rows(member, check)
    with building(final) as folder:
        save_tokenizers(folder, member.src_tokenizer, member.tgt_tokenizer)
        parity = convert(member, folder, "float32", src_rows, tgt_rows)
        if not parity.is_exact:
            raise ValueError(
                f"{final} was not written, as CTranslate2 computes something else than {run}: {parity}. In fp32 the "
                f"log-probabilities of a token must be within {TOLERANCE} nats, and {MIN_IDENTICAL:.0%} of the greedy "
                "translations the same."
            )
        logger.info("fp32: %s", parity)
        if quantization != "float32":
            parity = convert(member, folder, quantization, src_rows, tgt_rows)
            logger.info("%s: %s", quantization, parity)
        write_description(folder, describe(member, folder, quantization, parity))
    return final


def convert(
    member: LoadedRun,
    folder: Path,
    quantization: str,
    src_rows: Sequence[Sequence[int]],
    tgt_rows: Sequence[Sequence[int]] | None,
) -> Parity:
    """Write CTranslate2's files into a folder, and compare what they compute with the run in fp32."""
    from seqlab.export.specification import make_specification  # imports CTranslate2, which may be missing

    assert isinstance(member.model, Transformer), "others are refused before"
    # A copy, as CTranslate2 quantises weights in place.
    specification = make_specification(copy.deepcopy(member.model), member.src_tokenizer, member.tgt_tokenizer)
    specification.validate()
    specification.optimize(quantization)
    specification.save(str(folder))
    tokenizer = member.tgt_tokenizer
    engine = CTranslate2Engine(ExportFolder(folder), tokenizer, device="cpu", threads=usable_cores())
    reference = TorchEngine([member], torch.device("cpu"), torch.float32)
    return compare_engines(engine, reference, src_rows, tgt_rows, tokenizer, member.output_limits)


def refuse_other_models(run: str | Path) -> None:
    """Raise ValueError where a run's model is none that CTranslate2 has."""
    from seqlab.export.specification import refuse_unknown_settings  # imports CTranslate2, which may be missing

    model = read_config(RunFolder(Path(run))).model
    if not isinstance(model, TransformerConfig):
        raise ValueError(
            f"{run} is of `model.family: {model.family}`, but CTranslate2 has Transformers only: `seqlab translate` "
            "runs it as it is."
        )
    refuse_unknown_settings(model)


def check_rows(member: LoadedRun, check: str | Path | None) -> tuple[list[list[int]], list[list[int]] | None]:
    """Find lines to check with, as ids: of a file, or of the validation set with its targets.

    Raises:
        ValueError: there are none that have ids and are no longer than the model reads.
    """
    longest = max_source_tokens(member)
    if check is not None:
        lines = [line for line, _ in zip(read_lines(Path(check), LineLimit(None)), range(CHECK_LINES), strict=False)]
        rows = [row for row in member.src_tokenizer.encode(lines) if 0 < len(row) <= longest]
        if not rows:
            raise ValueError(f"{check} has no line to check the export with in its first {CHECK_LINES}.")
        return rows, None
    advice = "The export cannot be checked: name a file of source lines with `--check`."
    try:
        pairs = EncodedCorpus.open(member.folder.cache / "valid")
    except ValueError as error:
        raise ValueError(f"{error} {advice}") from None
    both = [(pairs.src[i].tolist(), pairs.tgt[i].tolist()) for i in range(min(len(pairs), CHECK_LINES))]
    both = [(src, tgt) for src, tgt in both if len(src) <= longest and len(tgt) < member.max_length]
    if not both:
        raise ValueError(f"{member.folder.cache} has only pairs that are too long for the model. {advice}")
    return [src for src, _ in both], [tgt for _, tgt in both]


def describe(member: LoadedRun, folder: Path, quantization: str, parity: Parity) -> Description:
    """Say where the files are from and how they were checked."""
    return Description(
        origin=origin(member.folder, member.step, quantization),
        run=str(member.folder.path),
        seqlab_version=seqlab.__version__,
        ctranslate2_version=version("ctranslate2"),
        max_src_tokens=max_source_tokens(member),
        max_length=member.max_length,
        max_length_ratio=member.output_limits.ratio,
        max_length_offset=member.output_limits.offset,
        check=asdict(parity),
        crc32=file_checksums(folder),
    )
