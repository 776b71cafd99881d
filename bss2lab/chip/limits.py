"""What fits on the chip, and the errors for what does not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from bss2lab.chip.spec import INPUTS, NEURONS
from bss2lab.errors import InputError, complain
from bss2lab.quantize import WEIGHT_MAX
from bss2lab.types import AnyWeights, RecurrentWeights

if TYPE_CHECKING:
    from jaxtyping import Bool
    from numpy import ndarray

_MOST_SHOWN = 6


class LayerSize(NamedTuple):
    """What the chip's limits depend on in a layer.

    Attributes:
        name: the layer's name in errors, ``hidden`` for instance.
        size: number of neurons.
        recurrent: do its own spikes come back to it?
    """

    name: str
    size: int
    recurrent: bool = False


def check_layers(n_input: int, layers: Sequence[LayerSize]) -> None:
    """Refuse a network of any depth that one chip cannot hold: the one place where this rule stands.

    A layer listens to the layer before it (the first: to the inputs) and, if recurrent, to itself.

    Raises:
        InputError: more than 256 inputs, sources per neuron, or neurons in total.
    """
    if n_input > INPUTS:
        text = complain("network", expected=f"at most {INPUTS} inputs", got=n_input, fix="use a smaller image")
        raise InputError(text)
    before = n_input
    for name, size, recurrent in layers:
        if recurrent and before + size > INPUTS:
            got = f"{before} feed-forward + {size} recurrent = {before + size}"
            room = INPUTS - before
            fix = f"use at most {room} {name} neurons" if room > 0 else "use fewer feed-forward sources"
            raise InputError(complain(f"{name} layer", expected=f"at most {INPUTS} sources", got=got, fix=fix))
        before = size
    total = sum(layer.size for layer in layers)
    if total > NEURONS:
        largest = max(layers, key=lambda layer: layer.size)
        room = NEURONS - (total - largest.size)
        shown = " + ".join(f"{layer.size} {layer.name}" for layer in layers[:_MOST_SHOWN])
        got = f"{shown}{' + …' if len(layers) > _MOST_SHOWN else ''} = {total}"
        fix = f"use at most {room} {largest.name} neurons" if room > 0 else "use fewer or smaller layers"
        raise InputError(complain("network", expected=f"at most {NEURONS} neurons in total", got=got, fix=fix))


def check_size(n_input: int, n_hidden: int, n_output: int, *, recurrent: bool = False) -> None:
    """Refuse a network with one hidden layer that one chip cannot hold.

    Raises:
        InputError: more than 256 inputs, neurons in total, or sources per neuron.
    """
    check_layers(n_input, [LayerSize("hidden", n_hidden, recurrent), LayerSize("output", n_output)])


def check_weights(weights: AnyWeights, *, integers: bool = True) -> None:
    """Refuse weights that the synapses cannot hold: wrong type, range, shape, or too large a network.

    Args:
        weights: what is to be written.
        integers: do the synapses hold integers alone? (``ChipProfile.rounds_weights``)

    Raises:
        InputError: with what was expected, what came and what to do.
    """
    for layer, w in weights._asdict().items():
        check = check_integers if integers else check_numbers
        check(f"{layer} weights", np.asarray(w))
    (n_input, n_hidden), (fan_in, n_output) = np.shape(weights.hidden), np.shape(weights.output)
    if fan_in != n_hidden:
        want = f"one row per hidden neuron, shape [{n_hidden}, outputs]"
        raise InputError(complain("output weights", expected=want, got=f"[{fan_in}, {n_output}]", fix="transposed?"))
    loop = weights.recurrent if isinstance(weights, RecurrentWeights) else None
    if loop is not None and loop.shape != (n_hidden, n_hidden):
        want, got = f"shape [{n_hidden}, {n_hidden}], hidden to hidden", list(loop.shape)
        raise InputError(complain("recurrent weights", expected=want, got=got, fix="match the hidden weights"))
    check_size(n_input, n_hidden, n_output, recurrent=loop is not None)


def check_integers(what: str, w: ndarray) -> None:
    """Refuse one layer's weights unless they are integers −63 … 63 with the axes [source, neuron].

    Raises:
        InputError: with what was expected, what came and what to do.
    """
    _check_layer(what, w, kinds="iu", expected="integers", convert="round with quantize_weights(w, scale)")


def check_numbers(what: str, w: ndarray) -> None:
    """Refuse one layer's weights unless they are numbers within ±63 with the axes [source, neuron].

    Raises:
        InputError: with what was expected, what came and what to do.
    """
    _check_layer(what, w, kinds="iuf", expected="real numbers", convert="clip with clip_weights(w, scale)")


def _check_layer(what: str, w: ndarray, *, kinds: str, expected: str, convert: str) -> None:
    if w.ndim != 2:
        raise InputError(complain(what, expected="shape [source, neuron]", got=f"{w.ndim} axes", fix="reshape"))
    if w.dtype.kind == "f" and not np.isfinite(w).all():
        got = f"{int((~np.isfinite(w)).sum())} NaN or infinite"
        raise InputError(complain(what, expected=f"finite {expected}", got=got, fix="check training"))
    if w.dtype.kind not in kinds:
        raise InputError(complain(what, expected=expected, got=w.dtype, fix=convert))
    if w.size and (w.min() < -WEIGHT_MAX or w.max() > WEIGHT_MAX):
        got = f"{w.min()} … {w.max()}"
        want = f"−{WEIGHT_MAX} … {WEIGHT_MAX}"
        raise InputError(complain(what, expected=want, got=got, fix=f"scale or {convert}"))


def check_seed(what: str, seed: int, *, bits: int) -> int:
    """Return a seed as a plain integer, or say what is wrong with it.

    Raises:
        InputError: if it is not an integer of so many bits.
    """
    if not isinstance(seed, int | np.integer) or not 0 <= seed < 2**bits:
        want = f"an integer 0 … 2^{bits} − 1"
        raise InputError(complain(what, expected=want, got=repr(seed), fix="count from 0"))
    return int(seed)


def check_silenced(silenced: Bool[ndarray, "n"], n_hidden: int) -> Bool[ndarray, "n"]:
    """Return the mask of silenced neurons as it is, or say what is wrong with it.

    Raises:
        InputError: if it is not a boolean per hidden neuron.
    """
    mask = np.asarray(silenced)
    if mask.dtype != np.bool_ or mask.shape != (n_hidden,):
        got = f"{mask.dtype} of shape {list(mask.shape)}"
        raise InputError(complain("silenced", expected=f"bool [{n_hidden}]", got=got, fix="one flag per hidden neuron"))
    return mask
