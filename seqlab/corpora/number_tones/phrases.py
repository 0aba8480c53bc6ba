"""Choose the phrases of number words that are short enough to be spoken in about two seconds, and divide them."""

from collections import Counter
from collections.abc import Mapping

from seqlab.corpora.number_words import generate
from seqlab.corpora.number_words.phrases import Draw

MAX_CHARACTERS = 24
FEWEST_PHRASES = 10
"""of a word, or else all of its phrases are left out: each word of the test is to be known from training"""
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def phrases(seed: int, num_phrases: Mapping[str, int], max_characters: int = MAX_CHARACTERS) -> dict[str, list[str]]:
    """Return phrases in lower-case letters and spaces by split, none of them twice.

    They are English phrases of `number_words` without commas, full stops and apostrophes, with a space for each hyphen:
    `three hundred and two`, `a quarter past two`, `the sixth of february`.

    Raises:
        ValueError: there are fewer phrases of at most `max_characters` than asked for.
    """
    lines = (phrase.en for split in generate(seed).values() for phrase in split)
    texts = dict.fromkeys(line.lower().replace("-", " ") for line in lines)
    short = [text for text in texts if len(text) <= max_characters and set(text) <= set(LETTERS + " ")]
    counts = Counter(word for text in short for word in set(text.split()))
    known = [text for text in short if min(counts[word] for word in text.split()) >= FEWEST_PHRASES]
    if sum(num_phrases.values()) > len(known):
        raise ValueError(
            f"`num_phrases` must sum up to at most {len(known)}, the phrases of at most {max_characters} characters, "
            f"but sums up to {sum(num_phrases.values())} instead."
        )
    Draw(seed).shuffle(known)
    divided: dict[str, list[str]] = {}
    for split, number in sorted(num_phrases.items(), key=lambda each: each[1]):  # so that more training changes no test
        divided[split], known = known[:number], known[number:]
    return {split: divided[split] for split in num_phrases}
