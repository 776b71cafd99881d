"""Draw figure 1B: a network on the analog core of the emulated chip, with the weights that its synapses hold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.image import AxesImage
from matplotlib.patches import ConnectionPatch, Rectangle

from bss2lab.chip.image import ARRAYS, COLUMNS, DRIVERS, LABELS, NO_LABEL, WeightImage
from bss2lab.chip.placement import HEMISPHERES, PER_ARRAY, Origin, PlacedLayer, Placement
from bss2lab.errors import InputError, complain
from bss2lab.plots import style
from bss2lab.plots.fig1 import column_runs, layer_look
from bss2lab.quantize import WEIGHT_MAX

if TYPE_CHECKING:
    from numpy import ndarray

# Inhibition dark blue, excitation orange: colour-blind readers see the hues, a greyscale print the brightness.
_COLOURS = ["#0B2A6B", "#6C8FC9", "#FFFFFF", "#F5A04C", "#C65A00"]
_UNUSED = "#E4E4E4"
WEIGHT_MAP = LinearSegmentedColormap.from_list("signed weight", _COLOURS).with_extremes(bad=_UNUSED)

DETAIL = 4
"""The enlarged part shows so many drivers and neurons."""

# Places on the paper, inches: the two arrays, drivers and router to their left, readout above and below.
_PAPER = (9.0, 7.0)
_LEFT, _WIDE, _HIGH = 2.4, 4.1, 2.05
_BOTTOM = (3.9, 1.08)
_STRIP, _STRIP_HIGH = (3.56, 3.24), 0.22
_DRIVERS = (1.6, 0.68)
_ROUTER = (0.9, 0.34)
_CADC, _PPU = ((6.09, 0.72), 0.22), ((6.39, 0.32), 0.32)


@dataclass(frozen=True, slots=True)
class Detail:
    """The part that is enlarged: ``DETAIL`` drivers from ``driver`` on, ``DETAIL`` neurons from ``neuron`` on."""

    driver: int
    neuron: int


def draw_network_on_chip(
    placement: Placement, image: WeightImage, *, title: str = "", detail: Detail | None = None
) -> style.PaperFigure:
    """Figure 1B: drivers, signed synapse pairs, neurons, routing, column ADC and processors, with real weights.

    Args:
        placement: where the network lies.
        image: what its synapses hold, made by ``placement.image``.
        title: what network this is and where its weights come from.
        detail: the part to enlarge; the strongest weights of the top array if not given.

    Returns:
        A new figure. Its axes: the paper beneath, the top and the bottom array (signed weight, [driver, column]),
        the enlarged synapses, the colour bar.

    Raises:
        InputError: if the image is not one of this placement, or the detail lies outside the chip.
    """
    placement.read(image)
    signed = np.ma.masked_where(image.labels[:, 0::2] == NO_LABEL, image.signed())
    detail = _strongest(placement, signed) if detail is None else _check_detail(detail)
    with style.paper():
        figure = style.PaperFigure(figsize=_PAPER)
        figure.set_layout_engine("none")  # every place is given
        paper = figure.add_axes((0, 0, 1, 1))
        paper.set(xlim=(0, _PAPER[0]), ylim=(0, _PAPER[1]))
        paper.set_axis_off()
        pictures = [_draw_array(figure, placement, signed, array) for array in range(ARRAYS)]
        _draw_neurons(paper, placement)
        _draw_drivers(paper, placement)
        _draw_router(paper, placement)
        _draw_readout(paper)
        _draw_detail(figure, image, detail, pictures)
        bar = figure.add_axes(_box(6.98, 3.1, 1.6, 0.13))
        figure.colorbar(pictures[0], cax=bar, orientation="horizontal", ticks=[-WEIGHT_MAX, 0, WEIGHT_MAX])
        bar.set_xlabel("weight, excitatory − inhibitory (LSB)", fontsize=7, labelpad=1)
        bar.tick_params(labelsize=7)
        _draw_legend(paper, placement)
        paper.text(_LEFT, 6.84, title, fontsize=9, va="bottom")
        paper.text(0.12, 6.84, "B", fontsize=12, fontweight="bold", va="bottom")
        style.badge(figure, emulated=True)
    return figure


def _box(x: float, y: float, width: float, height: float) -> tuple[float, float, float, float]:
    """Inches to fractions of the figure."""
    return x / _PAPER[0], y / _PAPER[1], width / _PAPER[0], height / _PAPER[1]


def _strongest(placement: Placement, signed: np.ma.MaskedArray) -> Detail:
    """The enlarged part: where the weights of the first array in use are largest."""
    first = int(placement.layers[0].neurons[0])
    array = first // PER_ARRAY
    size = np.abs(signed[array].filled(0).astype(np.int32))
    blocks = size.reshape(DRIVERS // DETAIL, DETAIL, COLUMNS // (2 * DETAIL), 2 * DETAIL).sum(axis=(1, 3))
    driver, column = np.unravel_index(int(blocks.argmax()), blocks.shape)
    return Detail(int(driver) * DETAIL, array * PER_ARRAY + int(column) * DETAIL)


def _check_detail(detail: Detail) -> Detail:
    most = PER_ARRAY - DETAIL
    inside = 0 <= detail.driver <= DRIVERS - DETAIL and 0 <= detail.neuron < ARRAYS * PER_ARRAY
    if not inside or detail.neuron % PER_ARRAY > most:
        want = f"driver 0 … {DRIVERS - DETAIL}, neuron 0 … {most} or {PER_ARRAY} … {PER_ARRAY + most}"
        got = f"driver {detail.driver}, neuron {detail.neuron}"
        raise InputError(complain("detail", expected=want, got=got, fix="it must lie in one array"))
    return detail


def _draw_array(figure: Any, placement: Placement, signed: np.ma.MaskedArray, array: int) -> AxesImage:
    axes: Axes = figure.add_axes(_box(_LEFT, _BOTTOM[array], _WIDE, _HIGH))
    norm = Normalize(-WEIGHT_MAX, WEIGHT_MAX)
    picture = axes.imshow(signed[array], cmap=WEIGHT_MAP, norm=norm, aspect="auto", interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    axes.spines[["top", "right"]].set_visible(True)
    for k in range(len(placement.layers)):
        for half, first, last in column_runs(placement, k):
            for edge in (first, last):
                if half == array and 0 < edge < COLUMNS:
                    axes.axvline(edge - 0.5, color="black", linewidth=0.8)
    return picture


def _rectangle(paper: Axes, x: float, y: float, width: float, height: float, **look: Any) -> None:
    paper.add_patch(Rectangle((x, y), width, height, **{"edgecolor": "black", "linewidth": 0.7, **look}))


def _arrow(paper: Axes, start: tuple[float, float], end: tuple[float, float], style: str = "-|>") -> None:
    arrow = {"arrowstyle": style, "linewidth": 1.1, "shrinkA": 0, "shrinkB": 0, "color": "black"}
    paper.annotate("", end, xytext=start, arrowprops=arrow)


def _draw_neurons(paper: Axes, placement: Placement) -> None:
    """The neuron circuits between the arrays, coloured by layer; wide runs are named where they lie."""
    for y in _STRIP:
        _rectangle(paper, _LEFT, y, _WIDE, _STRIP_HIGH, facecolor=_UNUSED)
    for k, layer in enumerate(placement.layers):
        for array, first, last in column_runs(placement, k):
            x, width = _LEFT + _WIDE * first / COLUMNS, _WIDE * (last - first) / COLUMNS
            _rectangle(paper, x, _STRIP[array], width, _STRIP_HIGH, label=f"layer {k}", **layer_look(placement, k))
            if width > 1.7:
                low, high = array * PER_ARRAY + first // 2, array * PER_ARRAY + last // 2 - 1
                text = f"{layer.name}: neurons {low} … {high}"
                plain = {"facecolor": layer_look(placement, k)["facecolor"], "edgecolor": "none", "pad": 1.0}
                middle = (x + width / 2, _STRIP[array] + _STRIP_HIGH / 2)
                paper.text(*middle, text, ha="center", va="center", fontsize=7, bbox=plain)
    paper.text(
        _LEFT + _WIDE + 0.08, (_STRIP[0] + _STRIP[1] + _STRIP_HIGH) / 2, "neuron\ncircuits", fontsize=7, va="center"
    )


def _draw_drivers(paper: Axes, placement: Placement) -> None:
    """Beside each array: what the rows of each layer listen to, left the even, right the odd columns."""
    x0, wide = _DRIVERS
    for array, y0 in enumerate(_BOTTOM):
        _rectangle(paper, x0, y0, wide, _HIGH, facecolor=_UNUSED)
        here = [k for k, layer in enumerate(placement.layers) if (layer.arrays == array).any()]
        for position, k in enumerate(here):
            pitch = wide / len(here)
            x = x0 + position * pitch
            for side, first, last, look in source_runs(placement, placement.layers[k]):
                y = y0 + _HIGH * (1 - last / DRIVERS)
                height = _HIGH * (last - first) / DRIVERS
                _rectangle(paper, x + side * pitch / 2, y, pitch / 2, height, label=f"sources of layer {k}", **look)
            if len(here) <= 4:
                paper.text(x + pitch / 2, y0 + _HIGH + 0.02, f"L{k}", ha="center", va="bottom", fontsize=7)
        for text, y in (("0", y0 + _HIGH), (f"{DRIVERS - 1}", y0)):
            paper.text(x0 - 0.04, y, text, ha="right", va="top" if text == "0" else "bottom", fontsize=7)
    above = x0 + wide / 2 - 0.1, _BOTTOM[0] + _HIGH + 0.2
    paper.text(*above, "synapse drivers:\nsources of even |\nodd columns", ha="center", va="bottom", fontsize=7)


def source_runs(placement: Placement, layer: PlacedLayer) -> Iterator[tuple[int, int, int, dict[str, Any]]]:
    """Unbroken runs of drivers with sources of one kind: (column side, first, driver after the last, look)."""
    external = {"facecolor": "#777777", "hatch": "", "edgecolor": "black", "linewidth": 0.5}
    owner = {int(n): k for k, other in enumerate(placement.layers) for n in other.neurons}
    kind = np.array(
        [-1 if o is Origin.EXTERNAL else owner[int(n)] for o, n in zip(layer.origins, layer.sources, strict=True)]
    )
    for k in np.unique(kind).tolist():
        look = external if k < 0 else layer_look(placement, k)
        for side, first, last in _driver_runs(layer.rows[kind == k]):
            yield side, first, last, look


def _driver_runs(rows: ndarray) -> Iterator[tuple[int, int, int]]:
    for side in range(2):
        drivers = np.sort(rows[rows // DRIVERS == side] % DRIVERS)
        for run in np.split(drivers, np.flatnonzero(np.diff(drivers) > 1) + 1):
            if len(run):
                yield side, int(run[0]), int(run[-1]) + 1


def _draw_router(paper: Axes, placement: Placement) -> None:
    x, wide = _ROUTER
    low, high = _BOTTOM[1], _BOTTOM[0] + _HIGH
    _rectangle(paper, x, low, wide, high - low, facecolor="#F2F2F2")
    paper.text(x + wide / 2, (low + high) / 2, "event router", rotation=90, ha="center", va="center", fontsize=8.5)
    _arrow(paper, (0.12, 5.0), (x, 5.0))
    paper.text(0.12, 5.06, f"{placement.network.n_input}\nexternal\ninputs", va="bottom", fontsize=7.5)
    for array, y0 in enumerate(_BOTTOM):
        if any((layer.arrays == array).any() for layer in placement.layers):
            _arrow(paper, (x + wide, y0 + _HIGH / 2), (_DRIVERS[0], y0 + _HIGH / 2))
    if any(route.origin is Origin.NEURON for route in placement.routes):
        y = (_STRIP[0] + _STRIP[1] + _STRIP_HIGH) / 2
        _arrow(paper, (_LEFT, y), (x + wide, y))
        paper.text(_LEFT - 0.06, y + 0.04, "on-chip spikes", ha="right", va="bottom", fontsize=7.5)


def _draw_readout(paper: Axes) -> None:
    boxes = (
        (_CADC, "column ADC: 8 bit, all columns at once", "#C9DFEF"),
        (_PPU, "processor (PPU) with SIMD unit", "#D5E2CC"),
    )
    for (ys, height), text, colour in boxes:
        for half, y in zip(HEMISPHERES, ys, strict=True):
            _rectangle(paper, _LEFT, y, _WIDE, height, facecolor=colour)
            paper.text(_LEFT + _WIDE / 2, y + height / 2, f"{text}, {half}", ha="center", va="center", fontsize=7.5)
    for x in _LEFT + _WIDE * np.array([0.08, 0.92]):
        _arrow(paper, (x, _BOTTOM[0] + _HIGH), (x, _CADC[0][0]))
        _arrow(paper, (x, _BOTTOM[1]), (x, _CADC[0][1] + _CADC[1]))
        _arrow(paper, (x, _CADC[0][0] + _CADC[1]), (x, _PPU[0][0]))
        _arrow(paper, (x, _CADC[0][1]), (x, _PPU[0][1] + _PPU[1]))


def _draw_detail(figure: Any, image: WeightImage, detail: Detail, pictures: list[AxesImage]) -> None:
    """Enlarge a few signed pairs: every synapse with the 6-bit number that it holds."""
    array, column = detail.neuron // PER_ARRAY, 2 * (detail.neuron % PER_ARRAY)
    rows = slice(2 * detail.driver, 2 * (detail.driver + DETAIL))
    held = image.weights[array, rows, column : column + 2 * DETAIL].astype(np.int8)
    signs = np.where(np.arange(2 * DETAIL) % 2 == 0, 1, -1)[:, None]
    axes: Axes = figure.add_axes(_box(6.9, 4.27, 1.6, 1.6))
    axes.imshow(signs * held, cmap=WEIGHT_MAP, norm=Normalize(-WEIGHT_MAX, WEIGHT_MAX), interpolation="nearest")
    for (r, c), value in np.ndenumerate(held):
        if value:
            dark = value > 40 and r % 2 == 1
            axes.text(c, r, str(value), ha="center", va="center", fontsize=6.5, color="white" if dark else "black")
    for edge in np.arange(1.5, 2 * DETAIL - 1, 2):
        axes.axhline(edge, color="black", linewidth=0.9)
        axes.axvline(edge, color="black", linewidth=0.9)
    names = [f"{detail.driver + r // 2} {'+−'[r % 2]}" for r in range(2 * DETAIL)]
    axes.set_yticks(range(2 * DETAIL), names, fontsize=6.5)
    axes.set_xticks(np.arange(0.5, 2 * DETAIL, 2), [str(detail.neuron + n) for n in range(DETAIL)], fontsize=7)
    axes.tick_params(length=0)
    axes.yaxis.tick_right()
    axes.yaxis.set_label_position("right")
    axes.spines[["top", "right"]].set_visible(True)
    axes.set_title("signed pairs, one number per synapse", fontsize=7.5, loc="left")
    axes.set_xlabel("logical neuron (two columns each)", fontsize=7, labelpad=1)
    axes.set_ylabel("driver: + exc. row, − inh. row", fontsize=7, labelpad=4)
    home = pictures[array].axes
    corner = column - 0.5, detail.driver - 0.5
    home.add_patch(Rectangle(corner, 2 * DETAIL, DETAIL, fill=False, edgecolor="black", linewidth=1.2))
    for y, fraction in ((detail.driver - 0.5, 1.0), (detail.driver + DETAIL - 0.5, 0.0)):
        line = ConnectionPatch(
            xyA=(column + 2 * DETAIL - 0.5, y), coordsA="data", axesA=home, xyB=(0, fraction), coordsB="axes fraction",
            axesB=axes, color="black", linewidth=0.6, linestyle=":",
        )  # fmt: skip
        figure.add_artist(line)


def _draw_legend(paper: Axes, placement: Placement) -> None:
    x, y = 6.98, 2.36
    entries: list[tuple[dict[str, Any], str]] = [
        (layer_look(placement, k), f"L{k} {layer.name}: neurons {layer.neurons[0]} … {layer.neurons[-1]}")
        for k, layer in enumerate(placement.layers)
    ]
    entries.append(({"facecolor": "#777777"}, f"external inputs 0 … {placement.network.n_input - 1}"))
    entries.append(({"facecolor": _UNUSED}, "not used"))
    for row, (look, text) in enumerate(entries):
        _rectangle(paper, x, y - 0.22 * row, 0.18, 0.14, **look)
        paper.text(x + 0.26, y - 0.22 * row + 0.07, text, fontsize=7, va="center")
    busiest = 1 + max(route.label for route in placement.routes)
    routes = f"{len(placement.routes)} routes (source to driver);"
    text = f"{routes}\n≤ {busiest} sources at a driver, of the\n{LABELS} that a label tells apart"
    paper.text(x, y - 0.22 * len(entries) - 0.02, text, fontsize=7, va="top")
