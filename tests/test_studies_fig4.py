"""Figure 4A: what is measured of detuned chips, and what is said about what is not."""

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from bss2lab.chip import Chip, published
from bss2lab.errors import DataError, InputError
from bss2lab.results import to_json
from bss2lab.studies import fig4

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.slow]

CONFIG = fig4.DetuningConfig(sigma_d=(0.0, 0.2, 0.5), seed=0)


@pytest.fixture(scope="module")
def result():
    return fig4.detuning(CONFIG)


@pytest.fixture(scope="module")
def comparison():
    generator = np.random.default_rng(3)
    z = generator.normal(0, 1, 300)
    real = {
        "tau_mem_us": 16 + 1.5 * generator.normal(0, 1, 300),
        "tau_syn_exc_us": 5 * np.exp(0.3 * z),
        "tau_syn_inh_us": 5 * np.exp(0.3 * z),
        "leak_mv": 450 + 30 * generator.normal(0, 1, 300),
        "reset_mv": 330 + 40 * generator.normal(0, 1, 300),
        "threshold_mv": 740 - 40 * z,
    }
    return fig4.compare(real=real)


def truth_of(chip):
    m = chip.mismatch
    return {name: getattr(m, name) for name in published.CORRELATED} | {"distance_mv": m.threshold_mv - m.leak_mv}


def test_there_is_a_population_per_sigma_and_the_uncalibrated_chip(result):
    assert [p.sigma_d for p in result.populations] == [0.0, 0.2, 0.5, None]
    assert [p.label for p in result.populations] == ["0 %", "20 %", "50 %", "uncalibrated"]
    assert result.emulated
    for p in result.populations:
        assert set(p.values) == set(fig4.UNITS) - {"reset_mv"}
        assert all(v.shape == (256,) for v in p.values.values())
        np.testing.assert_array_equal(p.values["distance_mv"], p.values["threshold_mv"] - p.values["leak_mv"])


def test_what_is_measured_is_what_the_neurons_do_but_for_the_noise(result):
    chips = [Chip(0).decalibrate(s, seed=0) for s in CONFIG.sigma_d] + [Chip(0, "uncalibrated")]
    for p, chip in zip(result.populations, chips, strict=True):
        truth = truth_of(chip)
        for name, values in p.values.items():
            error = values - truth[name]
            limit = 5.0 if name.endswith("_mv") else 0.1 + 0.03 * truth[name]
            assert (np.abs(error)[np.isfinite(error)] < np.broadcast_to(limit, 256)[np.isfinite(error)]).all(), name
            assert np.nanmax(np.abs(error)) > 0, "looked up, not measured"


def test_measured_spreads_follow_sigma(result):
    calibrated, some, much, uncalibrated = result.populations
    for name in ("tau_mem_us", "tau_syn_exc_us", "tau_syn_inh_us"):
        assert calibrated.spread(name).relative < 0.01
        assert some.spread(name).relative == pytest.approx(0.2, rel=0.12)
        assert 0.35 < much.spread(name).relative < 0.55
    assert calibrated.spread("distance_mv").sd < 6
    assert some.spread("distance_mv").sd == pytest.approx(0.2 * 328, rel=0.12)
    assert uncalibrated.spread("tau_mem_us").relative == pytest.approx(0.10, rel=0.15)
    assert uncalibrated.spread("tau_syn_inh_us").relative == pytest.approx(0.35, rel=0.15)


def test_what_was_lost_is_counted_and_named(result):
    calibrated, some, much, uncalibrated = result.populations
    none = {"not measured": 0, "out of reach": 0, "fire without input": 0}
    assert calibrated.count() == some.count() == uncalibrated.count() == none
    chip = Chip(0).decalibrate(0.5, seed=0)
    assert much.out_of_reach == chip.detuning.out_of_reach
    assert much.self_active == chip.detuning.self_active
    assert len(much.out_of_reach) > 10
    lost = much.failures["threshold_mv"]
    assert much.count()["not measured"] == len(lost) > 0
    assert np.flatnonzero(np.isnan(much.values["distance_mv"])).tolist() == sorted(lost)
    assert all("the threshold lies above" in why for why in lost.values())
    assert chip.mismatch.threshold_mv[list(lost)].min() > 1100  # the reason is true
    below = np.flatnonzero(much.values["distance_mv"] < -10).tolist()
    assert set(below) <= set(much.self_active)


def test_a_neuron_lost_in_two_measurements_counts_once():
    failures = {"tau_mem_us": {3: "a"}, "leak_mv": {3: "b", 4: "c"}}
    assert fig4.Population("x", None, {}, failures).count()["not measured"] == 2


def test_firing_neurons_of_a_chip_that_was_not_detuned_are_seen():
    codes = np.full(256, 244)
    codes[[5, 99]] = 40  # threshold far under the leak
    p = fig4.characterise(Chip(0, "ideal").with_codes(threshold=codes), label="two")
    assert p.self_active == (5, 99)


def test_only_what_was_asked_for_is_detuned():
    config = fig4.DetuningConfig(sigma_d=(0.3,), which="threshold")
    (p,) = fig4.detuning(config).detuned
    assert p.spread("tau_mem_us").relative < 0.01
    assert p.spread("distance_mv").sd > 80


