"""YAML parser for untrusted files: dates stay text, duplicate keys are errors, and the size of aliases is limited."""

import re
from contextlib import suppress
from typing import Any

import yaml

MAX_VALUES = 100_000
"""Maximum number of values after expanding aliases, so that a small file cannot exhaust the memory."""


class _Loader(yaml.SafeLoader):
    """YAML loader that keeps dates as text and refuses duplicate keys, since PyYAML would drop the first."""

    yaml_implicit_resolvers = {  # noqa: RUF012
        start: [resolver for resolver in resolvers if resolver[0] != "tag:yaml.org,2002:timestamp"]
        for start, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"`{key.value}` is given twice", problem_mark=key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (yaml.YAMLError, RecursionError):
            raise
        except Exception as error:  # of a conversion by Python: an invalid date, a number of 5,000 digits
            problem = f"{str(node.value)[:40]!r}: {error}"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark) from None


def parse_yaml(text: str, name: str, *, only_text: bool = False) -> Any:
    """Parse YAML, keeping dates as text.

    Args:
        text: the document.
        name: name of the file, for messages.
        only_text: keep numbers and booleans as text, too.

    Raises:
        ValueError: the text is not YAML, or expands to more than `MAX_VALUES`; names the file and the line.
    """
    try:
        values = yaml.load(text, Loader=yaml.BaseLoader if only_text else _Loader)
        _refuse_too_many_values(values)
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ValueError(f"{name}{line}: not YAML ({error.problem}).") from None
    except yaml.YAMLError as error:
        raise ValueError(f"{name}: not YAML ({' '.join(str(error).split())}).") from None
    except RecursionError:
        raise ValueError(f"{name}: not readable as YAML (it is nested too deeply).") from None
    except ValueError as error:
        raise ValueError(f"{name}: not readable as YAML ({error}).") from None
    return values


def _refuse_too_many_values(values: Any) -> None:
    """Raise ValueError if aliases make a structure recursive, or larger than `MAX_VALUES`."""
    stack, count = [values], 0
    while stack:
        value = stack.pop()
        count += 1
        if count > MAX_VALUES:
            raise ValueError(f"it has more than {MAX_VALUES:,} values after expanding aliases")
        stack += (
            [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
        )


def parse_value(text: str, name: str) -> Any:
    """Parse a value of the command line as YAML, with numbers such as 1e-3, which are text in YAML.

    Raises:
        ValueError: as `parse_yaml` does.
    """
    value = parse_yaml(text, name)
    if isinstance(value, str) and re.fullmatch(r"[-+]?[0-9.]+e[-+]?[0-9]+", value, re.IGNORECASE):
        with suppress(ValueError):
            return float(value)
    return value
