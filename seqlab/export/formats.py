"""Formats of `seqlab export`: registered config classes with the options as fields. Does not import torch."""

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict

from seqlab.base.config_class import dataclass
from seqlab.part import Part

SETTINGS = ConfigDict(extra="forbid", use_attribute_docstrings=True)
"""Settings of the dataclasses of formats."""


@dataclass(frozen=True, config=SETTINGS, kw_only=True)
class ExportFormat(Part):
    """Base class of the formats."""

    part_kind: ClassVar[str] = "exporter"
    tag_field: ClassVar[str] = "format"
    required_members: ClassVar[tuple[str, ...]] = ("export",)

    def export(self, run: Path, out: Path | None, checkpoint: str, overwrite: bool) -> Path:
        """Export one checkpoint of a run, and return the path of the export.

        Args:
            run: a run folder.
            out: path of the export; None chooses a name in `RUN/export`.
            checkpoint: `best` (in validation), `last` or a step number.
            overwrite: replace an existing export.

        Raises:
            ValueError: the format cannot represent the model; no files are left.
        """
        raise NotImplementedError


@dataclass(frozen=True, config=SETTINGS, kw_only=True)
class CTranslate2Format(ExportFormat):
    """A folder with the files of CTranslate2 (model.bin, config.json, vocabularies), the tokenizers, and seqlab.json
    with the origin of the export. Its outputs are compared with the run's on real lines; standard error shows the
    result."""

    format: Literal["ctranslate2"] = "ctranslate2"
    quantization: str = "float32"
    """Type of the weights in CTranslate2: float32, int8, int8_float32, bfloat16, ..."""
    check: Annotated[str, "FILE"] | None = None
    """File of source lines to compare the outputs on; by default the validation set in the run's cache."""

    def export(self, run: Path, out: Path | None, checkpoint: str, overwrite: bool) -> Path:
        """Export a translator."""
        from seqlab.export.convert import export_run

        quantization, check = self.quantization, self.check
        return export_run(run, out, checkpoint=checkpoint, quantization=quantization, check=check, overwrite=overwrite)


@dataclass(frozen=True, config=SETTINGS, kw_only=True)
class ArpaFormat(ExportFormat):
    """An ARPA file of an n-gram model, for KenLM, SRILM and others."""

    format: Literal["arpa"] = "arpa"

    def export(self, run: Path, out: Path | None, checkpoint: str, overwrite: bool) -> Path:
        """Export an n-gram model."""
        from seqlab.export.arpa import export_arpa

        return export_arpa(run, out, checkpoint=checkpoint, overwrite=overwrite)
