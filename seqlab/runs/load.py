"""A run folder to a model that can be used."""

from collections.abc import Container, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from seqlab.models.interfaces import CountBasedModel, FixedContextModel, Scorer, Stepper
from seqlab.registry import Parts, default_part
from seqlab.runs.checkpoint import checkpoint_name, choose_step, inference_weights
from seqlab.runs.codecs import WithCodecs, load_codecs
from seqlab.runs.config import Config
from seqlab.runs.fields import fields_of
from seqlab.runs.folder import RunFolder
from seqlab.runs.migrate import migrated, with_older_behaviour
from seqlab.runs.use import missing_plugins_hint, refuse_other_product
from seqlab.runs.validate import ConfigError, build, parse_config
from seqlab.search.config import OutputLimits

USUAL_LIMIT = 512
"""Tokens of the longest line that a translator without a limit of its own, as one from a plugin may be, is given."""


@dataclass(frozen=True)
class LoadedRun(WithCodecs):
    """A run with its weights in memory, in evaluation mode, in fp32 on the CPU."""

    folder: RunFolder
    config: Config
    codecs: tuple[Any, Any]
    model: nn.Module
    step: int
    longest_src_tokens: int | None = None
    """Of the lines it was trained on; None where that was not noted."""
    output_bound: Mapping[str, Any] | None = None
    """`ratio` and `offset` of its `OutputLimits`; None where they were not noted."""

    def __repr__(self) -> str:
        return f"LoadedRun({str(self.folder.path)!r}, {self.config.model.family}, step {self.step})"

    @property
    def stepper(self) -> Stepper:
        """The model as one that predicts from left to right.

        Raises:
            ValueError: it does not.
        """
        if not isinstance(self.model, Stepper):
            raise ValueError(
                f"{self.folder.path} (`model.family: {self.config.model.family}`) predicts all symbols at once: what "
                "needs the next symbol's probabilities, as ensembles, `exposure` and `search-errors` do, takes another "
                "run."
            )
        return self.model

    @property
    def scorer(self) -> Scorer:
        """The model as one that scores targets or texts; labellers are not loaded where one is needed."""
        assert isinstance(self.model, Scorer), "load the run by its `product`"
        return self.model

    @property
    def impossible_ids(self) -> list[int]:
        """Ids that the model can never produce: those that an n-gram model gives no probability; none of others."""
        return self.model.impossible_ids if isinstance(self.model, FixedContextModel) else []

    @property
    def context_limit(self) -> int | None:
        """Tokens of the longest sequence that the model reads; None where it reads on for ever, as recurrent language
        models and labellers do."""
        return self.config.model.resolve(self.config.data).context_limit

    @property
    def max_length(self) -> int:
        """Tokens of the longest sequence that the model reads and writes; `USUAL_LIMIT` where it has no limit."""
        return USUAL_LIMIT if self.context_limit is None else self.context_limit

    @property
    def output_limits(self) -> OutputLimits:
        """How long the outputs may become; of translators."""
        return OutputLimits(self.max_length, **(self.output_bound or {}))


def read_config(folder: RunFolder) -> Config:
    """Read a run's config.yaml; raises ValueError where it is missing or not a config."""
    try:
        text = folder.read_config_text()
    except FileNotFoundError:
        raise ValueError(f"{folder.config_file} is missing; restore it from a copy.") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{folder.config_file}: not UTF-8 ({error.reason} at byte {error.start}).") from None
    try:
        values = migrated(parse_config(text, str(folder.config_file)))
        values = with_older_behaviour(values, {"data": _fields_of_data(values.get("data"))})
        return build(Config, values, source=str(folder.config_file))
    except ConfigError as error:
        raise ConfigError(error.key, f"{error}{missing_plugins_hint(folder)}") from None


def _fields_of_data(section: Any) -> Container[str]:
    """Name the fields that a section of data can have, none where it is of no known task."""
    kind = section.get("kind", default_part("task").kind) if isinstance(section, Mapping) else None
    task = Parts("task", "kind").get(kind) if isinstance(kind, str) else None
    return () if task is None else fields_of(task)


def load_run(path: str | Path, checkpoint: str = "best", product: str | None = None) -> LoadedRun:
    """Load a run's model with the weights of one checkpoint: `best` (in validation), `last` or a step number.

    Raises:
        ValueError: no run folder, another format version, a damaged file, a tokenizer that does not fit the model; a
            run that is no such `product` (`DataConfig.product`).
    """
    folder = RunFolder(Path(path))
    folder.refuse_missing()
    description = folder.read_description()
    config = read_config(folder)
    if product is not None:
        refuse_other_product(path, product)
    codecs = load_codecs(folder)
    step = choose_step(folder, checkpoint)
    model = config.model.resolve(config.data).build(*codecs)
    load_weights(model, folder.checkpoints / checkpoint_name(step))
    noted = (description.get(name) for name in ("longest_src_tokens", "output_bound"))
    return LoadedRun(folder, config, codecs, model.eval(), step, *noted)


def named_weights(model: nn.Module) -> dict[str, Tensor]:
    """Name everything that a model has learnt once; shared parameters under their first name."""
    if isinstance(model, CountBasedModel):
        return model.weights()
    return {name: parameter.detach() for name, parameter in model.named_parameters()}


def named_buffers(model: nn.Module) -> dict[str, Tensor]:
    """Name what a model keeps besides what is trained, running statistics or ids: its persistent buffers."""
    if isinstance(model, CountBasedModel):
        return {}
    kept = model.state_dict().keys()
    return {name: buffer for name, buffer in model.named_buffers() if name in kept}


def load_weights(model: nn.Module, checkpoint: Path) -> None:
    """Copy a checkpoint's inference weights into a model; raises ValueError where shapes or names differ."""
    copy_weights(model, inference_weights(checkpoint), checkpoint)


def copy_weights(model: nn.Module, weights: Mapping[str, Tensor], checkpoint: Path) -> None:
    """Copy weights and buffers of a checkpoint into a model; raises ValueError where shapes or names differ."""
    if isinstance(model, CountBasedModel):  # what is counted has no shape before
        try:
            model.load_weights(weights)
        except ValueError as error:
            raise ValueError(f"{checkpoint} does not fit the model of config.yaml: {error}") from None
        return
    own = named_weights(model) | named_buffers(model)
    for name in sorted(own.keys() | weights.keys()):
        if name not in weights or name not in own:
            where = "the checkpoint" if name in weights else "the model"
            raise ValueError(f"{checkpoint} does not fit the model of config.yaml: only {where} has `{name}`.")
        if own[name].shape != weights[name].shape:
            raise ValueError(
                f"{checkpoint} does not fit the model: `{name}` is {tuple(weights[name].shape)} in the checkpoint but "
                f"{tuple(own[name].shape)} by config.yaml and the tokenizer."
            )
        value = weights[name]
        # Ids were kept in fp32 once, where an average may have moved them by a rounding.
        is_rounded = value.is_floating_point() and not own[name].is_floating_point()
        if not (value.is_floating_point() or value.dtype == own[name].dtype):
            raise ValueError(
                f"{checkpoint} does not fit the model: `{name}` holds {_plain(value.dtype)} in the checkpoint, but "
                f"{_plain(own[name].dtype)} in the model."
            )
        own[name].copy_(value.round() if is_rounded else value)


def _plain(dtype: torch.dtype) -> str:
    """Name a dtype as configs do."""
    return str(dtype).removeprefix("torch.")
