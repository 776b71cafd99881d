"""The compiled kernels, their reference, and one entry to both: ``integrate``.

Its names are loaded when first asked for: the chip's kernels do without torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bss2lab.errors import load_module

if TYPE_CHECKING:
    from bss2lab.kernels.entry import Model, Traces, inject, integrate

__all__ = ["Model", "Traces", "inject", "integrate"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'bss2lab.kernels' has no attribute {name!r}")
    value = globals()[name] = getattr(load_module("bss2lab.kernels.entry"), name)
    return value
