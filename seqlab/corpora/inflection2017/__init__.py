"""CoNLL-SIGMORPHON 2017 shared task 1: inflection of a lemma by morphological features.

The corpus has six of the 52 languages, in the high-resource setting. The test set is not included.
"""

from seqlab.corpora.description import CorpusDescription, Split, TextFile

_FILES = {
    "arabic": {
        "train": (10_000, "arabic-train-high.tsv", "53a82e82c2e29f0cf5d7b5360b328aa295bc79348304d62b2d39a211ad0ee551"),
        "valid": (1_000, "arabic-dev.tsv", "2782027b9f446f782874e628f1ba11ead3015937e5042a5c8729ba8d4c9f5df8"),
    },
    "finnish": {
        "train": (10_000, "finnish-train-high.tsv", "32a7bbb2e963ffd89a75a1a2d64f2cd348e1a870fda500433b93b397774a7901"),
        "valid": (1_000, "finnish-dev.tsv", "dd31327aefec2e8862f19df3bc4a083e51f634a5acc599b6683b612528dc4e19"),
    },
    "german": {
        "train": (10_000, "german-train-high.tsv", "765e7fa395d3fe4267f17c0e644cec3b3c480fc7a5b9f67bc7a13febec60b594"),
        "valid": (1_000, "german-dev.tsv", "fdcf14c88f046c2a42933a447c62482c562d76f1fc4f78981ff9b5476fa4ef9a"),
    },
    "russian": {
        "train": (10_000, "russian-train-high.tsv", "b2ed85de1cbbb38628d246c12d608ed3f228dd647da922392404e6999c2c13e4"),
        "valid": (1_000, "russian-dev.tsv", "e6842eda6612537689724d0561dc46167c589b3185c4684da370b96685944ecf"),
    },
    "spanish": {
        "train": (10_000, "spanish-train-high.tsv", "9957f941019d6fcfc7ecc349233ed109b96db449774d77515a0ec6d0d5e25b93"),
        "valid": (1_000, "spanish-dev.tsv", "cc753aee03574022f43ac6218ae83cf88420aeb3c5070a6a9fd5529f1f643b77"),
    },
    "turkish": {
        "train": (10_000, "turkish-train-high.tsv", "1e6be2ea3368bb403342bb2f6433456c3608e9df44b08266e4ca3e5a57ed9347"),
        "valid": (1_000, "turkish-dev.tsv", "e95f58d34dc49973b26fd9f78d859290917e646ac68536c2b1459711ce4fa42d"),
    },
}
LANGUAGES = tuple(_FILES)

CORPUS = CorpusDescription(
    name="inflection2017",
    summary="lemmas, features and inflected forms in six languages, 10,000 for training each",
    source="https://github.com/sigmorphon/conll2017, all/task1 (Cotterell et al. 2017)",
    license="CC BY-SA 3.0: from Wiktionary through UniMorph",
    columns=dict.fromkeys(LANGUAGES, "a lemma, its inflected form and the features of the form, separated by tabs"),
    splits={
        split: Split(
            num_lines={language: files[split][0] for language, files in _FILES.items()},
            files={language: TextFile((files[split][1],), files[split][2]) for language, files in _FILES.items()},
        )
        for split in ("train", "valid")
    },
)

__all__ = ["CORPUS", "LANGUAGES"]
