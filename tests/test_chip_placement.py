"""Placement: no two things lie in one place, weights survive the way to the chip and back, misfits are refused."""

import io
import zipfile
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bss2lab.chip import Chip
from bss2lab.chip.image import DRIVERS, LABELS, NO_LABEL, WeightImage
from bss2lab.chip.limits import check_size
from bss2lab.chip.placement import Origin, Placement, place
from bss2lab.errors import DataError, InputError
from bss2lab.topology import Layer, Network
from bss2lab.types import Weights

VISION = Network.feed_forward(256, 246, 10)
SPEECH = Network(70, (Layer(186, recurrent=True), Layer(20, spiking=False)))


def random_weights(placement: Placement, seed: int = 0) -> list[np.ndarray]:
    generator = np.random.default_rng(seed)
    shapes = [(len(layer.rows), len(layer.neurons)) for layer in placement.layers]
    return [generator.integers(-63, 64, shape).astype(np.int8) for shape in shapes]


@st.composite
def networks(draw: st.DrawFn) -> Network:
    """Networks that fit: one to five layers, each recurrent or not."""
    n_input = draw(st.integers(1, 256))
    layers, before, room = [], n_input, 256
    for _ in range(draw(st.integers(1, 5))):
        recurrent = draw(st.booleans())
        most = min(room, 256 - before) if recurrent else room
        assume(most >= 1)
        layers.append(Layer(draw(st.integers(1, most)), recurrent))
        before, room = layers[-1].size, room - layers[-1].size
        if room == 0:
            break
    return Network(n_input, tuple(layers))


def refused(what, *words: str, error: type[Exception] = InputError) -> None:
    with pytest.raises(error) as caught:
        what()
    for word in words:
        assert word in str(caught.value)


# --- what lies where ---------------------------------------------------------------------------------------------


@given(networks())
@settings(max_examples=40)
def test_no_neuron_and_no_synapse_is_given_twice(network: Network) -> None:
    placement = place(network)
    neurons = np.concatenate([layer.neurons for layer in placement.layers])
    assert len(set(neurons.tolist())) == len(neurons) == sum(layer.size for layer in network.layers)
    assert 0 <= neurons.min() <= neurons.max() < 256
    circuits = np.concatenate([layer.circuits.ravel() for layer in placement.layers])
    assert len(set(circuits.tolist())) == 2 * len(neurons)
    before = network.n_input
    for layer, described in zip(placement.layers, network.layers, strict=True):
        assert len(layer.rows) == before + described.size * described.recurrent
        assert len(set(layer.rows.tolist())) == len(layer.rows)
        assert 0 <= layer.rows.min() <= layer.rows.max() < 256
        before = described.size


@given(networks(), st.integers(0, 2**32 - 1))
@settings(max_examples=40)
def test_weights_come_back_as_they_were_written(network: Network, seed: int) -> None:
    placement = place(network)
    weights = random_weights(placement, seed)
    image = placement.image(weights)
    back = placement.read(image)
    for given_, read in zip(weights, back, strict=True):
        assert read.dtype == np.int8
        np.testing.assert_array_equal(read, given_)
    # ... and nothing else is on the chip: the sums agree, and each used pair holds one number
    assert image.weights.sum(dtype=int) == sum(np.abs(w.astype(int)).sum() for w in weights)
    assert (image.labels != NO_LABEL).sum() == 2 * sum(w.size for w in weights)


