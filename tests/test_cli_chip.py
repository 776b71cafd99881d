"""``bss2lab chip``: what each verb prints and records, what is refused, and when."""

import contextlib
import dataclasses
import errno
import io
import json
import os
from types import SimpleNamespace

import numpy as np
import pytest

from bss2lab.chip import Calibration, Chip, Codes, Targets, library, load_profile, published
from bss2lab.chip.measure import PROTOCOLS
from bss2lab.chip.measurement import result
from bss2lab.chip.transfer import PARAMETERS
from bss2lab.cli import chip as verbs
from bss2lab.cli import main
from bss2lab.config import Source

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.slow]

SEED = 3
"""A chip whose calibration comes with the package."""


def run(verb, *words):
    threads = () if verb in ("place", "profile") else ("--threads", "1")
    return main(["chip", verb, *map(str, words), *threads])


def strict(text):
    """Read JSON that has neither NaN nor infinity."""

    def refuse(name):
        raise AssertionError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)


def recorded(capsys, *words):
    """Run with ``--json -``; return the record, and the table from standard error."""
    assert run(*words, "--json", "-") == 0
    out, err = capsys.readouterr()
    return strict(out), err


def complaint(capsys, *words):
    """Run, and return the one line that says why not."""
    assert run(*words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("bss2lab: ")
    assert err.count("\n") == 1, err
    assert "expected" in err
    assert "got" in err
    assert ";" in err  # then the fix
    assert len(err) < 500
    return err


def row(text, name):
    """Return the words of the line that begins with a name."""
    (line,) = (line for line in text.splitlines() if line.startswith(f"{name} "))
    return line.split()[1:]


def assert_same_truth(one, two):
    for field in dataclasses.fields(one):
        np.testing.assert_array_equal(getattr(one, field.name), getattr(two, field.name), err_msg=field.name)


def numbers(values):
    return np.array([np.nan if x is None else x for x in values])


@pytest.fixture
def no_work(monkeypatch):
    """Fail if a command gets as far as making a chip: the mistake was to be found before."""
    monkeypatch.setattr(verbs, "Chip", lambda *_, **__: pytest.fail("made a chip"))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """One real calibration of a chip, kept in a file."""
    folder = tmp_path_factory.mktemp("calibrated")
    path, record = folder / "mine.safetensors", folder / "mine.json"
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        status = run("calibrate", "--seed", SEED, "--tau-mem", 8, "--leak", "90", "--out", path, "--json", record)
    assert status == 0
    return SimpleNamespace(
        path=path, text=printed.getvalue(), record=strict(record.read_text(encoding="utf-8")), folder=folder
    )


@pytest.fixture
def quick(monkeypatch):
    """Calibrate in no time: hand out the shipped codes; return what was asked for."""
    asked = []

    def calibrate(chip, targets=None, *, seed=0, progress=False):
        asked.append(SimpleNamespace(chip=chip, targets=targets, seed=seed, progress=progress))
        return dataclasses.replace(
            Calibration.load(library.shipped_path(SEED)), chip_seed=chip.seed, profile=chip.profile,
            circuits=chip.profile.circuits_digest(), targets=targets,
            achieved={name: getattr(targets, name) for name in targets.searched},
        )  # fmt: skip

    monkeypatch.setattr(verbs, "calibrate", calibrate)
    return asked


# --- info --------------------------------------------------------------------------------------------------------


def test_info_prints_the_codes_and_what_calibration_left(capsys):
    assert run("info", "--seed", SEED) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.startswith("Chip(seed=3, profile='calibrated') [emulated]\n")
    chip = Chip(SEED)
    for name, codes in chip.codes.items():
        mean, sd, low, high = (float(x) for x in row(out, name))
        assert (mean, sd) == pytest.approx((codes.mean(), codes.std()), abs=0.051)
        assert (low, high) == (codes.min(), codes.max())
    assert f"  tau_mem           {100 * chip.calibration.residual['tau_mem']:.2f} %\n" in out
    assert f"  leak              {chip.calibration.residual['leak']:.2f} mV\n" in out
    assert "  failures          0\n" in out
    assert "200 mW of the whole chip [paper]" in out


def test_the_record_of_info_reproduces_the_chip_and_says_where_everything_comes_from(capsys):
    record, table = recorded(capsys, "info", "--seed", SEED)
    assert "Chip(seed=3" in table
    assert record["note"] == "emulated, not measured on a real chip"
    assert (record["chip_seed"], record["profile"]) == (SEED, "calibrated")
    again = Chip(record["chip_seed"], "uncalibrated", codes=Codes.from_mapping(record["codes"]))
    assert_same_truth(again.mismatch, Chip(SEED).mismatch)
    assert record["circuits"] == again.profile.circuits_digest()
    assert record["residual"] == Chip(SEED).calibration.residual
    sources = {source.value for source in Source}
    assert set(record["provenance"]) == {"profile", "transfer", "constants", "targets"}
    for rows in record["provenance"].values():
        assert rows
        assert {fields["source"] for fields in rows.values()} <= sources
    assert record["provenance"]["constants"]["power"]["value"] == 200.0
    assert {"bss2lab", "numerics", "numpy", "numba"} <= set(record["versions"])


@pytest.mark.parametrize("profile", ["uncalibrated", "published", "ideal"])
def test_a_chip_at_equal_codes_has_no_residual(profile, capsys):
    record, table = recorded(capsys, "info", "--profile", profile)
    assert record["residual"] is None
    assert "residual" not in table
    assert all(len(set(codes)) == 1 for codes in record["codes"].values())


def test_the_record_in_a_file_is_the_one_on_standard_output(capsys, tmp_path):
    assert run("info", "--profile", "ideal", "--json", tmp_path / "new" / "info.json") == 0
    capsys.readouterr()
    record, _ = recorded(capsys, "info", "--profile", "ideal")
    assert strict((tmp_path / "new" / "info.json").read_text(encoding="utf-8")) == record


# --- measure -----------------------------------------------------------------------------------------------------


def test_measure_prints_and_records_what_the_chip_measures(capsys):
    record, table = recorded(capsys, "measure", "leak", "tau_mem", "leak", "--seed", SEED, "--noise-seed", 5)
    assert list(record["measurements"]) == ["leak", "tau_mem"]
    for name, kept in record["measurements"].items():
        m = Chip(SEED).measure(name, seed=5)
        np.testing.assert_allclose(numbers(kept["value"]), m.value, atol=5.1e-7)
        np.testing.assert_allclose(numbers(kept["uncertainty"]), m.uncertainty, atol=5.1e-7)
        np.testing.assert_allclose(numbers(kept["reading"]), m.reading, atol=5.1e-7)
        assert (kept["unit"], kept["failures"]) == (m.unit, {})
        unit, *found, failed = row(table, name)
        assert (unit, failed) == (m.unit, "0")
        expected = np.median(m.value), m.value.std(), np.median(m.uncertainty)
        assert [float(x) for x in found] == pytest.approx(expected, abs=5.1e-4)
    codes = Codes.from_mapping(record["codes"])
    assert codes.same_as(Chip(SEED).codes)


def test_another_noise_seed_gives_other_numbers_of_the_same_chip(capsys):
    one, two = (recorded(capsys, "measure", "leak", "--profile", "published", "--noise-seed", k)[0] for k in range(2))
    a, b = (numbers(x["measurements"]["leak"]["value"]) for x in (one, two))
    assert (a != b).all()
    assert np.abs(a - b).max() < 8.0
    assert one["codes"] == two["codes"]


def test_without_names_everything_is_measured(capsys, monkeypatch):
    seen = []

    def measure(self, name, *, seed):
        seen.append(name)
        return result(name, "" if name == "cadc_gain" else "µs", np.full(256, 2.0), np.full(256, 0.5), {})

    monkeypatch.setattr(Chip, "measure", measure)
    record, table = recorded(capsys, "measure", "--profile", "ideal")
    assert seen == list(PROTOCOLS) == list(record["measurements"])
    assert row(table, "cadc_gain") == ["–", "2.000", "0.000", "0.500", "0"]


def test_neurons_that_cannot_be_measured_are_null_and_named(capsys, tmp_path):
    """Leaks that are spread beyond the rails."""
    profile = tmp_path / "wild.json"
    profile.write_text(json.dumps({"calibrated": False, "leak_lsb": 230, "leak_sd_mv": 150}), encoding="utf-8")
    record, table = recorded(capsys, "measure", "leak", "--profile", profile)
    kept = record["measurements"]["leak"]
    failed = {int(n) for n in kept["failures"]}
    assert 20 < len(failed) < 236
    assert failed == {n for n, value in enumerate(kept["value"]) if value is None}
    assert failed == {n for n, value in enumerate(kept["uncertainty"]) if value is None}
    assert all("rail" in why or "end of its range" in why for why in kept["failures"].values())
    assert row(table, "leak")[-1] == str(len(failed))


def test_a_quantity_that_no_neuron_shows_is_a_dash(capsys, monkeypatch):
    nothing = result("leak", "mV", np.ones(256), np.ones(256), dict.fromkeys(range(256), "broken"))
    monkeypatch.setattr(Chip, "measure", lambda *_, **__: nothing)
    record, table = recorded(capsys, "measure", "leak", "--profile", "ideal")
    assert row(table, "leak") == ["mV", "–", "256"]
    assert record["measurements"]["leak"]["value"] == [None] * 256


# --- calibrate ---------------------------------------------------------------------------------------------------


def test_calibrate_prints_targets_what_was_reached_and_what_is_left(made):
    assert made.text.startswith("Chip(seed=3, profile='calibrated') [emulated]\n")
    for name, target in {"tau_mem": 8.0, "leak": 90.0, "threshold": 150.0}.items():
        aim, reached, mean, sd = (float(x) for x in row(made.text, name))
        assert aim == target
        assert reached == pytest.approx(target, rel=0.01)
        codes = np.array(made.record["codes"][name])
        assert (mean, sd) == pytest.approx((codes.mean(), codes.std()), abs=0.051)
    assert not [line for line in made.text.splitlines() if line.startswith("gain")]  # had no target
    assert f"kept in {made.path}: chip.apply(Calibration.load(…)), or --calibration\n" in made.text
    assert sorted(p.name for p in made.folder.iterdir()) == ["mine.json", "mine.safetensors"]


def test_the_record_of_calibrate_is_the_calibration_in_the_file(made):
    kept, record = Calibration.load(made.path), made.record
    assert kept.chip_seed == record["chip_seed"] == SEED
    assert Codes.from_mapping(record["codes"]).same_as(kept.codes)
    assert record["targets"]["tau_mem"] == [8.0] * 256
    assert record["targets"]["gain_exc"] == [None] * 256
    for name, values in record["achieved"].items():
        np.testing.assert_allclose(numbers(values), kept.achieved[name], atol=1e-6, err_msg=name)
    assert record["residual"] == pytest.approx(kept.residual, rel=1e-5)
    assert record["failures"] == []


def test_the_codes_do_to_the_chip_what_was_asked_for(made):
    """By its hidden truth."""
    chip = Chip(SEED, "uncalibrated", codes=Codes.from_mapping(made.record["codes"]))
    assert np.abs(chip.mismatch.tau_mem_us / 8.0 - 1).max() < 0.04
    assert_same_truth(chip.mismatch, Chip(SEED, "uncalibrated").apply(Calibration.load(made.path)).mismatch)


def test_a_calibration_in_a_file_brings_the_same_numbers(made, capsys):
    assert run("info", "--seed", SEED, "--calibration", made.path) == 0
    out, _ = capsys.readouterr()
    for name in PARAMETERS:
        codes = np.array(made.record["codes"][name])
        assert row(out, name)[0] == f"{codes.mean():.1f}"
    record, _ = recorded(capsys, "measure", "tau_mem", "--seed", SEED, "--calibration", made.path)
    assert record["codes"] == made.record["codes"]
    own = Chip(SEED).apply(Calibration.load(made.path)).measure("tau_mem").value
    np.testing.assert_allclose(numbers(record["measurements"]["tau_mem"]["value"]), own, atol=5.1e-7)
    assert np.median(own) == pytest.approx(8.0, rel=0.01)


def test_without_targets_the_authors_are_aimed_at_from_equal_codes(quick, capsys):
    assert run("calibrate", "--seed", 5, "--noise-seed", 7) == 0
    (asked,) = quick
    for name, values in Targets().items():
        np.testing.assert_array_equal(getattr(asked.targets, name), values)
    assert (asked.chip.seed, asked.seed) == (5, 7)
    assert asked.chip.codes.same_as(Codes.equal(asked.chip.profile.transfer))


def test_every_target_reaches_the_search(quick, capsys):
    wanted = dict(zip(PARAMETERS, (3.0, 4.0, 5.0, 0.5, 0.75, 100.0, 60.0, 170.0), strict=True))
    words = [str(word) for name, x in wanted.items() for word in (f"--{name.replace('_', '-')}", x)]
    assert run("calibrate", "--profile", "ideal", *words) == 0
    (asked,) = quick
    assert {name: set(values) for name, values in asked.targets.items()} == {n: {x} for n, x in wanted.items()}


def test_a_calibration_that_measured_nothing_is_null_and_not_nan(monkeypatch, capsys, tmp_path):
    """As with a threshold where the fast ADC sees none: found by nobody, so no residual."""
    found = Calibration.load(library.shipped_path(SEED))
    lost = dataclasses.replace(found, achieved={**found.achieved, "threshold": np.full(256, np.nan)})
    monkeypatch.setattr(verbs, "calibrate", lambda *_, **__: lost)
    record, table = recorded(capsys, "calibrate", "--seed", SEED, "--out", tmp_path / "lost.safetensors")
    assert record["residual"]["threshold"] is record["residual"]["threshold − leak"] is None
    assert record["residual"]["leak"] == found.residual["leak"]
    assert record["achieved"]["threshold"] == [None] * 256
    assert "  threshold         –\n" in table
    assert row(table, "threshold")[:2] == ["150", "–"]
    again, table = recorded(capsys, "info", "--seed", SEED, "--calibration", tmp_path / "lost.safetensors")
    assert again["residual"]["threshold"] is None
    assert "  threshold         –\n" in table


def test_failures_are_named_the_first_few_and_all_in_the_record(monkeypatch, capsys):
    found = Calibration.load(library.shipped_path(SEED))
    failures = tuple(verbs.Failure(n, "leak", f"why {n}") for n in range(11))
    monkeypatch.setattr(verbs, "calibrate", lambda *_, **__: dataclasses.replace(found, failures=failures))
    record, table = recorded(capsys, "calibrate", "--seed", SEED)
    named = [line for line in table.splitlines() if line.startswith("  neuron")]
    assert named == [f"  neuron {n}, leak: why {n}" for n in range(8)]
    assert "  … and 3 more (--json has all)" in table
    assert record["failures"] == [{"neuron": n, "parameter": "leak", "reason": f"why {n}"} for n in range(11)]


def test_the_shipped_calibrations_are_remade_where_they_lie(monkeypatch, capsys, tmp_path):
    shipped = Calibration.load(library.shipped_path(4))
    monkeypatch.setattr(library, "SHIPPED", (4,))
    monkeypatch.setattr(library, "shipped_path", lambda seed: tmp_path / f"chip{seed}.safetensors")
    assert run("calibrate", "--shipped") == 0
    assert capsys.readouterr().out == "chip 4: 0 failures, chip4.safetensors\n"
    remade = Calibration.load(tmp_path / "chip4.safetensors")
    assert [p.name for p in tmp_path.iterdir()] == ["chip4.safetensors"]
    remade.check_fits(4, load_profile("calibrated"))
    # in the last bits of a fit, computers differ
    off = [np.abs(codes.astype(int) - getattr(remade.codes, name)).max() for name, codes in shipped.codes.items()]
    assert max(off) <= 2


# --- decalibrate -------------------------------------------------------------------------------------------------


def test_decalibrate_detunes_as_the_chip_does_and_shows_it(capsys):
    words = ("decalibrate", "--seed", SEED, "--sigma-d", "0.3", "--detuning-seed", 4)
    record, table = recorded(capsys, *words)
    own = Chip(SEED).decalibrate(0.3, seed=4)
    assert Codes.from_mapping(record["codes"]).same_as(own.codes)
    assert (record["sigma_d"], record["which"], record["detuning_seed"]) == (0.3, ["tau", "threshold"], 4)
    assert table.startswith(f"{own!r}\n")
    for name, values in own.detuning.targets.items():
        np.testing.assert_allclose(numbers(record["targets"][name]), values, atol=5.1e-7, err_msg=name)
    for name in ("tau_mem", "tau_syn_exc", "tau_syn_inh"):
        values = numbers(record["measured"][name])
        np.testing.assert_allclose(values, own.measure(name).value, atol=5.1e-7, err_msg=name)
        mean, sd, relative = row(table, name)
        assert (float(mean), float(sd)) == pytest.approx((np.nanmean(values), np.nanstd(values)), abs=5.1e-3)
        assert float(relative.removesuffix("%")) == pytest.approx(30, abs=5)
    assert float(row(table, "threshold−leak")[2].removesuffix("%")) == pytest.approx(30, abs=5)
    assert record["self_active"] == list(own.detuning.self_active)
    missed = own.detuning.out_of_reach
    assert [f["neuron"] for f in record["out_of_reach"]] == [f.neuron for f in missed]
    assert f"targets out of reach: {len(missed)}\n" in table


def test_neurons_that_fire_on_their_own_are_named(capsys):
    record, table = recorded(capsys, "decalibrate", "--seed", SEED, "--sigma-d", "0.5", "--which", "threshold")
    active = record["self_active"]
    assert 2 < len(active) < 30  # about one in 44 thresholds is drawn below the leak
    assert f"fire without input (leak over threshold): {', '.join(map(str, active))}\n" in table
    truth = Chip(SEED, "uncalibrated", codes=Codes.from_mapping(record["codes"])).mismatch
    assert (truth.leak_mv > truth.threshold_mv - 12)[active].all()
    assert record["codes"]["tau_mem"] == Chip(SEED).codes.tau_mem.tolist()  # was not asked for


def test_the_options_of_decalibrate_reach_the_chip(monkeypatch, capsys):
    asked, decalibrate = [], Chip.decalibrate

    def watch(self, sigma_d, which, **options):
        asked.append((sigma_d, which, dict(options)))
        return decalibrate(self, sigma_d, which, **{**options, "measured": False})

    monkeypatch.setattr(Chip, "decalibrate", watch)
    words = ("decalibrate", "--seed", SEED, "--sigma-d", "0", "--which", "tau", "--measured", "--detuning-seed", 9)
    record, table = recorded(capsys, *words)
    assert asked == [(0.0, "tau", {"seed": 9, "measured": True})]
    assert "fire without input (leak over threshold): none\n" in table
    assert Codes.from_mapping(record["codes"]).same_as(Chip(SEED).codes)  # σ_d = 0 moves nothing


# --- a profile of one's own --------------------------------------------------------------------------------------


@pytest.fixture
def arrays(tmp_path):
    """A folder in the published layout, of 30 neurons."""
    folder, generator = tmp_path / "arrays", np.random.default_rng(0)
    folder.mkdir()
    middles = {
        "tau_m": 16e-6, "tau_syn_exc": 5e-6, "tau_syn_inh": 5.2e-6, "v_leak": 0.46, "v_reset": 0.33, "v_thres": 0.74,
    }  # fmt: skip
    assert set(middles) == {file for file, _ in published.FILES.values()}
    for file, middle in middles.items():
        tuned, raw = (middle * (1 + cv * generator.normal(size=30)) for cv in (0.01, 0.1))
        np.savez(folder / f"{file}.npz", **{file: tuned, f"{file}_uncal": raw})
    return folder


@pytest.mark.parametrize("calibrated", [False, True])
def test_a_profile_is_written_and_can_be_used_at_once(arrays, tmp_path, capsys, calibrated):
    path = tmp_path / "my_chip.json"
    assert run("profile", arrays, "--out", path, *["--calibrated"] * calibrated) == 0
    assert capsys.readouterr() == (f"{path}: 30 measured neurons; use it with --profile {path}\n", "")
    assert strict(path.read_text(encoding="utf-8"))["name"] == "my_chip"
    wanted = published.published_profile(arrays, calibrated=calibrated, name="my_chip")
    assert load_profile(str(path)).measured.columns().keys() == wanted.measured.columns().keys()
    record, table = recorded(capsys, "info", "--profile", path, "--seed", 6)
    assert "profile='my_chip'" in table
    assert record["circuits"] == Chip(6, wanted).profile.circuits_digest()
    truth = Chip(6, str(path), codes=Codes.from_mapping(record["codes"])).mismatch
    cv = np.std(truth.tau_mem_us) / np.mean(truth.tau_mem_us)
    assert cv == pytest.approx(0.01 if calibrated else 0.1, rel=0.4)


def test_what_is_no_profile_is_refused_and_nothing_is_written(arrays, tmp_path, capsys):
    out = tmp_path / "out" / "mine.json"
    assert "nothing there" in complaint(capsys, "profile", tmp_path / "nowhere", "--out", out)
    assert "ends in .json" in complaint(capsys, "profile", arrays, "--out", out.with_suffix(".txt"))
    (arrays / "v_leak.npz").write_bytes(b"damaged")
    assert "v_leak.npz: expected a whole .npz file" in complaint(capsys, "profile", arrays, "--out", out)
    assert list(out.parent.iterdir()) == []
    out.write_text("mine", encoding="utf-8")
    complaint(capsys, "profile", arrays, "--out", out)
    assert out.read_text(encoding="utf-8") == "mine"


def test_a_profile_that_cannot_be_written_is_found_before_the_files_are_read(tmp_path, capsys, monkeypatch):
    (tmp_path / "file").write_bytes(b"mine")
    monkeypatch.setattr(verbs, "write_published_profile", lambda *_, **__: pytest.fail("read the arrays"))
    text = complaint(capsys, "profile", tmp_path, "--out", tmp_path / "file" / "mine.json")
    assert "which is no folder" in text


# --- place -------------------------------------------------------------------------------------------------------


def test_place_shows_where_the_layers_lie(capsys, tmp_path):
    assert run("place", 256, 246, 10, "--json", tmp_path / "p.json") == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert row(out, "hidden") == ["0", "…", "245", "0", "…", "255", "256"]
    assert row(out, "output")[-1] == "246"
    record = strict((tmp_path / "p.json").read_text(encoding="utf-8"))
    hidden, output = record["layers"]
    assert (hidden["name"], output["name"]) == ("hidden", "output")
    assert sorted(hidden["neurons"] + output["neurons"]) == list(range(256))
    assert out.splitlines()[-1] == f"{len(record['routes'])} routes from sources to synapse drivers"
    assert {route.split(" → ")[0] for route in record["routes"]} == {
        *(f"input {k}" for k in range(256)),
        *(f"neuron {k}" for k in hidden["neurons"]),
    }


def test_a_recurrent_layer_listens_to_itself(capsys):
    record, table = recorded(capsys, "place", 70, "186r", 20)
    assert row(table, "hidden")[-1] == "256"  # 70 inputs and 186 of its own
    (hidden, _) = record["layers"]
    assert len(hidden["rows"]) == 70 + 186


@pytest.mark.parametrize(
    ("words", "pieces"),
    [
        ((256, 246, 12), ["at most 256 neurons in total", "246 hidden + 12 output = 258"]),
        ((257, 10), ["at most 256 inputs", "got 257"]),
        ((100, "186r", 20), ["at most 256 sources", "100 feed-forward + 186 recurrent"]),
        ((0, 10), ["number of inputs", "at least 1"]),
        ((10, 0), ["layer size", "at least 1"]),
        ((10, "x"), ["SIZE: expected a number of neurons", "got 'x'", "as in 186r 20"]),
        ((10, ""), ["SIZE", "got ''"]),
        ((10, "9" * 5000), ["SIZE", "got '999"]),
    ],
)
def test_a_network_that_does_not_fit_is_refused(words, pieces, capsys, tmp_path):
    text = complaint(capsys, "place", *words, "--json", tmp_path / "p.json")
    assert all(piece in text for piece in pieces), text
    assert list(tmp_path.iterdir()) == []


# --- errors ------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize(
    ("words", "pieces"),
    [
        (("measure", "tau_men"), ["quantity: expected some of leak, reset", "got tau_men", "leave it out for all"]),
        (("measure", "leak", "taus"), ["got taus"]),
        (("decalibrate", "--sigma-d", "1.5"), ["--sigma-d: expected a number 0 … 1, got 1.5"]),
        (("decalibrate", "--sigma-d", "-0.1"), ["--sigma-d: expected a number 0 … 1, got -0.1"]),
        (("decalibrate", "--sigma-d", "nan"), ["--sigma-d: expected a number 0 … 1, got nan"]),
        (("decalibrate", "--sigma-d", "0.1", "--detuning-seed", "-1"), ["--detuning-seed: expected an integer 0"]),
        (("calibrate", "--shipped", "--seed", "3"), ["--shipped: expected no other options, got --seed"]),
        (("calibrate", "--shipped", "--leak", "0", "--tau-mem", "7"), ["got --tau-mem, --leak;"]),
        (("info", "--profile", "nonsense"), ["profile: expected one of calibrated, uncalibrated", "'nonsense'"]),
    ],
)
def test_words_that_mean_nothing_are_refused_before_any_work(words, pieces, capsys, monkeypatch):
    if "--profile" in words:  # a chip reads its profile: it may be asked for one, and gets no further
        monkeypatch.setattr(verbs, "Chip", Chip)
    text = complaint(capsys, *words)
    assert all(piece in text for piece in pieces), text


