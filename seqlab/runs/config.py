"""The whole config of a run: the sections of all rooms, read from and written to YAML."""

from collections.abc import Mapping
from dataclasses import is_dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import ConfigDict, Field, RootModel, model_validator
from pydantic.dataclasses import dataclass

from seqlab.base.atomic_io import write_bytes
from seqlab.base.bounds import Count, Positive, Threads
from seqlab.data.config import DataConfig
from seqlab.models.config import ModelConfig
from seqlab.objectives.loss import ObjectiveConfig
from seqlab.optim.config import OptimConfig
from seqlab.part import Part
from seqlab.registry import Entry, Parts, broken_plugins_hint, default_part, get_entry
from seqlab.runs.fields import fields_of, with_tags
from seqlab.runs.migrate import migrated
from seqlab.search.config import SearchConfig

_SETTINGS = ConfigDict(extra="forbid", use_attribute_docstrings=True)


@dataclass(frozen=True, kw_only=True, config=_SETTINGS)
class TrainingConfig:
    """How long to train, what to keep, and on which machine."""

    max_steps: Count = 10_000
    """Updates in all; decaying schedules end here."""
    max_minutes: Positive | None = None
    """Stop after this many minutes of training (over all resumed parts); null is no limit. Where they end before
    `max_steps`, a decaying schedule ends with them by the pace so far, and a tenth of the steps is the longest warmup:
    such a run is not repeatable bit for bit."""
    log_every: Count = 50
    """Steps between two lines of training figures in metrics.jsonl."""
    save_every: Count = 500
    """Steps between two checkpoints."""
    valid_every: Count = 500
    """Steps between two validations; also at the end."""
    valid_metric: str | None = None
    """What decides which checkpoint is best: the loss per token of the validation set (`nll`), for pairs a metric of
    what is decoded, or of the labels that are given; of the loss and of the error rates (`wer`, `cer`) the lowest is
    best. Left out, it is `bleu` for pairs, `accuracy` for labels and `nll` for text."""
    valid_search: SearchConfig = Field(default_factory=lambda: SearchConfig(beam_size=1))
    """How the sources of validation pairs are decoded."""
    keep_best: Count = 1
    """Checkpoints to keep that were best in validation, besides the last one."""
    patience: Count | None = None
    """Stop after this many validations in a row without a new best; null never stops early."""
    device: str = "auto"
    """`cpu`, `cuda`, `cuda:1`, or `auto`: CUDA where there is one."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """Dtype of matrix products; `auto` is bf16 where the device computes in it. Weights and sums stay fp32."""
    threads: Threads | None = None
    """CPU threads of each process; null takes all cores, divided among the processes of the machine, or a fair share of
    them for a new run while other programs want at least twice as many."""
    parallel: Literal["ddp", "fsdp"] = "ddp"
    """What the processes that torchrun started have in common: with `ddp` each holds all weights, with `fsdp` they
    divide weights, gradients and optimizer state among them, for models that do not fit one device."""
    compile: bool = False
    """Compile the model with `torch.compile`, on a GPU. Each shape of a batch may be compiled anew, which takes its
    time: for models of text in blocks, which have few shapes."""


@dataclass(frozen=True, kw_only=True, config=_SETTINGS)
class Config:
    """Everything that decides a run."""

    data: DataConfig
    """Which text is trained on, chosen by its `kind`."""
    model: ModelConfig = Field(default_factory=lambda: default_part("model")())
    """Which architecture, chosen by its `family`."""
    objective: ObjectiveConfig = Field(default_factory=lambda: default_part("objective")())
    """What is optimised, chosen by its `family`."""
    optim: OptimConfig = Field(default_factory=OptimConfig)
    """How the weights move."""
    training: TrainingConfig = Field(default_factory=TrainingConfig)
    """How long, and on what."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 1
    """Start of every random stream."""
    init_from: str | None = None
    """Run folder whose weights and tokenizers to start from (fine-tuning); null starts from random weights."""
    init_parts: Literal["all", "matching"] = "all"
    """What is taken from `init_from`: its whole model, which must be this one, or the weights that have the same name
    and shape in both. A language model's count as those of a translator's decoder."""

    @model_validator(mode="after")
    def _check(self) -> "Config":
        averages = {name: getattr(self.optim, name) for name in ("average_last", "ema_decay", "average_trigger")}
        chosen = [f"`optim.{name}` ({value})" for name, value in averages.items() if value]
        if len(chosen) > 1:
            raise ValueError(
                f"{' and '.join(chosen)} are two averages of the weights, but one is used: set one of them to 0."
            )
        for section in ("training", "objective"):  # the config is frozen from here on
            object.__setattr__(self, section, self._with_defaults(section, getattr(self, section)))
        self._check_kind()
        self.model.resolve(self.data).check_data(self.data)
        try:
            self.model.check_search(self.training.valid_search)
        except ValueError as error:
            raise ValueError(f"`training.valid_search`: {error}") from None
        self._check_start()
        self.objective.check(self)
        if self.data.copy_unknown and not self.model.copies:
            raise ValueError(
                "`data.copy_unknown` is for a model that copies: set `model.copying: true`, or leave it out."
            )
        self._check_counted()
        return self

    def _with_defaults(self, section: str, values: Any) -> Any:
        """Fill in what a section leaves out, by the data."""
        given = {key.removeprefix(f"{section}."): value for key, value in self.data.defaults.items()}
        known = fields_of(type(values))
        return replace(values, **{k: v for k, v in given.items() if k in known and getattr(values, k) is None})

    def _check_kind(self) -> None:
        """Let the parts that belong to a kind of data say whether they fit it."""
        kind, family, objective = self.data.kind, self.model.family, self.objective
        if self.model.task != kind:
            others = ", ".join(name for name, config in Parts("model").items() if config.task == kind)
            raise ValueError(
                f"`model.family: {family}` learns from `data.kind: {self.model.task}`, but the data is `{kind}`: "
                f"choose one of {others}."
            )
        metric, metrics = self.training.valid_metric, self.data.valid_metrics()
        if metric not in metrics:
            raise ValueError(
                f"`training.valid_metric: {metric}` does not fit `data.kind: {kind}`: choose {' or '.join(metrics)}."
                f"{broken_plugins_hint()}"
            )
        if objective.tasks and kind not in objective.tasks:
            fitting = [name for name, each in Parts("objective").items() if kind in (each.tasks or (kind,))]
            raise ValueError(
                f"`objective.family: {objective.family}` does not fit `data.kind: {kind}`: choose "
                f"{' or '.join(fitting)}."
            )
        if objective.outputs != self.model.outputs:
            raise ValueError(
                f"`model.family: {family}` learns by `objective.family: {self.model.default_objective}`, not by "
                f"`{objective.family}`: set one of them differently."
            )

    def _check_counted(self) -> None:
        """Raise ValueError where a model that is counted is to be optimised."""
        unused = (OptimConfig(), self._with_defaults("objective", Parts("objective")[self.model.default_objective]()))
        if self.model.is_count_based and (self.optim, self.objective) != unused:
            raise ValueError(
                f"`model.family: {self.model.family}` is counted, not optimised: leave the sections `optim` and "
                "`objective` out."
            )

    def _check_start(self) -> None:
        """Raise ValueError where two fields disagree about what the weights start from."""
        vectors = self.data.vector_files()
        if self.init_parts == "matching" and self.init_from is None:
            raise ValueError("`init_parts: matching` says what is taken from another run: name it with `init_from`.")
        if vectors and self.init_from is not None:
            raise ValueError(
                f"`init_from` and word vectors ({', '.join(vectors.values())}) both say what the embeddings start "
                "from: leave one of them out."
            )
        if self.model.is_count_based and (vectors or self.init_from is not None):
            raise ValueError(
                f"`model.family: {self.model.family}` is counted and starts from nothing: leave `init_from` and "
                "`data.vectors` out (a tokenizer alone is taken over with `data.tokenizer.kind: saved`)."
            )
        if self.optim.frozen_vectors and not vectors:
            raise ValueError(
                "`optim.frozen_vectors` is for embeddings that start from word vectors, but the section `data` names "
                "none: set it to false."
            )


