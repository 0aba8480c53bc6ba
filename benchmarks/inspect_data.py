"""Planted faults in data: the area under the ROC curve, recall and false alarms of `seqlab inspect-data`.

Run `python -m benchmarks.inspect_data` from the root of the repository, with the corpora in SEQLAB_DATA. Faults are
planted in real corpora. Thresholds may be set on the corpora of `SETTING` only; the others judge.
"""

import argparse
import gzip
import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from seqlab.data.corpus import Corpus
from seqlab.diagnosis import text_checks
from seqlab.diagnosis.alignment import MIN_ROWS
from seqlab.diagnosis.data_findings import KINDS, Hits
from seqlab.diagnosis.fold_losses import NUM_STEPS, out_of_fold_losses
from seqlab.diagnosis.inspection import inspect_texts
from seqlab.diagnosis.label_noise import NUM_FOLDS, label_ratios, min_ratio
from seqlab.diagnosis.row_features import BagsOfTokens
from seqlab.diagnosis.text_rows import TextRows
from seqlab.diagnosis.workbench import open_run
from seqlab.recipes.find import choose_config
from seqlab.training import train

Columns = list[list[str]]
SHARE = 0.02
"""Share of the rows with a planted fault."""
LABEL_SHARE = 0.05
TRIALS = 5
SETTING = ("multi30k, first half", "trec", "g2p fre", "g2p eng", "inflection german", "asterisk en")
"""Corpora on which thresholds may be set."""


def data_file(name: str) -> list[str]:
    """Read the lines of a file in SEQLAB_DATA."""
    path = Path(os.environ["SEQLAB_DATA"]) / name
    raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return raw.decode("utf-8").split("\n")[:-1]


def table(name: str) -> Columns:
    """Read the first two columns of a table."""
    return [[line.split("\t")[column] for line in data_file(name)] for column in (0, 1)]


def labeled(name: str) -> Columns:
    """Read lines that start with their label."""
    parts = [line.split(" ", 1) for line in data_file(name)]
    return [[part[1] for part in parts], [part[0] for part in parts]]


def transcripts(name: str) -> Columns:
    """Read the texts of a list of recordings."""
    return [[json.loads(line)["text"] for line in data_file(name)]]


def sentences(name: str) -> Columns:
    """Read the words and the parts of speech of the sentences of a treebank."""
    blocks = "\n".join(data_file(name)).split("\n\n")
    words = [[line.split("\t") for line in block.split("\n") if line[:1].isdigit()] for block in blocks if block]
    words = [[cells for cells in sentence if cells[0].isdigit()] for sentence in words]
    return [[" ".join(cells[column] for cells in sentence) for sentence in words] for column in (1, 3)]


def corpora() -> dict[str, Columns]:
    """Read all corpora that are text."""
    multi30k = [data_file("multi30k/train.en.gz"), data_file("multi30k/train.de.gz")]
    half = len(multi30k[0]) // 2
    found = {
        "multi30k, first half": [side[:half] for side in multi30k],
        "multi30k, second half": [side[half:] for side in multi30k],
        "trec": labeled("trec/train.txt.gz"),
        "sst2": labeled("sst2/train.txt.gz"),
        "ud_ewt": sentences("ud_ewt/train.conllu.gz"),
    }
    found |= {f"g2p {name}": table(f"g2p2021/{name}_train.tsv") for name in ("dut", "fre", "hun", "jpn_hira", "kor")}
    found["g2p eng"] = table("g2p2021/eng_us_train.tsv.gz")
    for name in ("arabic", "finnish", "german", "russian", "spanish", "turkish"):
        found[f"inflection {name}"] = table(f"inflection2017/{name}-train-high.tsv.gz")
    found |= {f"asterisk {name}": transcripts(f"asterisk_prompts/{name}/manifest.jsonl") for name in ("en", "fr", "it")}
    return found | {"fillets nl": transcripts("fillets_nl/train.jsonl")}