@pytest.mark.parametrize(
    ("words", "pieces"),
    [
        (("--tau-mem", "0"), ["--tau-mem: expected finite numbers above 0 in µs, got 0.0"]),
        (("--gain-inh", "-0.5"), ["--gain-inh: expected finite numbers above 0 in mV/µs, got -0.5"]),
        (("--threshold", "nan"), ["--threshold: expected finite numbers in LSB, got nan"]),
        (("--leak", "-1"), ["--leak: expected 0 … 255 LSB", "got -1 LSB"]),
        (("--threshold", "256"), ["--threshold: expected 0 … 255 LSB", "got 256 LSB"]),
        (("--noise-seed", "-1"), ["noise seed: expected an integer 0", "got -1"]),
        (("--seed", "-1"), ["chip seed: expected an integer 0", "got -1"]),
    ],
)
def test_targets_that_cannot_be_are_refused_by_their_option(words, pieces, capsys, tmp_path):
    out = tmp_path / "mine.safetensors"
    text = complaint(capsys, "calibrate", *words, "--out", out, "--json", tmp_path / "mine.json")
    assert all(piece in text for piece in pieces), text
    assert list(tmp_path.iterdir()) == []


EVERY_VERB = (("info",), ("measure", "leak"), ("calibrate",), ("decalibrate", "--sigma-d", "0.1"))


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize("words", EVERY_VERB, ids=lambda words: words[0])
def test_threads_below_zero_and_unwritable_files_are_found_before_any_work(words, capsys, tmp_path):
    assert main(["chip", *words, "--threads", "-1"]) == 2
    assert capsys.readouterr() == ("", "bss2lab: --threads: expected 0 or more, got -1; 0: one per core\n")
    (tmp_path / "file").write_bytes(b"mine")
    options = ["--json", "--out"] if words[0] == "calibrate" else ["--json"]
    for option in options:
        text = complaint(capsys, *words, option, tmp_path / "file" / "x.json")
        assert f"{tmp_path / 'file' / 'x.json'}: expected a place to write to" in text
        assert "which is no folder" in text
        assert "it is a folder" in complaint(capsys, *words, option, tmp_path)
    assert (tmp_path / "file").read_bytes() == b"mine"


