"""A case for each row of the table, with commands by task, each with a resumed run."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from comparison.settings import Case, run_of
from contracts.row import Row, Settings
from contracts.table import ROWS

Commands = Mapping[str, str]
"""Command lines by a short name of their use."""
BEAM = "generate %run --prompts @prompts.txt --json --beam_size 4 --max_length 12"
SAMPLE = "generate %run --prompts @prompts.txt --json --num_samples 3 --max_length 12"


def rows() -> Iterator[Case]:
    """Yield a case for each row without a plugin; the newer version also resumes the run of the older one."""
    for row in ROWS:
        if not row.plugin:
            name = row.name.replace(", ", "-").replace(" ", "_")
            is_resumed = not row.is_count_based
            is_critic = row.objective.get("family") == "td"
            commands = {} if is_critic else commands_of(row.data, row.model)
            yield Case(name, {"run": run_of_row(row)}, commands, is_resumed)


def run_of_row(row: Row, **training: Any) -> Settings:
    """Return the config of a row; `training` changes fields of that section."""
    sections = {"objective": row.objective} if row.objective else {}
    optim = None if row.is_count_based else row.optim
    return run_of(row.data, row.model, optim=optim, training={**row.training, **training}, **sections)


def case_of(name: str, data: Settings, model: Settings, **sections: Any) -> Case:
    """Return a case of one run and the commands of its task."""
    return Case(name, {"run": run_of(data, model, **sections)}, commands_of(data, model))


def commands_of(data: Settings, model: Settings) -> Commands:
    """Return the commands that use a run; a masked language model has none."""
    return {} if model["family"] == "transformer_mlm" else COMMANDS[data["kind"]](data)


def translate(data: Settings) -> Commands:
    line = f"translate %run --input @test_{data['train_src'][0][1:]} --json"
    score = f"score %run --src {data['valid_src']} --tgt {data['valid_tgt'][0]} --json"
    return {"greedy": f"{line} --beam_size 1", "beam": f"{line} --beam_size 5 --num_hypotheses 3", "score": score}


def generate(data: Settings) -> Commands:
    text = data["valid"][0]
    perplexity = f"perplexity %run {text} --json"
    if data.get("order") == "contiguous":
        return {"perplexity": f"{perplexity} --context all", "beam": BEAM, "sample": SAMPLE}
    per_line, score = f"{perplexity} --per_line", f"score %run --tgt {text} --json"
    return {"perplexity": perplexity, "per_line": per_line, "score": score, "beam": BEAM, "sample": SAMPLE}


def label(data: Settings) -> Commands:
    return {"label": f"label %run --input {data['valid_src']} --json --num_labels 2"}


def predict(data: Settings) -> Commands:
    return {"predict": f"predict %run --input {data['valid']} --json"}


def transcribe(data: Settings) -> Commands:
    valid = data["valid"]
    return {
        "transcribe": f"transcribe %run --input {valid}#audio --json --beam_size 4",
        "score": f"score %run --src {valid}#audio --tgt {valid}#text --json",
    }


def label_recordings(data: Settings) -> Commands:
    return label({"valid_src": f"{data['valid']}#audio"})


def play(data: Settings) -> Commands:
    """Return the command that plays episodes with an agent."""
    return {"play": "play %run --episodes 3 --json"}


COMMANDS: Mapping[str, Callable[[Settings], Commands]] = {
    "translation": translate,
    "language_modelling": generate,
    "labelling": label,
    "prediction": predict,
    "transcription": transcribe,
    "recording_labels": label_recordings,
    "control": play,
}
