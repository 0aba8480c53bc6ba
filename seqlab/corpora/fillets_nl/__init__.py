"""Dutch dialogue of the game Fish Fillets: two main speakers, split by level of the game.

The texts are subtitles, with case and punctuation and without stage directions. They can differ from the speech.
Two recordings are empty files (`gems/zav-v-sto.ogg` in train, `elevator1/zd1-m-cesta.ogg` in valid, `duration` 0).
"""

import re
from pathlib import Path

from seqlab.corpora.description import CorpusDescription, Split, TextFile, locate_files
from seqlab.corpora.recordings import ManifestRow, read_manifest, write_manifest

CORPUS = CorpusDescription(
    name="fillets_nl",
    summary="Dutch dialogue of a game, 96 minutes, two main speakers, Ogg at 22.05 kHz, mostly stereo",
    source=(
        "Debian's packages fillets-ng-data-nl (recordings) and fillets-ng-data (subtitles), "
        "apt-get install fillets-ng-data-nl fillets-ng-data"
    ),
    license="GPL-2",
    columns={"manifest": "audio, text, duration in seconds, speaker"},
    splits={
        split: Split(num_lines=num_lines, files={"manifest": TextFile((f"{split}.jsonl",), sha256)})
        for split, num_lines, sha256 in (
            ("train", 1_369, "4a5cf2858f94f2b09c4ce39a461e42a95c05d2a6f657e29104d7b97f333f3ef0"),
            ("valid", 127, "74a6edd06f01e2c29763baaf73f392c36396d3060308af219193bc44582e10c2"),
            ("test", 119, "25421a2f0c29085f0fc7464af4f3201ad35218065182d3588a45d816ab1128ee"),
        )
    },
)


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
