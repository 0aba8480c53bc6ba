"""An export format: the tokens of the target vocabulary, one per line."""

from pathlib import Path
from typing import Literal

from pydantic.dataclasses import dataclass

from seqlab.export.formats import SETTINGS, ExportFormat


@dataclass(frozen=True, config=SETTINGS, kw_only=True)
class TokenListFormat(ExportFormat):
    """The target tokens of a run, one per line."""

    format: Literal["token_list"] = "token_list"
    """Name of the format."""
    numbered: bool = False
    """Whether each token is preceded by its id."""

    def export(self, run: Path, out: Path | None, checkpoint: str, overwrite: bool) -> Path:
        """Write the tokens and return the path; raises FileExistsError if the file exists."""
        from seqlab.runs.codecs import load_tokenizers
        from seqlab.runs.folder import RunFolder

        path = out or run / "export" / "tokens.txt"
        if path.exists() and not overwrite:
            raise FileExistsError(f"{path} exists already: add `--overwrite`.")
        _, tokenizer = load_tokenizers(RunFolder(run))
        tokens = tokenizer.tokens(range(tokenizer.vocab_size))
        lines = [f"{number}\t{token}" if self.numbered else token for number, token in enumerate(tokens)]
        path.parent.mkdir(exist_ok=True)
        path.write_text("".join(f"{line}\n" for line in lines), "utf-8")
        return path
