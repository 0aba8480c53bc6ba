"""SIGMORPHON 2021 shared task 1: grapheme-to-phoneme data of six languages, from Wiktionary.

The corpus has five medium-resource languages of the task, and its high-resource language, US English. The splits of a
language have no word in common.
"""

from seqlab.corpora.description import CorpusDescription, Split, TextFile

LANGUAGES = {
    "eng_us": "US English",
    "fre": "French",
    "hun": "Hungarian",
    "kor": "Korean",
    "dut": "Dutch",
    "jpn_hira": "Japanese in hiragana",
}
"""Language code in file names -> name of the language."""

_FILES = {
    "eng_us": {
        "train": (33_344, "eng_us_train.tsv", "bbe76f57ee799ef9094b1ed1fecf8861e754ac57c6aa4db7d5b18892c5401f7f"),
        "valid": (4_168, "eng_us_dev.tsv", "dcce99504c5f8a00ebf13499aa4d4c2b7fc37614b65127c98aa871855e77080e"),
        "test": (4_168, "eng_us_test.tsv", "726192932a69a7197348ee64898613e94968234ce426cfc67d984baf5ddd317c"),
    },
    "fre": {
        "train": (8_000, "fre_train.tsv", "e9de4f5125d2478e50506c5ed278f69d5fb17d8d213f99f845305c24e28a55c2"),
        "valid": (1_000, "fre_dev.tsv", "3b42f14f318367dd94faa6d59e8fafabd845a3998800b6ce71a7c67e999490da"),
        "test": (1_000, "fre_test.tsv", "6202c2b7b8d5fbd76a4d40373f9564a9946671dab617438b534bd47c64071c92"),
    },
    "hun": {
        "train": (8_000, "hun_train.tsv", "cd6bea5ae552bc73a63abf459af5f41d27c1c276b4a15de49f1fffd23ee4d363"),
        "valid": (1_000, "hun_dev.tsv", "a2892c27cf6d3075aacdd195c02bf34f8b509bcc08bb230b758d7978a7d920d0"),
        "test": (1_000, "hun_test.tsv", "e9ec4ba9c89808864e6518e529e21cda6fe51287ad7a5a1fc23668cc64f31159"),
    },
    "kor": {
        "train": (8_000, "kor_train.tsv", "0623be3d687864b534043585e50b1ac238b7d5564f1e7450b40be3df7329ff7c"),
        "valid": (1_000, "kor_dev.tsv", "b1d22601f9b485f9b693dd82d832cb18695edb8a6a6ec6353d16ad729409b839"),
        "test": (1_000, "kor_test.tsv", "341c4691b635f300822f89334d774023702eb64bf3d827562da25862de699ff2"),
    },
    "dut": {
        "train": (8_000, "dut_train.tsv", "08d327412cbf809a4cf894e015975d91588a38e8e05fb86450f42a4a38e534b8"),
        "valid": (1_000, "dut_dev.tsv", "77a896e9510b6ebc610a9bc6a1bf32a06bc85489e9056caf77d996bb107318aa"),
        "test": (1_000, "dut_test.tsv", "eb31a13e8f797f1bda23194689805c8ea0cd6960e86f739d1e818f1815c287ae"),
    },
    "jpn_hira": {
        "train": (8_000, "jpn_hira_train.tsv", "caf113a16654dc778352c8c95867922fb0aa994c484b318f5aea66dc561ea85a"),
        "valid": (1_000, "jpn_hira_dev.tsv", "f3f2f36db83b48032767dcf49c536a0e50fa076e48865fa75638262818c4ef70"),
        "test": (1_000, "jpn_hira_test.tsv", "d004af19a5f200303dee48f7399034bcfc1edbd9b750bee8f19f8cb0daf9a7f6"),
    },
}

CORPUS = CorpusDescription(
    name="g2p2021",
    summary="words and their pronunciations in six languages, 8,000 for training each and 33,344 of English",
    source="https://github.com/sigmorphon/2021-task1, data/medium and data/high (Ashby et al. 2021)",
    license="CC BY-SA 3.0: from Wiktionary through WikiPron",
    columns={code: f"{name}: a word, a tab, its space-separated phonemes" for code, name in LANGUAGES.items()},
    splits={
        split: Split(
            num_lines={code: files[split][0] for code, files in _FILES.items()},
            files={code: TextFile((files[split][1],), files[split][2]) for code, files in _FILES.items()},
        )
        for split in ("train", "valid", "test")
    },
)

__all__ = ["CORPUS", "LANGUAGES"]
