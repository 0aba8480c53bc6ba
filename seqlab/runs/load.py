"""Load a run: its config, codecs and model with the weights of a checkpoint."""

from collections.abc import Container, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from seqlab.base.reading_notes import FIRST_READING_VERSION
from seqlab.models.interfaces import FixedContextModel
from seqlab.registry import Parts, default_part
from seqlab.runs.checkpoint import checkpoint_name, choose_step, read_weights
from seqlab.runs.codecs import CodecsMixin, load_codecs_for
from seqlab.runs.config import Config
from seqlab.runs.fields import fields_of
from seqlab.runs.folder import RunFolder
from seqlab.runs.migrate import add_older_defaults, migrate
from seqlab.runs.task_of_run import missing_plugins_hint, refuse_other_models
from seqlab.runs.validate import ConfigError, build, parse_config
from seqlab.search.config import OutputLimits
from seqlab.search.protocols import Stepper

DEFAULT_MAX_LENGTH = 512
"""Maximum number of tokens of an input or output if the model has no limit, as a plugin's translator may."""


@runtime_checkable
class CountBasedModel(Protocol):
    """A model fitted by counting: the sizes of its tensors depend on the corpus, and it loads them itself."""

    def weights(self) -> dict[str, Tensor]:
        """Return all tensors to save, by name."""
        ...

    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Load the tensors that `weights` returned; raises ValueError where they do not fit."""
        ...


@dataclass(frozen=True)
class LoadedRun(CodecsMixin):
    """A run with its model in memory: in evaluation mode, in fp32, on the CPU."""

    folder: RunFolder
    config: Config
    codecs: tuple[Any, Any]
    model: nn.Module
    step: int
    longest_src_tokens: int | None = None
    """Maximum source length of the training data; None if run.json does not record it."""
    output_bound: Mapping[str, Any] | None = None
    """`ratio` and `offset` of the run's `OutputLimits`; None if run.json does not record them."""
    reading: int = FIRST_READING_VERSION
    """Version of the reading of files that the run was trained with (`seqlab.base.reading_notes`)."""

    def __repr__(self) -> str:
        return f"LoadedRun({str(self.folder.path)!r}, {self.config.model}, step {self.step})"

    @property
    def stepper(self) -> Stepper:
        """The model as a `Stepper`.

        Raises:
            ValueError: the model is not autoregressive.
        """
        if not isinstance(self.model, Stepper):
            raise ValueError(
                f"{self.folder.path} (`model.family: {self.config.model.family}`) is not autoregressive: ensembles, "
                "`exposure` and `search-errors` need a model that predicts one token after another. Choose another "
                "run."
            )
        return self.model

    @property
    def impossible_ids(self) -> list[int]:
        """Ids with probability 0 in every context; only n-gram models can have some."""
        return self.model.impossible_ids if isinstance(self.model, FixedContextModel) else []

    @property
    def context_limit(self) -> int | None:
        """Maximum number of tokens that the model reads; None without a limit, as in recurrent language models."""
        return self.config.model.resolve(self.config.data).context_limit

    @property
    def max_length(self) -> int:
        """Maximum number of tokens of an input or output; `DEFAULT_MAX_LENGTH` if the model has no limit."""
        return DEFAULT_MAX_LENGTH if self.context_limit is None else self.context_limit

    @property
    def output_limits(self) -> OutputLimits:
        """Maximum output lengths; only for translators."""
        return OutputLimits(self.max_length, **(self.output_bound or {}))


def read_config(folder: RunFolder) -> Config:
    """Read a run's config.yaml; raises ValueError if it is missing or not a valid config."""
    try:
        text = folder.read_config_text()
    except FileNotFoundError:
        raise ValueError(f"{folder.config_file} is missing; restore it from a copy.") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{folder.config_file}: not UTF-8 ({error.reason} at byte {error.start}).") from None
    try:
        values = migrate(parse_config(text, str(folder.config_file)))
        values = add_older_defaults(values, {"data": _data_fields(values.get("data"))})
        return build(Config, values, source=str(folder.config_file))
    except ConfigError as error:
        raise ConfigError(error.key, f"{error}{missing_plugins_hint(folder)}") from None


