"""Reference page of the registered parts by kind, from the table of built-in parts."""

from generate.api import is_documented
from generate.markup import prose, table
from seqlab.built_in import BUILT_IN

INTRODUCTION = """# Registered parts

Configs and commands select parts by these names. The first of a kind is its default.
[Custom parts](../how_to/your_own_parts.md) shows how to register more.
"""
SHOWN = {
    "task": ("Tasks", "`data.kind`"),
    "model": ("Models", "`model.family`"),
    "objective": ("Objectives", "`objective.family`"),
    "optimizer": ("Optimizers", "`optim.optimizer.family`"),
    "schedule": ("Schedules", "`optim.schedule.family`"),
    "search": ("Searches", "`--algorithm` of `translate`; by default, the first that supports the model"),
    "metric": ("Metrics", "`--metrics` of `evaluate`, `training.valid_metric`"),
    "tokenizer": ("Tokenizers", "`data.tokenizer.kind`"),
    "codec": ("Codecs", "chosen by the data"),
    "engine": ("Engines", "`--engine` of `translate`"),
    "logger": ("Loggers", "`training.logger`"),
    "exporter": ("Export formats", "`--format` of `export`"),
}
"""Kind -> heading, and the field or option that takes its names; other kinds follow. Commands have their own pages."""


def pages() -> dict[str, str]:
    """Write the page, with one table per kind."""
    parts = [INTRODUCTION]
    kinds = [*SHOWN, *(kind for kind in BUILT_IN if kind not in {*SHOWN, "command"})]
    for kind in kinds:
        heading, use = SHOWN.get(kind, (f"{kind.capitalize()}s", ""))
        table_of_kind = BUILT_IN[kind].items()
        rows = [(f"`{name}`", prose(summary), reference(target)) for name, (target, summary) in table_of_kind]
        parts += [
            f"## {heading}",
            f"Kind `{kind}`{'; ' if use else ''}{use}.",
            table(["name", "description", "in Python"], rows),
        ]
    return {"reference/parts.md": "\n\n".join(parts)}


def reference(target: str) -> str:
    """Return the Python path of a part, as a link if it is documented."""
    module, _, name = target.partition(":")
    package = ".".join(module.split(".")[:2])
    path = f"{package}.{name}"
    return f"[`{path}`][{path}]" if is_documented(path) else f"`{module}.{name}`"
