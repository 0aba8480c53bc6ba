"""The whole config of a run: the sections of all rooms, read from and written to YAML."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import ConfigDict, Field, RootModel, model_validator
from pydantic.dataclasses import dataclass

from seqlab.data.config import DataConfig, ParallelConfig
from seqlab.durable import write_bytes
from seqlab.models import (
    FAMILIES,
    ModelConfig,
    TransformerCmlmConfig,
    TransformerConfig,
    TransformerCtcConfig,
    TransformerNatConfig,
)
from seqlab.objectives.config import CrossEntropyConfig, ObjectiveConfig, ParallelCrossEntropyConfig
from seqlab.optim.config import OptimConfig
from seqlab.runs.fields import with_tags
from seqlab.search.config import SearchConfig

_SETTINGS = ConfigDict(extra="forbid", use_attribute_docstrings=True)

KIND_DEFAULTS: dict[str, dict[str, str | float]] = {
    "parallel": {"training.valid_metric": "bleu", "objective.label_smoothing": 0.1},
    "labelled": {"training.valid_metric": "accuracy", "objective.label_smoothing": 0.1},
    "text": {"training.valid_metric": "nll", "objective.label_smoothing": 0.0},
}
"""What fields that are left out are for each kind of data."""
VALID_METRICS: dict[str, tuple[str, ...]] = {
    "parallel": ("nll", "bleu", "chrf", "wer", "cer", "exact_match"),
    "labelled": ("nll", "accuracy", "macro_f1"),
    "text": ("nll",),
}
"""What a checkpoint can be judged by for each kind of data."""
OBJECTIVE_FAMILIES: dict[str, tuple[str, ...]] = {
    "parallel": ("cross_entropy", "r_drop", "scheduled_sampling", "ctc", "parallel_cross_entropy", "cmlm"),
    "labelled": ("cross_entropy", "r_drop"),
    "text": ("cross_entropy",),
}
"""What can be optimised on each kind of data."""
OBJECTIVES_OF_ONE = {family.objective_family for family in FAMILIES.values()} - {None}
"""Objectives that models of one family alone learn by, and they by no other."""


@dataclass(frozen=True, kw_only=True, config=_SETTINGS)
class TrainingConfig:
    """How long to train, what to keep, and on which machine."""

    max_steps: Annotated[int, Field(ge=1)] = 10_000
    """Updates in all; decaying schedules end here."""
    max_minutes: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """Stop after this many minutes of training (over all resumed parts); null is no limit. Where they end before
    `max_steps`, a decaying schedule ends with them by the pace so far, and a tenth of the steps is the longest warmup:
    such a run is not repeatable bit for bit."""
    log_every: Annotated[int, Field(ge=1)] = 50
    """Steps between two lines of training figures in metrics.jsonl."""
    save_every: Annotated[int, Field(ge=1)] = 500
    """Steps between two checkpoints."""
    valid_every: Annotated[int, Field(ge=1)] = 500
    """Steps between two validations; also at the end."""
    valid_metric: Literal["nll", "bleu", "chrf", "wer", "cer", "exact_match", "accuracy", "macro_f1"] | None = None
    """What decides which checkpoint is best: the loss per token of the validation set (`nll`), for pairs a metric of
    what is decoded, or of the labels that are given; of the loss and of the error rates (`wer`, `cer`) the lowest is
    best. Left out, it is `bleu` for pairs, `accuracy` for labels and `nll` for text."""
    valid_search: SearchConfig = Field(default_factory=lambda: SearchConfig(beam_size=1))
    """How the sources of validation pairs are decoded."""
    keep_best: Annotated[int, Field(ge=1)] = 1
    """Checkpoints to keep that were best in validation, besides the last one."""
    patience: Annotated[int, Field(ge=1)] | None = None
    """Stop after this many validations in a row without a new best; null never stops early."""
    device: str = "auto"
    """`cpu`, `cuda`, `cuda:1`, or `auto`: CUDA where there is one."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """Dtype of matrix products; `auto` is bf16 where the device computes in it. Weights and sums stay fp32."""
    threads: Annotated[int, Field(ge=1)] | None = None
    """CPU threads of each process; null takes all cores, divided among the processes of the machine, or a fair share of
    them for a new run while other programs want at least twice as many."""
    parallel: Literal["ddp", "fsdp"] = "ddp"
    """What the processes that torchrun started have in common: with `ddp` each holds all weights, with `fsdp` they
    divide weights, gradients and optimizer state among them, for models that do not fit one device."""


@dataclass(frozen=True, kw_only=True, config=_SETTINGS)
class Config:
    """Everything that decides a run."""

    data: DataConfig
    """Which text is trained on, chosen by its `kind`."""
    model: ModelConfig = Field(default_factory=TransformerConfig)
    """Which architecture, chosen by its `family`."""
    objective: ObjectiveConfig = Field(default_factory=CrossEntropyConfig)
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
        for key, value in KIND_DEFAULTS[self.data.kind].items():
            section, name = key.split(".")
            values = getattr(self, section)
            if getattr(values, name) is None:  # the config is frozen from here on
                object.__setattr__(self, section, replace(values, **{name: value}))
        self._check_kind()
        return self

    @property
    def use(self) -> str:
        """What a run is for: the kind of its data, or `masked` where it only predicts what is masked."""
        return "masked" if self.model.is_masked else self.data.kind

    def _check_kind(self) -> None:
        """Let the parts that belong to a kind of data say whether they fit it."""
        kind, family = self.data.kind, self.model.family
        if self.model.data_kind != kind:
            others = ", ".join(name for name, config in FAMILIES.items() if config.data_kind == kind)
            raise ValueError(
                f"`model.family: {family}` learns from `data.kind: {self.model.data_kind}`, but the data is `{kind}`: "
                f"choose one of {others}."
            )
        for name, value, fitting in (
            ("training.valid_metric", self.training.valid_metric, VALID_METRICS[kind]),
            ("objective.family", self.objective.family, OBJECTIVE_FAMILIES[kind]),
        ):
            if value not in fitting:
                raise ValueError(f"`{name}: {value}` does not fit `data.kind: {kind}`: choose {' or '.join(fitting)}.")
        needed = self.model.objective_family
        if self.objective.family != needed and {needed, self.objective.family} & OBJECTIVES_OF_ONE:
            raise ValueError(
                f"`model.family: {family}` learns by `objective.family: {needed or 'cross_entropy'}`, not by "
                f"`{self.objective.family}`: set one of them differently."
            )
        self.model.resolve(self.data).check_data(self.data)
        self._check_search()
        self._check_masking()
        self._check_start()
        self._check_extra_terms()
        self._check_copying()
        unused = (OptimConfig(), CrossEntropyConfig(label_smoothing=self.objective.label_smoothing))
        if self.model.is_counted and (self.optim, self.objective) != unused:
            raise ValueError(
                f"`model.family: {family}` is counted, not optimised: leave the sections `optim` and `objective` out."
            )

    def _check_search(self) -> None:
        """Raise ValueError where validation is to search in a way that the model cannot."""
        search = self.training.valid_search
        try:
            if isinstance(self.model, TransformerNatConfig | TransformerCmlmConfig):
                search.check_all_at_once(self.model.length == "end_mark", self.model.iterations)
            elif isinstance(self.model, TransformerCtcConfig):
                search.check_frames()
            else:
                search.check_left_to_right()
        except ValueError as error:
            raise ValueError(f"`training.valid_search`: {error}") from None

    def _check_extra_terms(self) -> None:
        """Raise ValueError where the objective has a term that the model gives nothing for."""
        family = self.model.family
        penalised = isinstance(self.objective, CrossEntropyConfig) and (
            self.objective.activation_penalty or self.objective.slowness_penalty
        )
        if penalised and not self.model.is_recurrent:
            raise ValueError(
                f"`objective.activation_penalty` and `objective.slowness_penalty` are for recurrent models, not for "
                f"`model.family: {family}`: set them to 0."
            )
        guided = isinstance(self.objective, CrossEntropyConfig) and self.objective.guided_attention
        if guided and not isinstance(self.data, ParallelConfig):
            raise ValueError(
                f"`objective.guided_attention` is for models that attend to a source, not for `model.family: "
                f"{family}`: set it to 0."
            )
        weighted = isinstance(self.objective, ParallelCrossEntropyConfig) and (
            self.objective.length_weight != ParallelCrossEntropyConfig.length_weight
        )
        if weighted and getattr(self.model, "length", None) == "end_mark":
            raise ValueError(
                "`objective.length_weight` is of what lengths cost, but with `model.length: end_mark` that is nothing: "
                "leave it out."
            )

    def _check_copying(self) -> None:
        """Raise ValueError where another section does not fit whether the model copies."""
        if getattr(self.data, "copy_unknown", False) and not getattr(self.model, "copying", False):
            raise ValueError(
                "`data.copy_unknown` is for a model that copies: set `model.copying: true`, or leave it out."
            )
        if getattr(self.model, "copying", False) and not isinstance(self.objective, CrossEntropyConfig):
            raise ValueError(
                f"`objective.family: {self.objective.family}` looks at predictions of the vocabulary alone: with "
                "`model.copying` choose `cross_entropy`."
            )

    def _check_masking(self) -> None:
        """Raise ValueError where the data hides tokens and the model is not one that fills them in, or the reverse."""
        family, share = self.model.family, getattr(self.data, "mask_share", 0.0)
        if self.model.is_masked and not share:
            raise ValueError(
                f"`model.family: {family}` learns to fill in hidden tokens, but `data.mask_share` is 0: set it, for "
                "example to 0.15."
            )
        if share and not self.model.is_masked:
            raise ValueError(
                f"`data.mask_share` ({share}) hides tokens, but `model.family: {family}` predicts every token from "
                "those before it: set it to 0, or `model.family: transformer_mlm`."
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
        if self.model.is_counted and (vectors or self.init_from is not None):
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
        "data.prefetch_steps",
        "data.tokenizer.folder",
        "data.tokenizer_tgt.folder",
    }
)
"""Fields that may differ when a run is continued; the change is journalled. Paths may too, with unchanged content."""

PATH_FIELDS = frozenset(f"data.{split}{side}" for split in ("train", "valid", "test") for side in ("", "_src", "_tgt"))
"""Fields that name corpora by path specs: what counts when a run is continued is their content, and the column."""
VECTOR_FIELDS = frozenset({"data.vectors", "data.vectors_src", "data.vectors_tgt"})
"""Fields that name files of word vectors, which have no columns."""


def to_dict(config: Config) -> dict[str, object]:
    """Resolve every default: plain types that YAML and JSON can hold."""
    values = _Root(config).model_dump(mode="json")
    assert isinstance(values, dict)
    return values


def from_dict(values: object) -> Config:
    """Build a config from plain types; raises pydantic's ValidationError, a ValueError."""
    return _Root.model_validate(with_tags(Config, values)).root


def write_config(config: Config, path: str | Path) -> None:
    """Write YAML with every default resolved."""
    write_bytes(Path(path), config_text(config).encode())


def config_text(config: Config) -> str:
    """Return YAML with every default resolved."""
    text: str = yaml.safe_dump(to_dict(config), sort_keys=False, allow_unicode=True)
    return text
