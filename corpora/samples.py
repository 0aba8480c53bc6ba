"""Samples in the formats of third-party corpora, invented from templates, to try commands without a download.

`python -m seqlab.corpora.samples` writes them to the folder `sample` of each corpus.
"""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from zlib import crc32

from seqlab.corpora.card import card_path, read_card
from seqlab.corpora.number_words import generate
from seqlab.corpora.number_words.phrases import StableRandom

Tagged = list[tuple[str, str]]
"""Words with their parts of speech."""

PLACES = ("Berlin", "Peru", "the lake", "Oslo", "the old harbor", "Kenya", "the northern valley")
PEOPLE = ("the first baker", "the captain of the ferry", "a painter", "the owner of the mill", "the king of the bees")
THINGS = ("bread", "a compass", "paper", "the violin", "salt", "a lighthouse", "glass", "the bicycle")
UNITS = ("FM", "PC", "UFO", "DNA", "TV", "GPS")
QUESTIONS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "0": (("What is {} made for ?", "How does one repair {} ?", "Why do people need {} ?"), THINGS),
    "1": (("What animal lives near {} ?", "What color has the flag of {} ?", "What food comes from {} ?"), PLACES),
    "2": (("What does {} stand for ?", "What is the full form of {} ?"), UNITS),
    "3": (("Who invented {} ?", "What craftsman makes {} ?", "Who sold {} first ?"), THINGS),
    "4": (("Where does {} live ?", "What town is home to {} ?", "In what country was {} born ?"), PEOPLE),
    "5": (("How many people visit {} ?", "How far is {} ?", "What year was {} settled ?"), PLACES),
}
"""Type of the answer, as in trec -> templates and their fillers."""
NUM_QUESTIONS = 180

WORDS = {
    "DET": ("the", "a", "this", "every"),
    "ADJ": ("small", "green", "quiet", "old", "sudden"),
    "NOUN": ("dog", "teacher", "river", "letter", "garden", "storm", "boat"),
    "PROPN": ("Anna", "Berlin", "Omar", "Lima"),
    "VERB": ("sees", "finds", "likes", "paints", "follows"),
    "ADP": ("near", "behind", "with", "in"),
    "ADV": ("slowly", "often", "today", "quietly"),
    "PRON": ("she", "he", "it", "they"),
    "NUM": ("two", "seven", "twelve"),
    "PUNCT": (".", "!"),
}
PATTERNS = (
    "DET NOUN VERB DET ADJ NOUN PUNCT",
    "PROPN VERB DET NOUN ADP PROPN PUNCT",
    "PRON ADV VERB NUM NOUN PUNCT",
    "DET ADJ NOUN ADP DET NOUN VERB PROPN PUNCT",
    "ADV PRON VERB DET NOUN PUNCT",
)
NUM_SENTENCES = {"train": 160, "valid": 40, "test": 40}

SPEAKERS = ("FIRST SAILOR", "SECOND SAILOR", "CAPTAIN", "INNKEEPER")
VERSES = (
    "The {0} is {1} tonight, and so am I;",
    "Who calls the {0} {1} has not seen the sea.",
    "Bring me the {0}, I say, the {1} one!",
    "No {0} was ever {1} enough for him.",
    "I had a {0} once, {1} as the morning.",
)
NOUNS = ("moon", "lantern", "harbor", "rope", "kettle", "wind", "song", "anchor")
QUALITIES = ("pale", "heavy", "silent", "merry", "cold", "golden", "crooked")
NUM_SPEECHES = 120

OPINIONS = (("dull", "slow", "silly", "tiresome", "confused"), ("moving", "warm", "funny", "clever", "brilliant"))
"""Words of negative and positive reviews."""
WORKS = ("film", "story", "comedy", "first half", "ending", "performance")
CONSONANTS, VOWELS = "bdfgklmnprst", "aeiou"
SPLITS = ("train", "valid", "test")
NUM_LINES = {"train": 60, "valid": 20, "test": 20}
"""Split -> lines of a sample without a number of its own."""


def questions() -> str:
    """Return lines with a type of answer and a question, as `train.txt` of trec has them."""
    random = StableRandom(1)
    lines = []
    for _ in range(NUM_QUESTIONS):
        label = random.one_of(list(QUESTIONS))
        templates, fillers = QUESTIONS[label]
        lines.append(f"{label} {random.one_of(templates).format(random.one_of(fillers))}\n")
    return "".join(lines)


def treebank(split: str) -> str:
    """Return sentences in CoNLL-U, as the files of ud_ewt have them.

    Only words, lemmas and universal parts of speech are filled in; each word depends on the one before it.
    """
    random = StableRandom(2 + list(NUM_SENTENCES).index(split))
    return "".join(_sentence(random, f"sample-{split}-{number:03}") for number in range(1, NUM_SENTENCES[split] + 1))


