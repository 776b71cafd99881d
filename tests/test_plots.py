"""Figures: what is drawn is what the result holds, and all of it is seen."""

import io
from dataclasses import replace

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import image
from matplotlib.backends.backend_agg import FigureCanvasAgg

from bss2lab import plots
from bss2lab.chip import Chip, ChipProfile
from bss2lab.chip.spec import SPEC, TARGETS
from bss2lab.chip.transfer import Transfer
from bss2lab.plots import style
from bss2lab.presets import TABLE_1, Published
from bss2lab.quantize import CADC_MV_PER_LSB
from bss2lab.studies.fig3 import LearningCurves, Snapshots
from bss2lab.types import Spikes

pytestmark = pytest.mark.slow

N_IMAGES, N_STEPS, N_HIDDEN = 3, 8, 20


def make_spikes(generator, n_units, duration_us):
    pairs = []
    for _ in range(N_IMAGES):
        n = int(generator.integers(5, 15))
        pairs.append((np.sort(generator.uniform(0, duration_us, n)), generator.integers(0, n_units, n)))
    return Spikes.from_events(pairs, n_units=n_units, duration_us=duration_us)


@pytest.fixture
def shots():
    generator = np.random.default_rng(0)
    readout = generator.normal(0, 1, (N_IMAGES, N_STEPS, 10)).astype(np.float32)
    decisions = readout.max(axis=1).argmax(axis=1)
    labels = decisions.copy()
    labels[1] = (labels[1] + 1) % 10
    return Snapshots(
        pixels=generator.integers(0, 256, (N_IMAGES, 16, 16)).astype(np.uint8),
        labels=labels,
        decisions=decisions,
        input_spikes=make_spikes(generator, 256, 10.0),
        hidden_spikes=make_spikes(generator, N_HIDDEN, 13.0),
        time_us=(1.7 * np.arange(1, N_STEPS + 1)).astype(np.float32),
        readout=readout,
        limits=(-2.0, 4.0),
        emulated=True,
    )


@pytest.fixture
def curves():
    epochs = np.arange(1, 6)
    return LearningCurves(
        epochs=epochs,
        loss=np.float32([2.0 / epochs, 2.5 / epochs]),
        train_accuracy=np.float32([1 - 0.4 / epochs, 1 - 0.5 / epochs]),
        test_accuracy=np.float32([0.97 - 0.1 / epochs, 0.98 - 0.1 / epochs]),
        emulated=True,
    )


def data_lines(axes):
    """Return the lines drawn in data coordinates (those across the whole axes are not)."""
    return [line for line in axes.get_lines() if line.get_transform() == axes.transData]


def line_with_label(axes, label):
    (line,) = [line for line in axes.get_lines() if line.get_label() == label]
    return line


def texts(figure):
    return [text.get_text() for text in figure.texts]


def assert_inside(axes, lines=None):
    """All data of these lines lie within the axes."""
    (left, right), (bottom, top) = sorted(axes.get_xlim()), sorted(axes.get_ylim())
    for line in data_lines(axes) if lines is None else lines:
        x, y = np.asarray(line.get_xdata(), float), np.asarray(line.get_ydata(), float)
        assert np.isfinite(x).all()
        assert np.isfinite(y).all()
        assert left <= x.min() <= x.max() <= right
        assert bottom <= y.min() <= y.max() <= top


def assert_texts_apart_and_on_paper(figure):
    """Titles and labels of different axes do not run into each other, and the legend is on the paper."""
    canvas = FigureCanvasAgg(figure)
    figure.draw_without_rendering()
    renderer = canvas.get_renderer()
    boxes = [
        text.get_window_extent(renderer)
        for axes in figure.axes
        for text in (axes.title, axes._left_title, axes.xaxis.label, axes.yaxis.label)
        if text.get_text() and text.get_visible()
    ]
    for k, one in enumerate(boxes):
        for two in boxes[k + 1 :]:
            assert not one.padded(-1).overlaps(two.padded(-1))
    paper = figure.bbox.padded(1)
    for legend in figure.legends:
        box = legend.get_window_extent(renderer)
        assert paper.x0 <= box.x0
        assert box.x1 <= paper.x1
        assert paper.y0 <= box.y0
        assert box.y1 <= paper.y1


