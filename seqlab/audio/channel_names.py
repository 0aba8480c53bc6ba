"""Names of the channels of recordings, in lists, configs and options."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator

from seqlab.audio.containers import RecordingError

CHANNEL_NAMES = {"left": 0, "l": 0, "a": 0, "right": 1, "r": 1, "b": 1}
"""Names of channels, in lower case -> index."""
MEAN = "mean"
"""Name of the mean of all channels."""


def check_channel_name(value: Any) -> Any:
    """Check the value of an option that chooses a channel; return it as text.

    Raises:
        ValueError: it is neither a number from 1 nor a name of a channel.
    """
    name = str(value) if isinstance(value, int) else value
    if isinstance(name, str) and name and name.lower() not in (MEAN, *CHANNEL_NAMES) and not _is_number(name):
        raise ValueError(f"must be a number from 1, `left`, `right` or `{MEAN}`, but is {name!r}")
    return name


Channel = Annotated[str, BeforeValidator(check_channel_name)]
"""Type of an option that chooses a channel; "" leaves the choice to the next one.

The order is: the column `channel` of a list, the option of a command, `data.channel` of the run, the mean of all.
"""


def channel_index(channel: str, count: int, name: str) -> int | None:
    """Return the index of a channel of a recording with `count` channels; None for the mean of all.

    Args:
        channel: a number from 1, `left`, `right`, `A` or `B` in any case; `mean` or "" for the mean. Another name, such
            as that of a broadcaster, is not a channel of the file; a recording with one channel ignores it.
        count: number of channels.
        name: name of the recording in messages.

    Raises:
        RecordingError: there is no such channel ("channels").
    """
    value = channel.strip().lower()
    if value in ("", MEAN):
        return None
    index = CHANNEL_NAMES.get(value, int(value) - 1 if value.isdecimal() else None)
    if index is None and count == 1:
        return None
    if index is None or not 0 <= index < count:
        raise RecordingError(
            name,
            "channels",
            f"its channel is {channel!r}, but it has {count}: name a number from 1 to {count}, `left` or `right`, or "
            f"`{MEAN}` for the mean of all.",
        )
    return index


def _is_number(name: str) -> bool:
    return name.isdecimal() and int(name) > 0
