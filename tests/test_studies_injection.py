"""The chip's twin against the emulator itself, and gradients with and without injection against full knowledge."""

import numpy as np
import pytest
import torch

from bss2lab.chip import PROFILES, Chip
from bss2lab.errors import InputError
from bss2lab.inputs import Data, encode
from bss2lab.kernels import integrate
from bss2lab.network import chip_weights, traces_of
from bss2lab.quantize import HIDDEN_SCALE
from bss2lab.settings import TrainConfig
from bss2lab.studies import anatomy, full_knowledge, injection
from bss2lab.train import Run, objective_of
from bss2lab.types import Weights

CONFIG = TrainConfig(limit=1500, n_hidden=60, epochs=5, threads=1, mode="software", learning_rate=5e-3)
QUIET = PROFILES["calibrated"].replace(membrane_noise_mv=0.0, cadc_noise_lsb=0.0)
BATCH = np.arange(40)


pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.slow]


@pytest.fixture(scope="module")
def data():
    return Data.load(CONFIG)


@pytest.fixture(scope="module")
def samples(data):
    return encode(data.train.take(100), CONFIG)


@pytest.fixture(scope="module")
def weights(data):
    run = Run(CONFIG, data)
    assert list(run.fit())[-1].test_accuracy > 0.8
    return run.learner.weights()


def leaves(integers, dtype=torch.float64):
    return [torch.tensor(w, dtype=dtype, requires_grad=True) for w in integers]


def chips():
    """Chips without noise: as calibrated, detuned, without mismatch, and with a refractory time below a fine step."""
    return {
        "calibrated": lambda: Chip(3, QUIET),
        "detuned": lambda: anatomy.detuned(Chip(3, QUIET), 0.3, seed=1),
        "ideal": lambda: Chip(0, "ideal"),
        "hardly refractory": lambda: Chip(1, QUIET.replace(refractory_us=0.1)),
        "narrow rails": lambda: Chip(2, QUIET.replace(membrane_min_mv=250.0, membrane_max_mv=740.0)),
    }


# --- the twin is the chip ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", chips())
def test_the_twin_does_what_the_emulated_chip_does(kind, weights, samples):
    chip = chips()[kind]()
    spikes = samples.spikes.select(BATCH)
    rounded, scale = chip_weights(weights)
    _, membranes = chip.membranes(rounded, spikes, seed=0)
    with torch.no_grad():
        run = full_knowledge.simulate(chip, *leaves(rounded), spikes, beta=50.0)
        read = full_knowledge.read_out(chip, run, scale)
    recording = chip.run(rounded, spikes, seed=0)
    fired = recording.hidden_spikes
    counts = np.zeros((len(BATCH), CONFIG.n_hidden))
    np.add.at(counts, (np.repeat(BATCH, np.diff(fired.offsets)), fired.units), 1)
    same = counts == run.s_hidden.sum(dim=1).numpy()
    assert counts.sum() > 60
    assert same.mean() > 0.999
    apart = np.abs(run.v_hidden.numpy() - membranes[:, :, : CONFIG.n_hidden]).max(axis=1)
    assert np.quantile(apart[same], 0.999) < 0.1  # mV; thresholds lie hundreds above rest
    assert np.abs(membranes[:, :, 0] - membranes[:, :1, 0]).max() > 20  # there is something to agree on
    images = (same & (apart < 1.0)).all(axis=1)  # elsewhere a spike came one fine step earlier or later
    assert images.mean() > 0.9
    apart = np.abs(run.v_output.numpy()[images] - membranes[images][:, :, -10:])
    assert np.quantile(apart, 0.999) < 0.1
    assert apart.max() < 1.0  # a membrane that grazes its threshold: single precision moves the crossing
    # read out as the recording is, but for the rounding of two samples
    ours, theirs = read.v_output.numpy()[images], traces_of(recording, scale).v_output.numpy()[images]
    step = np.float32(1200 / 256 / 330) * HIDDEN_SCALE / scale
    assert np.abs(ours - theirs).max() < 1.05 * step
    bins = (read.s_hidden.numpy() > 0) == (recording.hidden_fired > 0)
    assert bins.mean() > 0.9999