# --- figure 3A ---------------------------------------------------------------------------------------------------


def test_each_column_shows_one_image_its_spikes_and_its_traces(shots):
    figure = plots.draw_snapshots(shots)
    grid = np.array(figure.axes).reshape(3, N_IMAGES)
    for b, (picture, raster, traces) in enumerate(grid.T):
        np.testing.assert_array_equal(picture.images[0].get_array(), shots.pixels[b])
        assert picture.images[0].get_clim() == (0, 255)
        below, above = data_lines(raster)
        for line, (times, units), shift in (
            (below, shots.input_spikes.sample(b), 0),
            (above, shots.hidden_spikes.sample(b), 256),
        ):
            np.testing.assert_array_equal(line.get_xdata(), times)
            np.testing.assert_array_equal(line.get_ydata(), units + shift)
        assert len(data_lines(traces)) == 10
        for o, line in enumerate(data_lines(traces)):
            np.testing.assert_array_equal(line.get_xdata(), shots.time_us)
            np.testing.assert_array_equal(line.get_ydata(), shots.readout[b, :, o])
            assert line.get_label() == str(o)


def test_the_title_says_what_it_was_and_what_was_decided(shots):
    names = tuple("abcdefghij")
    for given, shown in ((None, tuple("0123456789")), (names, names)):
        figure = plots.draw_snapshots(shots, given)
        titles = [axes.get_title() for axes in figure.axes[:N_IMAGES]]
        for b, title in enumerate(titles):
            truth, decision = shown[shots.labels[b]], shown[shots.decisions[b]]
            assert title == f"{truth} → {decision}" + ("  (wrong)" if b == 1 else "")


def test_no_spike_and_no_trace_falls_outside_its_axes(shots):
    figure = plots.draw_snapshots(shots)
    for axes in np.array(figure.axes).reshape(3, N_IMAGES)[1:].ravel():
        assert_inside(axes)
    assert_texts_apart_and_on_paper(figure)


def test_a_single_image_and_a_silent_network_can_be_drawn(shots):
    silent = replace(
        shots,
        pixels=shots.pixels[:1],
        labels=shots.labels[:1],
        decisions=shots.decisions[:1],
        hidden_spikes=Spikes.from_events([(np.empty(0), np.empty(0, int))], n_units=N_HIDDEN, duration_us=13.0),
        readout=np.zeros_like(shots.readout[:1]),
    )
    figure = plots.draw_snapshots(silent)
    assert len(figure.axes) == 3
    for axes in figure.axes[2:]:
        assert_inside(axes)


# --- figure 3B ---------------------------------------------------------------------------------------------------


def test_the_curves_are_means_over_the_runs_and_the_bands_their_range(curves):
    loss, accuracy = plots.draw_learning_curves(curves).axes
    for axes, label, rows in (
        (loss, "training", curves.loss),
        (accuracy, "training", 100 * curves.train_accuracy),
        (accuracy, "test", 100 * curves.test_accuracy),
    ):
        line = line_with_label(axes, label)
        np.testing.assert_array_equal(line.get_xdata(), curves.epochs)
        np.testing.assert_allclose(line.get_ydata(), rows.mean(axis=0), rtol=1e-6)
    for axes, kinds in ((loss, [curves.loss]), (accuracy, [100 * curves.train_accuracy, 100 * curves.test_accuracy])):
        assert len(axes.collections) == len(kinds)
        for band, rows in zip(axes.collections, kinds, strict=True):
            corners = band.get_paths()[0].vertices
            for k, epoch in enumerate(curves.epochs):
                at = corners[corners[:, 0] == epoch, 1]
                assert at.min() == pytest.approx(rows[:, k].min(), rel=1e-6)
                assert at.max() == pytest.approx(rows[:, k].max(), rel=1e-6)


def test_a_single_run_has_no_band(curves):
    one = replace(curves, **{name: getattr(curves, name)[:1] for name in ("loss", "train_accuracy", "test_accuracy")})
    loss, accuracy = plots.draw_learning_curves(one).axes
    assert not loss.collections
    assert not accuracy.collections


