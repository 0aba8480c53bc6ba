"""Resuming a run: checks of its config, data, machine and plugins, and restoring the last checkpoint."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

from seqlab.base.reading_notes import FIRST_READING_VERSION, READ_AS_MEANT, ReadingNotes
from seqlab.data.config import DataConfig
from seqlab.plugins import describe_plugins, plugin_notes_by_part
from seqlab.runs.checkpoint import checkpoint_steps
from seqlab.runs.codecs import codec_parts
from seqlab.runs.config import RESUMABLE_FIELDS, VECTOR_FIELDS, Config, parts_of, path_fields
from seqlab.runs.fields import fields_of
from seqlab.runs.flat_config import Changes, differing_fields
from seqlab.runs.folder import PLUGINS, RunFolder
from seqlab.runs.load import read_config
from seqlab.runs.migrate import OLDER_DEFAULTS
from seqlab.search.config import DEFAULT_OFFSET, DEFAULT_RATIO
from seqlab.training.device_context import fingerprint
from seqlab.training.state import TrainingRun

logger = logging.getLogger(__name__)
OTHER_RUN = ", choose another `--run_dir` for another corpus, or start again with `--overwrite`"
"""What else to do if the data of a run that is trained on have changed."""
MAX_CHANGES_SHOWN = 10
"""Maximum number of refused changes in a message."""
RAISED_RATE = 1.01
"""Warn of a learning rate that is higher by this factor after a change of `training.max_steps`."""


def keep_older_defaults(folder: RunFolder, config: Config) -> Config:
    """Keep values of a run that are the defaults of older versions, unless the config sets other values."""
    old_data, fields = read_config(folder).data, fields_of(type(config.data))
    kept: dict[str, Any] = {
        name: value
        for name, value in OLDER_DEFAULTS["data"].items()
        if name in fields
        and f"data.{name}" not in RESUMABLE_FIELDS
        and getattr(config.data, name) == fields[name].default
        and getattr(old_data, name, None) == value
    }
    return _keep_length_limits(folder, replace(config, data=replace(config.data, **kept)))


def _keep_length_limits(folder: RunFolder, config: Config) -> Config:
    """Keep the length limits of a run if they are the defaults of older versions, unless the config sets them."""
    old, new = read_config(folder).training.valid_search, config.training.valid_search
    defaults: dict[str, Any] = {"max_length_ratio": DEFAULT_RATIO, "max_length_offset": DEFAULT_OFFSET}
    open_fields = {
        name: value for name, value in defaults.items() if getattr(new, name) is None and getattr(old, name) == value
    }
    return replace(config, training=replace(config.training, valid_search=replace(new, **open_fields)))


def check_resumable(folder: RunFolder, config: Config) -> Changes:
    """Return the changed fields of a resumed run; raise ValueError if one of them must not change."""
    folder.read_description()
    changes = differing_fields(read_config(folder), config)
    paths = path_fields(config)
    refused = {key: pair for key, pair in changes.items() if not _may_change(config.data, key, *pair, key in paths)}
    if refused:
        # Another family changes the other fields of its section, too.
        shown = sorted(refused, key=lambda key: not key.endswith((".family", ".kind")))[:MAX_CHANGES_SHOWN]
        listed = "; ".join(f"`{key}` {refused[key][0]!r} -> {refused[key][1]!r}" for key in shown)
        if len(refused) > len(shown):
            listed += f"; and {len(refused) - len(shown)} more"
        raise ValueError(
            f"{folder.path} holds a run with another config: {listed}. Undo the change, choose another "
            "`--run_dir`, or start again with `--overwrite`."
        )
    return changes


def _may_change(data: DataConfig, key: str, old: Any, new: Any, is_path: bool) -> bool:
    """Return whether a resumed run may change a field. The path of a file may change, but not its column."""
    if key in VECTOR_FIELDS:
        return (old is None) == (new is None)
    return key in RESUMABLE_FIELDS or (is_path and _columns(data, old) == _columns(data, new))


def _columns(data: DataConfig, specs: str | list[str] | None) -> list[str | None]:
    return [data.column_of(spec) for spec in ([specs] if isinstance(specs, str) else specs or [])]


def resume(run: TrainingRun, changes: Changes) -> None:
    """Restore the last checkpoint; warn if the machine, a version or a plugin differs."""
    steps = checkpoint_steps(run.checkpoints)
    if steps:
        run.restore(steps[-1])
        if run.progress.step < run.config.training.num_steps:
            run.progress.leave_out_validation_at_end()
        run.device_context.world.call_on_main(run.prune)  # the last process may have ended before it pruned
    else:
        run.metrics_logger.truncate(0)
    logger.info("Continuing %s after step %d.", run.folder.path, run.progress.step)
    differences = fingerprint(run.device_context).differences(run.locked_folder.root.read_description_entry("machine"))
    if differences:
        logger.warning(
            "The run started on another machine, with another setting or version (%s): "
            "it continues, but not bit for bit.",
            "; ".join(differences),
        )
    _warn_of_raised_rate(run, changes)
    for difference in changed_plugins(run):
        logger.warning("%s: the run continues, but not bit for bit.", difference)
    if steps or changes:
        run.metrics_logger.write("event", step=run.progress.step, event="resumed", changes=changes, machine=differences)


def _warn_of_raised_rate(run: TrainingRun, changes: Changes) -> None:
    """Warn if another `max_steps` raises the learning rate, as after the end of a decaying schedule."""
    old, new = changes.get("training.max_steps", (None, None))
    optimizer, schedule, step = run.config.optim.optimizer, run.config.optim.schedule, run.progress.step
    if not (old and new and step) or run.config.model.is_count_based:
        return
    before, after = (schedule.lr_at(optimizer.lr, step, max_steps) for max_steps in (old, new))
    if after > RAISED_RATE * before:
        logger.warning(
            "`training.max_steps` %s -> %s: the learning rate goes on with %.2g instead of %.2g, because "
            "`optim.schedule.family: %s` depends on `training.max_steps`; the loss may rise at first, and the best "
            "checkpoint so far is kept",
            f"{old:,}",
            f"{new:,}",
            after,
            before,
            schedule.family,
        )


def changed_plugins(run: TrainingRun) -> list[str]:
    """Describe how the plugins that a run uses differ from those at its start."""
    before = plugin_notes_by_part(run.locked_folder.root.read_description().get(PLUGINS))
    differences = []
    for note in describe_plugins([*parts_of(run.config), *codec_parts(run.locked_folder.root)]):
        old = before.get((note["kind"], note["name"]), {})
        changed = [key for key in ("module", "distribution", "sha256") if old.get(key) != note[key]]
        if changed:
            part = f"the {note['kind']} `{note['name']}` of the plugin {note['module']}"
            listed = ", ".join(f"{key} {old.get(key)!r} -> {note[key]!r}" for key in changed)
            differences.append(f"The run started with another version of {part} ({listed})")
    return differences


def check_content(folder: RunFolder, content_hashes: dict[str, str], *, alternatives: str = OTHER_RUN) -> None:
    """Raise ValueError if the data differ from those of an existing run; `content_hashes` are SHA-256 by path.

    `alternatives` follow the advice to use the same files.
    """
    recorded, current = folder.read_description_entry("data_sha256"), list(content_hashes.items())
    if len(current) != len(recorded):
        raise ValueError(
            f"{folder.path} started with {len(recorded)} data files, but the config has {len(current)}: use the "
            f"same files{alternatives}."
        )
    for (path, digest), before in zip(current, recorded, strict=True):
        if digest != before:
            version = folder.read_description().get("reading", FIRST_READING_VERSION)
            is_listed_anew = Path(path).expanduser().is_dir() and version < READ_AS_MEANT
            reason = " (or other files of the folder were data for the earlier version that started it)"
            raise ValueError(
                f"{path} differs from the data that the run in {folder.path} started with"
                f"{reason if is_listed_anew else ''}: restore the file{alternatives}."
            )


def refuse_changed_reading(folder: RunFolder, notes: ReadingNotes) -> None:
    """Raise ValueError if this version reads rows of the data in another way than the version that started the run."""
    version = folder.read_description().get("reading", FIRST_READING_VERSION)
    changed = notes.changes_after(version)
    if changed:
        raise ValueError(
            f"{folder.path} was started by an earlier version of seqlab, which read some of its data differently: "
            f"{'; '.join(map(str, changed))}. Start again with `--overwrite`, or continue it with that version "
            "(`seqlab_version` in run.json)."
        )