_Root = RootModel[Config]

RESUMABLE_FIELDS = frozenset(
    {
        "training.max_steps",
        "training.max_minutes",
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
"""Fields that may differ when a run is continued; the change is journalled. Paths may too, with unchanged content."""

VECTOR_FIELDS = frozenset({"data.vectors", "data.vectors_src", "data.vectors_tgt"})
"""Fields that name files of word vectors, which have no columns."""


def path_fields(config: Config) -> set[str]:
    """Name the fields that hold path specs: what counts when a run is continued is their content, and the column."""
    return {f"data.{name}" for name in config.data.path_fields}


def parts_of(config: Config) -> list[Entry]:
    """List the registered parts that a run uses: those of its sections, its metric and its search."""
    found: list[Entry] = []
    sections: list[Any] = [config]
    while sections:
        section = sections.pop()
        if isinstance(section, Part):
            found.append(get_entry(section.part_kind, getattr(section, section.tag_field)))
        sections += [value for name in fields_of(type(section)) if is_dataclass(value := getattr(section, name))]
    named = (("metric", config.training.valid_metric), ("search", config.training.valid_search.algorithm))
    return found + [get_entry(kind, name) for kind, name in named if name is not None and name in Parts(kind)]


def to_dict(config: Config) -> dict[str, object]:
    """Resolve every default: plain types that YAML and JSON can hold."""
    values = _Root(config).model_dump(mode="json")
    assert isinstance(values, dict)
    return values


def from_dict(values: object) -> Config:
    """Build a config from plain types; raises pydantic's ValidationError, a ValueError."""
    present = migrated(values) if isinstance(values, Mapping) else values
    return _Root.model_validate(with_tags(Config, present)).root


def write_config(config: Config, path: str | Path) -> None:
    """Write YAML with every default resolved."""
    write_bytes(Path(path), config_text(config).encode())


def config_text(config: Config) -> str:
    """Return YAML with every default resolved."""
    text: str = yaml.safe_dump(to_dict(config), sort_keys=False, allow_unicode=True)
    return text
