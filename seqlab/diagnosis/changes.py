"""Changes of a config for short trainings."""

from collections.abc import Callable
from dataclasses import is_dataclass, replace
from typing import Any

from seqlab.diagnosis.finding import LeftOut
from seqlab.optim import ConstantScheduleConfig
from seqlab.runs.config import Config

Change = Callable[[Config], Config]
SIZE_FIELDS = (
    *("hidden_size", "d_model", "d_ff", "channels", "hidden_sizes", "num_filters", "frame_size"),
    *("embedding_size", "embedding_dim"),
)
"""Fields of models with the widths of their layers."""
WIDENINGS = ((32, 16), (128, 4))
"""(Width, factor): layers that are narrower than the width become wider by the factor; other layers by 2."""
LONGER, SMALLER_STEPS = 4, 4
"""Factor of the steps of a longer training, and by which batches become smaller."""
USUAL_SMOOTHING = 0.1
MIN_DROPOUT, MAX_DROPOUT, DROPOUT_FACTOR = 0.3, 0.6, 1.5
MIN_DECAY, DECAY_FACTOR = 1e-2, 10.0


def unchanged(config: Config) -> Config:
    """Return the config."""
    return config


def without_smoothing(config: Config) -> Config:
    """Return a config without label smoothing, whose losses can be compared with those of other configs."""
    return replace(config, objective=_changed_fields(config.objective, "label_smoothing", lambda old: 0.0))


def less_regularized(config: Config) -> Config:
    """Return a config without dropout, weight decay and L1 penalty, and with at most the usual label smoothing."""
    objective = _changed_fields(config.objective, "label_smoothing", lambda old: min(old, USUAL_SMOOTHING))
    model = _changed_fields(config.model, "dropout", lambda old: 0.0)
    optimizer = _changed_fields(config.optim.optimizer, "weight_decay", lambda old: 0.0)
    optim = replace(config.optim, optimizer=optimizer, l1_penalty=0.0)
    return replace(config, objective=objective, model=model, optim=optim)


def more_regularized(config: Config) -> Config:
    """Return a config with more dropout and weight decay."""
    model = _changed_fields(
        config.model, "dropout", lambda old: min(MAX_DROPOUT, max(MIN_DROPOUT, DROPOUT_FACTOR * old))
    )
    optimizer = _changed_fields(config.optim.optimizer, "weight_decay", lambda old: max(MIN_DECAY, DECAY_FACTOR * old))
    return replace(config, model=model, optim=replace(config.optim, optimizer=optimizer))


def _changed_fields(part: Any, name: str, change: Callable[[float], float]) -> Any:
    """Return a part whose numeric fields, also those of its sections, are changed if their names contain `name`."""
    changed: dict[str, Any] = {
        key: _changed_fields(value, name, change) for key, value in vars(part).items() if is_dataclass(value)
    }
    values = {key: value for key, value in vars(part).items() if name in key and isinstance(value, float)}
    return replace(part, **changed, **{key: change(value) for key, value in values.items()})


def with_lr(factor: float) -> Change:
    """Return the change that multiplies the learning rate."""

    def change(config: Config) -> Config:
        lr = float(f"{factor * config.optim.optimizer.lr:.3g}")
        optimizer = replace(config.optim.optimizer, lr=lr)  # type: ignore[type-var]
        return replace(config, optim=replace(config.optim, optimizer=optimizer))

    return change


def longer(config: Config) -> Config:
    """Return a config with four times as many steps."""
    return with_steps(config, LONGER * config.training.num_steps)


def with_steps(config: Config, num_steps: int) -> Config:
    """Return a config with another number of steps."""
    return replace(config, training=replace(config.training, max_steps=num_steps, max_epochs=None))


def smaller_batches(config: Config) -> Config:
    """Return a config with smaller steps, and more of them."""
    sizes = {name: value for name, value in vars(config.data).items() if name.startswith("batch_") and value}
    data = replace(config.data, **{name: type(value)(max(1, value / SMALLER_STEPS)) for name, value in sizes.items()})
    return with_steps(replace(config, data=data), SMALLER_STEPS * config.training.num_steps)


def constant_rate(config: Config) -> Config:
    """Return a config whose learning rate stays at its peak after the warmup."""
    warmup = getattr(config.optim.schedule, "warmup_steps", 0)
    return replace(config, optim=replace(config.optim, schedule=ConstantScheduleConfig(warmup_steps=warmup)))


def with_clipping(config: Config) -> Config:
    """Return a config that clips the norm of the gradient at 1, or at a tenth of the limit so far."""
    limit = config.optim.max_grad_norm
    return replace(config, optim=replace(config.optim, max_grad_norm=1.0 if limit is None else min(1.0, limit / 10)))


def random_validation_rows(config: Config) -> Config:
    """Return a config that validates on random training rows instead of a file of their own."""
    unset: dict[str, Any] = {"valid_src": None, "valid_tgt": [], "valid": None}
    values = {name: value for name, value in unset.items() if getattr(config.data, name, None)}
    return replace(config, data=replace(config.data, **values))


def another_seed(config: Config) -> Config:
    """Return a config with other initial weights, and another order of the data."""
    return replace(config, seed=config.seed + 1)


def without_clipping(config: Config) -> Config:
    """Return a config without gradient clipping."""
    return replace(config, optim=replace(config.optim, max_grad_norm=None, max_grad_value=None))


def larger(config: Config) -> Config:
    """Return a config with wider layers; raise LeftOut if the model has no field for the width."""
    model = _with_wider_layers(config.model)
    if model == config.model:
        raise LeftOut("the model has no field for the width of its layers")
    return replace(config, model=model)


def _with_wider_layers(part: Any) -> Any:
    """Return a part with wider layers, also in its sections."""
    changed: dict[str, Any] = {k: _with_wider_layers(value) for k, value in vars(part).items() if is_dataclass(value)}
    for name in SIZE_FIELDS:
        width = vars(part).get(name)
        if isinstance(width, int):
            changed[name] = _widened(width)
        elif width:
            changed[name] = type(width)(_widened(size) for size in width)
    return replace(part, **changed)


def _widened(width: int) -> int:
    return width * next((factor for limit, factor in WIDENINGS if width < limit), 2)
