"""Small generated corpora for comparisons of two versions; deterministic, and independent of seqlab."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

EN_ONES = ("", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
EN_TENS = ("", "ten", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
DE_ONES = ("", "eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun")
DE_TENS = ("", "zehn", "zwanzig", "dreißig", "vierzig", "fünfzig", "sechzig", "siebzig", "achtzig", "neunzig")
NOUNS = {"cat": "animal", "dog": "animal", "bird": "animal", "rose": "plant", "oak": "plant", "fern": "plant"}
VERBS = ("sees", "likes", "finds", "meets")
ADJECTIVES = ("old", "small", "red")
STEMS = ("walk", "look", "jump", "talk", "play", "call", "wash", "help", "turn", "ask", "open", "rain")
ENDINGS = {"V;PST": "ed", "V;V.PTCP;PRS": "ing", "V;3;SG;PRS": "s"}
VECTOR_SIZE = 16


def english(number: int) -> str:
    """Spell a number below 1000 in simplified English: hundreds, tens, ones."""
    hundreds, rest = divmod(number, 100)
    tens, ones = divmod(rest, 10)
    words = [f"{EN_ONES[hundreds]} hundred"] if hundreds else []
    return " ".join([*words, *filter(None, (EN_TENS[tens], EN_ONES[ones]))])


def german(number: int) -> str:
    """Spell a number below 1000 in German: ones before tens."""
    hundreds, rest = divmod(number, 100)
    tens, ones = divmod(rest, 10)
    words = [f"{DE_ONES[hundreds]} hundert"] if hundreds else []
    tail = [DE_ONES[ones], "und", DE_TENS[tens]] if ones and tens else [DE_ONES[ones] or DE_TENS[tens]]
    return " ".join([*words, *filter(None, tail)])


def sentence(number: int) -> tuple[list[str], list[str], str]:
    """Make a sentence: its words, the tag of each word, and its label, which depends on the first noun."""
    nouns = list(NOUNS)
    first, second = nouns[number % 6], nouns[(number // 6 + number) % 6]
    words, tags = ["the", first, VERBS[number % 4], "a", second], ["DET", "NOUN", "VERB", "DET", "NOUN"]
    if number % 3 == 0:
        words.insert(1, ADJECTIVES[(number // 3) % 3])
        tags.insert(1, "ADJ")
    if number % 7 == 0:
        words.append("again")
        tags.append("ADV")
    return words, tags, NOUNS[first]


def pseudo_random_numbers(count: int, maximum: int) -> list[int]:
    """Return `count` distinct numbers from 1 to `maximum` in mixed order; `maximum + 1` must be prime."""
    return [number * 389 % (maximum + 1) for number in range(1, count + 1)]


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write lines as UTF-8, each with a newline."""
    path.write_bytes("".join(f"{line}\n" for line in lines).encode())


def write_corpora(folder: Path) -> None:
    """Write all corpora, one file per side and split."""
    folder.mkdir(parents=True, exist_ok=True)
    numbers = pseudo_random_numbers(300, 996)
    for split, chosen in (("", numbers[:260]), ("test_", numbers[260:280])):
        write_lines(folder / f"{split}numbers.en", map(english, chosen))
        write_lines(folder / f"{split}numbers.de", map(german, chosen))
    prefixes = (german(number).split()[0] if row % 2 else "" for row, number in enumerate(numbers[260:280]))
    write_lines(folder / "test_prefixes.de", prefixes)
    _write_forms(folder)
    _write_sentences(folder)
    write_lines(folder / "running.txt", _running_text(numbers))
    write_lines(folder / "test_running.txt", _running_text(numbers[260:]))
    write_lines(folder / "prompts.txt", ("zwei", "drei hundert", "acht und", ""))
    write_lines(folder / "copies.en", (f"{english(each)} x{each}y" for each in numbers[:200]))
    write_lines(folder / "copies.de", (f"x{each}y {german(each)}" for each in numbers[:200]))
    write_lines(folder / "test_copies.en", (f"{english(each)} x{each}y" for each in numbers[260:280]))
    _write_vectors(folder / "vectors_en.txt", sorted({word for each in numbers for word in english(each).split()}))
    _write_vectors(folder / "vectors_de.txt", sorted({word for each in numbers for word in german(each).split()}))


def _write_forms(folder: Path) -> None:
    """Write stems with morphological tags, and their inflected forms."""
    onsets = ("", "re", "un", "over", "out", "mis", "fore")
    rows = [(onset + stem, tags, end) for onset in onsets for stem in STEMS for tags, end in ENDINGS.items()]
    for split, chosen in (("", rows[:-20]), ("test_", rows[-20:])):
        write_lines(folder / f"{split}forms.src", (f"{stem}\t{tags}" for stem, tags, _ in chosen))
        write_lines(folder / f"{split}forms.tgt", (stem + end for stem, _, end in chosen))


def _write_sentences(folder: Path) -> None:
    """Write sentences with one label per line and one tag per word."""
    found = [sentence(number) for number in pseudo_random_numbers(220, 996)]
    columns: dict[str, Callable[[tuple[list[str], list[str], str]], str]] = {
        "lines.txt": lambda each: " ".join(each[0]),
        "labels.txt": lambda each: each[2],
        "tags.txt": lambda each: " ".join(each[1]),
    }
    for name, column in columns.items():
        write_lines(folder / name, map(column, found[:200]))
        write_lines(folder / f"test_{name}", map(column, found[200:]))
    _write_vectors(folder / "vectors_lines.txt", sorted({word for words, *_ in found for word in words}))


def _running_text(numbers: Sequence[int]) -> list[str]:
    """Make lines of a text in which each number is followed by its successor."""
    return [f"after {english(number)} comes {english(number + 1)} ." for number in numbers]


def _write_vectors(path: Path, words: Sequence[str]) -> None:
    """Write a vector for every second word, in the text format of word2vec."""
    chosen = words[::2]
    rows = (
        f"{word} {' '.join(str(((row + 3) * (column + 5) * 37 % 101 - 50) / 50) for column in range(VECTOR_SIZE))}"
        for row, word in enumerate(chosen)
    )
    write_lines(path, [f"{len(chosen)} {VECTOR_SIZE}", *rows])
