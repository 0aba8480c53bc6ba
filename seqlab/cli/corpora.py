"""Command `seqlab corpora`: list the corpora, show a data card, get the files of a corpus.

Corpora are imported in functions: some need numpy, which `--help` must not load.
"""

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from seqlab.base.atomic_io import atomic_write
from seqlab.base.config_class import dataclass
from seqlab.base.json_text import json_text
from seqlab.commands import AsArgument, Command, UsageError
from seqlab.inference.options import SETTINGS, File

if TYPE_CHECKING:
    from seqlab.corpora import CorpusDescription


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class CorporaOptions:
    """List the corpora of the recipes, show the data card of one, or get its files.

    The files are in $SEQLAB_DATA/NAME, where the recipes look for them; --get downloads or generates them there, tests
    their checksums, and continues after an interruption.
    """

    name: Annotated[str | None, "NAME", AsArgument] = None
    """corpus whose data card is printed: source, license, columns, splits, checksums, how to get it"""
    get: bool = False
    """get its files"""
    sample: bool = False
    """write a small sample with the same file names instead, which we made, to try commands without a network"""
    folder: Annotated[File | None, "DIR"] = None
    """folder for the files instead of $SEQLAB_DATA/NAME"""
    json: bool = False
    """list as one JSON object per line"""


def run(options: CorporaOptions) -> None:
    """List the corpora, print a card, or get the files of a corpus and print their folder."""
    from seqlab.corpora import find_corpus
    from seqlab.corpora.card import card_path
    from seqlab.corpora.description import DATA_VARIABLE, data_folder, has_checksums, is_automatic
    from seqlab.corpora.fetching import write_sample

    if options.name is None:
        if options.get or options.sample or options.folder is not None:
            raise UsageError("--get, --sample and --folder need the name of a corpus; `seqlab corpora` lists them")
        list_corpora(as_json=options.json)
        return
    if options.json:
        raise UsageError("--json lists all corpora: leave out the name")
    if options.get and options.sample:
        raise UsageError("--get and --sample exclude each other: the sample has the same file names")
    corpus = find_corpus(options.name)
    if not (options.get or options.sample):
        if options.folder is not None:
            raise UsageError("--folder needs --get or --sample, which write files to it")
        print(card_path(corpus.name).read_text(encoding="utf-8"), end="")
        return
    folder = Path(options.folder) if options.folder is not None else data_folder(corpus)
    if folder is None and options.get and not is_automatic(corpus):
        raise UsageError(by_hand(corpus))
    if folder is None:
        raise UsageError(f"{DATA_VARIABLE} is not set: set it to the folder of your corpora, or name one with --folder")
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file, but must be a folder: name another one with --folder")
    if options.sample:
        if options.folder is None and not has_checksums(corpus):
            raise UsageError(
                f"in {folder} the sample would be taken for {corpus.name}, whose files have no checksums: "
                "name another folder with --folder"
            )
        write_sample(corpus, folder)
    else:
        get_files(corpus, folder)
    print(folder)


def list_corpora(*, as_json: bool) -> None:
    """Print a row for each corpus: name, kind, size, whether its files are here, license."""
    from seqlab.corpora import CORPORA

    rows = [_describe(corpus) for _, corpus in sorted(CORPORA.items())]
    if as_json:
        for row in rows:
            print(json_text(row, ensure_ascii=False))
        return
    table = [list(rows[0]), *(list(row.values()) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for cells in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip())


def _describe(corpus: "CorpusDescription") -> dict[str, str]:
    from seqlab.corpora.description import data_folder, is_automatic, is_complete

    folder = data_folder(corpus)
    is_here = folder is not None and is_complete(corpus, folder)
    here = "yes" if is_here else "no, --get" if is_automatic(corpus) else "no, by hand"
    return {"name": corpus.name, "kind": corpus.kind, "size": corpus.size, "here": here, "license": corpus.license}


def by_hand(corpus: "CorpusDescription") -> str:
    """Return how to get a corpus that only a person can fetch."""
    from seqlab.corpora.card import how_to_get

    return f"{corpus.name} cannot be fetched automatically. {how_to_get(corpus.name)}"


def get_files(corpus: "CorpusDescription", folder: Path) -> None:
    """Generate or download the files of a corpus, with `datasets` if it is a dataset of the Hugging Face hub.

    Raises:
        ValueError: the files must be fetched by hand, or differ from the data card.
        ConnectionError, FileNotFoundError: there is no network, or the server does not have a file.
    """
    from seqlab.corpora.description import is_automatic, is_complete
    from seqlab.corpora.fetching import fetch_files, generate_files

    if corpus.generator is not None:
        generate_files(corpus, corpus.generator, folder)
    elif is_complete(corpus, folder) and not is_automatic(corpus):
        return
    elif not is_automatic(corpus):
        raise ValueError(by_hand(corpus))
    elif any(split.hub for split in corpus.splits.values()):
        for split in corpus.splits.values():
            for column, spec in split.hub.items():
                _write_column(spec, folder / split.files[column].names[0], split.count(column))
    else:
        fetch_files(corpus, folder)


def _write_column(spec: str, path: Path, num_lines: int) -> None:
    """Write a column of a Hugging Face dataset as lines, unless the file exists."""
    from seqlab.data.column import join_lines
    from seqlab.data.hub import parse_hub

    if path.exists():
        with path.open("rb") as stored:
            if (count := sum(1 for _ in stored)) != num_lines:
                raise ValueError(f"{path} has {count:,} lines, but the data card has {num_lines:,}: remove the file.")
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with atomic_write(path) as file:
            written = 0
            for cell in parse_hub(spec).cells():
                file.write(f"{join_lines(cell)}\n".encode())
                written += 1
            if written != num_lines:
                raise ValueError(f"{spec} has {written:,} records, but the data card has {num_lines:,}.")
    except ValueError as error:
        with suppress(OSError):  # recipes take a folder for the corpus, even if it is empty
            path.parent.rmdir()
        raise ValueError(f"{error} Without a network, put the lines of the dataset at {path}.") from error


CORPORA_COMMAND = Command(CorporaOptions, run)
