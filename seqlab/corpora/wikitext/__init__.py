"""WikiText: good and featured articles of the English Wikipedia, in two sizes.

Merity, Xiong, Bradbury and Socher 2017, "Pointer Sentinel Mixture Models", arXiv:1609.07843. These are the
tokenized word-level versions, with `<unk>` for words that occur fewer than three times in training.
"""

from seqlab.corpora.description import CorpusDescription, Split, TextFile

WIKITEXT_HUB = "hub:Salesforce/wikitext"
_HUB_SPLITS = {"train": "train", "valid": "validation", "test": "test"}


def _describe(name: str, version: str, size: str, num_lines: dict[str, int]) -> CorpusDescription:
    return CorpusDescription(
        name=name,
        summary=f"articles of the English Wikipedia, {size} words, rare ones replaced by <unk>",
        source=f"https://huggingface.co/datasets/Salesforce/wikitext, {version}",
        license="CC BY-SA 3.0 and GFDL",
        columns={"text": "lines of articles: headings, paragraphs and the empty lines between them"},
        splits={
            split: Split(
                num_lines=count,
                files={"text": TextFile((f"{split}.txt", f"wiki.{split}.tokens"))},
                hub={"text": f"{WIKITEXT_HUB}:{version}:{_HUB_SPLITS[split]}#text"},
            )
            for split, count in num_lines.items()
        },
    )


WIKITEXT2 = _describe("wikitext2", "wikitext-2-v1", "2 million", {"train": 36_718, "valid": 3_760, "test": 4_358})
WIKITEXT103 = _describe(
    "wikitext103", "wikitext-103-v1", "103 million", {"train": 1_801_350, "valid": 3_760, "test": 4_358}
)

__all__ = ["WIKITEXT2", "WIKITEXT103"]
