"""Migrate the configs of older versions: renamed tags and fields, and values of fields that did not exist.

Up to version 0.3.0 a model of each kind of encoder was a family of its own (`lstm_labeller`). Now the encoder is a
section of the model: `model: {family: labeler, encoder: {family: lstm}}`.
"""

import logging
from collections.abc import Container, Mapping
from copy import deepcopy
from typing import Any, NamedTuple

logger = logging.getLogger(__name__)

RENAMED_TAGS: dict[str, dict[str, str]] = {
    "data.kind": {"parallel": "translation", "labelled": "labelling", "text": "language_modelling"},
}
"""Dotted key of a tag -> older value -> current value."""


class OlderFamily(NamedTuple):
    """A family of models up to version 0.3.0 that is a model with an encoder now."""

    values: dict[str, Any]
    """The section `model` with the values that equal the defaults of the older family."""
    fields: dict[str, tuple[str, ...]]
    """Older field -> current keys within the section; fields that are missing here have the same name."""


def _in_encoder(*names: str) -> dict[str, tuple[str, ...]]:
    return {name: (f"encoder.{name}",) for name in names}


_RECURRENT_FIELDS = _in_encoder("hidden_size", "num_layers", "weight_dropout")
_ATTENTION_FIELDS = {
    **_in_encoder("d_model", "d_ff", "num_heads", "attention_dropout", "activation_dropout", "norm", "activation"),
    **_in_encoder("positions", "attention_window", "max_length", "dropout", "num_layers"),
    "num_encoder_layers": ("encoder.num_layers",),
}
_INPUT_AND_ENCODER_DROPOUT = {"dropout": ("encoder.dropout", "spelling_dropout")}
_FRAME_FIELDS = {
    **_RECURRENT_FIELDS,
    "hidden_size": ("encoder.hidden_size", "frame_size"),
    "dropout": ("encoder.dropout", "encoder.output_dropout"),
}


def _recurrent_labeler(kind: str) -> OlderFamily:
    values = {"family": "labeler", "encoder": {"family": kind}}
    return OlderFamily(values, _RECURRENT_FIELDS | _INPUT_AND_ENCODER_DROPOUT)


def _recurrent_frames(family: str, kind: str) -> OlderFamily:
    encoder = {"family": kind, "hidden_size": 320, "num_layers": 3, "dropout": 0.2, "output_dropout": 0.2}
    return OlderFamily({"family": family, "frame_size": 320, "encoder": encoder}, _FRAME_FIELDS)


def _recurrent_predictor(kind: str) -> OlderFamily:
    sizes = {"family": kind, "hidden_size": 64, "bidirectional": False}
    encoder = {**sizes, "dropout": 0.0, "input_dropout": 0.0, "output_dropout": 0.0}
    fields = _RECURRENT_FIELDS | {"dropout": ("encoder.dropout", "encoder.output_dropout")}
    return OlderFamily({"family": "predictor", "encoder": encoder}, fields)


def _recurrent_lm(kind: str) -> OlderFamily:
    sizes = {"family": kind, "hidden_size": 512, "num_layers": 2, "bidirectional": False}
    encoder = {**sizes, "dropout": 0.1, "input_dropout": 0.1, "output_dropout": 0.1}
    fields = _RECURRENT_FIELDS | _in_encoder("residual", "input_dropout", "output_dropout")
    return OlderFamily(
        {"family": "language_model", "encoder": encoder}, fields | {"hidden_dropout": ("encoder.dropout",)}
    )


OLDER_FAMILIES: dict[str, OlderFamily] = {
    **{f"{kind}_lm": _recurrent_lm(kind) for kind in ("rnn", "lstm", "gru")},
    "transformer_mlm": OlderFamily(
        {"family": "language_model", "encoder": {"family": "transformer"}}, _ATTENTION_FIELDS
    ),
    **{f"{kind}_labeller": _recurrent_labeler(kind) for kind in ("rnn", "lstm", "gru")},
    "cnn_labeller": OlderFamily(
        {"family": "labeler", "encoder": {"family": "cnn"}},
        _in_encoder("widths", "num_filters") | _INPUT_AND_ENCODER_DROPOUT,
    ),
    "transformer_labeller": OlderFamily(
        {
            "family": "labeler",
            "encoder": {"family": "transformer", "d_model": 128, "d_ff": 512, "num_layers": 2, "dropout": 0.3},
        },
        _ATTENTION_FIELDS | _INPUT_AND_ENCODER_DROPOUT,
    ),
    **{f"{kind}_recogniser": _recurrent_frames("recognizer", kind) for kind in ("lstm", "gru")},
    "transformer_recogniser": OlderFamily(
        {"family": "recognizer", "encoder": {"family": "transformer"}}, _ATTENTION_FIELDS
    ),
    **{f"{kind}_recording_labeller": _recurrent_frames("recording_labeler", kind) for kind in ("lstm", "gru")},
    "transformer_recording_labeller": OlderFamily(
        {"family": "recording_labeler", "encoder": {"family": "transformer"}}, _ATTENTION_FIELDS
    ),
    "cnn_recording_labeller": OlderFamily(
        {
            "family": "recording_labeler",
            **{"channels": [32, 64, 128], "depth": 2, "frame_size": 256, "frame_dropout": 0.1},
            "encoder": {"family": "linear", "activation": "relu", "input_dropout": 0.1},
        },
        {
            "hidden_size": ("frame_size",),
            "norm": ("frame_norm",),
            "dropout": ("frame_dropout", "encoder.input_dropout"),
        },
    ),
    "linear_model": OlderFamily({"family": "predictor", "encoder": {"family": "linear"}}, {}),
    "mlp": OlderFamily(
        {"family": "predictor", "encoder": {"family": "mlp"}},
        _in_encoder("hidden_sizes", "activation", "norm", "residual", "dropout", "input_dropout"),
    ),
    **{f"{kind}_predictor": _recurrent_predictor(kind) for kind in ("rnn", "lstm", "gru")},
    "transformer_predictor": OlderFamily(
        {
            "family": "predictor",
            "encoder": {
                **{"family": "transformer", "d_model": 64, "d_ff": 256, "num_layers": 2, "positions": "learned"}
            },
        },
        _ATTENTION_FIELDS,
    ),
}
"""Family of a model up to version 0.3.0 -> the model and the encoder that it is now."""

