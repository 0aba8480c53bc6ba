"""Describe the Dutch dialogue of the game Fish Fillets: two main speakers, divided by level of the game.

The texts are subtitles, with case and punctuation and without stage directions. They may deviate from what is spoken.
Two recordings are empty files (`gems/zav-v-sto.ogg` in train, `elevator1/zd1-m-cesta.ogg` in valid, `duration` 0).
"""

import re
from pathlib import Path

from seqlab.corpora.description import Corpus, Split, TextFile
from seqlab.corpora.location import locate_files
from seqlab.corpora.recordings import Row, read_manifest, write_manifest

CORPUS = Corpus(
    name="fillets_nl",
    summary="Dutch dialogue of a game, 96 minutes, two main speakers, Ogg at 22.05 kHz, mostly stereo",
    source=(
        "Debian's packages fillets-ng-data-nl (recordings) and fillets-ng-data (subtitles), "
        "apt-get install fillets-ng-data-nl fillets-ng-data"
    ),
    licence="GPL-2",
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

    The columns are `audio`, `text`, `duration` in seconds and `speaker`. Empty recordings are kept; those of training
    whose words are a text of another split ("Weet ik veel.") are not.

    Args:
        folder: where to write.
        source: the folder of the corpus, by default `$SEQLAB_DATA/fillets_nl`.

    Raises:
        FileNotFoundError: a manifest or a recording is missing; the message says where to get them.
        ValueError: a manifest is another one.
    """
    rows = {split: read_manifest(files["manifest"]) for split, files in locate_files(CORPUS, source).items()}
    held_out = {_words(row) for split in ("valid", "test") for row in rows[split]}
    rows["train"] = [row for row in rows["train"] if _words(row) not in held_out]
    return {split: write_manifest(Path(folder) / f"{split}.jsonl", each) for split, each in rows.items()}


def _words(row: Row) -> tuple[str, ...]:
    """Give the words of a text without case and punctuation."""
    return tuple(re.findall(r"\w+", str(row["text"]).lower()))


__all__ = ["CORPUS", "write"]
