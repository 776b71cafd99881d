"""A frame on its way to the browser: a JSON-ready description, and one block of float32 for all numbers in it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from bss2lab.lab.frame import Axis, Frame, Heat, Layer, Mark, Panel, Series


def packed(frame: Frame) -> tuple[dict[str, Any], bytes]:
    """Return the description (numbers replaced by their place in the block) and the block."""
    block = _Block()
    panels = [_panel(panel, block) for panel in frame.panels]
    header = {"panels": panels, "alt": frame.alt, "badge": frame.badge, "height": frame.height}
    return header, block.content()


class _Block:
    def __init__(self) -> None:
        self._parts: list[np.ndarray] = []
        self._n = 0

    def put(self, values: np.ndarray) -> int:
        at = self._n
        self._parts.append(values.ravel())
        self._n += values.size
        return at

    def content(self) -> bytes:
        return np.concatenate([*self._parts, np.empty(0, np.float32)]).astype("<f4").tobytes()


def _panel(panel: Panel, block: _Block) -> dict[str, Any]:
    return {
        "key": panel.key, "title": panel.title, "x": _axis(panel.x), "y": _axis(panel.y), "box": list(panel.box),
        "note": panel.note, "empty": panel.empty, "clicks": panel.clicks, "brushes": panel.brushes,
        "layers": [_layer(layer, block) for layer in panel.layers],
    }  # fmt: skip


def _axis(axis: Axis) -> dict[str, Any]:
    return {**asdict(axis), "title": axis.title, "names": list(axis.names)}


def _layer(layer: Layer, block: _Block) -> dict[str, Any]:
    match layer:
        case Series():
            return {
                "type": "series", "name": layer.name, "style": layer.style, "colour": layer.colour,
                "width": layer.width, "alpha": layer.alpha, "thing": layer.thing, "origin": layer.origin,
                "n": len(layer.x), "x": block.put(layer.x), "y": block.put(layer.y),
            }  # fmt: skip
        case Heat():
            rows, columns = layer.values.shape
            return {
                "type": "heat", "name": layer.name, "rows": rows, "columns": columns, "low": layer.low,
                "high": layer.high, "palette": layer.palette, "written": layer.written, "unit": layer.unit,
                "at": block.put(layer.values),
            }  # fmt: skip
        case Mark():
            return {"type": "mark", **asdict(layer)}
