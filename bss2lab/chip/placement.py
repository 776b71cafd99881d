"""Where a network lies on the chip: neurons, synapse rows, routing, and the integer images of both synapse arrays.

The chip has 512 neuron circuits in two hemispheres (top: 0 … 255, bottom: 256 … 511), each at the foot of a
column of 256 six-bit synapses [paper]. Circuits ``2n`` and ``2n + 1`` joined are logical neuron ``n``: the first
lends its membrane, the second only its synapses [authors' code]. A synapse driver serves two rows of its array,
one excitatory and one inhibitory, so that a signed weight is a vertical pair of synapses of which at most one is
not 0 [paper]. An array has 128 drivers; two joined columns therefore make 256 signed rows:

    signed row r of logical neuron n:   array n // 128,  driver r % 128,  column 2·(n % 128) + r // 128

Every synapse compares the 6-bit address of an event with its own label, so that columns behind one driver may
listen to different sources; but a signed row of one neuron holds a single source [paper].

Ours [assumed, because the published layout leaves it open, and nothing that the network computes depends on it]:
the excitatory row of a driver is the even one; a label is the number of the source among those that its driver
receives, external inputs first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from bss2lab.chip.image import ARRAYS, COLUMNS, DRIVERS, LABELS, NO_LABEL, SYNAPSE_ROWS, WeightImage
from bss2lab.chip.limits import LayerSize, check_integers, check_layers
from bss2lab.chip.spec import NEURONS
from bss2lab.errors import InputError, complain
from bss2lab.topology import Network

if TYPE_CHECKING:
    from jaxtyping import Int64
    from numpy import ndarray

PER_ARRAY = NEURONS // ARRAYS
"""Logical neurons of a hemisphere, 128 [paper]."""

HEMISPHERES = ("top", "bottom")
"""Names of the two halves, by array number."""


class Origin(StrEnum):
    """Where an event comes from."""

    EXTERNAL = "input"
    NEURON = "neuron"


@dataclass(frozen=True, slots=True)
class Route:
    """One source's way to one synapse driver.

    Attributes:
        origin: external input or on-chip neuron.
        index: number of the input, or of the logical neuron.
        array: array of the driver, 0 (top) or 1 (bottom).
        driver: driver within that array, 0 … 127.
        label: 6-bit label that its events carry at this driver.
        listeners: (layer, signed row) pairs behind this driver that listen to it.
    """

    origin: Origin
    index: int
    array: int
    driver: int
    label: int
    listeners: tuple[tuple[int, int], ...]

    def __str__(self) -> str:
        rows = ", ".join(f"row {row} of layer {layer}" for layer, row in self.listeners)
        where = f"{HEMISPHERES[self.array]} driver {self.driver}"
        return f"{self.origin.value} {self.index} → {where}, label {self.label}: {rows}"


@dataclass(frozen=True, slots=True, eq=False)
class PlacedLayer:
    """Where one layer lies. Sources stand in the order [feed-forward, recurrent].

    Attributes:
        name: as in ``Network.names``.
        neurons: logical neuron of each unit, 0 … 255, shape [unit].
        rows: signed row of each source, 0 … 255, shape [source].
        origins: kind of each source, length [source].
        sources: number of the input or logical neuron behind each source, shape [source].
    """

    name: str
    neurons: Int64[ndarray, "unit"]
    rows: Int64[ndarray, "source"]
    origins: tuple[Origin, ...]
    sources: Int64[ndarray, "source"]

    @property
    def circuits(self) -> Int64[ndarray, "unit 2"]:
        """The two joined circuits of each unit, 0 … 511; the first lends the membrane."""
        return 2 * self.neurons[:, None] + np.arange(2)

    @property
    def arrays(self) -> Int64[ndarray, "unit"]:
        """Hemisphere of each unit: 0 top, 1 bottom."""
        return self.neurons // PER_ARRAY

    @property
    def columns(self) -> Int64[ndarray, "unit 2"]:
        """The two synapse columns of each unit within its array, 0 … 255."""
        return self.circuits % COLUMNS

    @property
    def drivers(self) -> Int64[ndarray, "source"]:
        """Driver of each source, 0 … 127, in every array that holds units of this layer."""
        return self.rows % DRIVERS

    @property
    def sides(self) -> Int64[ndarray, "source"]:
        """Column of the joined pair that each source uses: 0 the even one, 1 the odd one."""
        return self.rows // DRIVERS


@dataclass(frozen=True, eq=False)
class Placement:
    """A network on the chip.

    Attributes:
        network: what was placed.
        layers: where each layer lies.
    """

    network: Network
    layers: tuple[PlacedLayer, ...]

    @cached_property
    def routes(self) -> tuple[Route, ...]:
        """The routing table: one record per source and driver that it reaches, by array, driver and label."""
        ways: dict[tuple[int, int], dict[tuple[Origin, int], list[tuple[int, int]]]] = {}
        for k, layer in enumerate(self.layers):
            for array in np.unique(layer.arrays).tolist():
                for origin, index, row in zip(layer.origins, layer.sources.tolist(), layer.rows.tolist(), strict=True):
                    at = ways.setdefault((array, row % DRIVERS), {})
                    at.setdefault((origin, index), []).append((k, row))
        return tuple(
            Route(origin, index, array, driver, label, tuple(ways[array, driver][origin, index]))
            for array, driver in sorted(ways)
            for label, (origin, index) in enumerate(sorted(ways[array, driver], key=_external_first))
        )

    @cached_property
    def _labels(self) -> dict[tuple[int, int, Origin, int], int]:
        return {(route.array, route.driver, route.origin, route.index): route.label for route in self.routes}

    def image(self, weights: Sequence[ndarray]) -> WeightImage:
        """Write integer weights into the images of both synapse arrays.

        Args:
            weights: one integer array per layer, [source, unit], −63 … 63, sources in the order [feed-forward,
                recurrent].

        Returns:
            What each synapse of the chip holds; ``read`` undoes it exactly.

        Raises:
            InputError: if the number of layers, a shape, a type or a value is wrong.
        """
        if len(weights) != len(self.layers):
            want = f"{len(self.layers)} arrays, one per layer"
            raise InputError(complain("weights", expected=want, got=len(weights), fix="pass a list of arrays"))
        synapses = np.zeros((ARRAYS, SYNAPSE_ROWS, COLUMNS), np.uint8)
        labels = np.full_like(synapses, NO_LABEL)
        for layer, given in zip(self.layers, weights, strict=True):
            w = np.asarray(given)
            check_integers(f"{layer.name} weights", w)
            shape = (len(layer.rows), len(layer.neurons))
            if w.shape != shape:
                want = f"shape {list(shape)}, [source, unit]"
                fix = "transposed?" if w.shape == shape[::-1] else "one row per source, feed-forward then recurrent"
                raise InputError(complain(f"{layer.name} weights", expected=want, got=list(w.shape), fix=fix))
            w = w.astype(np.int16)
            array, row, column = _where(layer)
            synapses[array, row, column] = np.maximum(w, 0)
            synapses[array, row + 1, column] = np.maximum(-w, 0)
            labels[array, row, column] = labels[array, row + 1, column] = self._label_table(layer)
        return WeightImage(synapses, labels)

    def read(self, image: WeightImage) -> tuple[ndarray, ...]:
        """Read the weights of every layer back from an image of this placement.

        Returns:
            int8 arrays [source, unit], sources in the order [feed-forward, recurrent].

        Raises:
            InputError: if the image is damaged, holds weights where nothing is placed, or has other labels.
        """
        image.check()
        expected = self.image([np.zeros((len(p.rows), len(p.neurons)), np.int8) for p in self.layers]).labels
        unplaced = (expected == NO_LABEL) & (image.weights > 0)
        if unplaced.any():
            array, row, column = np.argwhere(unplaced)[0].tolist()
            got = f"{int(unplaced.sum())} elsewhere, the first at [{array}, {row}, {column}]"
            want = "weights only where the network is placed"
            raise InputError(complain("image", expected=want, got=got, fix="read it with the placement that wrote it"))
        wrong = expected != image.labels
        if wrong.any():
            array, row, column = np.argwhere(wrong)[0].tolist()
            got = f"{int(wrong.sum())} others, the first at [{array}, {row}, {column}]"
            fix = "read it with the placement that wrote it"
            raise InputError(complain("image", expected="the labels of this placement", got=got, fix=fix))
        signed = image.signed()
        found = []
        for layer in self.layers:
            array, row, column = _where(layer)
            found.append(signed[array, row // 2, column])
        return tuple(found)

    def _label_table(self, layer: PlacedLayer) -> ndarray:
        """Label of each source in the array of each unit, uint8 [source, unit]."""
        table = np.empty((len(layer.rows), len(layer.neurons)), np.uint8)
        for array in np.unique(layer.arrays).tolist():
            column = [
                self._labels[array, driver, origin, index]
                for driver, origin, index in zip(
                    layer.drivers.tolist(), layer.origins, layer.sources.tolist(), strict=True
                )
            ]
            table[:, layer.arrays == array] = np.array(column, np.uint8)[:, None]
        return table


def place(network: Network) -> Placement:
    """Find every unit a neuron and every source a row.

    The first layer begins at neuron 0, the last of several ends at neuron 255, those between follow the first.
    Source k of a feed-forward layer uses row k; in a recurrent layer its own spikes use the rows 0 … size − 1 and
    the feed-forward sources those after them [authors' code].

    Raises:
        InputError: if the network does not fit: inputs, sources per neuron, neurons in total, or sources per
            driver (a label tells 64 apart), each with its numbers.
    """
    sizes = [
        LayerSize(name, layer.size, layer.recurrent) for name, layer in zip(network.names, network.layers, strict=True)
    ]
    check_layers(network.n_input, sizes)
    placed: list[PlacedLayer] = []
    origin, before, start = Origin.EXTERNAL, np.arange(network.n_input), 0
    for k, (name, layer) in enumerate(zip(network.names, network.layers, strict=True)):
        last = 0 < k == len(network.layers) - 1
        first = NEURONS - layer.size if last else start
        neurons, forward = first + np.arange(layer.size), np.arange(len(before))
        if layer.recurrent:
            rows = np.concatenate([layer.size + forward, np.arange(layer.size)])
            origins = (origin,) * len(before) + (Origin.NEURON,) * layer.size
            placed.append(PlacedLayer(name, neurons, rows, origins, np.concatenate([before, neurons])))
        else:
            placed.append(PlacedLayer(name, neurons, forward, (origin,) * len(before), before))
        origin, before, start = Origin.NEURON, neurons, start + layer.size
    placement = Placement(network, tuple(placed))
    busiest = max(placement.routes, key=lambda route: route.label)
    if busiest.label >= LABELS:
        got = f"{busiest.label + 1} at driver {busiest.driver} of the {HEMISPHERES[busiest.array]} array"
        want = f"at most {LABELS} sources per driver (6-bit labels)"
        raise InputError(complain("network", expected=want, got=got, fix="use fewer, larger layers"))
    return placement


def _external_first(source: tuple[Origin, int]) -> tuple[bool, int]:
    return source[0] is not Origin.EXTERNAL, source[1]


def _where(layer: PlacedLayer) -> tuple[ndarray, ndarray, ndarray]:
    """Array, excitatory synapse row and column of every weight of a layer, each broadcastable to [source, unit]."""
    column = layer.columns[:, 0][None, :] + layer.sides[:, None]
    return layer.arrays[None, :], 2 * layer.drivers[:, None], column
