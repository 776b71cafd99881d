"""Figure 1: the floor plan is a possible chip, and the arrays that are drawn are the weights that are held."""

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.patches import Rectangle
from matplotlib.text import Text

from bss2lab import plots
from bss2lab.chip.image import NO_LABEL
from bss2lab.chip.placement import place
from bss2lab.config import Source
from bss2lab.errors import InputError
from bss2lab.plots import fig1, fig1_network
from bss2lab.topology import Layer, Network

pytestmark = pytest.mark.slow

VISION = place(Network.feed_forward(256, 246, 10))
SPEECH = place(Network(70, (Layer(186, recurrent=True), Layer(20, spiking=False))))
DEEP = place(Network.feed_forward(20, 60, 50, 40, 30, 7))
SMALL = place(Network.feed_forward(3, 2))


def random_image(placement, seed=0):
    generator = np.random.default_rng(seed)
    weights = [generator.integers(-63, 64, (len(p.rows), len(p.neurons))) for p in placement.layers]
    return placement.image(weights), weights


def rectangles(axes, label=None):
    found = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    return found if label is None else [patch for patch in found if patch.get_label() == label]


def written(figure):
    """Every text that is seen, with its box in pixels."""
    canvas = FigureCanvasAgg(figure)
    figure.draw_without_rendering()
    renderer = canvas.get_renderer()
    texts = [t for t in figure.findobj(Text) if t.get_text().strip() and t.get_visible()]
    return [(t, Text.get_window_extent(t, renderer)) for t in texts if _is_shown(t)]


def _is_shown(text):
    axes = text.axes
    if axes is None or axes.axison:
        return True
    return text not in [*axes.get_xticklabels(), *axes.get_yticklabels()]


# --- the geometry ------------------------------------------------------------------------------------------------


def test_blocks_lie_inside_the_die_and_do_not_overlap():
    width, height = fig1.DIE_UM
    assert sorted(fig1.DIE_UM) == [4000, 8000]
    for k, one in enumerate(fig1.FLOOR_PLAN):
        assert one.width > 0
        assert one.height > 0
        assert 0 < one.x < one.x + one.width < width
        assert 0 < one.y < one.y + one.height < height
        for two in fig1.FLOOR_PLAN[k + 1 :]:
            apart_x = one.x + one.width <= two.x or two.x + two.width <= one.x
            apart_y = one.y + one.height <= two.y or two.y + two.height <= one.y
            assert apart_x or apart_y, (one.name, two.name)


def test_the_chip_has_two_halves_of_everything():
    kinds = [block.kind for block in fig1.FLOOR_PLAN]
    twice = ("synapse array", "synapse drivers", "neuron circuits", "column ADC", "SIMD unit", "processor (PPU)")
    assert {kind: kinds.count(kind) for kind in twice} == dict.fromkeys(twice, 2)
    assert kinds.count("event router") == 1
    assert kinds.count("digital I/O") == 2
    assert len(set(block.name for block in fig1.FLOOR_PLAN)) == len(kinds) == 15
    middle = fig1.DIE_UM[1] / 2
    of = {block.name: block for block in fig1.FLOOR_PLAN}
    for kind in twice:
        top, bottom = of[f"{kind}, top"], of[f"{kind}, bottom"]
        assert top.y - middle == pytest.approx(middle - (bottom.y + bottom.height))  # mirror images
        assert (top.x, top.width, top.height) == (bottom.x, bottom.width, bottom.height)
    for half in ("top", "bottom"):  # from the middle outwards: neurons, synapses, converter, processor
        order = [abs(of[f"{kind}, {half}"].y + of[f"{kind}, {half}"].height / 2 - middle) for kind in twice]
        neurons, synapses, adc, simd, ppu = (order[k] for k in (2, 0, 3, 4, 5))
        assert neurons < synapses < adc < simd < ppu
        array, drivers = of[f"synapse array, {half}"], of[f"synapse drivers, {half}"]
        assert (drivers.y, drivers.height) == (array.y, array.height)
        assert (array.width / 256, array.height / 256) == (12.0, 8.0)


def test_every_size_says_where_it_comes_from():
    for block in fig1.FLOOR_PLAN:
        assert block.source in Source
        assert block.source is not Source.ASSUMED or block.why


# --- panel A -----------------------------------------------------------------------------------------------------


