"""Figures 4B and 4C: what is drawn is what the studies found."""

from dataclasses import replace

import numpy as np
import pytest
from drawn import assert_legend_clear, assert_readable, bars, line, words

from bss2lab import plots
from bss2lab.studies import fig4_robustness, fig4_silencing
from bss2lab.studies.fig4_robustness import Robustness, RobustnessConfig
from bss2lab.studies.fig4_silencing import Silencing, SilencingConfig

pytestmark = pytest.mark.slow

WHICH = ("tau", "threshold", "both")
FRACTIONS = SilencingConfig().fractions
CURVES = {
    ("itl", False): "in the loop, test",
    ("itl", True): "in the loop, training",
    ("transfer", False): "transferred, test",
    ("transfer", True): "transferred, training",
    ("recalibrated", False): "transferred after recalibration,\ntest (beyond the paper)",
}


def make_robustness(*, seeds=5, which=WHICH, sigma_d=(0.0, 0.2, 0.5), perfect=False, active=True):
    config = RobustnessConfig(seeds=seeds, which=which, sigma_d=sigma_d)
    generator = np.random.default_rng(0)
    hard = {"tau": 0.7, "threshold": 1.0, "both": 1.4}
    points = []
    for kind, spread, seed in config.conditions():
        h = hard[kind] * spread
        firing = 1 + seed if active and h > 0.45 else 0
        learned = 0.028 + 0.01 * h + 0.001 * generator.normal()
        moved = 0.03 + 0.8 * (1 - np.exp(-((2 * h) ** 2))) + 0.002 * generator.normal()
        train = 0.0 if perfect else 0.004 + 0.0002 * seed
        for way, on_train, on_test in (
            ("itl", train, learned),
            ("transfer", 0.9 * moved, moved),
            ("recalibrated", 0.01, 0.031 + 0.005 * h),
        ):
            points.append(fig4_robustness.Point(way, kind, spread, seed, on_train, float(on_test), firing))
    return Robustness(config, tuple(points))


def make_silencing(*, seeds=5, fractions=FRACTIONS, perfect=False):
    config = SilencingConfig(seeds=seeds, fractions=fractions)
    points = []
    for dropout, base, steep in ((0.0, 0.028, 2.2), (0.4, 0.024, 0.75)):
        for seed in range(seeds):
            for f in fractions:
                error = base * np.exp(steep * f + 5 * f * f) * (1 + 0.02 * seed)
                points.append(fig4_silencing.Point(dropout, seed, f, 0.0 if perfect and f < 0.1 else float(error)))
    return Silencing(config, tuple(points))


# --- figure 4B ---------------------------------------------------------------------------------------------------


def test_every_curve_is_the_mean_error_over_the_seeds():
    result = make_robustness()
    panels = plots.draw_robustness(result).axes
    for axes, which in zip(panels, WHICH, strict=True):
        for (way, train), label in CURVES.items():
            drawn = line(axes, label)
            means = [result.error(way, which, s, train=train).mean for s in result.config.sigma_d]
            np.testing.assert_allclose(drawn.get_xdata(), [0, 20, 50])
            np.testing.assert_allclose(drawn.get_ydata(), means)
        assert axes.get_ylim() == panels[0].get_ylim()


def test_bands_are_the_range_of_the_test_errors():
    result = make_robustness()
    for axes, which in zip(plots.draw_robustness(result).axes, WHICH, strict=True):
        assert len(axes.collections) == 2
        for band, way in zip(axes.collections, ("itl", "transfer"), strict=True):
            corners = band.get_paths()[0].vertices
            for s in result.config.sigma_d:
                errors = [100 * p.test_error for p in result.at(way, which, s)]
                at = corners[np.isclose(corners[:, 0], 100 * s), 1]
                assert at.min() == pytest.approx(min(errors))
                assert at.max() == pytest.approx(max(errors))


def test_networks_on_chips_that_fire_without_input_are_marked():
    result = make_robustness()
    for axes, which in zip(plots.draw_robustness(result).axes, WHICH, strict=True):
        marks = [one for one in axes.get_lines() if one.get_label() == "_self-active"]
        wanted = [p for p in result.points if p.which == which and p.self_active and p.way != "recalibrated"]
        assert sum(len(one.get_xdata()) for one in marks) == len(wanted)
        assert bool(wanted) == (which != "tau")
        for one, way in zip(marks, ("itl", "transfer"), strict=False):
            chosen = [p for p in wanted if p.way == way]
            np.testing.assert_allclose(one.get_ydata(), [100 * p.test_error for p in chosen])
            assert np.abs(one.get_xdata() - [100 * p.sigma_d for p in chosen]).max() < 2


