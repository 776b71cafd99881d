"""Table 1 and the ablation as figures: what is drawn is what the tables hold."""

from dataclasses import replace

import numpy as np
import pytest
from drawn import across, assert_readable, words

from bss2lab import plots
from bss2lab.results import Epoch
from bss2lab.studies.tables import ABLATION, Entry, Table, TableConfig

pytestmark = pytest.mark.slow


def epoch(train, test):
    return Epoch(100, 0.1, {}, float(train), float(test), None, 44.0, 0.0, 1e-4, 5.0)


@pytest.fixture
def table():
    generator = np.random.default_rng(0)
    config = TableConfig()
    made = []
    for row in config.rows:
        paper = Entry(row, ()).paper
        noise = 0.001 * generator.normal(0, 1, (5, 2))
        made.append(Entry(row, tuple(epoch(min(paper.train / 100 - 0.002 + a, 1), paper.test / 100 - 0.001 + b)
                                     for a, b in noise)))  # fmt: skip
    return Table(config, tuple(made))


@pytest.fixture
def ablation():
    generator = np.random.default_rng(1)
    base = 0.971 + 0.0008 * generator.normal(0, 1, 5)
    shifts = (0, 0.0015, 0.0002, 0.001, -0.0004, 0.003)
    return Table(ABLATION, tuple(
        Entry(row, tuple(epoch(0.995, b + shift + 0.0004 * generator.normal() * (k > 0)) for b in base))
        for k, (row, shift) in enumerate(zip(ABLATION.rows, shifts, strict=True))
    ))  # fmt: skip


def single(table):
    return replace(table, entries=tuple(replace(entry, final=entry.final[:1]) for entry in table.entries))


def marks(axes, marker, *, filled):
    """Return (x, y) of the markers of a kind, from top to bottom."""
    found = [one for one in axes.get_lines() if one.get_marker() == marker and one.get_linestyle() == "None"]
    chosen = [one for one in found if (one.get_markerfacecolor() != "white") == filled]
    return sorted(((float(one.get_xdata()[0]), float(one.get_ydata()[0])) for one in chosen), key=lambda at: -at[1])


# --- table 1 -----------------------------------------------------------------------------------------------------


def test_every_row_shows_our_accuracies_and_the_papers(table):
    panels = plots.draw_table1(table).axes
    for axes, task in zip(panels, ("mnist", "fashion"), strict=True):
        group = [entry for entry in table.entries if entry.row.train.task == task]
        for marker, filled, value in (
            ("o", True, lambda entry: entry.test.mean),
            ("o", False, lambda entry: entry.paper.test),
            ("^", True, lambda entry: entry.train.mean),
            ("^", False, lambda entry: entry.paper.train),
        ):
            found = marks(axes, marker, filled=filled)
            np.testing.assert_allclose([x for x, _ in found], [value(entry) for entry in group])
            assert [round(y) for _, y in found] == [-k for k in range(len(group))]
        assert [label.get_text() for label in axes.get_yticklabels()] == [entry.row.name for entry in group]
        assert list(axes.get_yticks()) == [-k for k in range(len(group))]


def test_bars_are_deviations_and_the_papers_spread(table):
    axes = plots.draw_table1(table).axes[1]
    group = [entry for entry in table.entries if entry.row.train.task == "fashion"]
    lengths = [np.ptp(c.lines[2][0].get_segments()[0][:, 0]) / 2 for c in axes.containers]
    wanted = [value for entry in group for value in (entry.train.sd, entry.test.sd, entry.paper.test_spread)]
    np.testing.assert_allclose(lengths, wanted)


def test_numbers_are_written_beside_the_rows(table):
    for axes, task in zip(plots.draw_table1(table).axes, ("mnist", "fashion"), strict=True):
        written = [(text.get_text(), text.xy[1]) for text in axes.texts]
        for k, entry in enumerate(e for e in table.entries if e.row.train.task == task):
            assert (str(entry.test), -k) in written
            assert (f"{entry.paper.test:.1f} ± {entry.paper.test_spread:.1f}", -k) in written