def test_the_floor_plan_is_drawn_to_scale_in_millimetres():
    figure = plots.draw_floor_plan()
    (axes,) = figure.axes
    for block in fig1.FLOOR_PLAN:
        (patch,) = rectangles(axes, block.name)
        drawn = (patch.get_x(), patch.get_y(), patch.get_width(), patch.get_height())
        assert drawn == pytest.approx([v / 1000 for v in (block.x, block.y, block.width, block.height)])
    assert len(rectangles(axes)) == len(fig1.FLOOR_PLAN) + 1  # and the die
    (bar,) = axes.get_lines()
    assert np.ptp(bar.get_xdata()) == pytest.approx(1.0)
    texts = " ".join(t.get_text() for t, _ in written(figure))
    for words in ("1 mm", "assumed", "emulated chip", "event router", "digital I/O", "synapse drivers", "256 … 511"):
        assert words in texts


def test_the_floor_plan_shows_which_circuits_belong_to_which_layer():
    (axes,) = plots.draw_floor_plan(SPEECH).axes
    of = {block.name: block for block in fig1.FLOOR_PLAN}
    hidden, output = rectangles(axes, "layer 0"), rectangles(axes, "layer 1")
    assert [round(patch.get_width() / 0.012) for patch in hidden] == [256, 116]  # circuits: neurons 0…127, 128…185
    assert [round(patch.get_width() / 0.012) for patch in output] == [40]
    strip = of["neuron circuits, bottom"]
    assert output[0].get_x() + output[0].get_width() == pytest.approx((strip.x + strip.width) / 1000)
    assert [patch.get_y() for patch in hidden] == [of[f"neuron circuits, {h}"].y / 1000 for h in ("top", "bottom")]


