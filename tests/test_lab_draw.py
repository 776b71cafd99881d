"""The drawing pad: a drawing is encoded and classified as the test set is, and a bad one changes nothing."""

from __future__ import annotations

import numpy as np
import pytest

from bss2lab.datasets import vision
from bss2lab.errors import InputError
from bss2lab.inputs import encode
from bss2lab.lab.engine import Engine
from bss2lab.lab.frame import Heat, Mark, Series
from bss2lab.lab.models.draw import Draw, centred
from bss2lab.lab.models.given import network_of
from bss2lab.lab.models.shipped import IMAGES, SPEECH
from bss2lab.lab.views.pad import DrawWidget, Pad
from bss2lab.lab.views.renderer import Renderer
from bss2lab.studies.observation import observe
from bss2lab.train import chip_of

pytestmark = pytest.mark.usefixtures("one_thread")
WAIT_S = 600.0


@pytest.fixture(scope="module")
def images():
    return vision.load("mnist", "test").take(12)


@pytest.fixture
def draw():
    model = Draw(engine=Engine())
    yield model
    model.close()


def put(model, pixels, **options):
    assert model.put(pixels, **options).wait(WAIT_S)
    return model.trial


def panel(model, key):
    (found,) = [p for p in model.frame().panels if p.key == key]
    return found


def hidden(seen):
    return tuple(x.tolist() for x in seen.hidden_spikes.sample(0))


def test_a_drawing_becomes_the_spikes_and_the_decision_of_the_same_test_image(draw, images):
    network = network_of(None, IMAGES)
    samples = encode(images, network.config)
    chip = chip_of(network.config)
    draw.set(centre=False)
    for k in (0, 5):
        trial = put(draw, images.prepare()[k])
        seen = observe(network.config, network.weights, encode(images.subset(np.array([k])), network.config), chip=chip)
        for ours, theirs in zip(trial.seen.input_spikes.sample(0), samples.spikes.sample(k), strict=True):
            np.testing.assert_array_equal(ours, theirs)
        assert hidden(trial.seen) == hidden(seen)
        assert trial.verdict.decision == seen.decisions[0] == images.labels[k]
        assert (trial.label, trial.right) == (None, None)


def test_the_decision_is_made_when_its_output_takes_the_lead_for_good(draw, images):
    trial = put(draw, images.prepare()[8])
    traces, decided = trial.seen.readout[0], trial.verdict.decision
    leads = [traces[: t + 1].max(axis=0).argmax() == decided for t in range(len(traces))]
    first = len(leads) - leads[::-1].index(False) if False in leads else 0
    assert trial.verdict.decided_us == pytest.approx(trial.seen.time_us[first])
    assert f"{trial.verdict.decided_us:.1f} µs" in draw.message.text
    marks = [m.at for m in panel(draw, "readout").layers if isinstance(m, Mark) and m.along == "x"]
    assert marks == [trial.verdict.decided_us]


def test_every_class_has_a_bar_of_its_peak(draw, images):
    trial = put(draw, images.prepare()[1])
    bars, winner = (s for s in panel(draw, "answer").layers if isinstance(s, Series))
    np.testing.assert_allclose(bars.y, trial.seen.readout[0].max(axis=0))
    assert np.flatnonzero(winner.y).tolist() == [trial.verdict.decision]
    assert panel(draw, "answer").x.names == tuple("0123456789")
    assert draw.frame().badge == "emulated chip"
    shares = np.exp(draw.config.loss_scale * bars.y.astype(float))
    np.testing.assert_allclose(trial.verdict.shares, shares / shares.sum(), rtol=1e-5)


# --- moved to the middle -------------------------------------------------------------------------------------------


def test_a_drawing_in_a_corner_is_moved_to_the_middle():
    pixels = np.zeros((16, 16), np.uint8)
    pixels[1:4, 11:15] = 200
    moved = centred(pixels)
    expected = np.zeros_like(pixels)
    expected[6:9, 6:10] = 200
    np.testing.assert_array_equal(moved[moved > 0], expected[expected > 0])
    rows, columns = np.nonzero(moved)
    assert abs(rows.mean() - 7.5) <= 0.5
    assert abs(columns.mean() - 7.5) <= 0.5
    np.testing.assert_array_equal(centred(moved), moved)


def test_moving_loses_no_ink():
    pixels = np.zeros((16, 16), np.uint8)
    pixels[0, :] = 40  # a heavy foot and a long thin top: the middle of mass is far down
    pixels[13:16, 4:12] = 255
    moved = centred(pixels)
    assert moved.sum() == pixels.sum()
    np.testing.assert_array_equal(np.sort(moved.ravel()), np.sort(pixels.ravel()))
    assert not centred(np.zeros_like(pixels)).any()


def test_the_switch_decides_whether_it_is_moved(draw, images):
    image = centred(images.prepare()[3])
    corner = np.roll(image, (-np.flatnonzero(image.any(axis=1))[0], -np.flatnonzero(image.any(axis=0))[0]), (0, 1))
    assert (corner != image).any()
    centre = put(draw, corner)
    np.testing.assert_array_equal(draw.shown, image)
    np.testing.assert_array_equal(draw.pixels, corner)
    assert centre.said == str(images.labels[3])
    draw.set(centre=False)
    assert draw.wait(WAIT_S)
    (heat,) = [layer for layer in panel(draw, "image").layers if isinstance(layer, Heat)]
    np.testing.assert_array_equal(heat.values, corner)