@given(networks())
@settings(max_examples=25)
def test_each_synapse_hears_exactly_the_source_that_its_weight_is_for(network: Network) -> None:
    """Follow every event as the chip would: by driver and label alone."""
    placement = place(network)
    labels = placement.image([np.ones((len(p.rows), len(p.neurons)), int) for p in placement.layers]).labels
    heard = {(r.array, r.driver, r.label): (r.origin, r.index) for r in placement.routes}
    assert len(heard) == len(placement.routes)
    assert {label for _, _, label in heard} <= set(range(LABELS))
    for layer in placement.layers:
        for unit in {0, len(layer.neurons) - 1}:
            n = int(layer.neurons[unit])
            for s, row in enumerate(layer.rows.tolist()):
                column = 2 * (n % 128) + row // 128
                for synapse in (2 * (row % 128), 2 * (row % 128) + 1):
                    label = int(labels[n // 128, synapse, column])
                    assert heard[n // 128, row % 128, label] == (layer.origins[s], int(layer.sources[s]))


@pytest.mark.parametrize("sizes", [(256, 246, 10), (1, 1, 1), (20, 7, 3), (100, 1, 255)])
def test_a_two_layer_network_lies_as_on_the_authors_chip(sizes: tuple[int, int, int]) -> None:
    n_input, n_hidden, n_output = sizes
    assert len(place(VISION).layers[0].rows) == 256 == 2 * DRIVERS
    hidden, output = place(Network.feed_forward(*sizes)).layers
    assert (hidden.name, output.name) == ("hidden", "output")
    np.testing.assert_array_equal(hidden.neurons, np.arange(n_hidden))
    np.testing.assert_array_equal(output.neurons, 256 - n_output + np.arange(n_output))
    np.testing.assert_array_equal(hidden.rows, np.arange(n_input))
    np.testing.assert_array_equal(output.rows, np.arange(n_hidden))
    assert set(hidden.origins) == {Origin.EXTERNAL}
    assert set(output.origins) == {Origin.NEURON}


def test_the_placement_is_the_one_that_the_emulated_chip_uses() -> None:
    chip, placement = Chip(0, "ideal"), place(Network.feed_forward(30, 20, 5))
    w = [x * (x != 0) + (x == 0) for x in random_weights(placement)]
    program = chip.write(Weights(*w))
    for rows, layer, weights in zip((program.input_rows, program.routed_rows), placement.layers, w, strict=True):
        on_chip = rows[np.ix_(layer.sources, layer.neurons)]
        np.testing.assert_array_equal(np.sign(on_chip), np.sign(weights))
        assert np.count_nonzero(rows) == weights.size


def test_the_papers_speech_network_fills_every_row() -> None:
    hidden, output = place(SPEECH).layers
    np.testing.assert_array_equal(hidden.rows[:70], np.arange(186, 256))  # inputs after the recurrent rows
    np.testing.assert_array_equal(hidden.rows[70:], np.arange(186))
    np.testing.assert_array_equal(hidden.sources[70:], hidden.neurons)
    assert sorted(hidden.rows.tolist()) == list(range(256))
    assert len(hidden.neurons) + len(output.neurons) == 206
    np.testing.assert_array_equal(output.neurons, np.arange(236, 256))
    np.testing.assert_array_equal(output.sources, hidden.neurons)


def test_layers_between_follow_the_first() -> None:
    layers = place(Network.feed_forward(5, 100, 30, 20, 4)).layers
    assert [(int(p.neurons[0]), int(p.neurons[-1])) for p in layers] == [(0, 99), (100, 129), (130, 149), (252, 255)]
    assert [p.name for p in layers] == ["hidden 1", "hidden 2", "hidden 3", "output"]
    assert layers[1].arrays.tolist() == [0] * 28 + [1] * 2
    for one, two in pairwise(layers):
        np.testing.assert_array_equal(two.sources, one.neurons)


def test_a_single_layer_begins_at_neuron_0() -> None:
    (layer,) = place(Network.feed_forward(3, 4)).layers
    assert (layer.name, layer.neurons.tolist()) == ("output", [0, 1, 2, 3])


def test_geometry_of_one_weight() -> None:
    """Row 130 of neuron 129: bottom array, odd column of the second pair, driver 2."""
    placement = place(Network.feed_forward(131, 200))
    layer = placement.layers[0]
    assert layer.circuits[129].tolist() == [258, 259]
    assert layer.columns[129].tolist() == [2, 3]
    assert (int(layer.arrays[129]), int(layer.drivers[130]), int(layer.sides[130])) == (1, 2, 1)
    weights = np.zeros((131, 200), int)
    weights[130, 129] = -7
    image = placement.image([weights])
    assert np.argwhere(image.weights).tolist() == [[1, 5, 3]]  # inhibitory: the odd row of driver 2
    assert image.weights[1, 5, 3] == 7
    assert image.signed()[1, 2, 3] == -7
    weights[130, 129] = 7
    assert np.argwhere(placement.image([weights]).weights).tolist() == [[1, 4, 3]]


# --- routing -----------------------------------------------------------------------------------------------------


def test_every_source_of_the_vision_network_reaches_its_drivers() -> None:
    placement = place(VISION)
    # 256 inputs go to both arrays, 246 hidden spikes to the bottom one, where the outputs are
    assert len(placement.routes) == 2 * 256 + 246
    assert max(route.label for route in placement.routes) == 3
    (route,) = [r for r in placement.routes if r.origin is Origin.NEURON and r.index == 200]
    assert (route.array, route.driver, route.listeners) == (1, 200 - DRIVERS, ((1, 200),))
    assert str(route) == "neuron 200 → bottom driver 72, label 3: row 200 of layer 1"
    at_72 = [(r.origin, r.index, r.label) for r in placement.routes if (r.array, r.driver) == (1, 72)]
    assert at_72 == [
        (Origin.EXTERNAL, 72, 0), (Origin.EXTERNAL, 200, 1), (Origin.NEURON, 72, 2), (Origin.NEURON, 200, 3)
    ]  # fmt: skip
    assert str(placement.routes[0]) == "input 0 → top driver 0, label 0: row 0 of layer 0"


def test_one_event_serves_the_recurrent_and_the_next_layer() -> None:
    routes = [r for r in place(SPEECH).routes if r.origin is Origin.NEURON and r.index == 5]
    assert [(r.array, r.driver, r.listeners) for r in routes] == [(0, 5, ((0, 5),)), (1, 5, ((0, 5), (1, 5)))]


# --- what does not fit -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("attempt", "words"),
    [
        (lambda: place(Network.feed_forward(300, 10)), ["network: expected at most 256 inputs, got 300"]),
        (
            lambda: place(Network.feed_forward(256, 250, 10)),
            ["at most 256 neurons in total", "250 hidden + 10 output = 260", "at most 246 hidden neurons"],
        ),
        (
            lambda: place(Network(71, (Layer(186, True), Layer(20)))),
            ["hidden layer: expected at most 256 sources", "71 feed-forward + 186 recurrent = 257", "at most 185"],
        ),
        (
            lambda: place(Network(256, (Layer(1, True), Layer(20)))),
            ["256 feed-forward + 1 recurrent = 257", "use fewer feed-forward sources"],
        ),
        (
            lambda: place(Network(1, (Layer(10),) * 100)),
            ["10 hidden 1 + 10 hidden 2", "+ … = 1000", "fewer or smaller layers"],
        ),
        (
            lambda: place(Network(1, (Layer(1),) * 100)),
            ["at most 64 sources per driver (6-bit labels)", "got 99 at driver 0 of the top array"],
        ),
        (lambda: Network(10, ()), ["layers: expected at least one layer, got none"]),
        (lambda: Network.feed_forward(10), ["layers: expected at least one layer, got none"]),
        (lambda: Network(0, (Layer(1),)), ["number of inputs: expected an integer of at least 1, got 0"]),
        (lambda: Network(-3, (Layer(1),)), ["number of inputs", "got -3"]),
        (lambda: Network(2.0, (Layer(1),)), ["number of inputs", "got 2.0"]),
        (lambda: Layer(0), ["layer size: expected an integer of at least 1, got 0"]),
        (lambda: Layer(-1), ["layer size", "got -1"]),
        (lambda: Layer(True), ["layer size", "got True"]),
        (lambda: Layer(1.5), ["layer size", "got 1.5"]),
        (lambda: Layer(5, recurrent=True, spiking=False), ["recurrent layer: expected spiking=True"]),
        (
            lambda: Network(3, (Layer(4, spiking=False), Layer(2))),
            ["layers: expected spiking=True, for the hidden layer feeds the next"],
        ),
    ],
)
def test_what_does_not_fit_is_refused_with_its_numbers(attempt, words: list[str]) -> None:
    refused(attempt, *words)


def test_the_largest_networks_fit() -> None:
    place(Network.feed_forward(256, 255, 1))
    place(Network.feed_forward(256, 256))
    place(Network(70, (Layer(186, True), Layer(70))))
    place(Network(1, (Layer(255, True), Layer(1))))


@given(st.integers(1, 400), st.integers(1, 400), st.integers(1, 400))
@settings(max_examples=60)
def test_placement_and_the_chips_own_limit_are_one_rule(n_input: int, n_hidden: int, n_output: int) -> None:
    def verdict(what) -> str:
        try:
            what()
        except InputError as error:
            return str(error)
        return "fits"

    by_limit = verdict(lambda: check_size(n_input, n_hidden, n_output))
    assert verdict(lambda: place(Network.feed_forward(n_input, n_hidden, n_output))) == by_limit
    assert (by_limit == "fits") == (n_input <= 256 and n_hidden + n_output <= 256)


# --- weights and images that are wrong ---------------------------------------------------------------------------


@pytest.fixture
def small() -> Placement:
    return place(Network.feed_forward(4, 3, 2))


def test_weights_that_do_not_fit_the_placement(small: Placement) -> None:
    hidden, output = np.zeros((4, 3), int), np.zeros((3, 2), int)
    refused(lambda: small.image([hidden]), "weights: expected 2 arrays, one per layer, got 1")
    refused(lambda: small.image([hidden.T, output]), "hidden weights", "shape [4, 3]", "got [3, 4]", "transposed?")
    refused(lambda: small.image([hidden, output[:2]]), "output weights", "shape [3, 2]", "got [2, 2]", "one row per")
    refused(lambda: small.image([hidden + 64, output]), "hidden weights: expected −63 … 63, got 64 … 64")
    refused(lambda: small.image([hidden, output - 64]), "output weights: expected −63 … 63, got -64 … -64")
    refused(lambda: small.image([hidden * 1.0, output]), "hidden weights: expected integers, got float64")
    refused(lambda: small.image([hidden * np.nan, output]), "hidden weights: expected finite integers, got 12 NaN")
    refused(lambda: small.image([hidden[0], output]), "hidden weights: expected shape [source, neuron], got 1 axes")


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int64])
def test_integers_of_any_type_are_written(dtype, small: Placement) -> None:
    weights = [np.full((4, 3), 5, dtype), np.full((3, 2), 63, dtype)]
    image = small.image(weights)
    assert image.weights.sum() == 12 * 5 + 6 * 63
    for written, read in zip(weights, small.read(image), strict=True):
        np.testing.assert_array_equal(written, read)


