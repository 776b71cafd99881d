"""Rounding at the border between software and chip."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bss2lab import quantize

weights = hnp.arrays(np.float32, (3, 4), elements=st.floats(-3, 3, width=32))


@given(weights, st.floats(1, 250))
def test_weights_are_the_nearest_integers_that_the_synapses_hold(w, scale):
    integers = quantize.quantize_weights(w, scale)
    assert integers.dtype == np.int8
    for got, exact in zip(integers.ravel().tolist(), (w * np.float64(scale)).ravel().tolist(), strict=True):
        near = min(range(-63, 64), key=lambda k: abs(k - exact))
        assert abs(got - exact) <= abs(near - exact) + 1e-4


@given(weights, st.floats(1, 250))
def test_weights_that_are_not_rounded_are_what_is_rounded(w, scale):
    held = quantize.clip_weights(w, scale)
    assert held.dtype == np.float32
    np.testing.assert_array_equal(np.rint(held), quantize.quantize_weights(w, scale))
    assert np.abs(held).max() <= 63
    np.testing.assert_allclose(held, np.clip(w * np.float64(scale), -63, 63), rtol=1e-6, atol=1e-30)


def test_golden_weights():
    w = np.array([[0.0, 1 / 240, -1 / 240, 0.1, -0.1, 0.2625, -0.2625, 1.0, -1.0]])
    assert quantize.quantize_weights(w, 240.0).tolist() == [[0, 1, -1, 24, -24, 63, -63, 63, -63]]


def test_clamp_is_the_largest_weight_of_the_hidden_layer():
    assert quantize.WEIGHT_CLAMP == 0.2625
    assert quantize.quantize_weights(np.array([[quantize.WEIGHT_CLAMP]]), quantize.HIDDEN_SCALE).item() == 63


@given(st.floats(0.252, 1e6))
def test_output_scale_uses_the_full_range(largest):
    scale = quantize.output_scale(largest)
    assert scale * largest == pytest.approx(63)
    assert scale <= 250


@given(st.floats(0, 0.252))
def test_output_scale_has_a_ceiling(largest):
    assert quantize.output_scale(largest) == 250.0


def test_model_units_per_lsb():
    """4.6875 mV per LSB over 330 mV per model unit; a layer written with scale s answers with s/240."""
    assert quantize.model_units_per_lsb(240.0) == pytest.approx(4.6875 / 330)
    assert quantize.model_units_per_lsb(120.0) == pytest.approx(2 * 4.6875 / 330)


def test_normalised_trace_follows_the_authors_formula():
    """V = (cadc · 1.2/256 − 0.38)/0.33 with the neuron's own first sample subtracted."""
    samples, first = np.array([80.0, 150.4, 40.0]), 80.0
    authors = (samples * 1.2 / 256 - 0.38) / 0.33 - (first * 1.2 / 256 - 0.38) / 0.33
    ours = quantize.normalise(samples, first, quantize.model_units_per_lsb(quantize.HIDDEN_SCALE))
    np.testing.assert_allclose(ours, authors, rtol=1e-12)
