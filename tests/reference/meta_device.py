"""The device `meta` as a GPU without values: GPU kernels are selected, and reading a value is an error."""

from contextlib import nullcontext
from typing import Any

import pytest
import torch


def leave_out_autocast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Disable autocast for `meta`, which PyTorch does not support."""
    is_enabled, autocast = torch.is_autocast_enabled, torch.autocast

    def of(device: str, *arguments: Any, **options: Any) -> Any:
        return nullcontext() if device == "meta" else autocast(device, *arguments, **options)

    monkeypatch.setattr(torch, "is_autocast_enabled", lambda device: device != "meta" and is_enabled(device))
    monkeypatch.setattr(torch, "autocast", of)