# --- panel B -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("placement", [VISION, SPEECH, DEEP, SMALL], ids=["vision", "speech", "deep", "small"])
def test_the_arrays_show_the_weights_and_nothing_else(placement):
    image, weights = random_image(placement)
    figure = plots.draw_network_on_chip(placement, image)
    _, top, bottom, _, _ = figure.axes
    shown = [axes.images[0].get_array() for axes in (top, bottom)]
    for array in range(2):
        assert shown[array].shape == (128, 256)
        np.testing.assert_array_equal(shown[array].mask, image.labels[array, 0::2] == NO_LABEL)
        assert (top, bottom)[array].images[0].get_clim() == (-63, 63)
    for layer, w in zip(placement.layers, weights, strict=True):
        for s, row in enumerate(layer.rows.tolist()):
            for unit in (0, len(layer.neurons) - 1):
                n = int(layer.neurons[unit])
                assert shown[n // 128][row % 128, 2 * (n % 128) + row // 128] == w[s, unit]
    assert sum(np.ma.count(s) for s in shown) == sum(w.size for w in weights)


def test_the_drivers_show_the_sources_of_every_row():
    paper = plots.draw_network_on_chip(SPEECH, random_image(SPEECH)[0]).axes[0]
    for k, layer in enumerate(SPEECH.layers):
        patches = rectangles(paper, f"sources of layer {k}")
        n_arrays = len(np.unique(layer.arrays))
        drivers = sum(patch.get_height() for patch in patches) / 2.05 * 128
        assert drivers == pytest.approx(len(layer.rows) * n_arrays)
    # layer 1 in the bottom array hears hidden spikes 0 … 127 in even, 128 … 185 in odd columns: the right half
    even, odd = rectangles(paper, "sources of layer 1")
    top, high, quarter = 1.08 + 2.05, 2.05 / 128, 0.68 / 4
    assert (even.get_x(), odd.get_x()) == pytest.approx((1.6 + 2 * quarter, 1.6 + 3 * quarter))
    assert (even.get_y() + even.get_height(), even.get_y()) == pytest.approx((top, 1.08))
    assert (odd.get_y() + odd.get_height(), odd.get_y()) == pytest.approx((top, top - 58 * high))
    colours = {mpl.colors.to_hex(p.get_facecolor()) for p in rectangles(paper, "sources of layer 0")}
    own = mpl.colors.to_hex(fig1.layer_look(SPEECH, 0)["facecolor"])
    assert colours == {"#777777", own}  # external inputs, and its own spikes


@pytest.mark.parametrize("placement", [VISION, SPEECH, DEEP], ids=["vision", "speech", "deep"])
def test_neurons_are_coloured_over_their_own_columns(placement):
    paper = plots.draw_network_on_chip(placement, random_image(placement)[0]).axes[0]
    for k, layer in enumerate(placement.layers):
        patches = rectangles(paper, f"layer {k}")
        assert sum(p.get_width() for p in patches) / 4.1 * 256 == pytest.approx(2 * len(layer.neurons))
        first = int(layer.neurons[0])
        wanted = {(3.56, 3.24)[array] for array in layer.arrays.tolist()}  # the top half's strip above the bottom's
        assert {patch.get_y() for patch in patches} == wanted
        assert (patches[0].get_x() - 2.4) / 4.1 * 256 == pytest.approx(2 * (first % 128), abs=1e-9)


def test_the_enlarged_synapses_hold_the_numbers_of_the_image():
    image, _ = random_image(VISION)
    figure = plots.draw_network_on_chip(VISION, image, detail=fig1_network.Detail(driver=100, neuron=200))
    detail = figure.axes[3]
    held = image.weights[1, 200:208, 144:152].astype(int)
    signs = np.array([1, -1] * 4)[:, None]
    np.testing.assert_array_equal(detail.images[0].get_array(), held * signs)
    assert detail.images[0].get_clim() == (-63, 63)
    numbers = {t.get_position(): int(t.get_text()) for t in detail.texts}
    assert numbers == {(c, r): v for (r, c), v in np.ndenumerate(held) if v}
    assert [t.get_text() for t in detail.get_yticklabels()][:3] == ["100 +", "100 −", "101 +"]
    assert [t.get_text() for t in detail.get_xticklabels()] == ["200", "201", "202", "203"]
    (frame,) = figure.axes[2].patches
    assert (frame.get_x(), frame.get_y(), frame.get_width(), frame.get_height()) == (143.5, 99.5, 8, 4)
    assert not figure.axes[1].patches


def test_by_default_the_strongest_weights_are_enlarged():
    weights = [np.ones((256, 246), int), np.zeros((246, 10), int)]
    weights[0][40:44, 60:64] = 63  # drivers 40 … 43, neurons 60 … 63
    figure = plots.draw_network_on_chip(VISION, VISION.image(weights))
    (frame,) = figure.axes[1].patches
    assert (frame.get_x(), frame.get_y()) == (119.5, 39.5)


@pytest.mark.parametrize(("driver", "neuron"), [(-1, 0), (125, 0), (0, -1), (0, 125), (0, 253), (0, 256), (0, 300)])
def test_a_detail_off_the_chip_is_refused(driver, neuron):
    with pytest.raises(InputError, match=r"detail: expected driver 0 … 124, neuron 0 … 124 or 128 … 252, got driver"):
        plots.draw_network_on_chip(
            SMALL, random_image(SMALL)[0], detail=fig1_network.Detail(driver=driver, neuron=neuron)
        )


def test_an_image_of_another_network_is_refused():
    with pytest.raises(InputError, match="labels of this placement"):
        plots.draw_network_on_chip(SPEECH, VISION.image([np.zeros((256, 246), int), np.zeros((246, 10), int)]))


# --- both --------------------------------------------------------------------------------------------------------


def all_figures():
    for placement in (VISION, SPEECH, DEEP, SMALL):
        yield plots.draw_floor_plan(placement)
        yield plots.draw_network_on_chip(placement, random_image(placement)[0], title="a title")
    yield plots.draw_floor_plan()


def test_no_text_is_small_runs_into_another_or_leaves_the_paper():
    for figure in all_figures():
        found = written(figure)
        assert len(found) > 10
        paper = figure.bbox.padded(2)
        for k, (text, box) in enumerate(found):
            assert paper.x0 <= box.x0, text.get_text()
            assert box.x1 <= paper.x1, text.get_text()
            assert paper.y0 <= box.y0, text.get_text()
            for other, other_box in found[k + 1 :]:
                assert not box.padded(-1).overlaps(other_box.padded(-1)), (text.get_text(), other.get_text())


def test_each_panel_has_its_letter_and_says_that_it_is_emulated():
    for figure, letter in (
        (plots.draw_floor_plan(), "A"),
        (plots.draw_network_on_chip(SMALL, random_image(SMALL)[0]), "B"),
    ):
        assert letter in [t.get_text() for t in figure.axes[0].texts]
        assert [t.get_text() for t in figure.texts] == ["emulated chip"]
