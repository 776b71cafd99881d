"""The default chip less one of its limits: what is gone, what is still there, and that nothing else moved."""

import hashlib

import numpy as np
import pytest

from bss2lab.chip import PROFILES, Chip, ChipProfile, load_profile
from bss2lab.chip.calibration import Targets
from bss2lab.chip.instruments import Stimulus, record_cadc
from bss2lab.chip.transfer import PARAMETERS
from bss2lab.errors import InputError
from bss2lab.inputs import Data, encode
from bss2lab.learners.autograd import AutogradLearner
from bss2lab.learners.compiled import CompiledLearner
from bss2lab.network import chip_weights, traces_of
from bss2lab.settings import TrainConfig
from bss2lab.studies import fig2, injection
from bss2lab.train import objective_of
from bss2lab.types import Spikes, Weights

pytestmark = pytest.mark.usefixtures("one_thread")

N_INPUT, N_HIDDEN, N_OUTPUT = 30, 37, 10
SAME_CHIP = ("no-noise", "no-weight-rounding", "no-cadc-rounding")
"""Profiles that are the default chip, circuit by circuit."""

REAL_WEIGHTS = PROFILES["ideal"].replace(rounds_weights=False)


def network():
    i, j, o = np.arange(N_INPUT)[:, None], np.arange(N_HIDDEN), np.arange(N_OUTPUT)
    hidden, output = (7 * i + 13 * j) % 43 - 14, (11 * j[:, None] + 17 * o) % 41 - 20
    return Weights(hidden.astype(np.int8), output.astype(np.int8))


def input_spikes(n=6):
    k = np.arange(40)
    samples = [(0.5 * k + 0.125 * b, (7 * k + 3 * b) % N_INPUT) for b in range(n)]
    return Spikes.from_events(samples, n_units=N_INPUT, duration_us=34.0)


def recorded(chip, seed=11):
    spikes = input_spikes()
    return chip.record(chip.write(network()), spikes, np.arange(len(spikes)), seed=seed)


def volley(chip, weight):
    """One trial: four spikes that reach all neurons through synapses of one weight."""
    spikes = Spikes.from_events([(np.arange(1.0, 5.0), np.arange(4))], n_units=4, duration_us=17.0)
    stimulus = Stimulus(spikes, np.full((4, 256), weight, np.int8))
    return record_cadc(chip, duration_us=17.0, seed=5, stimulus=stimulus, spiking=True)


def fields(profile):
    return {name for name, value in profile.model_dump().items() if value != ChipProfile().model_dump()[name]}


# --- nothing else moved -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "golden"),
    [
        ("calibrated", "1a62968c677482ab"),
        ("uncalibrated", "823c0d4eb4937422"),
        ("published", "6f96b202686c459e"),
        ("ideal", "6764faa121c8b406"),
    ],
)
def test_golden_recordings(name, golden):
    """Every sample, spike and decision, on any computer. Whatever moves one raises ``NUMERICS``."""
    chip, spikes = Chip(3, name), input_spikes()
    raw, run = recorded(chip), chip.run(network(), spikes, seed=11)
    digest = hashlib.sha256(raw.cadc.tobytes() + raw.fired.tobytes())
    digest.update(run.hidden_spikes.times_us.tobytes() + run.hidden_spikes.units.tobytes())
    program = chip.write(network())
    for decisions, counts in (chip.classify(program, spikes, seed=11), chip.infer(program, spikes, seed=11)):
        digest.update(decisions.tobytes() + counts.tobytes())
    assert raw.fired[:, :, :N_HIDDEN].sum() > 300  # there is something to see
    assert digest.hexdigest()[:16] == golden


@pytest.mark.parametrize(
    ("name", "want"),
    [
        ("no-noise", {"membrane_noise_mv", "cadc_noise_lsb"}),
        ("no-weight-rounding", {"rounds_weights"}),
        ("no-cadc-rounding", {"rounds_cadc"}),
    ],
)
def test_only_what_the_name_says_is_gone(name, want):
    assert fields(PROFILES[name]) == want | {"name"}


