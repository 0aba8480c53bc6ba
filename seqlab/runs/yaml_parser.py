"""Parse YAML that anyone may have written: dates are text, keys are unique, and there is a limit to what aliases do."""

from typing import Any

import yaml

MAX_VALUES = 100_000
"""With each alias counted as what it stands for, so that a small file cannot stand for more than memory holds."""


class _Loader(yaml.SafeLoader):
    """YAML in which dates are text, and a key that is given twice is an error: else the first would be ignored."""

    yaml_implicit_resolvers = {  # noqa: RUF012
        start: [each for each in resolvers if each[0] != "tag:yaml.org,2002:timestamp"]
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
        except Exception as error:  # what Python makes of a value: a date that there is not, a number of 5,000 digits
            problem = f"{str(node.value)[:40]!r}: {error}"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark) from None


def parse_yaml(text: str, name: str, *, only_text: bool = False) -> Any:
    """Parse YAML, in which a date is text.

    Args:
        text: what is parsed.
        name: of the file, for messages.
        only_text: leave numbers and truth values as the text that they are written as.

    Raises:
        ValueError: it is not YAML, or expands to too many values; names the file and the line.
    """
    try:
        values = yaml.load(text, Loader=yaml.BaseLoader if only_text else _Loader)
        _refuse_endless(values)
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ValueError(f"{name}{line}: not YAML ({error.problem}).") from None
    except yaml.YAMLError as error:
        raise ValueError(f"{name}: not YAML ({' '.join(str(error).split())}).") from None
    except RecursionError:
        raise ValueError(f"{name}: not YAML that can be read (it is nested too deeply).") from None
    except ValueError as error:
        raise ValueError(f"{name}: not YAML that can be read ({error}).") from None
    return values


def _refuse_endless(values: Any) -> None:
    """Raise ValueError where aliases make a structure endless, or larger than any config."""
    left, seen = [values], 0
    while left:
        each = left.pop()
        seen += 1
        if seen > MAX_VALUES:
            raise ValueError(f"with its aliases it has more than {MAX_VALUES:,} values")
        left += [*each, *each.values()] if isinstance(each, dict) else each if isinstance(each, list | tuple) else ()
