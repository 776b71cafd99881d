"""The studies behind figures 3B–E, 4B, 4C and the tables: what they compute, on networks of a few seconds."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import golden
import numpy as np
import pytest
import safetensors.numpy

from bss2lab import arrayfile
from bss2lab.chip import power
from bss2lab.errors import DataError, InputError
from bss2lab.inputs import encode
from bss2lab.learners.readout import evaluate_on_substrate
from bss2lab.network import chip_weights
from bss2lab.results import Epoch, to_json
from bss2lab.runner import Runner
from bss2lab.studies import (
    fig3_continuous,
    fig3_latency,
    fig3_sparsity,
    fig3_training,
    fig4_robustness,
    fig4_silencing,
    results,
    table2,
    tables,
)  # fmt: skip
from bss2lab.studies.catalogue import STUDIES, saved, study
from bss2lab.studies.networks import load_network, save_network
from bss2lab.studies.training import data_of, train_all
from bss2lab.train import chip_of
from bss2lab.types import Spikes

pytestmark = [pytest.mark.usefixtures("fashion_standin"), pytest.mark.slow]


@pytest.fixture(scope="module")
def runner(studies_store):
    with ThreadPoolExecutor(1) as executor, Runner(studies_store, executor=executor) as made:
        yield made


@pytest.fixture(scope="module")
def network(runner):
    return train_all([golden.ITL], runner, "one")[0]


@pytest.fixture(scope="module")
def held_out():
    return encode(data_of(golden.ITL).held_out, golden.ITL)


def last(accuracy, spikes=20.0, train=1.0):
    return Epoch(1, 0.1, {"task": 0.1}, train, accuracy, None, spikes, 0.0, 1e-3, 1.0)


# --- 3B ----------------------------------------------------------------------------------------------------------


def test_training_gives_each_seed_a_chip_of_its_own(runner):
    result = fig3_training.training(golden.TRAINING, runner)
    assert [(c.seed, c.chip_seed) for c in golden.TRAINING.runs()] == [(0, 0), (1, 1)]
    assert [len(epochs) for epochs in result.runs] == [golden.ITL.epochs] * 2
    assert result.curves.emulated
    assert result.test.mean == pytest.approx(100 * result.curves.test_accuracy[:, -1].mean())
    assert result.test.n == 2


# --- 3C ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def early(runner):
    return fig3_latency.latency(golden.LATENCY, runner)


def test_the_interval_ends_at_the_samples_of_every_phase(early):
    times = np.array(early.until_us)
    assert (np.diff(times) > 0).all()
    np.testing.assert_allclose(np.diff(times), 0.85, atol=1e-3)  # two phases of a period of 1.7 µs
    assert times[-1] < golden.ITL.duration_us


def test_nothing_can_be_decided_before_the_input_acts(early):
    assert early.mean[0] < 40
    assert early.mean[-1] > 65
    assert early.mean[-1] > early.mean[0] + 30


def test_the_whole_interval_decides_as_the_classifier_does(early, network, held_out):
    chip = chip_of(network.config)
    whole = evaluate_on_substrate(chip, network.weights, held_out, seed=0).accuracy
    last_of_phase_0 = early.accuracy[0][-1 if golden.LATENCY.phases == 1 else -2 :]
    assert max(abs(a - whole) for a in last_of_phase_0) < 0.03  # other noise


def test_ready_is_the_first_time_within_the_tolerance():
    made = fig3_latency.Latency(golden.LATENCY, (1.0, 2.0, 3.0, 4.0), ((0.5, 0.968, 0.9695, 0.97),))
    assert made.ready_us() == 3.0
    assert made.ready_us(tolerance=0.3) == 2.0


def test_delayed_spikes_lose_what_is_pushed_over_the_end():
    spikes = Spikes.from_events([(np.array([0.0, 33.0]), np.array([1, 2]))], n_units=3, duration_us=34.0)
    late = fig3_latency.delayed(spikes, 1.5)
    assert late.duration_us == 34.0
    assert late.times_us.tolist() == [1.5]
    assert fig3_latency.delayed(spikes, 0.5).times_us.tolist() == [0.5, 33.5]


# --- 3D ----------------------------------------------------------------------------------------------------------


def test_continuous_operation_needs_the_reset_only_where_images_meet(runner):
    result = fig3_continuous.continuous(golden.CONTINUOUS, runner)
    assert len(result.points) == 2 * 2 * 2
    fast, slow = golden.CONTINUOUS.separation_us
    assert result.at(fast, reset=True).mean > result.at(fast, reset=False).mean + 20
    assert abs(result.at(slow, reset=True).mean - result.at(slow, reset=False).mean) < 4
    assert abs(result.at(fast, reset=True).mean - result.at(slow, reset=True).mean) < 3


def test_throughput_comes_from_the_emulated_time_of_the_whole_run(runner):
    result = fig3_continuous.continuous(golden.CONTINUOUS, runner)
    run = result.throughput()
    lead_us = 64 * 1.7
    assert run.emulated_us == pytest.approx(400 * 11.8 + lead_us, abs=1.7)
    assert run.images_per_s < power.at_separation(11.8).images_per_s
    assert "84,746" in fig3_continuous.table(result)


def test_a_stream_shows_what_was_sent_and_what_came_back(network):
    images = data_of(network.config).held_out.take(3)
    chip = chip_of(network.config)
    shown = {
        reset: fig3_continuous.stream(network.config, network.weights, images, chip=chip, reset=reset)
        for reset in (True, False)
    }
    held, free = shown[True], shown[False]
    np.testing.assert_allclose(held.image_starts_us, [0, 11.8, 23.6], atol=1e-6)
    np.testing.assert_allclose(held.resets_us, [[10.0, 11.8], [21.8, 23.6], [33.6, 35.4]], atol=1e-6)
    assert free.resets_us is None
    sent = encode(images, network.config).spikes
    assert len(held.input_spikes.units) < len(free.input_spikes.units) == len(sent.units)
    assert (((held.input_spikes.times_us + 1e-3) % 11.8) < 10.0 + 1e-3).all()
    assert held.readout.shape == (len(held.time_us), 10)
    np.testing.assert_allclose(np.diff(held.time_us), 1.7, atol=1e-6)
    assert 0 <= held.time_us[0] < 1.7
    assert np.abs(held.readout[0]).max() < 0.25  # nothing has arrived yet
    assert held.hidden_spikes.n_units == network.config.n_hidden
    np.testing.assert_array_equal(held.labels, images.labels)


# --- 3E ----------------------------------------------------------------------------------------------------------


def test_a_stronger_burst_penalty_makes_fewer_spikes(runner):
    result = fig3_sparsity.sparsity(golden.SLICES["fig3e"], runner)
    (weak, _), (strong, _) = (result.at(rho) for rho in result.config.rho_b)
    assert strong.mean < 0.9 * weak.mean


def test_accuracy_between_two_penalties_is_interpolated_and_none_is_invented_beyond():
    config = fig3_sparsity.SparsityConfig(rho_b=(0.1, 1.0), seeds=2)
    point = fig3_sparsity.Point
    made = fig3_sparsity.Sparsity(
        config, tuple(point(rho, s, n, a, 1.0) for rho, n, a in ((0.1, 40.0, 0.98), (1.0, 10.0, 0.97)) for s in (0, 1))
    )
    assert made.accuracy_at(20.0) == pytest.approx(97.5)
    assert made.accuracy_at(40.0) == pytest.approx(98.0)
    assert np.isnan(made.accuracy_at(5.0))
    spikes, error = made.at(1.0)
    assert (spikes.mean, spikes.n, error.mean) == (10.0, 2, pytest.approx(3.0))


@pytest.mark.parametrize("bad", [(), (0.1, 0.1), (-1.0,), (2e3,)])
def test_a_sweep_of_impossible_penalties_is_refused(bad):
    with pytest.raises(InputError, match="different numbers"):
        fig3_sparsity.SparsityConfig(rho_b=bad)


# --- 4B ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def robust(runner):
    return fig4_robustness.robustness(golden.SLICES["fig4b"], runner)


def test_an_undetuned_chip_is_tried_once_for_all_that_can_be_detuned(robust):
    assert len(robust.config.conditions()) == 3
    assert len(robust.points) == 3 * 3
    for way in fig4_robustness.WAYS:
        assert robust.at(way, "tau", 0.0) == robust.at(way, "both", 0.0) != []


def test_transfer_at_zero_is_the_software_network_on_the_calibrated_chip(robust, runner, held_out):
    software = train_all([golden.SOFTWARE], runner, "software")[0]
    chip = chip_of(software.config.replace(mode="transfer"))
    error = 1 - evaluate_on_substrate(chip, software.weights, held_out, seed=1).accuracy
    (point,) = robust.at("transfer", "tau", 0.0)
    assert point.test_error == pytest.approx(error)


def test_a_detuned_chip_is_hard_on_transfer_and_calibrating_it_again_mends_that(robust):
    error = {way: robust.error(way, "both", 0.5).mean for way in fig4_robustness.WAYS}
    calm = robust.error("transfer", "both", 0.0).mean
    assert error["transfer"] > calm + 20
    assert abs(error["recalibrated"] - calm) < 5
    assert error["itl"] < error["transfer"] - 10


def test_neurons_that_fire_without_input_are_counted_where_thresholds_are_detuned(robust):
    (both,), (tau,) = robust.at("itl", "both", 0.5), robust.at("itl", "tau", 0.5)
    assert both.self_active == robust.at("transfer", "both", 0.5)[0].self_active >= 1
    assert tau.self_active == 0


@pytest.mark.parametrize("bad", [{"sigma_d": (0.1, 0.0)}, {"sigma_d": ()}, {"sigma_d": (2.0,)}, {"which": ()}])
def test_an_impossible_figure_4b_is_refused(bad):
    with pytest.raises(InputError, match="different"):
        fig4_robustness.RobustnessConfig(**bad)


# --- 4C ----------------------------------------------------------------------------------------------------------


def test_silencing_nobody_is_the_classifier_and_silencing_many_hurts(runner, network, held_out):
    result = fig4_silencing.silencing(golden.SLICES["fig4c"], runner)
    chip = chip_of(network.config)
    weights, _ = chip_weights(network.weights)
    decisions = [chip.classify(chip.write(weights), held_out.spikes, seed=draw)[0] for draw in range(2)]
    want = np.mean([np.mean(d != held_out.labels) for d in decisions])
    assert result.error(0.0, 0.0).mean == pytest.approx(100 * want)
    assert result.increase(0.0, 0.3) > 5
    assert result.increase(0.0, 0.3) > result.increase(0.4, 0.3)


@pytest.mark.parametrize("bad", [(), (0.1,), (0.0, 1.0), (0.0, 0.0)])
def test_fractions_begin_with_nobody_silenced(bad):
    with pytest.raises(InputError, match="from 0"):
        fig4_silencing.SilencingConfig(fractions=bad)


# --- tables ------------------------------------------------------------------------------------------------------


def test_table_1_has_every_row_of_the_paper():
    config = tables.TableConfig()
    assert [tables.Entry(row, (last(0.9),)).paper is not None for row in config.rows] == [True] * 9
    assert {(r.train.task, r.train.mode) for r in config.rows} == {
        (task, mode) for task in ("mnist", "fashion") for mode in ("itl", "software", "ann")
    }
    assert all(row.train.epochs == 100 for row in config.rows)


def test_entries_are_found_and_summarised():
    rows = tables.TableConfig().rows
    made = tables.Table(tables.TableConfig(seeds=2), tuple(tables.Entry(r, (last(0.97), last(0.98))) for r in rows))
    entry = made.entry("mnist", "itl", regularised=True)
    assert entry.row.train.rotation == 15
    assert str(entry.test) == "97.50 ± 0.71"
    assert "97.6 ± 0.1" in tables.table(made)
    with pytest.raises(KeyError):
        made.entry("fashion", "itl", regularised=True)


def test_the_ablation_spares_the_chip_one_thing_at_a_time():
    names = [row.train.profile for row in tables.ABLATION.rows]
    assert names[0] == "calibrated"
    assert len(set(names)) == len(names) == 6
    assert all(chip_of(row.train) is not None for row in tables.ABLATION.rows)


def test_table_2_takes_its_row_from_emulated_time(runner):
    result = table2.table2(golden.SLICES["table2"], runner)
    row = result.row
    assert row.images_per_s == pytest.approx(1e6 / 11.8)
    assert row.energy_uj == pytest.approx(0.2 * 11.8, rel=0.1)
    assert row.latency_us == result.latency.ready_us()
    text = table2.table(result)
    for platform in table2.PLATFORMS:
        assert platform.name in text
    assert text.count("\n") == 1 + 1 + len(table2.PLATFORMS)


# --- to and from files -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", golden.SLICES)
def test_a_result_comes_back_from_its_file_as_it_was(name, runner, tmp_path):
    result = STUDIES[name].run(golden.SLICES[name], runner)
    results.save(tmp_path / "r.json", name, result)
    assert results.load(tmp_path / "r.json", name, STUDIES[name].result) == result
    assert STUDIES[name].table(result).startswith("|")


def test_a_file_of_another_study_or_of_nonsense_is_refused(runner, tmp_path):
    path = tmp_path / "r.json"
    result = fig3_training.training(golden.TRAINING, runner)
    results.save(path, "fig3b", result)
    with pytest.raises(DataError, match="expected a result of study fig3c"):
        results.load(path, "fig3c", fig3_latency.Latency)
    for content in ("", "[]", "{}", '{"study": "fig3b", "result": {}}', "[" * 100_000, "\x00"):
        path.write_text(content, encoding="utf-8")
        with pytest.raises(DataError, match="bss2lab study fig3b --full"):
            results.load(path, "fig3b", fig3_training.Training)
    with pytest.raises(DataError, match=r"missing\.json"):
        results.load(tmp_path / "missing.json", "fig3b", fig3_training.Training)


def test_a_record_says_when_where_and_with_what(runner):
    record = results.to_record("fig3b", fig3_training.training(golden.TRAINING, runner))
    assert record["study"] == "fig3b"
    assert {"bss2lab", "numerics", "numpy", "torch", "numba"} <= set(record["versions"])
    assert record["machine"]["cores"] >= 1
    assert len(record["date"]) == 10
    assert "emulated" in record["note"]
    assert record["result"]["config"]["train"]["limit"] == golden.ITL.limit
    to_json(record)


def test_a_single_seed_has_no_spread():
    assert str(results.Mean.of([97.0])) == "97.00"
    assert results.Mean.of([97.0, 98.0]).sd == pytest.approx(np.sqrt(0.5))


def test_a_network_comes_back_from_its_file_and_nonsense_does_not(network, tmp_path):
    path = tmp_path / "n.safetensors"
    save_network(path, network)
    back = load_network(path)
    assert (back.config, back.epochs) == (network.config, network.epochs)
    for got, want in zip(back.weights, network.weights, strict=True):
        np.testing.assert_array_equal(got, want)
    content = path.read_bytes()
    for damaged in (b"", content[:100], content[:-5], b"nonsense" * 50):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match="bss2lab study NAME --full --network"):
            load_network(path)


@pytest.mark.parametrize(
    ("arrays", "epoch"),
    [({"hidden": np.nan}, {}), ({"output": np.inf}, {}), ({}, {"test_accuracy": "much"}), ({}, {"loss_terms": 3})],
)
def test_a_network_of_an_older_file_is_checked_by_its_values(network, tmp_path, arrays, epoch):
    """(Files of today have a checksum.)"""
    path = tmp_path / "n.safetensors"
    save_network(path, network)
    header, kept = arrayfile.unpack(path)
    for name, value in arrays.items():
        kept[name][0, 0] = value
    header["epochs"][0] |= epoch
    path.write_bytes(safetensors.numpy.save(kept, metadata={"bss2lab": json.dumps(header)}))
    with pytest.raises(DataError):
        load_network(path)


def test_a_saved_result_is_read_and_made_anew_only_if_asked(runner, tmp_path, monkeypatch):
    monkeypatch.setitem(STUDIES, "fig3b", replace(STUDIES["fig3b"], full=golden.TRAINING))
    with pytest.raises(DataError, match=r"fig3b\.json"):
        saved("fig3b", tmp_path)
    made = saved("fig3b", tmp_path, full=True, runner=runner)
    assert saved("fig3b", tmp_path) == made


# --- by name -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_has_a_quick_and_a_full_form_of_the_same_kind(name):
    quick, full = (study(name).configuration(full=f) for f in (False, True))
    assert type(quick) is type(full)
    assert quick != full


def test_the_number_of_seeds_reaches_the_trainings_inside():
    config = study("table2").configuration(full=True, seeds=2)
    assert config.continuous.training.seeds == config.latency.training.seeds == 2
    assert config.continuous.training.train == table2.EARLY.train
    with pytest.raises(InputError, match="seeds"):
        study("fig3b").configuration(full=True, seeds=0)


def test_an_unknown_study_is_named_with_those_there_are():
    with pytest.raises(InputError, match="fig3b, fig3c"):
        study("fig9z")


def test_tables_of_two_tasks_are_joined_and_unlike_ones_are_not():
    def made(config):
        return tables.Table(config, tuple(tables.Entry(row, (last(0.9),) * config.seeds) for row in config.rows))

    whole = tables.joined(made(tables.MNIST), made(tables.FASHION))
    assert whole.config == tables.TableConfig()
    assert whole.entry("fashion", "ann").row.train.task == "fashion"
    assert len(whole.entries) == len(whole.config.rows) == 9
    with pytest.raises(InputError, match="one number of seeds, got 1 and 5"):
        tables.joined(made(tables.MNIST), made(tables.QUICK_FASHION))
    with pytest.raises(InputError, match="got no table"):
        tables.joined()