def rows_of(columns: Columns) -> TextRows:
    """Write columns to files and read them as the training split."""
    with TemporaryDirectory() as folder:
        specs = []
        for number, column in enumerate(columns):
            path = Path(folder) / f"{number}.txt"
            path.write_text("".join(f"{line}\n" for line in column), "utf-8", newline="\n")
            specs.append(str(path))
        return TextRows.read("train", [Corpus.from_specs(*specs)])


def area_under_curve(scores: NDArray[np.float64], is_planted: NDArray[np.bool_]) -> float:
    """Compute the area under the ROC curve; ties count half."""
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    positive, negative = int(is_planted.sum()), int((~is_planted).sum())
    return float((ranks[is_planted].sum() - positive * (positive + 1) / 2) / (positive * negative))


def scores_of_hits(kind: str, hits: Sequence[Hits], count: int) -> NDArray[np.float64]:
    """Return the score of each row by the hits of a kind, 0 without one."""
    scores = np.zeros(count)
    for each in hits:
        if each.kind == kind:
            scores[each.rows] = np.maximum(1.0, each.scores)
    return scores


def disturb(line: str, rng: np.random.Generator) -> str:
    """Remove one word, but not of a short line."""
    words = line.split()
    if len(words) > 4:
        del words[int(rng.integers(len(words)))]
    return " ".join(words)


