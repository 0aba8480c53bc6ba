"""Multi30k: English image descriptions and their German translations, raw text (task 1).

Elliott, Frank, Sima'an and Specia 2016, "Multi30K: Multilingual English-German Image Descriptions", W16-3210. The test
set is that of 2016, `test_2016_flickr` in the repository.
"""

from seqlab.corpora.description import CorpusDescription, Split, TextFile

CORPUS = CorpusDescription(
    name="multi30k",
    summary="image descriptions, English and German, raw text with case and punctuation as written",
    source="https://github.com/multi30k/dataset, folder data/task1/raw",
    license="research use, non-commercial",
    columns={"en": "English description", "de": "German translation of it by a professional translator"},
    splits={
        "train": Split(
            num_lines=29_000,
            files={
                "en": TextFile(("train.en",), "460a15fbd157e34a7a9957ee388c1ca247fe47af3ef25fb50442af6c274e0fc6"),
                "de": TextFile(("train.de",), "2c2b73fd2b548fbcde3a875e0a78d6ee94d498bfdee6bd3eae3945779e9ddf72"),
            },
        ),
        "valid": Split(
            num_lines=1_014,
            files={
                "en": TextFile(("val.en",), "1f2a23d992769b5b3d209b0a10dd0b77c08cceb1f20dfb97ed0aafa49d107227"),
                "de": TextFile(("val.de",), "660e09eb7e1da2f856ea13ee5ad3cf6d36b3d5b0b733c857e94c5747a3dfc660"),
            },
        ),
        "test": Split(
            num_lines=1_000,
            files={
                "en": TextFile(
                    ("test2016.en", "test_2016_flickr.en"),
                    "399a4382932c1aadd3ceb9bef1008d388a64c76d4ae4e9d4728c6f4301cac182",
                ),
                "de": TextFile(
                    ("test2016.de", "test_2016_flickr.de"),
                    "4be6b5b3236b79c25475c6bb829800a7ce559e9ba7a1f6c2394fe4d40be46d16",
                ),
            },
        ),
    },
)
