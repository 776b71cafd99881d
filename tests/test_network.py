"""Both sides of the loop: initial weights, what is written to the chip, what comes back."""

import math

import numpy as np
import pytest

from bss2lab.errors import InputError, WeightsWarning
from bss2lab.network import chip_weights, initial_recurrent_weights, initial_weights, traces_of
from bss2lab.quantize import model_units_per_lsb
from bss2lab.types import Recording, Spikes, Weights


def draw(seed=0, n_hidden=246):
    return initial_weights(256, n_hidden, 10, tau_mem_us=6.0, dt_us=1.7, seed=seed)


def test_initial_weights_have_the_stated_mean_and_spread():
    """N(1e-3 hidden / 0 output, 0.7 (1 − exp(−Δt/τ_m)) / √fan-in), within three standard errors."""
    spread = 0.7 * (1 - math.exp(-1.7 / 6))
    many = [draw(seed) for seed in range(10)]
    for w, mean, fan_in in (
        (np.stack([m.hidden for m in many]), 1e-3, 256),
        (np.stack([m.output for m in many]), 0.0, 246),
    ):
        sd = spread / math.sqrt(fan_in)
        assert abs(w.mean(dtype=float) - mean) < 3 * sd / math.sqrt(w.size)
        assert abs(w.std(dtype=float) / sd - 1) < 3 / math.sqrt(2 * w.size)


def test_initial_weights_belong_to_their_seed():
    np.testing.assert_array_equal(draw(1).hidden, draw(1).hidden)
    assert (draw(1).hidden != draw(2).hidden).mean() > 0.99
    assert (draw(1).output != draw(2).output).mean() > 0.99


def test_initial_hidden_weights_fit_the_synapses():
    few_inputs = initial_weights(1, 2000, 2, tau_mem_us=6.0, dt_us=1.7, seed=0)
    assert few_inputs.hidden.max() == np.float32(63 / 240)
    assert few_inputs.hidden.min() == np.float32(-63 / 240)
    assert few_inputs.hidden.dtype == few_inputs.output.dtype == np.float32


def test_weights_on_the_chip():
    rounded, scale = chip_weights(Weights(np.array([[0.1, -0.26]]), np.array([[0.5, -1.0], [0.25, 0.1]])))
    assert scale == 63.0
    assert rounded.hidden.tolist() == [[24, -62]]
    assert rounded.output.tolist() == [[32, -63], [16, 6]]
    _, small = chip_weights(Weights(np.array([[0.1]]), np.array([[4e-3]])))
    assert small == 250.0
    _, silent = chip_weights(Weights(np.zeros((1, 1)), np.zeros((1, 1))))
    assert silent == 250.0


def recording():
    """One sample, three steps, two hidden neurons, one output."""
    return Recording(
        hidden_lsb=np.array([[[80, 100], [150, 90], [60, 95]]], dtype=np.uint8),
        output_lsb=np.array([[[70], [75], [255]]], dtype=np.uint8),
        hidden_baseline_lsb=np.array([[80, 95]], dtype=np.uint8),
        output_baseline_lsb=np.array([[75]], dtype=np.uint8),
        hidden_fired=np.array([[[0, 0], [1, 0], [0, 0]]], dtype=np.uint8),
        hidden_spikes=Spikes.from_events([([3.0], [0])], n_units=2, duration_us=5.1),
    )


def test_a_recording_in_model_units():
    """(sample − first sample) · 4.6875/330, outputs times 240/scale; the threshold where a neuron fired."""
    traces = traces_of(recording(), output_scale=120.0)
    unit = 4.6875 / 330
    hidden = [[0, 5 * unit], [1, -5 * unit], [-20 * unit, 0]]
    output = [[-5 * 2 * unit], [0], [180 * 2 * unit]]
    np.testing.assert_allclose(traces.v_hidden[0], hidden, rtol=1e-6)
    np.testing.assert_allclose(traces.v_output[0], output, rtol=1e-6)
    np.testing.assert_array_equal(traces.s_hidden[0], [[0, 0], [1, 0], [0, 0]])
    assert {str(x.dtype) for x in traces} == {"torch.float32"}


def test_equal_codes_become_equal_values():
    """A tie between 8-bit samples must stay a tie: the loss shares its gradient among them."""
    codes = np.tile(np.arange(256, dtype=np.uint8), 2).reshape(1, 2, 256)
    same = Recording(
        codes, codes, np.full((1, 256), 77, np.uint8), np.full((1, 256), 77, np.uint8), np.zeros_like(codes),
        Spikes.from_events([([], [])], n_units=256, duration_us=3.4),
    )  # fmt: skip
    traces = traces_of(same, output_scale=173.1)
    assert (traces.v_output[0, 0] == traces.v_output[0, 1]).all()
    assert (traces.v_output[0, 0].diff() > 0).all()


@pytest.mark.parametrize("largest", [0.3, 1.0, 7.7])
def test_what_the_output_scale_adds_the_trace_takes_away(largest):
    """A layer written with scale s answers s/240 as loud; in model units only the rounding is left."""
    w = np.array([[largest, -largest / 2, largest / 3]])
    rounded, scale = chip_weights(Weights(np.zeros((1, 1)), w))
    answer_lsb = rounded.output * (330 / 4.6875 / 240)  # of a substrate that follows the model exactly
    half_a_step = 0.5 / scale
    np.testing.assert_allclose(answer_lsb * model_units_per_lsb(scale), w, atol=half_a_step * 1.001)


@pytest.mark.parametrize(
    ("layer", "factor", "text"),
    [
        ("hidden", 1e-3, r"hidden weights: .*got 100 % written as 0.*scale them up"),
        ("output", 1e-3, r"output weights: .*got 100 % written as 0.*scale them up"),
        ("recurrent", 1e-3, r"recurrent weights: .*got 100 % written as 0.*scale them up"),
        ("hidden", 1e5, r"hidden weights: .*got \d+ % clipped to ±63.*scale them down"),
        ("recurrent", 1e30, r"recurrent weights: .*got 100 % clipped to ±63.*scale them down"),
    ],
)
def test_weights_of_which_the_chip_holds_nothing_are_pointed_out(layer, factor, text):
    sane = initial_recurrent_weights(70, 186, 20, tau_mem_us=6.0, dt_us=1.7, seed=0)
    with pytest.warns(WeightsWarning, match=text):
        chip_weights(sane._replace(**{layer: getattr(sane, layer) * np.float32(factor)}))


def test_weights_that_are_few_or_large_or_zero_on_purpose_are_not():
    """(Warnings are errors here.)"""
    sane = draw()
    sparse = np.where(np.arange(sane.hidden.size).reshape(sane.hidden.shape) % 60 == 0, sane.hidden + 0.1, 0)
    clamped = np.where(sane.hidden > 0, 63 / 240, -63 / 240).astype(np.float32)
    for hidden in (sane.hidden, sparse, clamped, np.zeros_like(sane.hidden)):
        chip_weights(Weights(hidden, sane.output))
    chip_weights(Weights(sane.hidden, 1e6 * sane.output))  # has a scale of its own


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("layer", [0, 1])
def test_weights_that_are_not_finite_are_refused_before_they_reach_the_chip(layer: int, bad: float) -> None:
    weights = Weights(np.zeros((3, 4), np.float32), np.zeros((4, 2), np.float32))
    weights[layer][1, 1] = bad
    with pytest.raises(InputError, match="finite numbers, got 1 not; training diverged"):
        chip_weights(weights)