def test_damaged_images_are_refused(small: Placement) -> None:
    weights = [np.full((4, 3), 5), np.full((3, 2), -5)]

    def damage(**changes) -> WeightImage:
        image = small.image(weights)
        arrays = {"weights": image.weights, "labels": image.labels}
        for name, (where, value) in changes.items():
            arrays[name][where] = value
        return image

    np.testing.assert_array_equal(small.read(damage())[1], weights[1])
    refused(
        lambda: small.read(damage(weights=((0, 1, 0), 1))), "at most one synapse", "1 with two", "driver 0, column 0"
    )
    refused(lambda: small.read(damage(weights=((0, 0, 0), 64))), "image weights: expected 0 … 63 (6 bit), got 64")
    refused(lambda: small.read(damage(weights=((0, 0, 1), 9))), "only where the network is placed", "[0, 0, 1]")
    refused(lambda: small.read(damage(weights=((1, 9, 255), 9))), "got 1 elsewhere", "[1, 9, 255]")
    refused(lambda: small.read(damage(labels=((0, 0, 0), 1))), "labels of this placement", "1 others", "[0, 0, 0]")
    refused(lambda: small.read(damage(labels=((0, 0, 0), NO_LABEL))), "labels of this placement")
    refused(lambda: small.read(damage(labels=((0, 0, 0), 64))), "image labels: expected 0 … 63 (6 bit)", "got 64")
    image = small.image(weights)
    refused(lambda: WeightImage(image.weights[0], image.labels), "uint8 of shape [2, 256, 256]", "[256, 256]")
    refused(lambda: WeightImage(image.weights.astype(int), image.labels), "image weights", "got int64")
    refused(lambda: WeightImage(image.weights, [1, 2]), "image labels", "got list of shape [2]")


