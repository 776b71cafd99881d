"""The anatomy of the injection under knobs: traces, gradients, and the points that stay."""

import dataclasses

import numpy as np
import pytest

from bss2lab.chip import Chip
from bss2lab.datasets import vision
from bss2lab.errors import InputError
from bss2lab.inputs import encode
from bss2lab.lab.engine import Engine
from bss2lab.lab.frame import Heat, Series
from bss2lab.lab.models.anatomy import Anatomy
from bss2lab.lab.models.anatomy_frame import shown_gradient
from bss2lab.lab.models.shipped import IMAGES, SPEECH, shipped
from bss2lab.studies import anatomy, injection
from bss2lab.studies.networks import load_network
from bss2lab.surrogate import superspike_derivative

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.slow]


@pytest.fixture(scope="module")
def images():
    return vision.load("mnist", "test").take(40)


@pytest.fixture(scope="module")
def network():
    network = load_network(shipped(IMAGES))
    return dataclasses.replace(network, config=network.config.replace(threads=1))


@pytest.fixture(scope="module")
def shared(network, images):
    return Anatomy(network, images, engine=Engine())


@pytest.fixture
def model(shared):
    """The same model for every test, but where it begins: no test leans on the one before."""
    shared.defaults()
    shared.set(images=10)
    shared.forget()
    shared.start()
    assert shared.wait(600)
    assert shared.message.kind == "good", shared.message
    return shared


def panels(model):
    return {panel.key: panel for panel in model.frame().panels}


def curves(panel):
    return {layer.name: layer for layer in panel.layers if isinstance(layer, Series) and layer.name}


def test_the_injected_graph_holds_the_recording(model):
    model.differing()
    j = model.values["neuron"]
    seen, drawn = model.seen, panels(model)
    recorded, own = (x.v_hidden[0, :, j].numpy() for x in (seen.recorded, seen.model))
    membrane = curves(drawn["membrane"])
    assert np.array_equal(membrane["recorded on the chip"].y, recorded)
    assert np.array_equal(membrane["model alone"].y, own)
    assert not np.allclose(recorded, own)
    slope = curves(drawn["derivative"])["with injection"].y
    assert np.allclose(slope, np.maximum(superspike_derivative(recorded, seen.beta), 1e-4), rtol=1e-5)
    model.busiest()
    counts = seen.recorded.s_hidden[0].sum(dim=0)
    assert counts[model.values["neuron"]] == counts.max() > 0
    assert f"{int(counts.max())} spikes on the chip" in curves(panels(model)["membrane"])


def test_the_switch_says_what_the_graph_holds(model):
    before = model.gradients
    assert model.set(injected=False)
    drawn = panels(model)
    width = {name: layer.width for name, layer in curves(drawn["membrane"]).items()}
    assert width["model alone"] > width["recorded on the chip"]
    assert "own" in drawn["membrane"].note
    j = model.values["neuron"]
    (heat,) = (layer for layer in drawn["alone"].layers if isinstance(layer, Heat))
    assert np.allclose(heat.values, before.alone.hidden[:, j].reshape(16, 16))
    assert model.set(injected=True)
    assert "injected" in panels(model)
    assert model.gradients is before  # nothing was computed anew
    assert shown_gradient(before, "full", j).shape == (16, 16)


def test_cosines_are_the_studys(model, network, images):
    """The same functions by hand, in one batch: parts of ten are put together as their mean."""
    assert model.set(images=20, sigma_d=0.2, chip_seed=1)
    assert model.wait(600)
    point = model.curve[-1]
    assert (point.sigma_d, point.images) == (0.2, 20)
    config = network.config
    where = config, network.weights, encode(images.take(20), config), np.arange(20)
    chip = anatomy.detuned(Chip(1), 0.2, seed=1)
    alone, full = (take(*where, chip=chip) for take in (injection.alone, injection.full))
    assert point.alone == pytest.approx(injection.compare(alone.hidden, full.hidden).cosine, abs=1e-3)
    assert model.gradients.full.loss == pytest.approx(full.loss, rel=1e-4)
    injected = injection.injected(*where, chip=chip, noise_seed=0)
    assert point.injected == pytest.approx(injection.compare(injected.hidden, full.hidden).cosine, abs=0.15)
    assert point.injected > point.alone + 0.3


def test_points_stay_and_belong_to_their_chip(model):
    assert model.set(sigma_d=0.4)
    assert model.wait(600)
    assert [point.sigma_d for point in model.curve] == [0.0, 0.4]
    dots = curves(panels(model)["cosine"])["injected · full knowledge"]
    assert np.allclose(dots.x, [0.0, 0.4])
    assert dots.y[0] > dots.y[1]
    model.clicked("cosine", 0.05, 0.9)
    assert model.values["sigma_d"] == 0.0
    assert model.wait(600)
    assert len(model.curve) == 2
    model.set(detuned="tau")
    assert [point.sigma_d for point in model.curve] == [0.0]  # undetuned is undetuned, whatever would be
    assert model.wait(600)
    assert [point.sigma_d for point in model.curve] == [0.0]  # (visited once more, and still one point)
    model.forget()
    assert model.curve == []


def test_the_study_is_drawn_faintly(model):
    faint = [layer for layer in panels(model)["cosine"].layers if isinstance(layer, Series) and layer.alpha < 0.5]
    bands = [layer for layer in faint if layer.style == "band"]
    assert len(bands) == 2
    points = [p for p in model.reference.select(anatomy.SOFTWARE) if p.sigma_d == 0.5]
    found = [p.injected.hidden.cosine for p in points]
    assert bands[0].y[-2:] == pytest.approx([max(found), min(found)], rel=1e-5)


def test_settings_go_to_json_and_back(model):
    assert model.set(neuron=17, sample=3, injected=False)
    text = model.to_json()
    model.defaults()
    assert model.values["neuron"] == 0
    assert model.from_json(text)
    assert (model.values["neuron"], model.values["sample"], model.values["injected"]) == (17, 3, False)
    assert model.wait(600)


def test_bad_settings_change_nothing(model):
    before = dict(model.values)
    for bad in ({"sigma_d": 0.6}, {"neuron": 246}, {"injected": 1}, {"detuned": "all"}, {"images": 0}):
        assert not model.set(**bad)
        assert model.message.kind == "error"
        assert model.values == before


def test_other_networks_are_refused(network):
    with pytest.raises(InputError, match="for images"):
        Anatomy(shipped(SPEECH))
    with pytest.raises(InputError, match="a spiking network"):
        Anatomy(dataclasses.replace(network, config=network.config.replace(mode="ann")))