def plant(kind: str, columns: Columns, chosen: Sequence[int], rng: np.random.Generator, foreign: Sequence[str]) -> None:
    """Plant a fault into the chosen rows."""
    src, tgt = columns[0], columns[-1]
    unchanged = np.setdiff1d(np.arange(len(src)), chosen)
    for number, row in enumerate(chosen):
        other = int(rng.choice(unchanged[: np.searchsorted(unchanged, row)]))
        match kind:
            case "duplicate":
                src[row], tgt[row] = src[other], tgt[other]
            case "near_duplicate":
                src[row], tgt[row] = disturb(src[other], rng), tgt[other]
            case "mojibake":
                tgt[row] = tgt[row].encode("utf-8").decode("cp1252", "ignore")
            case "swapped":
                src[row], tgt[row] = tgt[row], src[row]
            case "language":
                tgt[row] = foreign[number % len(foreign)]
            case "length_ratio":
                tgt[row] = tgt[row][: max(1, len(tgt[row]) // 6)]


def plantable(kind: str, columns: Columns) -> NDArray[np.int64]:
    """Return the rows into which a fault can be planted so that it is one."""
    lines = columns[-1]
    match kind:
        case "mojibake":
            return np.array([row for row, line in enumerate(lines) if not line.isascii()])
        case "near_duplicate":
            return np.array(
                [row for row, line in enumerate(columns[0]) if row > len(lines) // 100 and len(line.split()) > 4]
            )
    return np.arange(len(lines) // 100, len(lines))


CHECKS: dict[str, Callable[[TextRows], tuple[NDArray[np.float64], float]]] = {
    "duplicate": lambda rows: (
        scores_of_hits("duplicate", list(text_checks.check_duplicates({"train": rows})), len(rows)), 1.0
    ),
    "near_duplicate": lambda rows: (
        scores_of_hits("near_duplicate", list(text_checks.check_near_duplicates({"train": rows}, True)), len(rows)), 1.0
    ),
    "mojibake": lambda rows: (
        scores_of_hits("mojibake", list(text_checks.check_characters(rows)), len(rows)), 1.0
    ),
    "swapped": lambda rows: (text_checks.language_scores(rows, rows.columns)[0], 1.0),
    "language": lambda rows: (text_checks.language_scores(rows, rows.columns)[1], 1.0),
    "length_ratio": lambda rows: (text_checks.length_deviations(rows), text_checks.MAX_LENGTH_DEVIATION),
}  # fmt: skip
"""Kind -> scores of all rows and the score from which on a row is reported."""
PLANTED_IN = {
    "duplicate": ("multi30k, first half", "g2p fre", "multi30k, second half", "sst2", "g2p hun"),
    "near_duplicate": ("multi30k, first half", "multi30k, second half"),
    "mojibake": ("multi30k, first half", "g2p fre", "multi30k, second half", "g2p hun", "inflection finnish"),
    "swapped": ("multi30k, first half", "g2p fre", "multi30k, second half", "g2p hun", "g2p kor"),
    "language": ("multi30k, first half", "multi30k, second half", "inflection finnish", "sst2", "ud_ewt"),
    "length_ratio": ("multi30k, first half", "multi30k, second half", "inflection finnish"),
}


def measure_rows(found: dict[str, Columns], seed: int) -> None:
    """Print the table of faults in single rows."""
    print("| kind | corpus | planted | area under the curve | reported of the planted | reported of the others |")
    print("| --- | --- | --- | --- | --- | --- |")
    for kind, names in PLANTED_IN.items():
        for name in names:
            rng = np.random.default_rng(seed)
            columns = [list(column) for column in found[name]]
            candidates = plantable(kind, columns)
            chosen = rng.permutation(candidates)[: max(10, int(SHARE * len(columns[0])))]
            foreign = found["asterisk it"][0] if name in SETTING else found["fillets nl"][0]
            if kind == "language" and text_checks.label_numbers(rows_of(columns).tgt) is not None:
                columns = columns[:1]
            plant(kind, columns, chosen.tolist(), rng, [line for line in foreign if len(line) > 30])
            scores, threshold = CHECKS[kind](rows_of(columns))
            is_planted = np.zeros(len(scores), bool)
            is_planted[chosen] = True
            hits = scores >= threshold
            print(
                f"| {kind} | {name}{' (setting)' * (name in SETTING)} | {len(chosen)} | "
                f"{area_under_curve(scores, is_planted):.4f} | {hits[is_planted].sum()} | {hits[~is_planted].sum()} |",
                flush=True,
            )


def measure_shifts(found: dict[str, Columns], seed: int) -> None:
    """Print the table of shifted pairs: one to three lines missing from a random line on."""
    print("\n| corpus | pairs | trials | found | largest distance of the line | wrong offset | reported without one |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name in ("multi30k, first half", "trec", "g2p fre", "multi30k, second half", "sst2", "g2p hun", "g2p kor",
                 "inflection finnish"):  # fmt: skip
        for size in (100, 1000):
            rng = np.random.default_rng(seed)
            distances, wrong, false = [], 0, 0
            for _ in range(TRIALS):
                start = int(rng.integers(max(1, len(found[name][0]) - size)))
                src, tgt = (column[start : start + size] for column in found[name])
                missing, at = int(rng.integers(1, 4)), int(rng.integers(0, len(src) - MIN_ROWS))
                short = tgt[:at] + tgt[at + missing :]
                shifts = _shifts(rows_of([src[: len(short)], short]))
                false += bool(_shifts(rows_of([src, tgt])))
                if shifts:
                    distances.append(max(0, at - shifts[0][0], shifts[0][0] - at - missing))
                    wrong += shifts[0][1] != -missing
            print(
                f"| {name}{' (setting)' * (name in SETTING)} | {size} | {TRIALS} | {len(distances)} | "
                f"{max(distances, default='')} | {wrong} | {false} |",
                flush=True,
            )


def _shifts(rows: TextRows) -> list[tuple[int, int]]:
    labels = text_checks.label_numbers(rows.tgt)
    return [(shift.start, shift.offset) for shift, _ in text_checks.find_shifts(rows, labels)]


def measure_labels(found: dict[str, Columns], seed: int) -> None:
    """Print the table of wrong labels by the simple model."""
    print("\n| corpus | rows | wrong labels | area under the curve | reported of the wrong | reported of the others |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name in ("trec", "sst2"):
        rows = rows_of(found[name])
        labels = text_checks.label_numbers(rows.tgt)
        assert labels is not None
        labels, is_wrong = wrong_labels(labels, seed)
        folds = (rows.src.hashes % np.uint64(NUM_FOLDS)).astype(np.int64)
        ratios, _ = label_ratios(BagsOfTokens(rows.src.token_ids()), labels, folds)
        hits = ratios >= min_ratio(len(labels))
        print(
            f"| {name}{' (setting)' * (name in SETTING)} | {len(labels)} | {is_wrong.sum()} | "
            f"{area_under_curve(ratios, is_wrong):.3f} | {hits[is_wrong].sum()} | {hits[~is_wrong].sum()} |",
            flush=True,
        )


def wrong_labels(labels: NDArray[np.int64], seed: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Replace a share of the labels by others; return the labels, and a mask of the wrong ones."""
    rng = np.random.default_rng(seed)
    is_wrong = rng.random(len(labels)) < LABEL_SHARE
    count = int(labels.max()) + 1
    return np.where(is_wrong, (labels + rng.integers(1, count, len(labels))) % count, labels), is_wrong


def measure_losses(found: dict[str, Columns], seed: int) -> None:
    """Print the table of wrong labels by out-of-fold losses of the model of zero config."""
    print("\n| corpus | rows | wrong labels | steps | area under the curve | seconds |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name in ("trec", "sst2"):
        columns = found[name]
        labels = text_checks.label_numbers(rows_of(columns).tgt)
        assert labels is not None
        labels, is_wrong = wrong_labels(labels, seed)
        with TemporaryDirectory() as temporary:
            folder = Path(temporary)
            (folder / "src.txt").write_text("".join(f"{line}\n" for line in columns[0]), "utf-8")
            (folder / "tgt.txt").write_text("".join(f"{label}\n" for label in labels.tolist()), "utf-8")
            given = {
                "data.kind": "labelling",
                "data.train_src": str(folder / "src.txt"),
                "data.train_tgt": str(folder / "tgt.txt"),
                "training.max_steps": "2",
                "training.threads": "1",
            }
            train(choose_config([(key, [value]) for key, value in given.items()]), folder / "run")
            start = time.perf_counter()
            bench = open_run(folder / "run", folder)
            losses = out_of_fold_losses(bench, num_steps=NUM_STEPS)
            lines = [int(bench.task.locate(bench.data, int(index)).rpartition(" ")[2]) for index in losses.indices]
        is_planted = is_wrong[np.array(lines) - 1]
        print(
            f"| {name} | {len(lines)} | {is_planted.sum()} | {NUM_STEPS} | "
            f"{area_under_curve(losses.losses, is_planted):.3f} | {time.perf_counter() - start:.0f} |",
            flush=True,
        )


def measure_real(found: dict[str, Columns], shown: int) -> None:
    """Print the findings in the corpora as they are."""
    print("\n| corpus | rows | findings | seconds |\n| --- | --- | --- | --- |")
    for name, columns in found.items():
        start = time.perf_counter()
        rows = rows_of(columns)
        findings = inspect_texts({"train": rows}, KINDS, is_continuous=False)
        counts = {kind: findings.count(kind) for kind in KINDS if findings.count(kind)}
        text = ", ".join(f"{kind} {count}" for kind, count in counts.items()) or "none"
        print(f"| {name} | {len(rows)} | {text} | {time.perf_counter() - start:.0f} |", flush=True)
        for hits in findings.hits:
            for number in hits.clearest(shown):
                print(f"    {hits.kind} {hits.rows[number] + 1}: {hits.note(number)}")


def main() -> None:
    """Run the parts that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parts = {"rows": measure_rows, "shifts": measure_shifts, "labels": measure_labels, "losses": measure_losses}
    parser.add_argument(
        "parts", nargs="*", default=[*parts, "real"], help="rows, shifts, labels, losses, real (default: all)"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--show", type=int, default=0, help="number of rows to print of each kind of finding")
    arguments = parser.parse_args()
    found = corpora()
    for part in arguments.parts:
        if part == "real":
            measure_real(found, arguments.show)
        else:
            parts[part](found, arguments.seed)


if __name__ == "__main__":
    main()
