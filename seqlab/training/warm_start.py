"""Warm start (`init_from`): initialize a model with all weights of another run, or with those that match.

A weight matches if both models have it under the same name and in the same shape. So a translator copies the encoder of
a masked model (both are named `encoder`), a deeper model copies the lower layers of a shallower one, and an untied
output copies the embeddings of a tied one. Weights of other models match by their roles in a translator: a language
model is its decoder, a labeler its encoder. The vocabulary is copied from the other run, because embeddings depend on
it. Labels, their output layer, and n-grams with their vectors are new.
"""

import logging
import re
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from seqlab.models.config import ModelConfig
from seqlab.runs.config import Config
from seqlab.runs.flat_config import Changes, differing_fields
from seqlab.runs.folder import RunFolder
from seqlab.runs.load import LoadedRun, copy_weights, load_run, named_buffers, named_weights, read_config

logger = logging.getLogger(__name__)

FREE_MODEL_FIELDS = {
    *("dropout", "attention_dropout", "activation_dropout", "embedding_dropout", "input_dropout"),
    *("output_dropout", "weight_dropout", "ngram_dropout", "spelling_dropout", "frame_dropout"),
    *("unknown_share", "max_length"),
}
"""Fields of the model and its encoder that may differ from those of the `init_from` run; `max_length` only without
learned positions."""
MIN_COPIED_SHARE = 0.05
"""Warn if less than this share of the parameters is copied."""
TOKENIZER_SECTIONS = ("data.tokenizer.", "data.tokenizer_tgt.")


def check_init_from(config: Config, origin: RunFolder, folder: RunFolder) -> None:
    """Raise ValueError if the `init_from` run has another model or codecs, or weights with another meaning."""
    if origin.path.resolve() == folder.path.resolve():
        raise ValueError(f"`init_from` and `run_dir` are both {folder.path}: choose another `run_dir`.")
    if not origin.path.is_dir():
        raise FileNotFoundError(f"There is no run folder {origin.path} (`init_from`).")
    origin.read_description()
    old = read_config(origin)
    changes = differing_fields(old, config)
    if config.init_parts == "matching":
        _check_matching(config, old, changes, origin)
        return
    changes = {key: pair for key, pair in changes.items() if not _is_free(key)}
    before, after = (side.model.resolve(side.data) for side in (old, config))
    if after.warm_start.learned_positions is not None:
        changes["model.max_length"] = before.context_limit, after.warm_start.learned_positions
    sections = ("model.", *TOKENIZER_SECTIONS, "data.joint_vocabulary", *_codec_fields(config, old))
    listed = _list_changes(changes, sections, origin)
    if listed:
        raise ValueError(
            f"With `init_from` the model and the codecs must be those of that run: {listed}. Set the same values, "
            f"start from its config, {origin.config_file}, or copy what matches with `init_parts: matching`."
        )


def _is_free(key: str) -> bool:
    """Return whether a field of the model may differ."""
    return key.startswith("model.") and key.rpartition(".")[2] in FREE_MODEL_FIELDS


def _check_matching(config: Config, old: Config, changes: Changes, origin: RunFolder) -> None:
    if config.data.kind != old.data.kind:  # monolingual text has no target tokenizer
        changes = {key: pair for key, pair in changes.items() if not key.startswith("data.tokenizer_tgt.")}
    needed = config.data.reused_tokenizers(old.data)
    tokenizers = TOKENIZER_SECTIONS if any(name.endswith("tokenizer") for name in needed) else ()
    listed = _list_changes(changes, (*tokenizers, *_codec_fields(config, old)), origin)
    if listed:
        raise ValueError(f"With `init_from` the codecs must be those of that run: {listed}. Set the same values.")
    before, after = old.model.warm_start.settings, config.model.warm_start.settings
    pairs = {f"model.{key}": (before[key], after[key]) for key in before if key in after}
    listed = _list_changes(pairs, ("model.",), origin)
    if listed:
        raise ValueError(
            f"The weights of `init_from` would have another meaning in this model: {listed}. Set the same values."
        )
    if not all((origin.path / name).is_dir() for name in needed):
        hint = (
            "both runs must have one vocabulary, or both must have one for each side (`data.joint_vocabulary`)"
            if tokenizers
            else "it was not trained on recordings"
        )
        raise ValueError(f"`init_from` {origin.path} has no {' and '.join(needed)} to copy: {hint}.")


def _codec_fields(config: Config, old: Config) -> list[str]:
    """Return the fields that determine the codecs of both runs."""
    return [f"data.{name}" for name in config.data.codec_fields if name in old.data.codec_fields]