def test_profiles_of_files_without_rounding_fields_round(tmp_path):
    path = tmp_path / "older.json"
    older = ChipProfile(name="older").model_dump(exclude={"rounds_weights", "rounds_cadc"})
    assert len(older) == len(ChipProfile.model_fields) - 2
    path.write_text(ChipProfile(name="older").to_json().replace('  "rounds_weights": true,\n', ""), encoding="utf-8")
    assert "rounds_weights" not in path.read_text(encoding="utf-8")
    assert load_profile(str(path)) == ChipProfile(**older) == ChipProfile(name="older")
    assert ChipProfile(**older).rounds_weights
    assert ChipProfile(**older).rounds_cadc


@pytest.mark.parametrize("name", SAME_CHIP)
def test_it_is_the_very_chip_with_the_calibration_that_it_comes_with(name):
    chip, default = Chip(3, name), Chip(3)
    assert chip.calibration is default.calibration
    assert chip.codes.same_as(default.codes)
    for field in type(chip.mismatch).__dataclass_fields__:
        np.testing.assert_array_equal(getattr(chip.mismatch, field), getattr(default.mismatch, field), err_msg=field)


# --- no mismatch ----------------------------------------------------------------------------------------------------


def test_without_mismatch_all_circuits_are_equal_at_what_the_default_chip_is_calibrated_to():
    chip, targets = Chip(3, "no-mismatch"), dict(Targets().items())
    truth = chip.mismatch
    for field in type(truth).__dataclass_fields__:
        assert np.ptp(getattr(truth, field)) == 0, field
    assert all(np.ptp(slope) == 0 for slope in chip.circuits.slope.values())
    at = {
        "tau_mem": truth.tau_mem_us, "tau_syn_exc": truth.tau_syn_exc_us, "tau_syn_inh": truth.tau_syn_inh_us,
        "leak": truth.leak_mv * 256 / 1200, "reset": truth.reset_mv * 256 / 1200,
        "threshold": truth.threshold_mv * 256 / 1200,
    }  # fmt: skip
    for name in PARAMETERS:
        if name in at:
            np.testing.assert_allclose(at[name], targets[name], rtol=1e-12, err_msg=name)
    assert truth.refractory_us[0] == 2.0
    assert truth.input_delay_us[0] == truth.routed_delay_us[0] == 1.0
    assert (truth.cadc_offset_lsb[0], truth.cadc_gain[0]) == (0, 1)
    assert (chip.profile.membrane_noise_mv, chip.profile.cadc_noise_lsb) == (2, 2)
    assert chip.profile.rounds_weights
    assert chip.profile.rounds_cadc


def test_without_mismatch_its_neurons_sit_in_the_middle_of_the_default_chips():
    """The default chip's neurons, calibrated by measurement, scatter about them within a standard error or so."""
    equal, default = Chip(3, "no-mismatch").mismatch, Chip(3).mismatch
    for field in ("tau_mem_us", "tau_syn_exc_us", "tau_syn_inh_us", "refractory_us", "gain_exc", "gain_inh"):
        mean = getattr(default, field).mean()
        assert mean == pytest.approx(float(getattr(equal, field).ravel()[0]), rel=0.02), field
    for field in ("leak_mv", "reset_mv", "threshold_mv"):
        assert getattr(default, field).mean() == pytest.approx(float(getattr(equal, field)[0]), abs=2.0), field


def test_without_mismatch_the_noise_is_still_there():
    """Neurons with equal weights differ from trial to trial, and not in the mean over trials."""
    chip = Chip(3, "no-mismatch")
    spikes = Spikes.from_events([(np.array([1.0, 2.0]), np.array([0, 1]))] * 400, n_units=2, duration_us=17.0)
    samples = record_cadc(
        chip, duration_us=17.0, seed=5, stimulus=Stimulus(spikes, np.full((2, 256), 20, np.int8))
    ).samples_lsb.astype(float)
    one = np.sqrt(2**2 + (2 * 256 / 1200) ** 2 + 1 / 12)  # read-out noise, membrane noise, rounding, LSB
    assert samples.std(axis=0).mean() == pytest.approx(one, rel=0.03)
    between = samples.mean(axis=0).std(axis=1)
    np.testing.assert_allclose(between, one / np.sqrt(400), rtol=0.2)
    default = record_cadc(
        Chip(3), duration_us=17.0, seed=5, stimulus=Stimulus(spikes, np.full((2, 256), 20, np.int8))
    ).samples_lsb.astype(float)
    assert default.mean(axis=0).std(axis=1).max() > 20 * between.max()


