"""Power and throughput: what the chip would draw and how many images it would see, from emulated time.

The model is one product, energy = power × emulated time. The power is the published one of the whole chip; it
does not depend on what the network does.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

import numpy as np

from bss2lab.chip.spec import SPEC, Constant
from bss2lab.config import Source
from bss2lab.errors import InputError, complain

LATENCY = Constant(8.0, "µs", Source.PAPER, "fast inference: decision ready after the first input spike")

NOTE = (
    "The power is the published 200 mW of the whole chip [paper]; it is not modelled per "
    "component and does not change with weights or spikes. Times are emulated chip time, not the "
    "time that the emulation takes. The latency is the published one of fast inference [paper]."
)
"""What these numbers are, in words: to be shown beside them."""


@dataclass(frozen=True, slots=True)
class Throughput:
    """Images in emulated time, and what they cost.

    Attributes:
        n_images: number of images, at least 1.
        emulated_us: emulated chip time of all of them, µs.
        power_mw: power of the whole chip, mW [paper].
        latency_us: from the first input spike of an image to its decision, µs [paper].
    """

    n_images: int
    emulated_us: float
    power_mw: float = SPEC["power"].value
    latency_us: float = LATENCY.value

    def __post_init__(self) -> None:
        n = self.n_images
        if not isinstance(n, int | np.integer) or isinstance(n, bool) or n < 1:
            raise InputError(complain("n_images", expected="an integer of at least 1", got=repr(n), fix="count images"))
        _check_positive("emulated_us", self.emulated_us, "µs", "11.8 µs per image is the fastest")
        _check_positive("power_mw", self.power_mw, "mW", "200 mW is the published power")
        _check_positive("latency_us", self.latency_us, "µs", "8 µs is the published latency")

    @property
    def separation_us(self) -> float:
        """Emulated time per image, µs."""
        return self.emulated_us / self.n_images

    @property
    def images_per_s(self) -> float:
        """Images per second of chip time."""
        return 1e6 / self.separation_us

    @property
    def energy_per_image_uj(self) -> float:
        """Energy per image, µJ: power × separation."""
        return 1e-3 * self.power_mw * self.separation_us

    @property
    def energy_uj(self) -> float:
        """Energy of all images, µJ: power × emulated time."""
        return 1e-3 * self.power_mw * self.emulated_us

    @property
    def decides_before_the_next(self) -> bool:
        """Is an image decided before the next one begins? If not, the throughput is of no use."""
        return self.latency_us <= self.separation_us

    def __str__(self) -> str:
        return (
            f"{self.n_images:,} image{'s' if self.n_images > 1 else ''}, {self.separation_us:g} µs each (emulated): "
            f"{self.images_per_s:,.0f} images/s, {self.energy_per_image_uj:.2f} µJ per image, "
            f"{self.energy_uj:,.2f} µJ in all, decision after {self.latency_us:g} µs"
        )


def at_separation(separation_us: float = SPEC["separation"].value) -> Throughput:
    """Return the throughput at one image per ``separation_us``.

    Args:
        separation_us: emulated time from image to image, µs, above 0; 11.8 µs in fast inference [paper].

    Raises:
        InputError: if it is not a positive finite number.
    """
    _check_positive("separation_us", separation_us, "µs", "11.8 µs is the fastest that the paper ran")
    return Throughput(1, float(separation_us))


def of_run(n_images: int, emulated_us: float) -> Throughput:
    """Return what an emulated run would have cost on the chip.

    Args:
        n_images: images of the run, at least 1.
        emulated_us: emulated chip time of the whole run, µs, above 0.

    Raises:
        InputError: if a number is out of range.
    """
    return Throughput(n_images, emulated_us)


def _check_positive(what: str, value: float, unit: str, fix: str) -> None:
    number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    if not number or not isfinite(value) or value <= 0:
        raise InputError(complain(what, expected=f"a finite number above 0 {unit}", got=repr(value), fix=fix))