def _data_fields(section: Any) -> Container[str]:
    """Return the field names of the task that a data section names; empty if the task is unknown."""
    kind = section.get("kind", default_part("task").kind) if isinstance(section, Mapping) else None
    task = Parts("task", "kind").get(kind) if isinstance(kind, str) else None
    return () if task is None else fields_of(task)


def load_run(path: str | Path, checkpoint: str = "best", model_noun: str | None = None) -> LoadedRun:
    """Load a run with the weights of one checkpoint.

    Args:
        path: the run folder.
        checkpoint: `best` (in validation), `last` or a step number.
        model_noun: required kind of model (`DataConfig.model_noun`), such as `a translator`; None accepts any.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: the folder is not a run, has another format version or a damaged file; the weights do not fit the
            config and the codecs; the run has another `model_noun`.
    """
    folder = RunFolder(Path(path))
    folder.refuse_missing()
    description = folder.read_description()
    config = read_config(folder)
    if model_noun is not None:
        refuse_other_models(path, model_noun)
    codecs = load_codecs_for(folder, config.data)
    step = choose_step(folder, checkpoint)
    model = config.model.resolve(config.data).build(*codecs)
    checkpoint_folder = folder.checkpoints / checkpoint_name(step)
    copy_weights(model, read_weights(checkpoint_folder, config.model.family), checkpoint_folder)
    return LoadedRun(
        folder,
        config,
        codecs,
        model.eval(),
        step,
        description.get("longest_src_tokens"),
        description.get("output_bound"),
        description.get("reading", FIRST_READING_VERSION),
    )


def named_weights(model: nn.Module) -> dict[str, Tensor]:
    """Return the trained weights of a model by name; a shared parameter appears once, under its first name."""
    if isinstance(model, CountBasedModel):
        return model.weights()
    return {name: parameter.detach() for name, parameter in model.named_parameters()}


def named_buffers(model: nn.Module) -> dict[str, Tensor]:
    """Return the persistent buffers of a model by name, such as running statistics."""
    if isinstance(model, CountBasedModel):
        return {}
    persistent = model.state_dict().keys()
    return {name: buffer for name, buffer in model.named_buffers() if name in persistent}


def copy_weights(model: nn.Module, weights: Mapping[str, Tensor], checkpoint: Path) -> None:
    """Copy weights and buffers of a checkpoint into a model; raises ValueError if names, shapes or dtypes differ."""
    if isinstance(model, CountBasedModel):  # its tensors have no shape before counting
        try:
            model.load_weights(weights)
        except ValueError as error:
            raise ValueError(f"{checkpoint} does not fit the model of config.yaml: {error}") from None
        return
    tensors = named_weights(model) | named_buffers(model)
    for name in sorted(tensors.keys() | weights.keys()):
        if name not in weights or name not in tensors:
            holder = "the checkpoint" if name in weights else "the model"
            raise ValueError(f"{checkpoint} does not fit the model of config.yaml: only {holder} has `{name}`.")
        if tensors[name].shape != weights[name].shape:
            raise ValueError(
                f"{checkpoint} does not fit the model: `{name}` is {tuple(weights[name].shape)} in the checkpoint but "
                f"{tuple(tensors[name].shape)} by config.yaml and the tokenizer."
            )
        value = weights[name]
        # Older checkpoints contain integer buffers in fp32, which averaging may have changed by a rounding error.
        needs_rounding = value.is_floating_point() and not tensors[name].is_floating_point()
        if not (value.is_floating_point() or value.dtype == tensors[name].dtype):
            raise ValueError(
                f"{checkpoint} does not fit the model: `{name}` holds {_dtype_name(value.dtype)} in the checkpoint, "
                f"but {_dtype_name(tensors[name].dtype)} in the model."
            )
        tensors[name].copy_(value.round() if needs_rounding else value)


def _dtype_name(dtype: torch.dtype) -> str:
    """Return the name of a dtype without `torch.`."""
    return str(dtype).removeprefix("torch.")