def test_the_legend_of_robustness_is_complete():
    figure = plots.draw_robustness(make_robustness(active=False))
    assert "emulated chip" in words(figure)


def test_errors_of_zero_stand_at_the_lower_edge():
    figure = plots.draw_robustness(make_robustness(perfect=True))
    low, high = figure.axes[0].get_ylim()
    assert 0 < low <= 1
    assert high == 100
    for axes in figure.axes:
        (zeros,) = [one for one in axes.get_lines() if one.get_marker() == "v"]
        assert list(zeros.get_ydata()) == [low] * 3
        assert list(line(axes, "in the loop, training").get_ydata()) == [low] * 3


@pytest.mark.parametrize(
    ("which", "seeds", "sigma_d"), [(("both",), 1, (0.3,)), (WHICH, 5, (0.0, 0.1, 0.2, 0.3, 0.4, 0.5))]
)
def test_any_choice_of_panels_is_readable(which, seeds, sigma_d):
    figure = plots.draw_robustness(make_robustness(seeds=seeds, which=which, sigma_d=sigma_d))
    assert len(figure.axes) == len(which)
    assert_readable(figure)
    if seeds == 1:
        assert not any(axes.collections for axes in figure.axes)
        assert "bands" not in words(figure)


# --- figure 4C ---------------------------------------------------------------------------------------------------


def test_errors_are_means_over_the_networks_with_their_deviation():
    result = make_silencing()
    axes = plots.draw_silencing(result).axes[0]
    for label, dropout in (("no dropout", 0.0), ("40 % dropout", 0.4)):
        x, y, half = bars(axes, label)
        means = [result.error(dropout, f) for f in result.config.fractions]
        np.testing.assert_allclose(x, 100 * np.array(result.config.fractions))
        np.testing.assert_allclose(y, [m.mean for m in means])
        np.testing.assert_allclose(half, [m.sd for m in means])


def test_the_increase_at_15_percent_stands_beside_the_papers():
    result = make_silencing()
    axes = plots.draw_silencing(result).axes[1]
    ours = [result.increase(dropout, 0.15) for dropout in (0.0, 0.4)]
    labels = [f"no dropout: {ours[0]:+.0f} %", "paper: +37 %", f"40 % dropout: {ours[1]:+.0f} %", "paper: +10 %"]
    for label, dropout in ((labels[0], 0.0), (labels[2], 0.4)):
        drawn = line(axes, label)
        np.testing.assert_allclose(drawn.get_xdata(), [0, 5, 10, 15, 20])
        np.testing.assert_allclose(drawn.get_ydata(), [result.increase(dropout, f) for f in (0, 0.05, 0.1, 0.15, 0.2)])
    for label, increase in ((labels[1], 37), (labels[3], 10)):
        mark = line(axes, label)
        assert (list(mark.get_xdata()), list(mark.get_ydata())) == ([15], [increase])


@pytest.mark.parametrize(("fractions", "seeds"), [((0.0,), 1), ((0.0, 0.15, 0.3, 0.5), 5), (FRACTIONS, 5)])
def test_silencing_of_any_size_is_readable(fractions, seeds):
    figure = plots.draw_silencing(make_silencing(seeds=seeds, fractions=fractions))
    assert_readable(figure)
    for axes in figure.axes:
        assert_legend_clear(axes)


def test_networks_without_errors_can_be_drawn():
    figure = plots.draw_silencing(make_silencing(perfect=True))
    error = figure.axes[0]
    low = error.get_ylim()[0]
    assert low > 0
    assert list(bars(error, "no dropout")[1][:2]) == [low, low]
    assert_readable(figure)


def test_the_badge_follows_the_runs():
    result = make_silencing(seeds=1)
    config = result.config
    software = config.replace(without=config.without.replace(mode="software"))
    assert "emulated chip and software" in words(plots.draw_silencing(replace(result, config=software)))
    both = software.replace(dropout=config.dropout.replace(mode="software"))
    assert "software model" in words(plots.draw_silencing(replace(result, config=both)))
