"""The complete configuration of a run, converted from and to YAML."""

from collections.abc import Mapping
from dataclasses import is_dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BeforeValidator, ConfigDict, Field, RootModel, model_validator

from seqlab.base.atomic_io import write_bytes
from seqlab.base.bounds import Count, Positive, Threads
from seqlab.base.config_class import dataclass
from seqlab.base.nearest import nearest_hint
from seqlab.data.config import DataConfig
from seqlab.models.config import ModelConfig
from seqlab.objectives.loss import ObjectiveConfig
from seqlab.optim.config import OptimConfig
from seqlab.part import Part
from seqlab.registry import Entry, Parts, broken_plugins_hint, default_part, get_entry
from seqlab.runs.fields import fields_of, with_tags
from seqlab.runs.migrate import migrate
from seqlab.search.config import SearchConfig

_SETTINGS = ConfigDict(extra="forbid", use_attribute_docstrings=True)


DEFAULT_MAX_STEPS = 10_000


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


@dataclass(frozen=True, kw_only=True, config=_SETTINGS)
class TrainingConfig:
    """Length of the training, validation, checkpoints, device and precision."""

    max_steps: Count | None = None
    """Number of optimizer steps; decaying schedules end here. The default is 10,000, unless `max_epochs` is given."""
    max_epochs: Positive | None = None
    """Passes over the training data, instead of `max_steps`: becomes the `max_steps` of this many passes when training
    starts."""
    max_minutes: Positive | None = None
    """Stop after this many minutes of training, including those before an interruption; null sets no limit. If this
    stops training before `max_steps`, a decaying schedule ends at the step expected from the speed so far, and the
    warmup takes at most a tenth of these steps: such a run is not reproducible bit for bit."""
    log_every: Count = 50
    """Steps between lines of training metrics in metrics.jsonl; fewer if `max_minutes` ends training early."""
    save_every: Count = 500
    """Steps between checkpoints; fewer if `max_minutes` ends training early."""
    valid_every: Count = 500
    """Steps between validations, fewer if `max_minutes` ends training early; the last step is validated as well."""
    logger: Annotated[list[str], BeforeValidator(_as_list)] = Field(default_factory=list)
    """Loggers in addition to metrics.jsonl, such as `csv` or `tensorboard`; each writes into `logs/NAME` of the run
    folder."""
    valid_metric: str | None = None
    """Metric that selects the best checkpoint: the validation loss per token (`nll`), or a metric of the decoded
    hypotheses or predicted labels. The lowest value is best for losses and error rates (`nll`, `wer`, `cer`), the
    highest otherwise. The default depends on the data: `bleu` for pairs, `accuracy` for labels, `nll` for text."""
    valid_search: SearchConfig = Field(default_factory=lambda: SearchConfig(beam_size=1))
    """Search that decodes the sources of the validation set."""
    keep_best: Count = 1
    """Number of best checkpoints to keep, in addition to the last one."""
    patience: Count | None = None
    """Stop after this many validations in a row without a new best; null disables early stopping. A validation whose
    metric is infinite or NaN does not count."""
    device: str = "auto"
    """`cpu`, `cuda`, `cuda:1`, or `auto`: CUDA if available, else the CPU."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """Dtype of matrix products; `auto` is bf16 if the device has bf16 arithmetic. Weights and sums stay fp32."""
    threads: Threads | None = None
    """CPU threads of each process. null uses all cores, divided among the processes of the machine; a new run uses a
    fair share of them while other programs want at least twice as many."""
    parallel: Literal["ddp", "fsdp"] = "ddp"
    """Data parallelism of the processes that torchrun starts: with `ddp` each process holds all weights, with `fsdp`
    weights, gradients and optimizer state are sharded, for models that do not fit one device."""
    compile: bool = False
    """Compile the model with `torch.compile`, on a GPU. Each new shape of a batch may be compiled, which takes time:
    use it for language models, since their blocks have few shapes."""

    def __post_init__(self) -> None:
        if self.max_steps is not None and self.max_epochs is not None:
            raise ValueError("`max_steps` and `max_epochs` both set the length of the training: leave one of them out.")
        if self.max_steps is None and self.max_epochs is None:
            object.__setattr__(self, "max_steps", DEFAULT_MAX_STEPS)

    @property
    def num_steps(self) -> int:
        """Total number of updates, after `max_epochs` was converted to `max_steps`."""
        assert self.max_steps is not None, "`train` converts `max_epochs` at the start"
        return self.max_steps


@dataclass(frozen=True, kw_only=True, config=_SETTINGS)
class Config:
    """Complete configuration of a run."""

    data: DataConfig
    """Training and validation data, chosen by its `kind`."""
    model: ModelConfig = Field(default_factory=lambda: default_part("model")())
    """Architecture of the model, chosen by its `family`."""
    objective: ObjectiveConfig = Field(default_factory=lambda: default_part("objective")())
    """Training objective, chosen by its `family`."""
    optim: OptimConfig = Field(default_factory=OptimConfig)
    """Optimizer, learning-rate schedule, gradient clipping and weight averaging."""
    training: TrainingConfig = Field(default_factory=TrainingConfig)
    """Length of the training, validation, checkpoints, device and precision."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 1
    """Seed of all random number generators."""
    init_from: str | None = None
    """Run folder with the weights and tokenizers to start from (fine-tuning); null starts from random weights."""
    init_parts: Literal["all", "matching"] = "all"
    """Weights to copy from `init_from`: `all` of a model with the same architecture, or those whose name and shape are
    `matching`. The weights of a language model match those of a translator's decoder."""

    @model_validator(mode="after")
    def _check(self) -> "Config":
        averages = {name: getattr(self.optim, name) for name in ("average_last", "ema_decay", "average_trigger")}
        used = [f"`optim.{name}` ({value})" for name, value in averages.items() if value]
        if len(used) > 1:
            raise ValueError(
                f"{' and '.join(used)} each average the weights, but only one average can be used: set the others to 0."
            )
        for section in ("training", "objective"):  # the dataclass is frozen
            object.__setattr__(self, section, self._with_task_defaults(section, getattr(self, section)))
        self._check_parts_fit_data()
        self.model.resolve(self.data).check_data(self.data)
        try:
            self.model.check_search(self.training.valid_search)
        except ValueError as error:
            raise ValueError(f"`training.valid_search`: {error}") from None
        self._check_initialization()
        self.objective.check(self)
        if self.data.copy_unknown and "copying" not in self.model.abilities:
            raise ValueError(
                "`data.copy_unknown` needs a model that copies: set `model.copying: true`, or leave it out."
            )
        self._check_count_based()
        return self

    def _with_task_defaults(self, section: str, values: Any) -> Any:
        """Replace the None values of a section by the defaults of the data config."""
        defaults = {key.removeprefix(f"{section}."): value for key, value in self.data.defaults.items()}
        known = fields_of(type(values))
        return replace(values, **{k: v for k, v in defaults.items() if k in known and getattr(values, k) is None})

    def _check_parts_fit_data(self) -> None:
        """Raise ValueError if the model, metric or objective does not fit the kind of data."""
        kind, family, objective = self.data.kind, self.model.family, self.objective
        if not self.model.fits_data(kind):
            fitting_models = ", ".join(name for name, config in Parts("model").items() if config.fits_data(kind))
            raise ValueError(
                f"`model.family: {family}` is trained on `data.kind: {' or '.join(self.model.tasks)}`, but `data.kind` "
                f"is `{kind}`: choose one of {fitting_models}."
            )
        metric, metrics = self.training.valid_metric, self.data.valid_metrics()
        if metric not in metrics and metric not in Parts("metric"):
            raise ValueError(
                f"`training.valid_metric: {metric}` is unknown{nearest_hint(str(metric), metrics)}: choose "
                f"{' or '.join(metrics)}.{broken_plugins_hint()}"
            )
        if metric not in metrics:
            raise ValueError(
                f"`training.valid_metric: {metric}` does not fit `data.kind: {kind}`: choose {' or '.join(metrics)}."
                f"{broken_plugins_hint()}"
            )
        fitting = [
            name
            for name, config_class in Parts("objective").items()
            if config_class.fits_data(kind) and config_class.fits_outputs(self.model.outputs)
        ]
        if not objective.fits_data(kind):
            raise ValueError(
                f"`objective.family: {objective.family}` does not fit `data.kind: {kind}`: choose "
                f"{' or '.join(fitting)}."
            )
        if not objective.fits_outputs(self.model.outputs):
            default = self.model.default_objective
            expected = f"`objective.family: {default}`" if default in fitting else f"objectives like `{fitting[-1]}`"
            raise ValueError(
                f"`model.family: {family}` is trained by {expected}, not by `{objective.family}`: change one of them."
            )

    def _check_count_based(self) -> None:
        """Raise ValueError if a count-based model has settings of an optimizer or objective."""
        objective = Parts("objective")[self.model.default_objective]()
        defaults = (OptimConfig(), self._with_task_defaults("objective", objective))
        if self.model.is_count_based and (self.optim, self.objective) != defaults:
            raise ValueError(
                f"`model.family: {self.model.family}` is estimated by counting, not optimized: leave out the sections "
                "`optim` and `objective`."
            )

    def _check_initialization(self) -> None:
        """Raise ValueError if fields contradict each other about the initial weights."""
        vectors = self.data.vector_files()
        if self.init_parts == "matching" and self.init_from is None:
            raise ValueError("`init_parts: matching` copies weights of another run: name the run with `init_from`.")
        if vectors and self.init_from is not None:
            raise ValueError(
                f"`init_from` and word vectors ({', '.join(vectors.values())}) both initialize the embeddings: leave "
                "one of them out."
            )
        if self.model.is_count_based and (vectors or self.init_from is not None):
            raise ValueError(
                f"`model.family: {self.model.family}` is estimated by counting, without initial weights: leave out "
                "`init_from` and `data.vectors` (`data.tokenizer.kind: saved` reuses the tokenizer of another run)."
            )
        if self.optim.frozen_vectors and not vectors:
            raise ValueError(
                "`optim.frozen_vectors` freezes embeddings that are initialized from word vectors, but the section "
                "`data` names none: set it to false."
            )


