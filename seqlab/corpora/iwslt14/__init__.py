"""Describe IWSLT14 German-English: subtitles of talks, as fairseq's `prepare-iwslt14.sh` divides and writes them.

Cettolo, Niehues, Stüker, Bentivogli and Federico 2014, "Report on the 11th IWSLT Evaluation Campaign". The script cuts
punctuation off words (Moses), lower-cases, drops long and uneven pairs of training, and puts every 23rd pair aside for
validation; the test set is that of 2010 to 2012 with two development sets.
"""

from seqlab.corpora.description import Corpus, Split, TextFile

CORPUS = Corpus(
    name="iwslt14",
    summary="subtitles of talks, German and English, lower-cased and cut into words",
    source="fairseq's examples/translation/prepare-iwslt14.sh, folder iwslt14.tokenized.de-en/tmp, before its BPE",
    licence="CC BY-NC-ND 4.0",
    columns={"de": "German subtitle, lower-cased words", "en": "English subtitle, lower-cased words"},
    splits={
        split: Split(num_lines=count, files={side: TextFile((f"{split}.{side}",)) for side in ("de", "en")})
        for split, count in (("train", 160_239), ("valid", 7_283), ("test", 6_750))
    },
)

__all__ = ["CORPUS"]
