"""Loading of trained runs for inference."""

from collections.abc import Sequence
from inspect import signature
from pathlib import Path
from typing import Any

from seqlab.plugins import load_plugin
from seqlab.registry import default_part, import_target
from seqlab.runs.task_of_run import read_data_config


def load(
    run: str | Path | Sequence[str | Path],
    checkpoint: str | Sequence[str] = "best",
    device: str = "auto",
    precision: str = "auto",
    *,
    engine: str | None = None,
    quantization: str | None = None,
    threads: int | None = None,
    processes: int | None = 1,
    lm: str | Path | None = None,
    lm_weight: float | None = None,
    length_reward: float | None = None,
    rescore: str | Path | Sequence[str | Path] | None = None,
    plugins: Sequence[str | Path] = (),
) -> Any:
    """Load a trained run; several runs or checkpoints become an ensemble.

    The class of the result depends on the task of the run: a translator (`Run`), a `TextLabeler`, a `LanguageModel`, a
    `Predictor`, a `Transcriber`, a `RecordingsLabeler`, or the class of a plugin's task. The options from `engine` to
    `rescore` are for translators (see `seqlab.tasks.translation.load_translator.load_translator`). `lm`, `lm_weight`
    and `length_reward` are also for speech recognizers (see `seqlab.tasks.transcription.transcriber.load_transcriber`).

    Args:
        run: a run folder, or several for an ensemble.
        checkpoint: `best` (in validation), `last` or a step number; several for an ensemble of checkpoints.
        device: `cpu`, `cuda`, `cuda:1`, or `auto`: CUDA if available.
        precision: dtype of matrix products: `bf16`, `fp32` or `auto`: fp32 for predictors and language models, for
            comparable results; for other runs bf16 if the device supports it, except for the scores of given
            texts.
        engine: `torch` (the default) or another registered one.
        quantization: type of the weights, for engines that quantize.
        threads: number of CPU threads; None for all cores.
        processes: number of forked processes that share the lines of a call; None for one per thread.
        lm: run of a language model for shallow fusion.
        lm_weight: weight of its log-probabilities.
        length_reward: score added per token with `lm`.
        rescore: runs that rescore the hypotheses of the search.
        plugins: modules or `.py` files that register parts of the run. They are executed, so name only code that
            you trust.

    Raises:
        FileNotFoundError: the folder does not exist.
        ValueError: the folder is not a run, is damaged or has another format version; the runs cannot form an ensemble;
            or an option does not apply to the task.
    """
    if isinstance(plugins, str | Path):
        raise ValueError(f"`plugins` must be a list, but is {str(plugins)!r} instead: put it into one.")
    for plugin in plugins:
        load_plugin(plugin)
    first = run if isinstance(run, str | Path) else next(iter(run), "")
    try:
        data = read_data_config(first)
    except (OSError, ValueError):  # an exported model, or not a run: the loader of translators handles both
        data = default_part("task")
    loader = import_target(data.loader_name)
    options = {
        **{"engine": engine, "quantization": quantization, "threads": threads, "processes": processes},
        **{"lm": lm, "lm_weight": lm_weight, "length_reward": length_reward, "rescore": rescore},
    }
    accepted = signature(loader).parameters
    for name, value in options.items():
        if name not in accepted and value != (1 if name == "processes" else None):
            raise ValueError(f"{first} is {data.model_noun}, which has no option `{name}`.")
    return loader(run, checkpoint, device, precision, **{name: options[name] for name in accepted if name in options})