def test_an_image_of_another_network_is_refused(small: Placement) -> None:
    other = place(Network.feed_forward(4, 3, 3))
    image = other.image([np.zeros((4, 3), int), np.zeros((3, 3), int)])
    refused(lambda: small.read(image), "labels of this placement", "with the placement that wrote it")


# --- files -------------------------------------------------------------------------------------------------------


def test_an_image_comes_back_from_its_file(tmp_path) -> None:
    placement = place(SPEECH)
    weights = random_weights(placement, 3)
    path = tmp_path / "new" / "speech.npz"
    placement.image(weights).save(path)
    for one, two in zip(placement.read(WeightImage.load(path)), weights, strict=True):
        np.testing.assert_array_equal(one, two)
    assert [p.name for p in path.parent.iterdir()] == ["speech.npz"]


def test_files_that_are_no_images(tmp_path, small: Placement) -> None:
    good = tmp_path / "good.npz"
    small.image([np.ones((4, 3), int), np.ones((3, 2), int)]).save(good)
    content = good.read_bytes()
    path = tmp_path / "bad.npz"
    refused(lambda: WeightImage.load(path), str(path), "written by WeightImage.save", error=DataError)
    for bad in (b"", b"hello", content[: len(content) // 2], b"\x93NUMPY" + content):
        path.write_bytes(bad[:-100] if bad.startswith(b"\x93") else bad)
        refused(lambda: WeightImage.load(path), str(path), error=DataError)
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 0xFF
    path.write_bytes(flipped)
    refused(lambda: WeightImage.load(path), str(path), error=DataError)
    np.savez(path, weights=np.zeros(3))
    refused(lambda: WeightImage.load(path), "a zip file of ['weights.npy']", error=DataError)
    np.savez(path, weights=np.zeros(3), labels=np.array([{"a": 1}], dtype=object))  # a pickle is never opened
    refused(lambda: WeightImage.load(path), "allow_pickle", error=DataError)
    np.savez(path, weights=np.zeros(3, np.uint8), labels=np.zeros(3, np.uint8))
    refused(lambda: WeightImage.load(path), "uint8 of shape [2, 256, 256]", error=InputError)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:  # small on disk, huge when unpacked
        archive.writestr("weights.npy", bytes(2_000_000))
        archive.writestr("labels.npy", b"")
    refused(lambda: WeightImage.load(path), "a zip file of", error=DataError)
    header = io.BytesIO()  # promises far more than it holds
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (2**40,)})
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("weights.npy", header.getvalue())
        archive.writestr("labels.npy", header.getvalue())
    refused(lambda: WeightImage.load(path), str(path), error=DataError)


def test_a_file_is_replaced_in_full_or_not_at_all(tmp_path, small: Placement, monkeypatch) -> None:
    path = tmp_path / "image.npz"
    small.image([np.ones((4, 3), int), np.ones((3, 2), int)]).save(path)
    before = path.read_bytes()

    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("bss2lab.storage.os.fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        small.image([np.zeros((4, 3), int), np.zeros((3, 2), int)]).save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