def test_the_gradient_in_the_output_weights_is_that_of_the_emulators_membranes(weights, samples):
    """Hidden spikes do not depend on output weights, so that the loss is smooth in them."""
    chip = anatomy.detuned(Chip(3, QUIET), 0.2, seed=1)
    full = injection.full(CONFIG, weights, samples, BATCH, chip=chip)
    busy = full.output.numpy() != 0
    rounded, scale = chip_weights(weights)
    candidates = np.argwhere(busy & (rounded.output != 0) & (np.abs(rounded.output) < 63))
    chosen = np.random.default_rng(0).permutation(candidates)[:60]
    differences = injection.finite_differences(CONFIG, weights, samples, BATCH, chip=chip, synapses=chosen)
    ours = full.output.numpy()[tuple(chosen.T)]
    cosine = ours @ differences / np.linalg.norm(ours) / np.linalg.norm(differences)
    assert cosine > 0.99
    assert np.linalg.norm(ours) / np.linalg.norm(differences) == pytest.approx(1, abs=0.05)
    # one of them by hand, from the chip's membranes alone
    i, j = chosen[np.abs(differences).argmax()]
    spikes, labels = samples.spikes.select(BATCH), samples.labels[BATCH]
    losses = []
    for change in (1, -1):
        moved = rounded.output.copy()
        moved[i, j] += change
        _, mv = chip.membranes(Weights(rounded.hidden, moved), spikes, seed=0)
        m = chip.mismatch
        code = (mv[:, ::4, -10:] * m.cadc_gain[-10:] * 256 / 1200 + m.cadc_offset_lsb[-10:]).clip(0, 255)
        peak = ((code[:, 2:] - code[:, :1]) * (1200 / 256 / 330 * 240 / scale)).max(axis=1)
        logits = CONFIG.loss_scale * peak
        nll = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(labels)), labels]
        losses.append(nll.mean() + CONFIG.rho_a * (peak**2).mean())
    assert np.abs(differences).max() == pytest.approx(abs(losses[0] - losses[1]) / 2 * scale, rel=1e-3)


def test_finite_differences_need_a_chip_without_noise_and_weights_that_can_move(weights, samples):
    where = CONFIG, weights, samples, BATCH
    with pytest.raises(InputError, match="membrane_noise_mv"):
        injection.finite_differences(*where, chip=Chip(0), synapses=np.array([[0, 0]]))
    strong = Weights(weights.hidden, 5 * weights.output)
    full = np.argwhere(np.abs(chip_weights(strong)[0].output) == 63)[:1]
    assert len(full) == 1
    for synapses in (full, np.array([[60, 0]]), np.array([[0, -1]])):
        with pytest.raises(InputError, match="synapses: expected"):
            injection.finite_differences(CONFIG, strong, samples, BATCH, chip=Chip(0, QUIET), synapses=synapses)


def test_the_reference_gradient_belongs_to_the_chip_and_not_to_its_grid(weights, samples):
    coarse, fine = (
        injection.full(CONFIG, weights, samples, BATCH, chip=Chip(1, QUIET.replace(substeps=n))) for n in (4, 16)
    )
    for layer in ("hidden", "output"):
        agreement = injection.compare(getattr(coarse, layer), getattr(fine, layer))
        assert agreement.cosine > 0.99
        assert agreement.relative_norm == pytest.approx(1, abs=0.1)


def test_a_weight_of_zero_is_half_way_between_its_two_synapses(samples):
    chip = Chip(0, QUIET)
    spikes = samples.spikes.select(BATCH[:5])

    def gradient(value):
        hidden, output = leaves((np.full((256, 4), 3.0), np.full((4, 10), 0.0)))
        output = output.detach() + value
        output.requires_grad_()
        run = full_knowledge.simulate(chip, hidden, output, spikes, beta=50.0)
        return torch.autograd.grad(run.v_output.sum(), [output])[0]

    assert gradient(0.0).abs().max() > 0
    torch.testing.assert_close(gradient(0.0), (gradient(1e-9) + gradient(-1e-9)) / 2)
    assert not torch.allclose(gradient(1e-9), gradient(-1e-9), rtol=0.01)


def test_the_twin_refuses_weights_that_do_not_fit(samples):
    for shapes, text in ((((255, 4), (4, 10)), "w_hidden: expected"), (((256, 4), (5, 10)), "w_output: expected")):
        with pytest.raises(InputError, match=text):
            full_knowledge.simulate(Chip(0), *(torch.zeros(s) for s in shapes), samples.spikes, beta=50.0)


# --- gradients ----------------------------------------------------------------------------------------------------


def agreements(weights, samples, chip, index=BATCH):
    injected = injection.injected(CONFIG, weights, samples, index, chip=chip, noise_seed=0)
    alone = injection.alone(CONFIG, weights, samples, index)
    full = injection.full(CONFIG, weights, samples, index, chip=chip)
    return {
        (name, layer): injection.compare(getattr(g, layer), getattr(full, layer))
        for name, g in (("injected", injected), ("alone", alone))
        for layer in ("hidden", "output")
    }


def test_on_an_ideal_chip_injection_finds_nearly_the_full_knowledge_gradient(weights, samples):
    """Not quite: spikes act in bins instead of at their times, and the model's derivative ignores the reset."""
    found = agreements(weights, samples, Chip(0, "ideal"), np.arange(100))
    assert 0.85 < found["injected", "hidden"].cosine < 0.99
    assert 0.95 < found["injected", "output"].cosine < 0.9999
    assert found["injected", "hidden"].sign_agreement > 0.8
    assert found["injected", "output"].relative_norm == pytest.approx(1, abs=0.15)