_Root = RootModel[Config]

RESUMABLE_FIELDS = frozenset(
    {
        "training.max_steps",
        "training.max_epochs",
        "training.max_minutes",
        "training.logger",
        "training.log_every",
        "training.save_every",
        "training.valid_every",
        "training.patience",
        "training.keep_best",
        "training.device",
        "training.threads",
        "training.parallel",
        "training.compile",
        "data.max_line_bytes",
        "data.prefetch_steps",
        "data.workers",
        "data.tokenizer.folder",
        "data.tokenizer_tgt.folder",
    }
)
"""Fields that may change when a run is resumed; metrics.jsonl records the change. Paths may change, too, if the
content of their files stays the same."""

VECTOR_FIELDS = frozenset({"data.vectors", "data.vectors_src", "data.vectors_tgt"})
"""Fields with paths of word vectors, which have no columns."""


def unused_fields(config: Config) -> set[str]:
    """Return dotted keys of fields and sections that have no effect with the model and the data of a run."""
    unused = {f"objective.{name}" for name in config.objective.unused_fields(config.model)}
    if config.model.is_count_based:
        unused |= {"optim", "objective"}
    if config.data.task.decodes:
        unsupported = SearchConfig.unsupported_fields(config.model.check_search)
        unused |= {f"training.valid_search.{name}" for name in unsupported}
    else:
        unused.add("training.valid_search")
    if "copying" not in config.model.abilities:
        unused.add("data.copy_unknown")
    if not config.data.vector_files():
        unused.add("optim.frozen_vectors")
    folders = config.data.tokenizer_folders
    if len(folders) < 2:
        unused |= {"data.tokenizer_tgt"} if folders else {"data.tokenizer", "data.tokenizer_tgt"}
    return unused


