"""Outputs of a loaded run for its validation data, for all examples at once and one at a time, and their metrics."""

import csv
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from contracts.trained import Trained

import seqlab
from seqlab.data.epoch import derive_seed
from seqlab.evaluation import evaluate
from seqlab.tasks.control.episodes import Player
from seqlab.tasks.control.task import VALID_STREAM
from seqlab.text.transcripts import normalize_transcript


@dataclass
class Answers:
    """Outputs of all validation examples in one call, and in a call for each."""

    together: list[Any]
    alone: list[Any]
    metrics: dict[str, float] = field(default_factory=dict)
    """Metrics of the outputs, under the names that validation uses."""


def answer(trained: Trained) -> Answers:
    """Load a run as a user does, in the precision of its training, and let it answer its validation data."""
    run = seqlab.load(trained.run, device="cpu", precision=trained.row.training.get("precision", "fp32"))
    data = dict(trained.row.data)
    return ANSWERS[data["kind"]](run, trained.corpora, data)


def path_of(spec: str, corpora: Path) -> Path:
    return corpora / spec.removeprefix("@")


def read_lines(spec: str, corpora: Path) -> list[str]:
    return path_of(spec, corpora).read_text("utf-8").splitlines()


def values_of(scores: dict[str, Any]) -> dict[str, float]:
    return {name: score.value for name, score in scores.items()}


def one_by_one(function: Callable[[list[Any]], Sequence[Any]], examples: Sequence[Any]) -> list[Any]:
    return [function([example])[0] for example in examples]


def translations(run: Any, corpora: Path, data: dict[str, Any]) -> Answers:
    src, tgt = read_lines(data["valid_src"], corpora), read_lines(data["valid_tgt"][0], corpora)

    def translate(lines: list[str]) -> list[Any]:
        return [(line.text, line.hypotheses[0].score) for line in run.translate_detailed(lines, beam_size=1)]

    together = translate(src)
    pairs = list(zip(src, tgt, strict=True))

    def score(rows: list[tuple[str, str]]) -> list[Any]:
        return run.score([src for src, _ in rows], [tgt for _, tgt in rows])

    scores = score(pairs)
    nll = -sum(each.log_prob for each in scores) / sum(each.num_tokens for each in scores)
    metrics = values_of(evaluate([text for text, _ in together], [tgt], ["bleu", "chrf", "wer", "exact_match"]))
    return Answers(
        [*together, *scores],
        one_by_one(translate, src) + one_by_one(score, pairs),
        metrics | {"nll_per_tgt_token": nll},
    )


def texts(run: Any, corpora: Path, data: dict[str, Any]) -> Answers:
    lines = read_lines(data["valid"][0], corpora)
    likelihood = run.perplexity(lines).likelihood
    return Answers(
        run.score(lines), one_by_one(run.score, lines), {"nll_per_tgt_token": likelihood.nll / likelihood.tokens}
    )


def labels(run: Any, corpora: Path, data: dict[str, Any]) -> Answers:
    src, tgt = read_lines(data["valid_src"], corpora), read_lines(data["valid_tgt"][0], corpora)

    def label(lines: list[str]) -> list[Any]:
        return run.label_detailed(lines, num_labels=9)

    together = label(src)
    units = [{choice.label: choice.log_prob for choice in unit} for line in together for unit in line.choices]
    expected = [name for line in tgt for name in line.split()]
    nll = -np.mean([unit[name] for unit, name in zip(units, expected, strict=True)])
    metrics = values_of(evaluate([each.text for each in together], [tgt], ["accuracy", "macro_f1"]))
    return Answers(together, one_by_one(label, src), metrics | {"nll_per_label": float(nll)})


