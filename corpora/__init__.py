"""Corpora of the recipes: their descriptions, the location of their files, and generators.

Each corpus has a folder with its data card `README.md` (source, license, size, columns, splits, checksums, how to get
it), from which `CORPUS` is read, and a small sample or the generator. All of this was made by us: the environment
variable `SEQLAB_DATA` names the folder that contains third-party corpora.
"""

from difflib import get_close_matches
from pathlib import Path

from seqlab.corpora.asterisk_prompts import CORPUS as ASTERISK_PROMPTS
from seqlab.corpora.cmudict import CORPUS as CMUDICT
from seqlab.corpora.description import CorpusDescription, CorpusFiles, Split, TextFile, locate_files, path_specs_of
from seqlab.corpora.fillets_nl import CORPUS as FILLETS_NL
from seqlab.corpora.fsdd import CORPUS as FSDD
from seqlab.corpora.g2p2021 import CORPUS as G2P2021
from seqlab.corpora.houses import CORPUS as HOUSES
from seqlab.corpora.inflection2017 import CORPUS as INFLECTION2017
from seqlab.corpora.iwslt14 import CORPUS as IWSLT14
from seqlab.corpora.multi30k import CORPUS as MULTI30K
from seqlab.corpora.number_speech import CORPUS as NUMBER_SPEECH
from seqlab.corpora.number_tones import CORPUS as NUMBER_TONES
from seqlab.corpora.number_words import CORPUS as NUMBER_WORDS
from seqlab.corpora.ptb import CORPUS as PTB
from seqlab.corpora.sst2 import CORPUS as SST2
from seqlab.corpora.tinyshakespeare import CORPUS as TINYSHAKESPEARE
from seqlab.corpora.trec import CORPUS as TREC
from seqlab.corpora.ud_ewt import CORPUS as UD_EWT
from seqlab.corpora.wikitext import WIKITEXT2, WIKITEXT103
from seqlab.corpora.wmt14 import CORPUS as WMT14

CORPORA: dict[str, CorpusDescription] = {
    corpus.name: corpus
    for corpus in (
        ASTERISK_PROMPTS,
        CMUDICT,
        FILLETS_NL,
        FSDD,
        G2P2021,
        HOUSES,
        INFLECTION2017,
        IWSLT14,
        MULTI30K,
        NUMBER_SPEECH,
        NUMBER_TONES,
        NUMBER_WORDS,
        PTB,
        SST2,
        TINYSHAKESPEARE,
        TREC,
        UD_EWT,
        WIKITEXT2,
        WIKITEXT103,
        WMT14,
    )
}


def locate(name: str, folder: str | Path | None = None) -> CorpusFiles:
    """Return the files of a corpus by split and column, `locate("multi30k")["train"]["en"]`, after a checksum test.

    The files are in `folder`, or by default in `$SEQLAB_DATA/NAME`, plain or gzip-compressed.

    Raises:
        FileNotFoundError: a file is missing; the message has its source and its expected location.
        ValueError: the name is unknown, the corpus has recordings only, or the checksum of a file does not match.
    """
    corpus = find_corpus(name)
    if corpus.recordings:
        raise ValueError(
            f"{name} has no lists of its recordings: `seqlab.corpora.{name}` has functions that write them."
        )
    return locate_files(corpus, folder)


def path_specs(name: str) -> dict[str, dict[str, str]]:
    """Return the path specs of a corpus by split and column, `path_specs("wikitext2")["train"]["text"]`.

    The config of a run can contain them. They name the files in `$SEQLAB_DATA/NAME`. If there is no such folder, they
    name columns of the Hugging Face dataset with the same text (`hub:NAME:SPLIT#COLUMN`), which `datasets` downloads.

    Raises:
        FileNotFoundError, ValueError: as in `locate`, but a missing folder is not an error if there is a dataset.
    """
    return path_specs_of(find_corpus(name))


def find_corpus(name: str) -> CorpusDescription:
    """Return the description of a corpus; raise ValueError if the name is unknown."""
    if name not in CORPORA:
        hint = "".join(f" The nearest is `{nearest}`." for nearest in get_close_matches(name.lower(), CORPORA, 1))
        raise ValueError(f"`name` must be one of {', '.join(sorted(CORPORA))}, but is {name!r} instead.{hint}")
    return CORPORA[name]


__all__ = ["CORPORA", "CorpusDescription", "CorpusFiles", "Split", "TextFile", "find_corpus", "locate", "path_specs"]