def path_fields(config: Config) -> set[str]:
    """Return the keys of fields with path specs: a resumed run may change the path, but not the content or column."""
    return {f"data.{name}" for name in config.data.path_fields}


def parts_of(config: Config) -> list[Entry]:
    """List the registered parts that a run uses: those of its sections and their fields, its metric and its search."""
    entries: list[Entry] = []
    sections: list[Any] = [config]
    while sections:
        section = sections.pop()
        if isinstance(section, Part):
            entries.append(get_entry(section.part_kind, getattr(section, section.tag_field)))
            entries += [get_entry(kind, getattr(section, name)) for name, kind in section.part_names.items()]
        sections += [value for name in fields_of(type(section)) if is_dataclass(value := getattr(section, name))]
    selected = (("metric", config.training.valid_metric), ("search", config.training.valid_search.algorithm))
    return entries + [get_entry(kind, name) for kind, name in selected if name is not None and name in Parts(kind)]


def to_dict(config: Config) -> dict[str, object]:
    """Convert a config, with all defaults, to the plain types of YAML and JSON."""
    values = _Root(config).model_dump(mode="json")
    assert isinstance(values, dict)
    return values


def from_dict(values: object) -> Config:
    """Build a config from plain types; raises pydantic's ValidationError, a ValueError."""
    current = migrate(values) if isinstance(values, Mapping) else values
    return _Root.model_validate(with_tags(Config, current)).root


def write_config(config: Config, path: str | Path) -> None:
    """Write a config with all defaults as YAML."""
    write_bytes(Path(path), config_text(config).encode())


def config_text(config: Config) -> str:
    """Return a config with all defaults as YAML."""
    text: str = yaml.safe_dump(to_dict(config), sort_keys=False, allow_unicode=True)
    return text
