"""IWSLT14 German-English: subtitles of talks, with the splits and preprocessing of fairseq's `prepare-iwslt14.sh`.

Cettolo, Niehues, Stüker, Bentivogli and Federico 2014, "Report on the 11th IWSLT Evaluation Campaign". The script
tokenizes (Moses), lower-cases, removes training pairs that are long or of very different lengths, and uses every 23rd
pair for validation. The test set consists of the test sets of 2010 to 2012 and two development sets.
"""

from seqlab.corpora.description import CorpusDescription, Split, TextFile

CORPUS = CorpusDescription(
    name="iwslt14",
    summary="subtitles of talks, German and English, lower-cased and tokenized",
    source="fairseq's examples/translation/prepare-iwslt14.sh, folder iwslt14.tokenized.de-en/tmp, before its BPE",
    license="CC BY-NC-ND 4.0",
    columns={"de": "German subtitle, lower-cased words", "en": "English subtitle, lower-cased words"},
    splits={
        split: Split(num_lines=count, files={side: TextFile((f"{split}.{side}",)) for side in ("de", "en")})
        for split, count in (("train", 160_239), ("valid", 7_283), ("test", 6_750))
    },
)

__all__ = ["CORPUS"]
