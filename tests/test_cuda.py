"""On a GPU: the reference kernel there is held to the one on the CPU, and runs go on wherever they were begun."""

import numpy as np
import pytest
import torch

from bss2lab.inputs import Data, encode
from bss2lab.kernels import Traces, integrate
from bss2lab.learners.autograd import AutogradLearner
from bss2lab.settings import SpeechConfig, TrainConfig
from bss2lab.train import Run, chip_of, objective_of
from bss2lab.types import Spikes

pytestmark = pytest.mark.needs("a GPU")

QUICK = {"limit": 300, "n_hidden": 40, "epochs": 2, "threads": 1, "lr_decay": 0.97}
IMAGES = TrainConfig(**QUICK, learning_rate=5e-3, rho_b=5e-4, rho_a=0.0)
WORDS = SpeechConfig(**QUICK, batch_size=50, learning_rate=5e-3)
MODEL = IMAGES.model


def gradients(device: str, dtype: torch.dtype, *, recurrent: bool, recorded: bool) -> dict[str, np.ndarray]:
    """Return traces and weight gradients of a small network, with the same random numbers on every device."""
    rng = np.random.default_rng(3)
    trains = [(np.sort(rng.uniform(0, 68.0, 60)), rng.integers(0, 12, 60)) for _ in range(5)]
    spikes = Spikes.from_events(trains, n_units=12, duration_us=68.0)
    sizes = {"hidden": (12, 9), "output": (9, 4), "recurrent": (9, 9)}
    w = {k: torch.tensor(rng.normal(0.05, 0.2, s), dtype=dtype, device=device) for k, s in sizes.items()}
    for x in w.values():
        x.requires_grad_()
    injected = None
    if recorded:
        v, s, out = rng.normal(0.5, 0.5, (5, 40, 9)), rng.random((5, 40, 9)) < 0.1, rng.normal(0, 0.5, (5, 40, 4))
        injected = Traces(*(torch.tensor(x, dtype=dtype, device=device) for x in (v, s, out)))
    traces = integrate(
        w["hidden"], w["output"], spikes, dt_us=1.7, model=MODEL,
        recorded=injected, w_recurrent=w["recurrent"] if recurrent else None,
    )  # fmt: skip
    (traces.v_output.square().sum() + 0.1 * traces.s_hidden.sum()).backward()
    found = dict(zip(Traces._fields, traces, strict=True))
    found |= {f"grad_{name}": x.grad for name, x in w.items() if x.grad is not None}
    return {name: x.detach().cpu().numpy() for name, x in found.items()}


@pytest.mark.parametrize("recurrent", [False, True])
@pytest.mark.parametrize("recorded", [False, True])
@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 1e-4), (torch.float64, 1e-10)])
def test_traces_and_gradients_are_those_of_the_cpu(recurrent, recorded, dtype, error):
    here = gradients("cpu", dtype, recurrent=recurrent, recorded=recorded)
    there = gradients("cuda", dtype, recurrent=recurrent, recorded=recorded)
    assert set(here) == set(there)
    for name, want in here.items():
        assert np.abs(want).max() > 0, name
        assert np.abs(there[name] - want).max() < error * np.abs(want).max(), name


@pytest.mark.parametrize("config", [IMAGES, WORDS], ids=["images", "words"])
@pytest.mark.parametrize("mode", ["software", "itl"])
def test_a_step_changes_weights_as_on_the_cpu(config, mode):
    """Against the same learner on the CPU: the compiled one counts the chip's noise in another way."""
    config = config.replace(mode=mode)
    samples, index = encode(Data.load(config).train, config), np.arange(len(Data.load(config).train))
    chip, moved, alive = chip_of(config), [], np.ones(config.n_hidden, bool)
    for device in ("cpu", "cuda"):
        learner = AutogradLearner(config.replace(device=device), objective_of(config), chip)
        learner.train_batch(samples, index, learning_rate=config.learning_rate, alive=alive, noise_seed=5)
        moved.append(learner.weights())
    for here, there in zip(*moved, strict=True):
        # Adam's first step is ± the learning rate: gradients near zero may differ in sign, and few do
        assert np.mean(np.abs(here - there) > config.learning_rate / 2) < 0.01


@pytest.mark.parametrize(
    ("config", "mode"),
    [(IMAGES, "software"), (IMAGES, "itl"), (IMAGES, "ann"), (WORDS, "software"), (WORDS, "itl")],
)
def test_a_stopped_run_goes_on_bit_for_bit(tmp_path, config, mode):
    config = config.replace(mode=mode, device="cuda")
    whole = Run(config)
    first = list(whole.fit())
    part = Run(config, whole.data, directory=tmp_path)
    assert next(iter(part.fit())).loss == first[0].loss
    rest = Run(config, whole.data, directory=tmp_path, resume=True)
    assert [epoch.loss for epoch in rest.fit()] == [first[1].loss]
    for one, two in zip(whole.learner.weights(), rest.learner.weights(), strict=True):
        np.testing.assert_array_equal(one, two)


def test_a_network_learns_there():
    run = Run(IMAGES.replace(device="cuda", limit=1000, epochs=4, learning_rate=1e-2))
    epochs = list(run.fit())
    assert epochs[-1].test_accuracy > 0.6


def test_the_objective_is_the_same_number_on_both():
    data = Data.load(WORDS)
    samples = encode(data.train, WORDS)
    chip, goal, index = chip_of(WORDS), objective_of(WORDS), np.arange(20)
    losses = []
    for device in ("cpu", "cuda"):
        run = Run(WORDS.replace(device=device), data, chip=chip, objective=goal)
        result = run.learner.train_batch(
            samples, index, learning_rate=0.0, alive=np.ones(WORDS.n_hidden, bool), noise_seed=5
        )
        losses.append(result.terms["task"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