def test_without_mismatch_and_noise_all_neurons_do_the_same():
    chip = Chip(3, PROFILES["no-mismatch"].replace(membrane_noise_mv=0.0, cadc_noise_lsb=0.0))
    record = volley(chip, 63)
    assert np.ptp(record.samples_lsb, axis=2).max() == 0
    assert record.fired.any()
    assert np.ptp(record.fired, axis=2).max() == 0


# --- no noise -------------------------------------------------------------------------------------------------------


def test_without_noise_every_trial_is_the_same_on_neurons_that_differ():
    chip = Chip(3, "no-noise")
    one, other, noisy = recorded(chip, 1), recorded(chip, 2), recorded(Chip(3), 1)
    np.testing.assert_array_equal(one.cadc, other.cadc)
    np.testing.assert_array_equal(one.fired, other.fired)
    rest = one.cadc[:, 0]
    assert np.ptp(rest, axis=0).max() == 0
    assert volley(chip, 20).samples_lsb[0, 6].std() > 2  # synaptic gains differ by 16 %
    error = noisy.cadc[:, 0].astype(float) - rest
    assert error.std() == pytest.approx(np.sqrt(2**2 + (2 * 256 / 1200) ** 2 + 1 / 12), rel=0.1)


# --- no rounding of weights -------------------------------------------------------------------------------------------


def test_the_response_to_a_weight_between_two_integers_lies_between_theirs():
    chip = Chip(0, REAL_WEIGHTS)
    spike = Spikes.from_events([([1.0], [0])], n_units=1, duration_us=34.0)
    heights = {}
    for w in (10, 10.5, 11, -10, -10.25, -11):
        weights = Weights(np.full((1, 4), w, np.float32), np.zeros((4, 2), np.float32))
        _, mv = chip.membranes(weights, spike, seed=0)
        heights[w] = mv[0, :, :4] - mv[0, :1, :4]
    late = slice(20, None)
    for low, middle, high in ((10, 10.5, 11), (-11, -10.25, -10)):
        assert (heights[low][late] < heights[middle][late]).all()
        assert (heights[middle][late] < heights[high][late]).all()
    np.testing.assert_allclose(heights[10.5][late], 1.05 * heights[10][late], atol=2e-3)
    np.testing.assert_allclose(heights[-10.25][late], 1.025 * heights[-10][late], atol=2e-3)


def test_integers_do_the_same_whether_synapses_hold_real_numbers_or_not():
    one, other = recorded(Chip(3)), recorded(Chip(3, "no-weight-rounding"))
    np.testing.assert_array_equal(one.cadc, other.cadc)
    np.testing.assert_array_equal(one.fired, other.fired)


def test_model_weights_reach_such_a_chip_as_they_are():
    rng = np.random.default_rng(0)
    weights = Weights(rng.normal(0, 0.15, (30, 20)).astype(np.float32), rng.normal(0, 0.3, (20, 10)).astype(np.float32))
    held, scale = chip_weights(weights, Chip(3, "no-weight-rounding"))
    rounded, same_scale = chip_weights(weights, Chip(3))
    assert scale == same_scale
    for layer, factor in (("hidden", 240.0), ("output", scale)):
        real, integer = getattr(held, layer), getattr(rounded, layer)
        assert (real.dtype, integer.dtype) == (np.float32, np.int8)
        np.testing.assert_array_equal(np.rint(real), integer)
        np.testing.assert_allclose(real, np.clip(getattr(weights, layer) * factor, -63, 63), rtol=1e-6)
        assert np.abs(real).max() == 63
    for other in (chip_weights(weights), chip_weights(weights, Chip(3, "no-cadc-rounding"))):
        np.testing.assert_array_equal(other[0].hidden, rounded.hidden)


def test_a_chip_that_rounds_refuses_them_still():
    held, _ = chip_weights(Weights(np.full((3, 2), 0.07), np.full((2, 2), 0.1)), Chip(3, "no-weight-rounding"))
    Chip(3, "no-weight-rounding").write(held)
    with pytest.raises(InputError, match=r"hidden weights: expected integers, got float32; round with quantize_"):
        Chip(3).write(held)


# --- no rounding of samples -------------------------------------------------------------------------------------------


