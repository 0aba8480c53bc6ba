"""Dutch dialogue of the game Fish Fillets: two main speakers, split by level of the game.

The texts are subtitles, with case and punctuation and without stage directions. They can differ from the speech.
Two recordings are empty files (`gems/zav-v-sto.ogg` in train, `elevator1/zd1-m-cesta.ogg` in valid, `duration` 0).
"""

import re
from pathlib import Path

from seqlab.corpora.card import read_card
from seqlab.corpora.description import locate_files
from seqlab.corpora.recordings import ManifestRow, read_manifest, write_manifest

CORPUS = read_card("fillets_nl")


def write(folder: str | Path, source: str | Path | None = None) -> dict[str, Path]:
    """Write `train.jsonl`, `valid.jsonl` and `test.jsonl` with absolute paths; return their paths by split.

    The columns are `audio`, `text`, `duration` in seconds and `speaker`. Empty recordings are kept. Training recordings
    with the same words as a text of another split ("Weet ik veel.") are left out.

    Args:
        folder: folder to write the manifests to.
        source: folder of the corpus; by default `$SEQLAB_DATA/fillets_nl`.

    Raises:
        FileNotFoundError: a manifest or a recording is missing; the message has the source of the corpus.
        ValueError: the checksum of a manifest does not match.
    """
    rows = {split: read_manifest(files["manifest"]) for split, files in locate_files(CORPUS, source).items()}
    held_out = {_normalized_words(row) for split in ("valid", "test") for row in rows[split]}
    rows["train"] = [row for row in rows["train"] if _normalized_words(row) not in held_out]
    return {split: write_manifest(Path(folder) / f"{split}.jsonl", kept) for split, kept in rows.items()}


def _normalized_words(row: ManifestRow) -> tuple[str, ...]:
    """Return the words of a text without case and punctuation."""
    return tuple(re.findall(r"\w+", str(row["text"]).lower()))


__all__ = ["CORPUS", "write"]