def test_titles_give_number_mean_and_spread(curves):
    accuracy = plots.draw_learning_curves(curves).axes[1]
    final = 100 * curves.test_accuracy[:, -1]
    assert accuracy.get_title(loc="left") == f"test after 5 epochs: {final.mean():.2f} ± {np.std(final, ddof=1):.2f} %"


@pytest.mark.parametrize(
    "paper", [TABLE_1["mnist", "itl", False], Published(90.0, 55.0, 0.1), Published(90.0, 99.9, 0)]
)
def test_the_papers_accuracy_is_a_line_that_can_be_seen(curves, paper):
    accuracy = plots.draw_learning_curves(curves, paper).axes[1]
    line = line_with_label(accuracy, f"paper, test: {paper.test:.1f} %")
    assert list(line.get_ydata()) == [paper.test, paper.test]
    low, high = accuracy.get_ylim()
    assert low < paper.test < high
    shown = [text.get_text() for text in accuracy.get_legend().get_texts()]
    assert shown == ["training", "test", line.get_label()]


@pytest.mark.parametrize("worst", [0.05, 0.5, 0.999])
def test_no_curve_falls_outside_its_axes(worst, curves):
    """But for training in the first epoch, which starts from chance and would flatten the rest."""
    low = replace(curves, test_accuracy=np.minimum(curves.test_accuracy, np.float32(worst)))
    figure = plots.draw_learning_curves(low)
    loss, accuracy = figure.axes
    assert_inside(loss)
    assert_inside(accuracy, [line_with_label(accuracy, "test")])
    bottom, top = accuracy.get_ylim()
    training = line_with_label(accuracy, "training").get_ydata()
    assert bottom <= training[1:].min()
    assert training.max() <= top
    assert bottom >= 0
    assert top >= 100
    assert_texts_apart_and_on_paper(figure)


def test_a_single_epoch_can_be_drawn(curves):
    short = LearningCurves(
        np.arange(1, 2), curves.loss[:, :1], curves.train_accuracy[:, :1], curves.test_accuracy[:, :1], True
    )
    for axes in plots.draw_learning_curves(short).axes:
        assert_inside(axes)


# --- the chip ----------------------------------------------------------------------------------------------------