def _list_changes(changes: Changes, prefixes: tuple[str, ...], origin: RunFolder) -> str:
    """Describe the changes; skip fields that one run lacks in sections of another kind or family."""
    other_kind_prefixes = tuple(prefix for prefix in prefixes if changes.keys() & {f"{prefix}kind", f"{prefix}family"})
    return "; ".join(
        f"`{key}` is {new!r}, but {old!r} in {origin.path}"
        for key, (old, new) in changes.items()
        if key.startswith(prefixes) and old != new and not (None in (old, new) and key.startswith(other_kind_prefixes))
    )


def copy_init_weights(model: nn.Module, config: Config) -> dict[str, Any]:
    """Copy the weights of the `init_from` run into a model; return the entries for run.json.

    Raises:
        ValueError: a weight has another name or shape, or with `init_parts: matching` none matches.
    """
    assert config.init_from is not None
    origin, names = load_run(config.init_from), [name for name, _ in model.named_parameters()]
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    copied = set(names)
    if config.init_parts == "all":
        copy_weights(model, named_weights(origin.model) | named_buffers(origin.model), origin.folder.path)
    else:
        copied = _copy_matching(model, config.model, origin)
    return {
        "run": config.init_from,
        "step": origin.step,
        "copied": [name for name in names if name in copied],
        "random": [name for name in names if name in trained - copied],
    }


@torch.no_grad()
def _copy_matching(model: nn.Module, config: ModelConfig, origin: LoadedRun) -> set[str]:
    """Copy the weights that match, log their names, and return them."""
    matching = matching_weights(model, config, origin.model, origin.config.model)
    tensors = dict(model.named_parameters()) | named_buffers(model)
    if not matching:
        raise ValueError(
            f"`init_parts: matching` copies nothing from {origin.folder.path}: none of its weights has the name and "
            "the shape of a weight of this model. Choose the same sizes, or leave `init_from` out."
        )
    for name, value in matching.items():
        tensors[name].copy_(value)
    others = [name for name, parameter in tensors.items() if name not in matching and parameter.requires_grad]
    sizes = []
    for title, names in ((f"From {origin.folder.path}", list(matching)), ("Random", others)):
        sizes.append(sum(tensors[name].numel() for name in names))
        logger.info("%s: %s parameters (%s).", title, f"{sizes[-1]:,}", ", ".join(_modules(names)) or "none")
    if sizes[0] < MIN_COPIED_SHARE * sum(sizes):
        text = "Only %.1f%% of the parameters start from %s: do the family and the sizes of the model match (%s)?"
        logger.warning(text, 100 * sizes[0] / sum(sizes), origin.folder.path, origin.folder.config_file)
    return set(matching)


def matching_weights(model: nn.Module, config: ModelConfig, origin: nn.Module, old: ModelConfig) -> dict[str, Tensor]:
    """Return the origin's weights that match a model's parameters and buffers; the first match of tied names."""
    before, after = old.warm_start, config.warm_start
    origin_weights = origin.state_dict()  # contains tied weights under each name
    if before.recurrent_kind != after.recurrent_kind:  # gates of another kind of RNN have other meanings
        origin_weights = {name: weight for name, weight in origin_weights.items() if ".from_" not in name}
    origin_weights = {name: weight for name, weight in origin_weights.items() if not name.startswith(after.excluded)}
    in_translator = {before.translator_name(name): weight for name, weight in origin_weights.items()}

    def find(name: str, like: Tensor) -> Tensor | None:
        alias = after.translator_name(name)
        has_same_role = before.translator_name(name) in (None, alias)
        same_name = origin_weights.get(name) if has_same_role else None
        candidates = (same_name, None if alias is None else in_translator.get(alias))
        return next(
            (candidate for candidate in candidates if candidate is not None and candidate.shape == like.shape), None
        )

    first_names = {id(parameter): name for name, parameter in model.named_parameters()}
    matching: dict[str, Tensor] = {}
    for name, buffer in named_buffers(model).items():
        if (value := find(name, buffer)) is not None:
            matching[name] = value
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if (value := find(name, parameter)) is not None:
            matching.setdefault(first_names[id(parameter)], value)
    return matching


def _modules(names: Iterable[str]) -> list[str]:
    """Return the modules of parameters, for messages: a layer by its number, otherwise the module."""
    return list(dict.fromkeys(re.sub(r"(\.\d+)\..*|\.\w+$", r"\1", name) for name in names))