def test_the_eight_bits_of_the_adc_cost_next_to_nothing(weights, samples):
    """Injecting the twin's unrounded samples instead gives nearly the same gradient: it is not the ADC."""
    chip, index = Chip(0, "ideal"), np.arange(100)
    rounded, scale = chip_weights(weights)
    spikes, labels = samples.spikes.select(index), torch.from_numpy(samples.labels[index])
    with torch.no_grad():
        twin = full_knowledge.simulate(chip, *leaves(rounded, torch.float32), spikes, beta=CONFIG.beta)
        recorded = full_knowledge.read_out(chip, twin, scale)
    w = [
        torch.tensor(x / s, dtype=torch.float32, requires_grad=True) for x, s in zip(rounded, (240, scale), strict=True)
    ]
    traces = integrate(*w, spikes, dt_us=CONFIG.dt_us, model=CONFIG.model, recorded=recorded)
    terms = objective_of(CONFIG).terms(traces, labels, w[0])
    exact = torch.autograd.grad(terms["task"] + terms["burst"] + terms["readout"], w)
    digitised = injection.injected(CONFIG, weights, samples, index, chip=chip, noise_seed=0)
    for ours, theirs in zip(digitised[:2], exact, strict=True):
        agreement = injection.compare(ours, theirs)
        assert 0.99 < agreement.cosine < 0.999999
        assert agreement.relative_norm == pytest.approx(1, abs=0.05)


def test_the_model_alone_loses_the_gradient_as_the_chip_departs_and_injection_keeps_it(weights, samples):
    near, middle, far = (
        agreements(weights, samples, anatomy.detuned(Chip(0, "ideal"), sigma, seed=2), np.arange(100))
        for sigma in (0.0, 0.1, 0.3)
    )
    for layer in ("hidden", "output"):
        assert near["alone", layer].cosine > middle["alone", layer].cosine > far["alone", layer].cosine
        assert far["alone", layer].cosine < near["alone", layer].cosine - 0.2
        assert far["injected", layer].cosine > far["alone", layer].cosine + 0.3
    assert far["injected", "hidden"].cosine > 0.65
    assert far["injected", "output"].cosine > 0.85


def test_injected_values_are_the_recorded_ones(weights, samples):
    chip = Chip(0)
    result = injection.side_by_side(CONFIG, weights, samples, BATCH, chip=chip, noise_seed=5)
    rounded, scale = chip_weights(weights)
    recorded = traces_of(chip.run(rounded, samples.spikes.select(BATCH), seed=5), scale)
    for ours, theirs in zip(result.injected, recorded, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
    assert not torch.equal(result.model.v_output, result.recorded.v_output)
    assert result.model.v_hidden.shape == (len(BATCH), CONFIG.n_steps, CONFIG.n_hidden)
    assert result.time_us.shape == (CONFIG.n_steps,)
    assert result.lag_us == chip.profile.readout_lag_us
    np.testing.assert_array_equal(result.labels, samples.labels[BATCH])


def test_a_step_against_full_knowledge_lowers_the_loss_and_one_along_it_raises_it(weights, samples):
    chip = anatomy.detuned(Chip(1), 0.1, seed=1)
    full = injection.full(CONFIG, weights, samples, BATCH, chip=chip)
    for layer in ("hidden", "output"):
        down, up = (
            injection.loss_change(
                CONFIG, weights, samples, BATCH, chip=chip, layer=layer, gradient=sign * getattr(full, layer)
            )
            for sign in (1, -1)
        )
        assert down < -0.02
        assert up > 0.02


def test_comparison_of_vectors_that_one_can_work_out():
    a = torch.tensor([[3.0, 0.0], [4.0, 0.0]])
    b = torch.tensor([[3.0, 0.0], [-4.0, 5.0]])
    got = injection.compare(a, b)
    assert got.cosine == pytest.approx((9 - 16) / (5 * np.sqrt(50)))
    assert got.relative_norm == pytest.approx(5 / np.sqrt(50))
    assert got.sign_agreement == 0.5
    nothing = injection.compare(torch.zeros_like(b), b)
    assert (nothing.cosine, nothing.relative_norm, nothing.sign_agreement) == (0, 0, 0)
    with pytest.raises(InputError, match=r"gradient: expected \[2, 2\], got \[4\]"):
        injection.compare(a.flatten(), b)


def test_bad_input_is_refused(weights, samples):
    where = {"chip": Chip(0), "noise_seed": 0}
    with pytest.raises(InputError, match="sample index: expected 0 … 99, got 100"):
        injection.injected(CONFIG, weights, samples, np.array([0, 100]), **where)
    with pytest.raises(InputError, match="one row per hidden neuron"):
        injection.injected(CONFIG, Weights(weights.hidden, weights.output[:-1]), samples, BATCH, **where)
    with pytest.raises(InputError, match="units, one per row"):
        injection.side_by_side(CONFIG, Weights(weights.hidden[:-1], weights.output), samples, BATCH, chip=Chip(0))