def test_the_result_does_not_depend_on_who_computes_it(result):
    with ThreadPoolExecutor(2) as pool:
        again = fig4.detuning(CONFIG, executor=pool)
    for p, q in zip(result.populations, again.populations, strict=True):
        assert (p.label, p.failures, p.self_active) == (q.label, q.failures, q.self_active)
        for name, values in p.values.items():
            np.testing.assert_array_equal(values, q.values[name])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sigma_d": ()}, "sigma_d: expected one or more different numbers 0 … 1"),
        ({"sigma_d": (0.1, 0.1)}, "sigma_d"),
        ({"sigma_d": (-0.1,)}, "sigma_d"),
        ({"sigma_d": (1.5,)}, "sigma_d"),
        ({"which": "leak"}, "which: expected 'tau', 'threshold' or 'both', got 'leak'"),
        ({"chip_seed": -1}, "chip_seed"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused(changes, message):
    with pytest.raises(InputError, match=message):
        fig4.DetuningConfig(**changes)


def test_the_table_has_every_population_with_its_numbers(result):
    head, rule, *rows = fig4.table(result).splitlines()
    assert len(rows) == 4
    assert all(row.count("|") == head.count("|") == rule.count("|") for row in rows)
    cells = [c.strip() for c in rows[2].strip("|").split("|")]
    much = result.detuned[2]
    tau, distance = much.spread("tau_mem_us"), much.spread("distance_mv")
    assert cells[:3] == ["50 %", "256", f"{tau.mean:.2f} ± {tau.sd:.2f}"]
    assert cells[5] == f"{distance.mean:.1f} ± {distance.sd:.1f}"
    assert [int(c) for c in cells[6:]] == list(much.count().values())


# --- beside a real chip ------------------------------------------------------------------------------------------


def test_the_comparison_has_all_parameters_of_each_chip(comparison):
    for p in (comparison.uncalibrated, comparison.calibrated, comparison.published, comparison.resampled):
        assert set(p.values) == set(fig4.UNITS)
    assert comparison.uncalibrated.label == "uncalibrated"
    assert comparison.published.spread("tau_mem_us").relative == pytest.approx(0.07, rel=0.2)
    assert comparison.calibrated.spread("reset_mv").sd < 5
    assert fig4.Comparison(*[comparison.published] * 3).resampled is None


def test_the_resampled_chip_measures_like_its_neurons(comparison):
    p = comparison.resampled
    assert p.spread("tau_mem_us").mean == pytest.approx(16, rel=0.02)
    assert p.spread("reset_mv").mean == pytest.approx(330, abs=8)
    rho = published.rank_correlation(p.values)
    assert rho[1, 2] > 0.95  # excitatory and inhibitory were the same
    assert rho[1, 5] < -0.95  # and the threshold their opposite
    assert abs(rho[0, 1]) < 0.25
    assert np.abs(np.tril(published.rank_correlation(comparison.uncalibrated.values), -1)).max() < 0.25


def test_without_arrays_nothing_is_resampled(monkeypatch):
    seen = []
    monkeypatch.setattr(fig4, "characterise", lambda chip, **kind: seen.append((chip.profile.name, kind)) or chip)
    assert fig4.compare(4, noise_seed=9).resampled is None
    assert [name for name, _ in seen] == ["uncalibrated", "calibrated", "published"]
    assert all(kind["reset"] and kind["noise_seed"] == 9 for _, kind in seen)


# --- files -------------------------------------------------------------------------------------------------------


def test_a_result_survives_the_way_through_a_file(result, tmp_path):
    path = tmp_path / "fig4a.json"
    path.write_text(to_json(fig4.to_record(result)), encoding="utf-8")
    again = fig4.load(path)
    assert again.config == CONFIG
    for p, q in zip(result.populations, again.populations, strict=True):
        assert (p.label, p.sigma_d, p.out_of_reach, p.self_active) == (
            q.label,
            q.sigma_d,
            q.out_of_reach,
            q.self_active,
        )
        assert p.failures == q.failures
        for name, values in p.values.items():
            np.testing.assert_allclose(q.values[name], values, atol=6e-5)
    record = json.loads(path.read_text(encoding="utf-8"))
    assert "emulated" in record["note"]
    assert record["versions"]["bss2lab"]


def test_files_that_are_no_such_result_are_refused(result, tmp_path):
    record = fig4.to_record(result)

    def other(**changes):
        return json.dumps({**record, **changes})

    short = json.loads(json.dumps(record["uncalibrated"]))
    short["values"]["tau_mem_us"].pop()
    no_distance = json.loads(json.dumps(record["uncalibrated"]))
    del no_distance["values"]["distance_mv"]
    path = tmp_path / "x.json"
    with pytest.raises(DataError, match="expected a result of figure 4A"):
        fig4.load(path)
    for text in (
        "",
        "[]",
        "{}",
        "[" * 100_000,
        other(study="accuracy"),
        other(detuned=record["detuned"][:1]),
        other(detuned=5),
        other(uncalibrated=short),
        other(uncalibrated=no_distance),
        other(config={"sigma": 1}),
    ):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(DataError, match=r"x\.json: expected a result of figure 4A, got .+; compute it again"):
            fig4.load(path)