@pytest.mark.usefixtures("no_work")
def test_one_file_cannot_hold_calibration_and_record(capsys, tmp_path):
    path = tmp_path / "both"
    text = complaint(capsys, "calibrate", "--out", path, "--json", tmp_path / "x" / ".." / "both")
    assert "--json: expected another file than --out" in text
    assert not path.exists()


@pytest.mark.usefixtures("no_work")
def test_shipped_calibrations_that_cannot_be_written_are_found_before_any_work(monkeypatch, capsys, tmp_path):
    (tmp_path / "file").write_bytes(b"mine")
    monkeypatch.setattr(library, "shipped_path", lambda seed: tmp_path / "file" / f"chip{seed}.safetensors")
    assert "which is no folder" in complaint(capsys, "calibrate", "--shipped")


@pytest.mark.parametrize("verb", [("info",), ("measure", "leak")], ids=lambda words: words[0])
def test_a_calibration_of_another_chip_is_refused(verb, made, capsys, tmp_path):
    record = tmp_path / "r.json"
    text = complaint(capsys, *verb, "--seed", SEED + 1, "--calibration", made.path, "--json", record)
    assert f"calibration: expected one of chip {SEED + 1}, got one of chip {SEED};" in text
    text = complaint(capsys, *verb, "--seed", SEED, "--profile", "ideal", "--calibration", made.path, "--json", record)
    assert "calibration: expected one of the same circuits" in text
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", ["cut", "empty", "missing", "folder"])
def test_a_damaged_calibration_is_refused(damage, made, capsys, tmp_path):
    path, whole = tmp_path / "mine.safetensors", made.path.read_bytes()
    if damage == "folder":
        path.mkdir()
    elif damage != "missing":
        path.write_bytes({"cut": whole[: len(whole) // 2], "empty": b""}[damage])
    text = complaint(capsys, "info", "--seed", SEED, "--calibration", path)
    assert str(path) in text
    assert ("got nothing at" if damage == "missing" else "expected a whole calibration of bss2lab") in text


@pytest.mark.parametrize(
    ("content", "piece"),
    [("{]", "readable JSON"), ("[1]", "a JSON object"), ('{"tau_mem": 6}', "did you mean 'tau_mem_us'?"),
     ('{"tau_mem_us": -6}', "tau_mem_us: expected greater than 0.2 µs, got -6"), (None, "readable JSON")],
)  # fmt: skip
def test_a_file_that_is_no_profile_is_refused(content, piece, capsys, tmp_path):
    path = tmp_path / "mine.json"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    for words in EVERY_VERB:
        assert piece in complaint(capsys, *words, "--profile", path)


@pytest.mark.parametrize("verb", ["info", "calibrate"])
def test_a_record_is_whole_or_absent(verb, quick, monkeypatch, capsys, tmp_path):
    """A disk that fills while it is written."""
    path = tmp_path / "r.json"
    assert run(verb, "--seed", SEED, "--json", path) == 0
    before = path.read_bytes()

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    capsys.readouterr()
    assert run(verb, "--seed", SEED, "--json", path) == 2
    assert "No space left on device" in capsys.readouterr().err
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["r.json"]


@pytest.mark.parametrize(
    "words",
    [[], ["melt"], ["decalibrate"], ["decalibrate", "--sigma-d", "much"], ["calibrate", "--tau-mem", "long"],
     ["decalibrate", "--sigma-d", "0.1", "--which", "all"], ["profile"], ["place"], ["place", "many", "10"],
     ["info", "--seed", "1.5"]],
)  # fmt: skip
def test_words_without_a_meaning_are_refused_by_the_parser(words, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["chip", *words])
    assert caught.value.code == 2
    assert "error:" in capsys.readouterr().err


def test_every_verb_explains_itself(capsys):
    for verb in ("info", "measure", "calibrate", "decalibrate", "profile", "place"):
        with pytest.raises(SystemExit) as caught:
            main(["chip", verb, "--help"])
        assert caught.value.code == 0
        assert "--json" in capsys.readouterr().out or verb == "profile"
