"""Power and throughput: the paper's numbers come out, and scale as they must."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bss2lab.chip import power
from bss2lab.chip.spec import SPEC
from bss2lab.config import Source
from bss2lab.errors import InputError

POSITIVE = st.floats(1e-3, 1e9, allow_nan=False, allow_infinity=False)


def test_the_papers_fast_inference() -> None:
    fast = power.at_separation()
    assert fast.separation_us == 11.8
    assert fast.images_per_s == pytest.approx(84_745.76, abs=0.01)  # paper: 85 k/s
    assert fast.energy_per_image_uj == pytest.approx(2.36)  # paper: 2.4 µJ
    assert fast.latency_us == 8.0
    assert fast.power_mw == SPEC["power"].value == 200.0
    assert fast.decides_before_the_next
    assert power.LATENCY.source is Source.PAPER
    assert "84,746 images/s, 2.36 µJ per image" in str(fast)
    assert "emulated" in str(fast)


def test_training_separation_costs_more() -> None:
    slow = power.at_separation(200.0)
    assert slow.images_per_s == pytest.approx(5000.0)
    assert slow.energy_per_image_uj == pytest.approx(40.0)


@given(st.integers(1, 10**9), POSITIVE)
def test_energy_is_power_times_time(n_images: int, emulated_us: float) -> None:
    run = power.of_run(n_images, emulated_us)
    joule = 0.2 * emulated_us * 1e-6
    assert run.energy_uj == pytest.approx(1e6 * joule, rel=1e-12)
    assert run.energy_per_image_uj * n_images == pytest.approx(run.energy_uj, rel=1e-9)
    assert run.images_per_s * emulated_us == pytest.approx(1e6 * n_images, rel=1e-9)


@given(st.integers(1, 10**6), POSITIVE)
def test_a_run_of_equal_images_is_its_separation(n_images: int, separation_us: float) -> None:
    run, one = power.of_run(n_images, n_images * separation_us), power.at_separation(separation_us)
    assert run.separation_us == pytest.approx(one.separation_us, rel=1e-9)
    assert run.images_per_s == pytest.approx(one.images_per_s, rel=1e-9)


@pytest.mark.parametrize(("separation_us", "in_time"), [(7.9, False), (8.0, True), (11.8, True)])
def test_it_tells_when_images_come_faster_than_decisions(separation_us: float, in_time: bool) -> None:
    assert power.at_separation(separation_us).decides_before_the_next is in_time


def test_the_note_says_what_is_not_modelled() -> None:
    for words in ("200 mW", "whole chip", "[paper]", "not modelled per component", "emulated chip time"):
        assert words in power.NOTE


@pytest.mark.parametrize("bad", [0, 0.0, -11.8, np.nan, np.inf, -np.inf, "11.8", None, True])
def test_times_that_are_none(bad) -> None:
    for attempt, what in (
        (lambda: power.at_separation(bad), "separation_us"),
        (lambda: power.of_run(1, bad), "emulated"),
    ):
        with pytest.raises(InputError) as caught:
            attempt()
        for word in (what, "a finite number above 0 µs", f"got {bad!r}", "11.8 µs"):
            assert word in str(caught.value)


@pytest.mark.parametrize("bad", [0, -1, 1.5, None, True])
def test_runs_without_images(bad) -> None:
    with pytest.raises(InputError, match=f"n_images: expected an integer of at least 1, got {bad!r}"):
        power.of_run(bad, 100.0)


@pytest.mark.parametrize("what", ["power_mw", "latency_us"])
def test_power_and_latency_must_be_positive_too(what: str) -> None:
    with pytest.raises(InputError, match=f"{what}: expected a finite number above 0"):
        power.Throughput(1, 10.0, **{what: -1.0})


@pytest.mark.parametrize("kind", [int, np.float32, np.int64])
def test_numbers_of_any_kind_are_taken(kind) -> None:
    assert power.at_separation(kind(20)).images_per_s == pytest.approx(50_000)
