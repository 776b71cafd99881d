"""Draw figure 1: the floor plan of the emulated chip (A), and a network on its analog core (B)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from bss2lab.chip.image import COLUMNS, DRIVERS
from bss2lab.chip.placement import HEMISPHERES, Placement
from bss2lab.config import Source
from bss2lab.plots import style

DIE_UM = (4000.0, 8000.0)
"""Width and height of the die, µm [assumed: 8 mm × 4 mm, the order of the published photograph, drawn upright]."""

_PITCH = "12 µm × 8 µm per synapse, of the order of what a 6-bit synapse with its sensor takes in 65 nm"
_SPACE = "size not published; takes the room that the arrays leave"


@dataclass(frozen=True, slots=True)
class Block:
    """A rectangle of the floor plan.

    Attributes:
        name: unique name.
        kind: what it is; blocks of a kind look alike.
        x, y, width, height: lower left corner from the die's, and size, µm.
        source: provenance of the geometry.
        why: the reason, where it is assumed.
    """

    name: str
    kind: str
    x: float
    y: float
    width: float
    height: float
    source: Source
    why: str


def _floor_plan() -> tuple[Block, ...]:
    """Lay the blocks out: a column of the top half in µm, mirrored to the bottom half."""
    die_width, die_height = DIE_UM
    left, wide = 700.0, 12.0 * COLUMNS
    stack = (
        # (kind, gap below it, height, why): from the middle of the die outwards
        ("neuron circuits", 20.0, 340.0, "as wide as the synapse columns; height not published"),
        ("synapse array", 30.0, 8.0 * 2 * DRIVERS, _PITCH),
        ("column ADC", 30.0, 180.0, "as wide as the columns that it reads; height not published"),
        ("SIMD unit", 30.0, 330.0, "as wide as the columns that it works on; height not published"),
        ("processor (PPU)", 30.0, 850.0, _SPACE),
    )
    blocks = []
    edge = die_height / 2
    for kind, gap, height, why in stack:
        edge += gap
        for half, y in (("top", edge), ("bottom", die_height - edge - height)):
            blocks.append(Block(f"{kind}, {half}", kind, left, y, wide, height, Source.ASSUMED, why))
            if kind == "synapse array":
                why_driver = "one driver per two synapse rows, hence the array's height; width not published"
                driver = Block(
                    f"synapse drivers, {half}", "synapse drivers", 460.0, y, 210.0, height, Source.ASSUMED, why_driver
                )
                blocks.append(driver)
        edge += height
    router = Block("event router", "event router", 100.0, 1000.0, 330.0, die_height - 2000.0, Source.ASSUMED, _SPACE)
    digital = (
        Block("digital I/O, bottom", "digital I/O", 100.0, 100.0, 330.0, 870.0, Source.ASSUMED, _SPACE),
        Block("digital I/O, top", "digital I/O", 100.0, die_height - 970.0, 330.0, 870.0, Source.ASSUMED, _SPACE),
    )
    assert left + wide <= die_width
    return (*blocks, router, *digital)


FLOOR_PLAN: tuple[Block, ...] = _floor_plan()
"""The geometry of the emulated chip, to scale with itself; what is not published is assumed, with its reason."""

_LOOKS = {
    # kind: (face colour, hatch, what it does)
    "synapse array": ("#F4E3C1", "", "256 × 256 synapses, 6 bit"),
    "synapse drivers": ("#D9A441", "", "128 per array,\n2 rows each"),
    "neuron circuits": ("#FFFFFF", "", "256 per half"),
    "column ADC": ("#7FB0D3", "", "8 bit, all columns at once"),
    "SIMD unit": ("#B9C9B0", "", "vector unit of the PPU"),
    "processor (PPU)": ("#93AD86", "", "one per half"),
    "event router": ("#DDDDDD", "", "spikes and inputs\nto the drivers"),
    "digital I/O": ("#AAAAAA", "", "links to the host"),
}

_LAYER_LOOKS = (
    ("#E8894A", "////"),  # the output layer
    ("#8FBBDC", ""),
    ("#9BD3C1", "...."),
    ("#E3BCD2", "xxx"),
    ("#F3D27A", "\\\\\\"),
)


def layer_look(placement: Placement, k: int) -> dict[str, Any]:
    """Return how patches of layer ``k`` look: a colour, and a hatch that survives a greyscale print."""
    last = len(placement.layers) - 1
    look = 0 if k == last else 1 + k % (len(_LAYER_LOOKS) - 1)
    colour, hatch = _LAYER_LOOKS[look]
    return {"facecolor": colour, "hatch": hatch, "edgecolor": "black", "linewidth": 0.5}


def draw_floor_plan(placement: Placement | None = None) -> style.PaperFigure:
    """Figure 1A: the floor plan of the emulated chip, to scale.

    Args:
        placement: if given, the neuron circuits are coloured by the layer that they belong to.

    Returns:
        A new figure; one patch per block of ``FLOOR_PLAN``, in mm.
    """
    width, height = (side / 1000 for side in DIE_UM)
    with style.paper():
        figure = style.PaperFigure(figsize=(5.6, 6.4))
        axes = figure.subplots()
        axes.add_patch(Rectangle((0, 0), width, height, facecolor="#FAFAFA", edgecolor="black", linewidth=1.2))
        for block in FLOOR_PLAN:
            colour, hatch, _ = _LOOKS[block.kind]
            corner = block.x / 1000, block.y / 1000
            patch = Rectangle(
                corner, block.width / 1000, block.height / 1000, facecolor=colour, edgecolor="black",
                linewidth=0.7, hatch=hatch, label=block.name,
            )  # fmt: skip
            axes.add_patch(patch)
        _write_inside(axes)
        _write_outside(axes)
        if placement is not None:
            _colour_neurons(axes, placement)
        axes.plot([width - 1.0, width], [-0.22, -0.22], color="black", linewidth=2.2, solid_capstyle="butt")
        axes.text(width - 0.5, -0.3, "1 mm", ha="center", va="top", fontsize=8)
        axes.set(xlim=(-1.75, width + 1.95), ylim=(-0.62, height + 0.1), aspect="equal")
        axes.set_axis_off()
        axes.text(0, -0.3, "die 4 mm × 8 mm,\nall geometry assumed", ha="left", va="top", fontsize=7)
        style.panel_letter(axes, "A")
        style.badge(figure, emulated=True)
    return figure


def _write_inside(axes: Axes) -> None:
    for block in FLOOR_PLAN:
        what = _LOOKS[block.kind][2]
        middle = (block.x + block.width / 2) / 1000, (block.y + block.height / 2) / 1000
        if block.kind not in ("neuron circuits", "synapse drivers", "event router", "digital I/O"):
            one_line = block.height < 500
            text = f"{block.kind}: {what}" if one_line else f"{block.kind}\n{what}"
            axes.text(*middle, text, ha="center", va="center", fontsize=6.8 if one_line else 8.5)


def _write_outside(axes: Axes) -> None:
    """Labels of narrow blocks stand beside the die, on lines that lead to them."""
    by_name = {block.name: block for block in FLOOR_PLAN}
    right = DIE_UM[0] / 1000
    for name, side in (
        ("digital I/O, top", "left"),
        ("synapse drivers, top", "left"),
        ("event router", "left"),
        ("neuron circuits, top", "right"),
        ("neuron circuits, bottom", "right"),
    ):
        block = by_name[name]
        at_left = side == "left"
        inset = block.width * (0.5 if at_left else 0.995)
        at = ((block.x + inset) / 1000, (block.y + block.height / 2) / 1000)
        first = 0 if name.endswith("top") else 256
        what = f"circuits {first} … {first + 255}" if block.kind == "neuron circuits" else _LOOKS[block.kind][2]
        axes.annotate(
            f"{block.kind}\n{what}", at, xytext=(-0.3 if at_left else right + 0.3, at[1] + _nudge(name)),
            ha="right" if at_left else "left", va="center", fontsize=7.5,
            arrowprops={"arrowstyle": "-", "linewidth": 0.7, "shrinkA": 1, "shrinkB": 0},
        )  # fmt: skip


def _nudge(name: str) -> float:
    """Vertical shift of a label from its block, mm, so that neighbours stay apart."""
    return {"neuron circuits, top": 0.15, "neuron circuits, bottom": -0.15}.get(name, 0.0)


def _colour_neurons(axes: Axes, placement: Placement) -> None:
    strips = {b.name.split(", ")[1]: b for b in FLOOR_PLAN if b.kind == "neuron circuits"}
    for k in range(len(placement.layers)):
        for array, first, last in column_runs(placement, k):
            block = strips[HEMISPHERES[array]]
            pitch = block.width / COLUMNS
            corner = (block.x + first * pitch) / 1000, block.y / 1000
            size = (last - first) * pitch / 1000, block.height / 1000
            axes.add_patch(Rectangle(corner, *size, label=f"layer {k}", **layer_look(placement, k)))
    legend = [
        Rectangle((0, 0), 1, 1, label=f"{layer.name}: {len(layer.neurons)} neurons", **layer_look(placement, k))
        for k, layer in enumerate(placement.layers)
    ]
    axes.legend(handles=legend, loc="upper left", bbox_to_anchor=(0.755, 0.40), fontsize=7.5, handlelength=1.2)


def column_runs(placement: Placement, k: int) -> Iterator[tuple[int, int, int]]:
    """Unbroken runs of synapse columns that belong to layer ``k``: (array, first column, column after the last)."""
    layer = placement.layers[k]
    for array in np.unique(layer.arrays).tolist():
        columns = np.sort(layer.columns[layer.arrays == array].ravel())
        for run in np.split(columns, np.flatnonzero(np.diff(columns) > 1) + 1):
            yield array, int(run[0]), int(run[-1]) + 1
