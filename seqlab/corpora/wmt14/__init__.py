"""WMT14 English-German: parliament, web and news; validation is on newstest2013, test on newstest2014.

Bojar and others 2014, "Findings of the 2014 Workshop on Statistical Machine Translation", W14-3302.
"""

from seqlab.corpora.description import CorpusDescription, Split, TextFile

WMT14_HUB = "hub:wmt/wmt14:de-en"
_HUB_SPLITS = {"train": "train", "valid": "validation", "test": "test"}

CORPUS = CorpusDescription(
    name="wmt14",
    summary="4.5 million pairs of Europarl, Common Crawl and News Commentary, English and German, raw text",
    source="https://huggingface.co/datasets/wmt/wmt14, de-en",
    license="research use; see the license of each part",
    columns={"en": "English sentence", "de": "German sentence"},
    splits={
        split: Split(
            num_lines=count,
            files={side: TextFile((f"{split}.{side}",)) for side in ("en", "de")},
            hub={side: f"{WMT14_HUB}:{_HUB_SPLITS[split]}#translation.{side}" for side in ("en", "de")},
        )
        for split, count in (("train", 4_508_785), ("valid", 3_000), ("test", 3_003))
    },
)

__all__ = ["CORPUS"]