def test_samples_that_are_not_rounded_are_what_is_rounded():
    """Same circuits, same noise: rounding them gives the default chip's samples, every one."""
    rounded, exact = recorded(Chip(3)), recorded(Chip(3, "no-cadc-rounding"))
    assert (rounded.cadc.dtype, exact.cadc.dtype) == (np.uint8, np.float32)
    np.testing.assert_array_equal(np.floor(exact.cadc + np.float32(0.5)), rounded.cadc)
    np.testing.assert_array_equal(exact.fired, rounded.fired)
    off = exact.cadc - rounded.cadc
    assert off.std() == pytest.approx(1 / np.sqrt(12), rel=0.02)
    assert (exact.cadc != np.rint(exact.cadc)).mean() > 0.99


def test_they_still_end_at_the_ends_of_the_range():
    profile = ChipProfile(calibrated=False, rounds_cadc=False, leak_lsb=127.0, leak_sd_mv=300.0)
    samples = recorded(Chip(3, profile)).cadc
    assert (samples.min(), samples.max()) == (0, 255)
    assert 0.01 < np.isin(samples, [0, 255]).mean() < 0.8


def test_recordings_in_real_numbers():
    chip, default, spikes = Chip(3, "no-cadc-rounding"), Chip(3), input_spikes()
    exact, rounded = (c.run(network(), spikes, seed=11) for c in (chip, default))
    for name in ("hidden_lsb", "output_lsb", "hidden_baseline_lsb", "output_baseline_lsb"):
        one, other = getattr(exact, name), getattr(rounded, name)
        assert (one.dtype, one.shape) == (np.float32, other.shape)
        np.testing.assert_array_equal(np.floor(one + np.float32(0.5)), other)
    np.testing.assert_array_equal(exact.hidden_spikes.times_us, rounded.hidden_spikes.times_us)
    unit = 4.6875 / 330
    traces, coarse = traces_of(exact, 240.0), traces_of(rounded, 240.0)
    assert 0.5 * unit < (traces.v_output - coarse.v_output).abs().max() <= 1.0001 * unit  # a sample and its baseline
    (_, one), (_, other) = (c.membranes(network(), spikes, seed=3) for c in (chip, default))
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("n_output", [10, 40])
def test_decisions_from_real_numbers(n_output):
    """From all samples or the last neurons' alone (as for up to 16 outputs): the highest above its baseline."""
    rng = np.random.default_rng(1)
    hidden, output = rng.normal(4, 20, (N_INPUT, N_HIDDEN)), rng.normal(0, 8, (N_HIDDEN, n_output))
    weights = Weights(*(w.clip(-63, 63).astype(np.int8) for w in (hidden, output - output.mean(axis=0))))
    trains = [(np.sort(rng.uniform(0, 20, 40)), rng.integers(0, N_INPUT, 40)) for _ in range(60)]
    spikes = Spikes.from_events(trains, n_units=N_INPUT, duration_us=34.0)
    chip, default = Chip(3, "no-cadc-rounding"), Chip(3)
    program = chip.write(weights)
    recording = chip.run(weights, spikes, seed=7)
    decisions, counts = chip.classify(program, spikes, seed=7)
    want = (recording.output_lsb.max(axis=1) - recording.output_baseline_lsb).argmax(axis=1)
    np.testing.assert_array_equal(decisions, want)
    np.testing.assert_array_equal(counts, default.classify(default.write(weights), spikes, seed=7)[1])
    fast, _ = chip.infer(program, spikes, seed=7)
    rounded, _ = default.infer(default.write(weights), spikes, seed=7)
    assert (fast == rounded).mean() > 0.5
    assert len(set(decisions.tolist())) > 3


@pytest.mark.parametrize("quantity", ["leak", "threshold", "tau_mem", "gain_exc", "cadc_gain"])
def test_such_a_chip_is_measured_like_any_other(quantity):
    exact, rounded = (chip.measure(quantity, seed=1) for chip in (Chip(3, "no-cadc-rounding"), Chip(3)))
    assert exact.failures == rounded.failures == {}
    moved, error = np.abs(exact.value - rounded.value), np.median(rounded.uncertainty)
    assert np.median(moved) < 0.3 * error
    assert moved.max() < 5 * error
    np.testing.assert_allclose(np.median(exact.uncertainty), np.median(rounded.uncertainty), rtol=0.1)


# --- training and studies ---------------------------------------------------------------------------------------------

CONFIG = TrainConfig(limit=300, n_hidden=40, learning_rate=5e-3, threads=1)