def _sentence(random: StableRandom, name: str) -> str:
    tagged = _tagged_words(random)
    lines = [f"# sent_id = {name}", f"# text = {' '.join(word for word, _ in tagged)}"]
    for position, (word, tag) in enumerate(tagged):
        relation = "dep" if position else "root"
        lines.append(f"{position + 1}\t{word}\t{word.lower()}\t{tag}\t_\t_\t{position}\t{relation}\t_\t_")
    return "\n".join(lines) + "\n\n"


def _tagged_words(random: StableRandom) -> Tagged:
    return [(random.one_of(WORDS[tag]), tag) for tag in random.one_of(PATTERNS).split()]


def plays() -> str:
    """Return speeches with the names of their speakers and empty lines between them, as `input.txt` has them."""
    random = StableRandom(4)
    speeches = []
    for _ in range(NUM_SPEECHES):
        verses = [
            random.one_of(VERSES).format(random.one_of(NOUNS), random.one_of(QUALITIES))
            for _ in range(random.between(1, 3))
        ]
        speeches.append("\n".join([f"{random.one_of(SPEAKERS)}:", *verses]) + "\n")
    return "\n".join(speeches)


def reviews(split: str) -> str:
    """Return lines with 1 (positive) or 0 (negative) and a sentence, as the files of sst2 have them."""
    random = StableRandom(5 + SPLITS.index(split))
    lines = []
    for _ in range(NUM_LINES[split]):
        label = random.below(2)
        lines.append(f"{label} a {random.one_of(OPINIONS[label])} {random.one_of(WORKS)} .\n")
    return "".join(lines)


def sentences(corpus: str, split: str) -> str:
    """Return a tokenized sentence in each line, as the corpora of language models have them."""
    random = StableRandom(_seed(f"{corpus} {split}"))
    lines = (" ".join(word for word, _ in _tagged_words(random)) for _ in range(NUM_LINES[split]))
    return "".join(f" {line} \n" for line in lines)


def phrases(corpus: str, split: str, column: str) -> str:
    """Return phrases of number_words, English (`en`) or German (`de`), in the format of any parallel text."""
    pairs = generate(5)["test_short"]
    StableRandom(_seed(corpus)).shuffle(pairs)
    start = sum(NUM_LINES[other] for other in SPLITS[: SPLITS.index(split)])
    return "".join(f"{getattr(pair, column)}\n" for pair in pairs[start : start + NUM_LINES[split]])


def words(file: str, split: str, form: str) -> str:
    """Return invented words with their `phonemes`, or with their plural and its features (`plural`)."""
    random = StableRandom(_seed(file))
    lines = []
    for _ in range(NUM_LINES[split]):
        syllables = [random.one_of(CONSONANTS) + random.one_of(VOWELS) for _ in range(random.between(2, 3))]
        word = "".join(syllables)
        lines.append(f"{word}\t{' '.join(word)}\n" if form == "phonemes" else f"{word}\t{word}k\tN;PL\n")
    return "".join(lines)


MAKERS: dict[str, Callable[[str, str, str, str], str]] = {
    **dict.fromkeys(
        ("multi30k", "iwslt14", "wmt14"), lambda corpus, file, split, column: phrases(corpus, split, column)
    ),
    **dict.fromkeys(("ptb", "wikitext2", "wikitext103"), lambda corpus, file, split, column: sentences(corpus, split)),
    **dict.fromkeys(("g2p2021", "cmudict"), lambda corpus, file, split, column: words(file, split, "phonemes")),
    "inflection2017": lambda corpus, file, split, column: words(file, split, "plural"),
    "sst2": lambda corpus, file, split, column: reviews(split),
    "ud_ewt": lambda corpus, file, split, column: treebank(split),
}
"""Corpus -> the function of corpus, file, split and column that makes the sample of each of its files."""


def _seed(name: str) -> int:
    """Return a seed for a name, the same in all processes."""
    return crc32(name.encode())


def _samples() -> Iterator[tuple[tuple[str, str], Callable[[], str]]]:
    """Yield corpus and file with the function that makes its sample."""
    yield ("trec", "train.txt"), questions
    yield ("tinyshakespeare", "input.txt"), plays
    for name, make in MAKERS.items():
        for split, description in read_card(name).splits.items():
            for column, file in description.files.items():
                yield (name, file.names[0]), partial(make, name, file.names[0], split, column)


SAMPLES = dict(_samples())
"""Corpus and file -> the function that makes its sample."""


def sample_files() -> Iterator[tuple[Path, str]]:
    """Yield the path and the text of each sample."""
    for (corpus, name), make in SAMPLES.items():
        yield card_path(corpus).with_name("sample") / name, make()


if __name__ == "__main__":
    for path, text in sample_files():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")
