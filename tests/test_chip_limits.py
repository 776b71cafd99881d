"""What the chip cannot hold or do is refused: with what was expected, what came, and the fix."""

import numpy as np
import pytest

from bss2lab.chip import PROFILES, Chip
from bss2lab.chip.limits import check_size
from bss2lab.errors import InputError
from bss2lab.types import Spikes, Weights


@pytest.fixture(scope="module")
def chip():
    return Chip(0, "ideal")


def network(n_input=20, n_hidden=7, n_output=3, dtype=np.int8):
    return Weights(np.zeros((n_input, n_hidden), dtype), np.zeros((n_hidden, n_output), dtype))


def one_spike(n_units=20):
    return Spikes.from_events([([1.0], [0])], n_units=n_units, duration_us=34.0)


def changed(layer, value, dtype):
    w = network()._asdict()
    w[layer] = w[layer].astype(dtype)
    w[layer][2, 1] = value
    return Weights(**w)


@pytest.mark.parametrize("layer", ["hidden", "output"])
@pytest.mark.parametrize(
    ("value", "dtype", "words"),
    [
        (64, np.int8, ["expected −63 … 63", "got 0 … 64", "quantize_weights(w, scale)"]),
        (-64, np.int8, ["expected −63 … 63", "got -64 … 0"]),
        (300, np.int64, ["expected −63 … 63", "got 0 … 300"]),
        (200, np.uint8, ["expected −63 … 63", "got 0 … 200"]),
        (1.0, np.float32, ["expected integers", "got float32", "quantize_weights(w, scale)"]),
        (0.5, np.float64, ["expected integers", "got float64"]),
        (np.nan, np.float32, ["expected finite integers", "got 1 NaN or infinite", "check training"]),
        (np.inf, np.float64, ["expected finite integers", "got 1 NaN or infinite"]),
        (True, np.bool_, ["expected integers", "got bool"]),
        (1j, np.complex128, ["expected integers", "got complex128"]),
    ],
)
def test_weights_that_no_synapse_holds(chip, layer, value, dtype, words):
    bad = changed(layer, value, dtype)
    for attempt in (lambda: chip.write(bad), lambda: chip.run(bad, one_spike(), seed=0)):
        with pytest.raises(InputError) as caught:
            attempt()
        for word in [f"{layer} weights:", *words]:
            assert word in str(caught.value)


@pytest.mark.parametrize("layer", ["hidden", "output"])
@pytest.mark.parametrize(
    ("value", "dtype", "words"),
    [
        (63.001, np.float32, ["expected −63 … 63", "got 0.0 … 63.0", "clip_weights(w, scale)"]),
        (-64, np.int8, ["expected −63 … 63", "got -64 … 0"]),
        (np.nan, np.float32, ["expected finite real numbers", "got 1 NaN or infinite", "check training"]),
        (True, np.bool_, ["expected real numbers", "got bool", "clip_weights(w, scale)"]),
        (1j, np.complex128, ["expected real numbers", "got complex128"]),
    ],
)
def test_weights_that_no_synapse_holds_even_without_rounding(layer, value, dtype, words):
    chip = Chip(0, PROFILES["ideal"].replace(rounds_weights=False))
    with pytest.raises(InputError) as caught:
        chip.write(changed(layer, value, dtype))
    for word in [f"{layer} weights:", *words]:
        assert word in str(caught.value)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int8, np.int64])
def test_real_numbers_up_to_63_are_held_without_rounding(dtype):
    chip = Chip(0, PROFILES["ideal"].replace(rounds_weights=False))
    assert chip.write(changed("hidden", 63, dtype)).input_rows[2, 1] == pytest.approx(63 * 2.58 / 2.4)
    assert chip.write(changed("output", -63, dtype)).routed_rows[2, 254] == pytest.approx(-63 * 2.58 / 2.4)
    if np.issubdtype(dtype, np.floating):
        assert chip.write(changed("hidden", 10.5, dtype)).input_rows[2, 1] == pytest.approx(10.5 * 2.58 / 2.4)


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int64, np.uint8])
def test_integers_of_any_type_up_to_63_are_held(chip, dtype):
    top = changed("hidden", 63, dtype)
    chip.write(top)
    assert chip.write(top).input_rows[2, 1] == pytest.approx(63 * 2.58 / 2.4)
    if np.issubdtype(dtype, np.signedinteger):
        assert chip.write(changed("output", -63, dtype)).routed_rows[2, 254] == pytest.approx(-63 * 2.58 / 2.4)


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        (
            Weights(np.zeros((20, 7), int), np.zeros((3, 7), int)),
            ["output weights", "[7, outputs]", "[3, 7]", "transposed?"],
        ),
        (Weights(np.zeros((7, 20), int), np.zeros((7, 3), int)), ["output weights", "[20, outputs]", "[7, 3]"]),
        (Weights(np.zeros(20, int), np.zeros((7, 3), int)), ["hidden weights", "[source, neuron]", "1 axes"]),
        (Weights(np.zeros((1, 20, 7), int), np.zeros((7, 3), int)), ["hidden weights", "3 axes", "reshape"]),
        (network(n_input=257), ["network", "at most 256 inputs", "got 257", "smaller image"]),
        (
            network(n_hidden=250, n_output=10),
            ["at most 256 neurons in total", "250 hidden + 10 output = 260", "at most 246 hidden neurons"],
        ),
    ],
)
def test_networks_that_do_not_fit(chip, weights, words):
    with pytest.raises(InputError) as caught:
        chip.write(weights)
    for word in words:
        assert word in str(caught.value)


