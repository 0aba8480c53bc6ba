"""Describe the corpora that seqlab's recipes know, find their files, and generate those that are our own.

One folder per corpus. A folder holds a description (`CORPUS`: source, licence, columns, splits, checksums) and, where
the data is ours, its generator. Text that others wrote is never part of the package: it is found through the
environment variable `SEQLAB_DATA`.
"""

from pathlib import Path

from seqlab.corpora.asterisk_prompts import CORPUS as ASTERISK_PROMPTS
from seqlab.corpora.cmudict import CORPUS as CMUDICT
from seqlab.corpora.description import Corpus, Split, TextFile
from seqlab.corpora.fillets_nl import CORPUS as FILLETS_NL
from seqlab.corpora.g2p2021 import CORPUS as G2P2021
from seqlab.corpora.inflection2017 import CORPUS as INFLECTION2017
from seqlab.corpora.iwslt14 import CORPUS as IWSLT14
from seqlab.corpora.location import Splits, locate_files, specs_of
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

CORPORA: dict[str, Corpus] = {
    corpus.name: corpus
    for corpus in (
        ASTERISK_PROMPTS,
        CMUDICT,
        FILLETS_NL,
        G2P2021,
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


def locate(name: str, folder: str | Path | None = None) -> Splits:
    """Return the files of a corpus by split and column, `locate("multi30k")["train"]["en"]`, with checked content.

    They are looked for in `folder`, or else in `$SEQLAB_DATA/NAME`. Files may be plain or gzip-compressed.

    Raises:
        FileNotFoundError: a file is missing; the message says where it comes from and where it has to be.
        ValueError: no corpus has this name, or a file's content is not that of the corpus.
    """
    return locate_files(_corpus(name), folder)


def path_specs(name: str) -> dict[str, dict[str, str]]:
    """Return how the config of a run names a corpus, `path_specs("wikitext2")["train"]["text"]`.

    That is by its files in `$SEQLAB_DATA/NAME`; where there is no such folder, by the name of the dataset of the same
    text, which `datasets` downloads.

    Raises:
        FileNotFoundError, ValueError: as `locate`; where a dataset is known, only for a folder that is there.
    """
    return specs_of(_corpus(name))


def _corpus(name: str) -> Corpus:
    if name not in CORPORA:
        raise ValueError(f"`name` must be one of {', '.join(sorted(CORPORA))}, but is {name!r} instead.")
    return CORPORA[name]


__all__ = ["CORPORA", "Corpus", "Split", "Splits", "TextFile", "locate", "path_specs"]