_FRAME_WEIGHTS = {"encoder.subsampling.": "input."}
OLDER_WEIGHTS: dict[str, dict[str, str]] = {
    "labeler": {
        "encoder.embedding.positions.": "encoder.positions.",
        "encoder.embedding.": "embedding.",
        "reader.": "features.",
        "to_model.": "features.project.",
    },
    "language_model": {
        "layers.": "encoder.layers.",
        "encoder.embedding.positions.": "encoder.positions.",
        "encoder.embedding.": "",
    },
    "recognizer": _FRAME_WEIGHTS,
    "recording_labeler": {**_FRAME_WEIGHTS, "project.": "head.project."},
    "predictor": {
        "embed.": "input.embed.",
        **{f"{name}.": f"encoder.{name}." for name in ("hidden", "layers", "positions", "norm")},
        "project.": "head.project.",
    },
}
"""Family of a model -> start of the names of its weights up to version 0.3.0 -> the current start."""

OLDER_DEFAULTS = {"data": {"max_line_bytes": None, "src_spaces": "keep", "level": "kept"}}
"""Section -> field that older versions lacked -> the value that keeps their behavior."""


def add_older_defaults(values: Mapping[str, Any], fields: Mapping[str, Container[str]]) -> dict[str, Any]:
    """Add the `OLDER_DEFAULTS` of fields that a run's config lacks; `fields` has the field names of each section."""
    migrated = dict(values)
    for section, older in OLDER_DEFAULTS.items():
        if isinstance(migrated.get(section), Mapping):
            defaults = {name: value for name, value in older.items() if name in fields[section]}
            migrated[section] = defaults | migrated[section]
    return migrated


def add_values_of_run(values: Mapping[str, Any], run: Mapping[str, Any]) -> dict[str, Any]:
    """Add a run's values of the fields in `OLDER_DEFAULTS` to a config that lacks them; both are nested dicts."""
    migrated = dict(values)
    for section, older in OLDER_DEFAULTS.items():
        run_section = run.get(section, {})
        if isinstance(migrated.get(section), Mapping):
            migrated[section] = {name: run_section[name] for name in older if name in run_section} | migrated[section]
    return migrated


def migrate_tag(key: str, value: Any) -> Any:
    """Return the current value of a tag, given its dotted key; return other values unchanged."""
    return RENAMED_TAGS.get(key, {}).get(value, value) if isinstance(value, str) else value


def migrate(values: Mapping[str, Any]) -> dict[str, Any]:
    """Copy the nested values of a config, replacing renamed tags and families."""
    migrated = _migrate_tags(values)
    model = migrated.get("model")
    if isinstance(model, Mapping) and (older := OLDER_FAMILIES.get(str(model.get("family")))) is not None:
        migrated["model"] = deepcopy(older.values)
        for name, value in model.items():
            for key in older.fields.get(name, (name,)) if name != "family" else ():
                *sections, field = key.split(".")
                section = migrated["model"]
                for parent in sections:
                    section = section[parent]
                section[field] = value
    return migrated


def _migrate_tags(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    return {
        name: _migrate_tags(value, f"{prefix}{name}.")
        if isinstance(value, Mapping)
        else migrate_tag(f"{prefix}{name}", value)
        for name, value in values.items()
    }


def current_weight_name(family: str, name: str) -> str:
    """Return the current name of a weight of a model, which may be a name of version 0.3.0."""
    for older, current in OLDER_WEIGHTS.get(family, {}).items():
        if name.startswith(older):
            return current + name.removeprefix(older)
    return name


def current_objective_weight_name(family: str, name: str) -> str:
    """Return the current name of a weight of an objective, which may hold a network of the family, such as a critic."""
    network, dot, weight = name.partition(".")
    return network + dot + current_weight_name(family, weight)


def current_keys(values: Mapping[str, Any], key: str) -> tuple[str, ...]:
    """Return the keys that replace a key of version 0.3.0, given the nested values of a config; or the key itself."""
    section, _, name = key.partition(".")
    model = values.get("model")
    if section != "model" or not isinstance(model, Mapping):
        return (key,)
    encoder = model.get("encoder", {}).get("family")
    for older in OLDER_FAMILIES.values():
        is_model = older.values["family"] == model.get("family")
        if is_model and encoder in (None, older.values["encoder"]["family"]) and name in older.fields:
            return tuple(f"model.{new}" for new in older.fields[name])
    return (key,)


def log_older_family(family: object) -> None:
    """Tell a user what a family of version 0.3.0 is now; other values log nothing."""
    if isinstance(family, str) and (older := OLDER_FAMILIES.get(family)) is not None:
        current = f"`model.family: {older.values['family']}` with `model.encoder.family: "
        log_renamed(f"`model.family: {family}`", f"{current}{older.values['encoder']['family']}`")


def log_renamed(key: str, new: str) -> None:
    """Tell a user the current name of a key or value that was renamed."""
    logger.info("%s is now %s", key, new)