@pytest.fixture(scope="module")
def samples():
    return encode(Data.load(CONFIG).train, CONFIG)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (CompiledLearner, "no-mismatch"),
        *((CompiledLearner, name) for name in SAME_CHIP),
        (AutogradLearner, "no-cadc-rounding"),
    ],
)
def test_training_in_the_loop_lowers_the_loss(name, kind, samples):
    learner = kind(CONFIG, objective_of(CONFIG), Chip(3, name))
    options = {"learning_rate": 5e-3, "alive": np.ones(40, bool)}
    losses = [
        learner.train_batch(samples, np.arange(100 * (k % 3), 100 * (k % 3) + 100), noise_seed=k, **options)
        for k in range(24)
    ]
    first, last = (sum(r.terms["task"] for r in part) for part in (losses[:3], losses[-3:]))
    assert last < 0.7 * first
    assert learner.evaluate(samples, noise_seed=99).accuracy > 0.6


def test_a_change_too_small_for_an_integer_shows_on_the_chip_that_does_not_round(samples):
    changes = {}
    for name in ("no-noise", "no-weight-rounding"):
        profile = PROFILES[name].replace(membrane_noise_mv=0.0, cadc_noise_lsb=0.0, rounds_cadc=False)
        chip, peaks = Chip(3, profile), []
        for shift in (0.0, 0.1 / 240):
            w = Weights(np.full((256, 40), 4.2 / 240 + shift, np.float32), np.ones((40, 10), np.float32))
            held, _ = chip_weights(w, chip)
            peaks.append(chip.run(held, samples.spikes.select(np.arange(5)), seed=0).hidden_lsb[:, :8])
        changes[name] = np.abs(peaks[1] - peaks[0]).max()
    assert changes["no-noise"] == 0
    assert changes["no-weight-rounding"] > 0.1


def test_studies_use_the_weights_that_the_chip_holds(samples):
    rng = np.random.default_rng(0)
    hidden = rng.normal(0.02, 0.06, (256, 40)).clip(-0.26, 0.26)
    weights = Weights(hidden.astype(np.float32), rng.normal(0, 0.2, (40, 10)).astype(np.float32))
    index, where = np.arange(30), (CONFIG, weights, samples, np.arange(30))
    free, rounding = Chip(3, "no-weight-rounding"), Chip(3)
    losses = {name: injection.alone(*where, chip=chip).loss for name, chip in (("free", free), ("rounding", rounding))}
    assert losses["free"] != losses["rounding"] == injection.alone(*where).loss
    held, scale = chip_weights(weights, free)
    # Weights that are what a chip holds already are not changed by it: the model sees these very numbers.
    exact = Weights(held.hidden / np.float32(240), held.output / np.float32(scale))
    again = injection.alone(CONFIG, exact, samples, index, chip=free).loss
    assert losses["free"] == pytest.approx(again, rel=1e-6)
    one, other = (injection.side_by_side(*where, chip=chip, noise_seed=1) for chip in (free, rounding))
    assert (one.recorded.v_output != other.recorded.v_output).any()
    assert (one.model.v_output != other.model.v_output).any()
    recording = fig2.parallel_recording(CONFIG, weights, samples, 3, chip=free)
    raw = free.record(free.write(held), samples.spikes.select(np.array([3])), np.array([0]), seed=0)
    np.testing.assert_array_equal(recording.cadc_lsb, raw.cadc[0])


def test_finite_differences_on_a_chip_that_does_not_round_its_weights(samples):
    rng = np.random.default_rng(0)
    hidden = rng.normal(0.02, 0.06, (256, 40)).clip(-0.26, 0.26)
    weights = Weights(hidden.astype(np.float32), rng.normal(0, 0.2, (40, 10)).astype(np.float32))
    chip = Chip(3, PROFILES["no-noise"].replace(rounds_weights=False))
    index = np.arange(30)
    full = injection.full(CONFIG, weights, samples, index, chip=chip).output.numpy()
    held = chip_weights(weights, chip)[0].output
    chosen = np.argwhere((full != 0) & (np.abs(held) > 1) & (np.abs(held) < 62))[:40]
    differences = injection.finite_differences(CONFIG, weights, samples, index, chip=chip, synapses=chosen)
    ours = full[tuple(chosen.T)]
    assert ours @ differences > 0.98 * np.linalg.norm(ours) * np.linalg.norm(differences)