def test_the_largest_networks_fit(chip):
    chip.write(network(n_input=256, n_hidden=246, n_output=10))
    chip.write(network(n_input=1, n_hidden=1, n_output=255))
    check_size(256, 246, 10)


@pytest.mark.parametrize("n_units", [19, 21, 300])
def test_input_must_have_a_unit_for_every_row(chip, n_units):
    """Also on the paths that take weights already written, and that would read past the end of the synapses."""
    w, spikes = network(), one_spike(n_units)
    program = chip.write(w)
    attempts = (
        lambda: chip.run(w, spikes, seed=0),
        lambda: chip.membranes(w, spikes, seed=0),
        lambda: chip.record(program, spikes, np.arange(1), seed=0),
        lambda: chip.classify(program, spikes, seed=0),
        lambda: chip.infer(program, spikes, seed=0),
    )
    for attempt in attempts:
        with pytest.raises(InputError) as caught:
            attempt()
        for word in ["input spikes: expected 20 units, one per row", f"got {n_units}", "match the two"]:
            assert word in str(caught.value)


@pytest.mark.parametrize(
    ("silenced", "got"),
    [
        (np.zeros(6, bool), "bool of shape [6]"),
        (np.zeros((7, 1), bool), "bool of shape [7, 1]"),
        (np.zeros(7), "float64 of shape [7]"),
        (np.zeros(7, int), "int64 of shape [7]"),
        ([0, 3], "int64 of shape [2]"),
    ],
)
def test_silenced_neurons_are_one_flag_each(chip, silenced, got):
    with pytest.raises(InputError) as caught:
        chip.run(network(), one_spike(), seed=0, silenced=silenced)
    for word in ["silenced: expected bool [7]", got, "one flag per hidden neuron"]:
        assert word in str(caught.value)


@pytest.mark.parametrize("seed", [-1, 2**32, 1.0, "7", None])
def test_a_chip_is_numbered_by_a_whole_number(seed):
    with pytest.raises(InputError) as caught:
        Chip(seed)
    for word in ["chip seed: expected an integer 0 … 2^32 − 1", f"got {seed!r}", "from 0"]:
        assert word in str(caught.value)


@pytest.mark.parametrize("seed", [-1, 2**63, 1.5, None])
def test_noise_is_seeded_by_a_whole_number(chip, seed):
    w = network()
    for attempt in (
        lambda: chip.run(w, one_spike(), seed=seed),
        lambda: chip.classify(chip.write(w), one_spike(), seed=seed),
    ):
        with pytest.raises(InputError) as caught:
            attempt()
        for word in ["noise seed: expected an integer 0 … 2^63 − 1", f"got {seed!r}"]:
            assert word in str(caught.value)


def test_refused_weights_leave_a_chip_as_it_was(chip):
    before = chip.run(changed("hidden", 50, np.int8), one_spike(), seed=3)
    with pytest.raises(InputError):
        chip.run(changed("hidden", 64, np.int8), one_spike(), seed=3)
    after = chip.run(changed("hidden", 50, np.int8), one_spike(), seed=3)
    np.testing.assert_array_equal(before.hidden_lsb, after.hidden_lsb)


@pytest.mark.parametrize("bad", [-1, 2])
def test_recording_a_sample_that_is_not_there_is_refused(bad: int) -> None:
    weights = Weights(np.ones((3, 4), np.int8), np.ones((4, 2), np.int8))
    spikes = Spikes.from_events([(np.zeros(1), np.zeros(1, int))] * 2, n_units=3, duration_us=34.0)
    chip = Chip(0)
    with pytest.raises(InputError, match=r"index: expected 0 … 1"):
        chip.record(chip.write(weights), spikes, np.array([0, bad]), seed=0)
