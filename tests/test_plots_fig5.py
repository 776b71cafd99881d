"""Figure 5 as drawings: what is drawn is what the result holds, and it can be read."""

from dataclasses import replace

import numpy as np
import pytest
from drawn import across, assert_readable, line, words

from bss2lab import plots
from bss2lab.datasets import catalogue
from bss2lab.studies.fig5 import Learned, Speech, SpeechStudyConfig
from bss2lab.studies.fig5_responses import Responses
from bss2lab.studies.observation import Observation
from bss2lab.types import Spikes

pytestmark = pytest.mark.slow

CLASSES = catalogue.speech("shd").classes
CONFIG = SpeechStudyConfig()
EPOCHS, SEEDS, SPEAKERS = 30, 3, 12
UNSEEN = (4, 5)


def curves(rng, start, end):
    course = end + (start - end) * np.exp(-np.arange(EPOCHS) / 6)
    return tuple(tuple(float(v) for v in course * (1 + 0.03 * rng.standard_normal(EPOCHS))) for _ in range(SEEDS))


@pytest.fixture
def result():
    rng = np.random.default_rng(0)
    said = np.where(np.isin(np.arange(SPEAKERS), UNSEEN)[:, None], 10, rng.integers(0, 2, (SPEAKERS, 20)))
    rows = []
    for row in CONFIG.rows:
        wrong = rng.binomial(said * SEEDS, 0.2)
        confusion = np.zeros((20, 20), int)
        np.add.at(confusion, (np.arange(20), np.arange(20)), said.sum(axis=0) * SEEDS - wrong.sum(axis=0))
        np.add.at(confusion, (np.arange(20), (np.arange(20) + 3) % 20), wrong.sum(axis=0))
        by_seed = np.array([wrong.sum(axis=1) // SEEDS] * SEEDS) + rng.integers(0, 2, (SEEDS, SPEAKERS))
        train = np.where(np.isin(np.arange(SPEAKERS), UNSEEN), 0, rng.integers(0, 20, (SEEDS, SPEAKERS)))
        rows.append(
            Learned(
                row, curves(rng, 3, 0.2), tuple(tuple(1 - v / 3 for v in c) for c in curves(rng, 2.8, 0.1)),
                tuple(tuple(1 - v / 3 for v in c) for c in curves(rng, 2.8, 0.6)), (800.0,) * SEEDS,
                tuple(map(tuple, train.tolist())), tuple(map(tuple, by_seed.tolist())),
                tuple(map(tuple, wrong.tolist())), tuple(map(tuple, confusion.tolist())),
            )
        )  # fmt: skip
    words_of = tuple(0 if s in UNSEEN else 200 for s in range(SPEAKERS))
    return Speech(CONFIG, CLASSES, words_of, tuple(map(tuple, said.tolist())), tuple(rows))


NAME = CONFIG.rows[0].name


def test_training_shows_mean_courses_of_the_rows_on_the_chip(result):
    figure = plots.draw_speech_training(result)
    loss, train, test = figure.axes
    one = result.row(NAME)
    np.testing.assert_allclose(line(loss, NAME).get_ydata(), np.mean(one.loss, axis=0))
    np.testing.assert_allclose(line(train, NAME).get_ydata(), 100 * (1 - np.mean(one.train_accuracy, axis=0)))
    np.testing.assert_allclose(line(test, NAME).get_ydata(), 100 * (1 - np.mean(one.test_accuracy, axis=0)))
    assert train.get_ylim() == test.get_ylim()
    assert_readable(figure)
    assert_readable(plots.draw_speech_training(result, tuple(row.name for row in CONFIG.rows)))


def test_confusion_shows_shares_of_every_word(result):
    figure = plots.draw_confusion(result, NAME)
    matrix, bars = figure.axes[:2]
    counts = np.array(result.row(NAME).confusion)
    shown = np.asarray(matrix.images[0].get_array())
    np.testing.assert_allclose(shown, 100 * counts / counts.sum(axis=1, keepdims=True))
    np.testing.assert_allclose([bar.get_width() for bar in bars.patches], 100 - np.diag(shown))
    overall = 100 * (1 - np.trace(counts) / counts.sum())
    assert across(bars, vertical=True) == pytest.approx([overall])
    assert [label.get_text() for label in matrix.get_yticklabels()] == list(CLASSES)
    assert f"all: {overall:.1f} %" in words(figure)
    assert_readable(figure)


def test_speakers_show_their_errors_and_the_unseen_ones_stand_out(result):
    figure = plots.draw_speakers(result, NAME)
    train, test = figure.axes
    for axes, split in ((train, "train"), (test, "test")):
        errors = result.speaker_errors(NAME, split)
        here = ~np.isnan(errors[0])
        np.testing.assert_allclose([bar.get_height() for bar in axes.patches], errors[:, here].mean(axis=0))
        assert across(axes, vertical=False) == pytest.approx([100 - result.accuracy(NAME, split).mean])
    assert len(train.patches) == SPEAKERS - len(UNSEEN)
    colours = [bar.get_facecolor() for bar in test.patches]
    assert {k for k, colour in enumerate(colours) if colours.count(colour) == len(UNSEEN)} == set(UNSEEN)
    assert_readable(figure)


def test_cells_show_errors_of_speakers_and_words(result):
    figure = plots.draw_speaker_words(result, NAME)
    shown = np.asarray(figure.axes[0].images[0].get_array(), float)
    said = np.array(result.test_words) * SEEDS
    for speaker in range(SPEAKERS):
        for word in range(20):
            if said[speaker, word]:
                want = 100 * result.row(NAME).wrong[speaker][word] / said[speaker, word]
                assert shown[speaker, word] == pytest.approx(want)
            else:
                assert np.isnan(shown[speaker, word])
    assert "5 (unseen)" in words(figure)
    assert_readable(figure)


def test_every_drawing_says_what_the_network_listened_to(result):
    real = replace(result, config=CONFIG.on("shd"))
    for draw in (
        plots.draw_speech_training, lambda r: plots.draw_confusion(r, NAME), lambda r: plots.draw_speakers(r, NAME),
        lambda r: plots.draw_speaker_words(r, NAME),
    ):  # fmt: skip
        assert "synthetic speech" in words(draw(result))
        assert "emulated chip" in words(draw(result))
        assert "synthetic" not in words(draw(real))
        assert "Spiking Heidelberg Digits" in words(draw(real))
    assert "software model" in words(plots.draw_confusion(result, "software"))


@pytest.mark.parametrize("n", [1, 3])
def test_responses_show_spikes_traces_and_sums(n):
    rng = np.random.default_rng(1)
    labels = np.arange(n)
    pairs = [(np.sort(rng.uniform(0, 680, 500)), rng.integers(0, 70, 500)) for _ in range(n)]
    hidden = [(np.sort(rng.uniform(0, 680, 300)), rng.integers(0, 186, 300)) for _ in range(n)]
    readout = rng.normal(0, 0.3, (n, 400, 20)).cumsum(axis=1).astype(np.float32) / 20
    seen = Observation(
        Spikes.from_events(pairs, n_units=70, duration_us=680.0),
        Spikes.from_events(hidden, n_units=186, duration_us=680.0),
        (1.7 * np.arange(1, 401)).astype(np.float32), readout, readout.sum(axis=1).argmax(axis=1), None, True,
    )  # fmt: skip
    figure = plots.draw_listening(Responses(seen, labels, labels, CLASSES, True))
    grid = np.array(figure.axes).reshape(4, n)
    for b in range(n):
        np.testing.assert_allclose(grid[0, b].get_lines()[0].get_xdata(), pairs[b][0], rtol=1e-6)
        np.testing.assert_allclose(grid[1, b].get_lines()[0].get_ydata(), hidden[b][1])
        truth = CLASSES[labels[b]]
        np.testing.assert_allclose(line(grid[2, b], truth).get_ydata(), readout[b, :, labels[b]])
        np.testing.assert_allclose(
            line(grid[3, b], truth).get_ydata(), readout[b, :, labels[b]].cumsum(), rtol=1e-4, atol=1e-4
        )
        assert f"“{truth}”, speaker {b}" in grid[0, b].get_title()
    assert "synthetic speech" in words(figure)
    assert_readable(figure)