def test_histograms_count_the_neurons_of_each_chip():
    chips = {"calibrated": Chip(1), "uncalibrated": Chip(1, "uncalibrated")}
    figure = plots.draw_mismatch(chips)
    assert len(figure.axes) == 4
    for axes in figure.axes:
        low, high = axes.get_xlim()
        assert len(axes.patches) == 2
        for patch in axes.patches:
            corners = patch.get_xy()
            assert low <= corners[:, 0].min() <= corners[:, 0].max() <= high
            assert corners[:, 1].max() <= axes.get_ylim()[1]
            steps = corners[: len(corners) // 2 + 1]
            counts = steps[1::2, 1]
            assert counts.sum() == 256
    tau = Chip(1, "uncalibrated").mismatch.tau_mem_us
    label = figure.axes[0].get_legend().get_texts()[1].get_text()
    assert label == f"uncalibrated: {100 * tau.std() / tau.mean():.0f} %"
    assert "emulated chip" in texts(figure)


def test_membranes_and_their_samples_are_drawn_in_millivolts():
    generator = np.random.default_rng(0)
    time_us = np.linspace(0, 30, 50, dtype=np.float32)
    membranes = generator.normal(400, 50, (50, 6)).astype(np.float32)
    sample_time, samples = np.arange(0, 30, 1.7, dtype=np.float32), generator.integers(0, 256, (18, 6)).astype(np.uint8)
    figure = plots.draw_membranes(time_us, membranes, sample_time, samples, threshold_mv=700.0)
    many, one = figure.axes
    for axes in (many, one):
        assert any(list(line.get_ydata()) == [700.0, 700.0] for line in axes.get_lines())
        assert axes.get_ylim()[0] < 700 < axes.get_ylim()[1]
        assert_inside(axes)
    for k in range(6):
        np.testing.assert_array_equal(many.get_lines()[k].get_ydata(), membranes[:, k])
    np.testing.assert_allclose(line_with_label(many, "mean").get_ydata(), membranes.mean(axis=1))
    np.testing.assert_array_equal(line_with_label(one, "true membrane").get_ydata(), membranes[:, 0])
    dots = line_with_label(one, "CADC sample, 8 bit")
    np.testing.assert_array_equal(dots.get_xdata(), sample_time)
    np.testing.assert_allclose(dots.get_ydata(), samples[:, 0] * CADC_MV_PER_LSB)


def test_the_table_of_constants_names_every_one_with_unit_and_origin():
    chip = Chip(0)
    head, rule, *lines = plots.constants_table(chip).splitlines()
    assert len(lines) == len(ChipProfile.provenance()) + len(Transfer.provenance()) + len(SPEC) + len(TARGETS)
    rows = {cells[0].strip("` "): [c.strip() for c in cells[1:]] for cells in (x.strip("|").split("|") for x in lines)}
    for name, fact in ChipProfile.provenance().items():
        value, unit, source, _ = rows[name]
        own = getattr(chip.profile, name)
        assert value == "yes" if own is True else float(value) == pytest.approx(own, rel=1e-5)
        assert (unit, source) == (fact["unit"], fact["source"])
    for name, fact in Transfer.provenance().items():
        value, unit, source, _ = rows[name]
        assert float(value) == pytest.approx(getattr(chip.profile.transfer, name), rel=1e-5)
        assert (unit, source) == (fact["unit"], fact["source"])
    for name, target in TARGETS.items():
        assert rows[f"target: {name.replace('_', ' ')}"][:3] == [f"{target.value:g}", target.unit, target.source.value]
    assert all(line.count("|") == head.count("|") == rule.count("|") for line in lines)


# --- all of them -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("emulated", "text"), [(True, "emulated chip"), (False, "software model")])
def test_the_badge_says_where_the_data_come_from(emulated, text, shots, curves):
    for figure in (
        plots.draw_snapshots(replace(shots, emulated=emulated)),
        plots.draw_learning_curves(replace(curves, emulated=emulated)),
    ):
        assert texts(figure) == [text]


def test_a_figure_saves_as_png_with_everything_on_it(shots, curves):
    """The badge lies above the canvas: the picture is cropped around it, not at the canvas."""
    for figure in (plots.draw_snapshots(shots), plots.draw_learning_curves(curves)):
        content = figure.png(dpi=100)
        assert content.startswith(b"\x89PNG\r\n\x1a\n")
        pixels = image.imread(io.BytesIO(content))[..., :3]
        grey = np.array(mpl.colors.to_rgb(style.REFERENCE))
        badge = (np.abs(pixels - grey) < 0.02).all(axis=2)
        rows, columns = np.nonzero(badge[: len(badge) // 8])
        assert badge[: len(badge) // 8].sum() > 300
        assert rows.min() > 0
        assert columns.max() < pixels.shape[1] - 1
        assert (pixels[[0, -1]] > 0.99).all()  # a white margin all around: nothing is cut off
        assert (pixels[:, [0, -1]] > 0.99).all()


def test_in_a_notebook_a_figure_is_a_third_of_the_size_and_the_same_to_the_eye(shots, curves):
    for figure in (plots.draw_snapshots(shots), plots.draw_learning_curves(curves)):
        whole, small = figure.png(dpi=110), figure._repr_png_()
        assert len(small) < 0.5 * len(whole)
        one, other = (image.imread(io.BytesIO(content))[..., :3] for content in (whole, small))
        assert one.shape == other.shape
        assert 0 < np.abs(one - other).mean() < 1 / 255


def test_drawing_leaves_the_users_own_style_alone(shots, curves):
    before = dict(mpl.rcParams)
    plots.draw_snapshots(shots).png(dpi=40)
    plots.draw_learning_curves(curves).png(dpi=40)
    assert dict(mpl.rcParams) == before
    mpl.rcParams["font.size"] = 30  # and the user's own leaves the package's alone
    try:
        figure = plots.draw_learning_curves(curves)
        assert figure.axes[0].xaxis.label.get_fontsize() == 9
    finally:
        mpl.rcParams["font.size"] = before["font.size"]


def test_the_colours_can_be_told_apart():
    rgb = np.array([mpl.colors.to_rgb(colour) for colour in style.PALETTE])
    assert len(rgb) == 10
    distance = np.abs(rgb[:, None] - rgb[None]).sum(axis=2) + 9 * np.eye(10)
    assert distance.min() > 0.3