def predictions(run: Any, corpora: Path, data: dict[str, Any]) -> Answers:
    path = path_of(data["valid"], corpora)
    if path.suffix == ".npz":
        arrays = np.load(path)
        examples, targets = arrays["x"], [str(each) for each in arrays["y"]]
        alone = [run.predict_detailed(examples[i : i + 1])[0] for i in range(len(examples))]
    else:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        examples, window = rows, data.get("window", 1)
        targets = [row[data["target"][0]] for row in rows]
        alone = [run.predict_detailed(rows[max(0, i + 1 - window) : i + 1])[-1] for i in range(len(rows))]
    together = run.predict_detailed(examples)
    name = {"class": "accuracy", "labels": "micro_f1"}.get(data.get("predicts", "numbers"), "rmse")
    ahead = data.get("ahead", 0)  # the target of a window is a later row
    pairs = [(each.text, target) for each, target in zip(together, targets[ahead:], strict=False) if each.values]
    assert len(pairs) == len(targets) - (data.get("window", 1) - 1) - ahead
    scores = evaluate([text for text, _ in pairs], [[target for _, target in pairs]], [name])
    return Answers(together, alone, values_of(scores))


def recordings_of(spec: str, corpora: Path) -> tuple[list[Path], list[str]]:
    manifest = path_of(spec, corpora)
    records = [json.loads(line) for line in manifest.read_text("utf-8").splitlines()]
    return [manifest.parent / record["audio"] for record in records], [record["text"] for record in records]


def transcripts(run: Any, corpora: Path, data: dict[str, Any]) -> Answers:
    paths, texts = recordings_of(data["valid"], corpora)
    references = [normalize_transcript(text, "plain") for text in texts]
    pairs = list(zip(paths, references, strict=True))

    def score(rows: list[tuple[Path, str]]) -> list[Any]:
        return list(run.score([path for path, _ in rows], [text for _, text in rows]))

    together, scores = run.transcribe(paths), score(pairs)
    nll = -sum(each.log_prob for each in scores) / sum(each.num_tokens for each in scores)
    metrics = values_of(evaluate(together, [references], ["wer", "cer"])) | {"nll_per_tgt_token": nll}
    alone = one_by_one(run.transcribe, paths) + one_by_one(score, pairs)
    return Answers([*together, *scores], alone, metrics)


def labeled_recordings(run: Any, corpora: Path, data: dict[str, Any]) -> Answers:
    paths, expected = recordings_of(data["valid"], corpora)
    together = run.label_detailed(paths)
    metrics = values_of(evaluate([each.label for each in together], [expected], ["accuracy", "macro_f1"]))
    return Answers(together, one_by_one(run.label_detailed, paths), metrics)


def similarities(run: Any, corpora: Path, data: dict[str, Any]) -> Answers:
    left, right = read_lines(data["valid_left"], corpora), read_lines(data["valid_right"][0], corpora)
    from seqlab_outside.similarity.task import retrieval

    alone = [run.similarity([one], [other])[0] for one, other in zip(left, right, strict=True)]
    cosines = torch.tensor([run.similarity([one] * len(right), right) for one in left])
    return Answers(run.similarity(left, right), alone, values_of(retrieval(cosines)))


def episodes(run: Any, corpora: Path, data: dict[str, Any]) -> Answers:
    count, seed = data["valid_episodes"], derive_seed(run.run.config.seed, VALID_STREAM)

    def play(numbers: Sequence[int]) -> list[Any]:
        played = Player(run.observations.environment).play(run.behavior, numbers, seed)
        return list(zip(played.returns.tolist(), played.lengths.tolist(), strict=True))

    together = play(range(count))
    return Answers(together, one_by_one(play, range(count)), {"return": sum(total for total, _ in together) / count})


ANSWERS: dict[str, Callable[[Any, Path, dict[str, Any]], Answers]] = {
    "translation": translations,
    "language_modelling": texts,
    "labelling": labels,
    "prediction": predictions,
    "transcription": transcripts,
    "recording_labels": labeled_recordings,
    "similarity": similarities,
    "control": episodes,
}
