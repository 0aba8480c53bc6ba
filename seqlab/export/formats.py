"""Formats that `seqlab export` writes: registered parts, the fields of which are its options. Imports no torch."""

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from seqlab.part import Part

SETTINGS = ConfigDict(extra="forbid", use_attribute_docstrings=True)
"""Of the dataclasses that are formats."""


@dataclass(frozen=True, config=SETTINGS, kw_only=True)
class ExportFormat(Part):
    """The base of each format."""

    part_kind: ClassVar[str] = "exporter"
    tag_field: ClassVar[str] = "format"
    required_members: ClassVar[tuple[str, ...]] = ("export",)

    def export(self, run: Path, out: Path | None, checkpoint: str, overwrite: bool) -> Path:
        """Write the weights of one checkpoint of a run, and give the path.

        Args:
            run: a run folder.
            out: what to write; a place in `RUN/export` for None.
            checkpoint: `best` (in validation), `last` or a step number.
            overwrite: replace an export that is there.

        Raises:
            ValueError: the format cannot represent the model; nothing is left then.
        """
        raise NotImplementedError


@dataclass(frozen=True, config=SETTINGS, kw_only=True)
class CTranslate2Format(ExportFormat):
    """A folder with what CTranslate2 loads from Python or C++ (model.bin, config.json, vocabularies), the tokenizers,
    and seqlab.json, which says where it is from; checked on real lines, how close the two are is on standard error."""

    format: Literal["ctranslate2"] = "ctranslate2"
    quantization: str = "float32"
    """Type of the weights, as CTranslate2 names it: float32, int8, int8_float32, bfloat16, ..."""
    check: Annotated[str, "FILE"] | None = None
    """Source lines to check with; those of the validation set in the run's cache unless given."""

    def export(self, run: Path, out: Path | None, checkpoint: str, overwrite: bool) -> Path:
        """Convert a translator."""
        from seqlab.export.convert import export_run

        quantization, check = self.quantization, self.check
        return export_run(run, out, checkpoint=checkpoint, quantization=quantization, check=check, overwrite=overwrite)


@dataclass(frozen=True, config=SETTINGS, kw_only=True)
class ArpaFormat(ExportFormat):
    """An n-gram model as a file for KenLM, SRILM and others."""

    format: Literal["arpa"] = "arpa"

    def export(self, run: Path, out: Path | None, checkpoint: str, overwrite: bool) -> Path:
        """Write an n-gram model."""
        from seqlab.export.arpa import export_arpa

        return export_arpa(run, out, checkpoint=checkpoint, overwrite=overwrite)
