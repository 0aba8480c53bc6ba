"""Samples in the formats of third-party corpora, invented from templates, to try commands without a download.

`python -m seqlab.corpora.samples` writes them to the folder `sample` of each corpus.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

from seqlab.corpora.card import card_path
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
NUM_SENTENCES = {"train": 160, "dev": 40}

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
    """Return sentences in CoNLL-U, as `train.conllu` and `dev.conllu` of ud_ewt have them.

    Only words, lemmas and universal parts of speech are filled in; each word depends on the one before it.
    """
    random = StableRandom(2 + list(NUM_SENTENCES).index(split))
    return "".join(_sentence(random, f"sample-{split}-{number:03}") for number in range(1, NUM_SENTENCES[split] + 1))


def _sentence(random: StableRandom, name: str) -> str:
    tagged: Tagged = [(random.one_of(WORDS[tag]), tag) for tag in random.one_of(PATTERNS).split()]
    lines = [f"# sent_id = {name}", f"# text = {' '.join(word for word, _ in tagged)}"]
    for position, (word, tag) in enumerate(tagged):
        relation = "dep" if position else "root"
        lines.append(f"{position + 1}\t{word}\t{word.lower()}\t{tag}\t_\t_\t{position}\t{relation}\t_\t_")
    return "\n".join(lines) + "\n\n"


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


SAMPLES: dict[tuple[str, str], Callable[[], str]] = {
    ("trec", "train.txt"): questions,
    ("ud_ewt", "train.conllu"): lambda: treebank("train"),
    ("ud_ewt", "dev.conllu"): lambda: treebank("dev"),
    ("tinyshakespeare", "input.txt"): plays,
}
"""Corpus and file -> the function that makes its sample."""


def sample_files() -> Iterator[tuple[Path, str]]:
    """Yield the path and the text of each sample."""
    for (corpus, name), make in SAMPLES.items():
        yield card_path(corpus).with_name("sample") / name, make()


if __name__ == "__main__":
    for path, text in sample_files():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")
