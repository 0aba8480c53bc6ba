"""The device `meta` as a stand-in for a GPU: GPU kernels are selected, and reading a value is an error."""

from contextlib import nullcontext
from typing import Any

import pytest
import torch


def disable_autocast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Disable autocast for `meta`, which PyTorch does not support."""
    is_enabled, autocast = torch.is_autocast_enabled, torch.autocast

    def autocast_except_meta(device: str, *arguments: Any, **options: Any) -> Any:
        return nullcontext() if device == "meta" else autocast(device, *arguments, **options)

    monkeypatch.setattr(torch, "is_autocast_enabled", lambda device: device != "meta" and is_enabled(device))
    monkeypatch.setattr(torch, "autocast", autocast_except_meta)