# --- nothing to see, bad input -------------------------------------------------------------------------------------


def test_an_empty_or_faint_pad_is_said_and_the_last_answer_stays(draw, images):
    assert draw.put(np.zeros(256, np.uint8)) is None
    assert "empty" in draw.message.text
    assert all(not p.layers for p in draw.frame().panels)
    trial = put(draw, images.prepare()[2])
    draw.clear()
    assert "empty" in draw.message.text
    assert not draw.pixels.any()
    assert draw.trial is trial
    assert draw.put(np.full((16, 16), 50, np.uint8)).wait(WAIT_S)  # a fifth of full ink is the code's threshold
    assert draw.message.kind == "error"
    assert "too faint" in draw.message.text
    assert draw.trial is trial
    np.testing.assert_array_equal(draw.shown, centred(images.prepare()[2]))


@pytest.mark.parametrize(
    "bad", [np.zeros((28, 28), np.uint8), np.ones((16, 16)), b"\x01" * 255, "ink", None, np.ones((4, 64), np.uint8)]
)
def test_what_is_no_drawing_is_refused_and_the_pad_stays(draw, images, bad):
    trial = put(draw, images.prepare()[0])
    assert draw.put(bad) is None
    assert draw.message.kind == "error"
    assert "256 grey values" in draw.message.text
    assert draw.trial is trial
    np.testing.assert_array_equal(draw.pixels, images.prepare()[0])


def test_a_network_for_words_is_refused():
    with pytest.raises(InputError, match="network for images"):
        Draw(network_of(None, SPEECH), engine=Engine())


# --- settings ------------------------------------------------------------------------------------------------------


def test_another_chip_looks_at_the_same_drawing(draw, images):
    first = hidden(put(draw, images.prepare()[4]).seen)
    draw.set(chip_seed=5)
    assert draw.wait(WAIT_S)
    assert hidden(draw.trial.seen) != first
    other = Draw(key="other", engine=Engine())
    assert other.from_json(draw.to_json())
    assert other.values == draw.values
    assert hidden(put(other, images.prepare()[4]).seen) == hidden(draw.trial.seen)


def test_examples_are_the_test_set_one_after_the_other(draw, images):
    for k in range(2):
        assert draw.example().wait(WAIT_S)
        np.testing.assert_array_equal(draw.pixels, images.prepare()[k])
        assert draw.trial.label == images.labels[k]


# --- the pad in the browser ----------------------------------------------------------------------------------------


class Sent:
    """Takes what a widget sends."""

    def __init__(self, widget, monkeypatch):
        self.messages = []
        monkeypatch.setattr(widget, "send", lambda content, buffers=None: self.messages.append((content, buffers)))


def test_the_pad_reports_every_drawing_and_shows_what_is_put_on_it(monkeypatch):
    got = []
    pad = Pad(16, got.append)
    sent = Sent(pad, monkeypatch)
    ink = bytes(range(256))
    pad._handle_custom_msg({"type": "pixels"}, [memoryview(ink)])
    pad._handle_custom_msg({"type": "hello"}, [])
    sent.messages.clear()
    assert got == [ink]
    pixels = np.frombuffer(ink, np.uint8).reshape(16, 16)
    assert not pad.show(pixels)  # the browser has it already
    assert pad.show(pixels.T)
    assert sent.messages == [({"type": "pixels", "side": 16}, [pixels.T.tobytes()])]
    pad._handle_custom_msg({"type": "hello"}, [])
    assert sent.messages[1] == sent.messages[0]


def test_what_the_pad_shows_is_part_of_it_until_a_page_says_hello(monkeypatch):
    pad = Pad(16, print)
    sent = Sent(pad, monkeypatch)
    pixels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert pad.show(pixels)
    assert not sent.messages
    assert pad.get_state()["first"] == {"type": "pixels", "side": 16, "block": pixels.tobytes()}
    pad._handle_custom_msg({"type": "hello"}, [])
    assert pad.get_state()["first"] is None
    assert sent.messages == [({"type": "pixels", "side": 16}, [pixels.tobytes()])]


def test_the_widget_ties_pad_and_model_together(draw, images, monkeypatch):
    widget = DrawWidget(draw, renderer=Renderer())
    sent = Sent(widget.pad, monkeypatch)
    widget.pad._handle_custom_msg({"type": "hello"}, [])
    sent.messages.clear()
    widget.pad._handle_custom_msg({"type": "pixels"}, [memoryview(images.prepare()[0].tobytes())])
    assert draw.wait(WAIT_S)
    assert draw.trial.said == str(images.labels[0])
    widget.draw()
    assert not sent.messages
    put(draw, images.prepare()[1])
    widget.draw()
    assert sent.messages[0][1] == [images.prepare()[1].tobytes()]
    widget.pad._handle_custom_msg({"type": "pixels"}, [memoryview(b"short")])
    assert draw.message.kind == "error"
    widget.close()