def test_the_badge_says_what_is_mixed(table):
    chip = tuple(entry for entry in table.entries if entry.row.train.on_chip)
    others = tuple(entry for entry in table.entries if not entry.row.train.on_chip)
    for some, text in (
        (table.entries, "emulated chip and software"),
        (chip, "emulated chip"),
        (others, "software model"),
    ):
        found = words(plots.draw_table1(replace(table, entries=some)))
        assert text in found
        assert ("chip and" in found) == (some is table.entries)
    names = [label.get_text() for label in plots.draw_table1(table).axes[0].get_yticklabels()]
    assert [name.startswith("BSS-2 (emulated)") for name in names] == [True, True, False, False, False, False]


def test_rows_that_the_paper_lacks_have_no_open_marker(table):
    entry = table.entries[0]
    row = entry.row.replace(train=entry.row.train.replace(dropout=0.3), name="dropout alone")
    axes = plots.draw_table1(replace(table, entries=(replace(entry, row=row),))).axes[0]
    assert not marks(axes, "o", filled=False)
    assert not marks(axes, "^", filled=False)
    assert "–" in [text.get_text() for text in axes.texts]


@pytest.mark.parametrize("n", [1, 9])
def test_tables_of_any_length_are_readable(table, n):
    for each in (table, single(table)):
        assert_readable(plots.draw_table1(replace(each, entries=each.entries[:n])))
    assert not plots.draw_table1(single(table)).axes[0].containers[0].has_xerr


# --- ablation ----------------------------------------------------------------------------------------------------


def test_differences_are_taken_seed_by_seed(ablation):
    figure = plots.draw_ablation(ablation)
    (axes,) = figure.axes
    base = np.array([100 * e.test_accuracy for e in ablation.entries[0].final])
    ticks = [one for one in axes.get_lines() if one.get_marker() == "|" and len(one.get_xdata()) == 5]
    for k, entry in enumerate(ablation.entries[1:]):
        difference = np.array([100 * e.test_accuracy for e in entry.final]) - base
        container = axes.containers[k]
        assert container.lines[0].get_xdata()[0] == pytest.approx(difference.mean())
        assert container.lines[0].get_ydata()[0] == -k
        half = np.ptp(container.lines[2][0].get_segments()[0][:, 0]) / 2
        assert half == pytest.approx(difference.std(ddof=1))
        np.testing.assert_allclose(ticks[k].get_xdata(), difference)
        text = f"{difference.mean():+.2f} ± {difference.std(ddof=1):.2f}".replace("-", "−")
        assert text in [one.get_text() for one in axes.texts]
    names = [entry.row.name for entry in ablation.entries[1:]]
    assert [label.get_text() for label in axes.get_yticklabels()] == names
    assert across(axes, vertical=True) == [0]


def test_the_chip_as_it_is_gives_the_scale(ablation):
    figure = plots.draw_ablation(ablation)
    test = ablation.entries[0].test
    (band,) = [p for p in figure.axes[0].patches if p.get_width() > 0]
    assert band.get_x() == pytest.approx(-test.sd)
    assert band.get_width() == pytest.approx(2 * test.sd)
    assert figure.axes[0].get_title(loc="left").endswith(f"nothing spared: {test} %")
    assert "emulated chip" in words(figure)


@pytest.mark.parametrize("n", [1, 6])
def test_ablations_of_any_length_are_readable(ablation, n):
    for each in (ablation, single(ablation)):
        figure = plots.draw_ablation(replace(each, entries=each.entries[:n]))
        assert_readable(figure)
        low, high = figure.axes[0].get_xlim()
        assert low < 0 < high
    assert not plots.draw_ablation(single(ablation)).axes[0].patches
