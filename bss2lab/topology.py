"""What a network is: inputs, and a chain of layers, each with its size, its neurons and its spike function."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from bss2lab.errors import InputError, complain
from bss2lab.surrogate import SpikeFunction, SuperSpike


@dataclass(frozen=True, slots=True)
class LIF:
    """Leaky integrate-and-fire neuron with exponential synaptic currents.

    Attributes:
        tau_mem_us, tau_syn_us: membrane and synaptic time constants, µs [paper: 6].

    Raises:
        InputError: if a time constant is none, or given in seconds.
    """

    tau_mem_us: float = 6.0
    tau_syn_us: float = 6.0

    def __post_init__(self) -> None:
        for name in ("tau_mem_us", "tau_syn_us"):
            value = getattr(self, name)
            if not isinstance(value, int | float) or not 0.05 <= value <= 1e4:
                fix = "the chip's neurons have 0.5 … 60 µs; times are in microseconds"
                raise InputError(complain(name, expected="0.05 … 10,000 µs", got=f"{value!r}", fix=fix))


_SUPERSPIKE = SuperSpike()


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer of a network.

    Attributes:
        size: number of neurons, at least 1.
        recurrent: do its own spikes come back to all of its neurons?
        spiking: does it fire? Output layers that are read as membranes do not.
        neuron: its neurons.
        spike: its spike function: a step, with a slope for the backward pass.

    Raises:
        InputError: if the size is no positive integer, a layer that does not fire is recurrent, or the spike function
            cannot be called.
    """

    size: int
    recurrent: bool = False
    spiking: bool = True
    neuron: LIF = LIF()
    spike: SpikeFunction = _SUPERSPIKE

    def __post_init__(self) -> None:
        _check_count("layer size", self.size)
        if self.recurrent and not self.spiking:
            text = complain("recurrent layer", expected="spiking=True", got="spiking=False", fix="it has no spikes")
            raise InputError(text)
        if not callable(self.spike):
            fix = "pass SuperSpike(50), or a torch.autograd.Function's apply"
            raise InputError(complain("spike", expected="a spike function", got=repr(self.spike)[:60], fix=fix))


@dataclass(frozen=True, slots=True)
class Network:
    """A chain of layers, each listening to the one before it, and to itself if recurrent.

    Attributes:
        n_input: external inputs, at least 1; the first layer listens to them.
        layers: the layers, first to last.

    Raises:
        InputError: if there is no input or no layer, or a layer that does not fire feeds another.

    Example:
        >>> Network(256, [Layer(120), Layer(60, recurrent=True), Layer(10, spiking=False)]).names
        ('hidden 1', 'hidden 2', 'output')
    """

    n_input: int
    layers: tuple[Layer, ...]

    def __init__(self, n_input: int, layers: Iterable[Layer]) -> None:
        _check_count("number of inputs", n_input)
        object.__setattr__(self, "n_input", n_input)
        object.__setattr__(self, "layers", tuple(layers))
        if not self.layers:
            raise InputError(complain("layers", expected="at least one layer", got="none", fix="add Layer(10)"))
        for name, layer in zip(self.names, self.layers[:-1], strict=False):
            if not layer.spiking:
                want = f"spiking=True, for the {name} layer feeds the next"
                raise InputError(
                    complain("layers", expected=want, got="spiking=False", fix="only the last may be silent")
                )

    @classmethod
    def feed_forward(cls, n_input: int, *sizes: int) -> Network:
        """Return a chain of feed-forward layers whose last does not fire: ``feed_forward(256, 246, 10)``."""
        last = len(sizes) - 1
        return cls(n_input, (Layer(size, spiking=k < last) for k, size in enumerate(sizes)))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the layers: hidden (numbered if there are several), …, output."""
        n = len(self.layers) - 1
        return (*(("hidden",) if n == 1 else (f"hidden {k + 1}" for k in range(n))), "output")

    @property
    def sources(self) -> tuple[int, ...]:
        """Number of units that each layer listens to, itself not counted."""
        return (self.n_input, *(layer.size for layer in self.layers[:-1]))


def _check_count(what: str, value: int) -> None:
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < 1:
        raise InputError(complain(what, expected="an integer of at least 1", got=repr(value), fix="count neurons"))
