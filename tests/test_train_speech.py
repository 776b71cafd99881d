"""Training on spoken words: the same loop, trainer, checkpoint and command line as for images."""

import json
from dataclasses import replace

import numpy as np
import pytest
from bursts import words

from bss2lab import checkpoint, inputs
from bss2lab.chip import Chip
from bss2lab.cli import main
from bss2lab.datasets import spikefile, vision
from bss2lab.datasets.speech import ChannelJitter, SpeechCode
from bss2lab.datasets.speech import encode as encode_speech
from bss2lab.errors import CheckpointError, InputError
from bss2lab.inputs import Data, encode
from bss2lab.learners.autograd import AutogradLearner
from bss2lab.learners.compiled import CompiledLearner
from bss2lab.losses import Objective, SpeechObjective, SumOverTime
from bss2lab.presets import published
from bss2lab.results import run_record
from bss2lab.settings import SpeechConfig, TrainConfig, config_of
from bss2lab.train import Run, objective_of
from bss2lab.types import RecurrentWeights, Weights

MODES = ("itl", "software", "transfer")


def small(**changes) -> SpeechConfig:
    return SpeechConfig(**{
        "n_hidden": 24, "n_classes": 3, "n_steps": 60, "epochs": 2, "batch_size": 20, "threads": 1, "loss_scale": 0.2,
        "learning_rate": 5e-3, "lr_decay": 0.97, "overshoot": 0.3, **changes,
    })  # fmt: skip


@pytest.fixture(scope="module")
def data():
    return Data(words(), words(60, seed=1, split="test"))


@pytest.mark.parametrize("mode", MODES)
def test_a_run_on_words_learns(mode, data):
    run = Run(small(mode=mode, epochs=6), data)
    assert isinstance(run.learner, CompiledLearner)
    epochs = list(run.fit())
    assert epochs[-1].loss < epochs[0].loss
    assert epochs[-1].test_accuracy > 0.9
    assert set(epochs[-1].loss_terms) == {"task", "rate", "weight"}
    assert isinstance(run.learner.weights(), RecurrentWeights)


@pytest.mark.parametrize("mode", MODES)
def test_a_run_stopped_anywhere_and_resumed_is_the_run_that_was_never_stopped(mode, data, tmp_path):
    config = small(mode=mode, sigma_u=8.0, dropout=0.2)
    whole = Run(config, data)
    expected = list(whole.fit())
    batches = iter([False, False, False, True])
    stopped = Run(config, data, directory=tmp_path)
    list(stopped.fit(stop=lambda: next(batches)))
    resumed = Run(config, data, directory=tmp_path, resume=True)
    assert not resumed.epochs
    got = list(resumed.fit())
    for one, other in zip(got, expected, strict=True):
        assert (one.loss, one.test_accuracy) == (other.loss, other.test_accuracy)
    for name, array in whole.learner.state().items():
        assert array.tobytes() == resumed.learner.state()[name].tobytes(), name


def test_words_are_laid_out_as_the_configuration_says(data):
    config = small(n_channels=30, n_steps=41, n_hidden=24)
    samples = encode(data.train, config)
    want = encode_speech(data.train, SpeechCode(n_channels=30, n_steps=41))
    assert samples.spikes.n_units == 30
    assert samples.spikes.duration_us == pytest.approx(41 * 1.7)
    np.testing.assert_array_equal(samples.spikes.times_us, want.times_us)
    np.testing.assert_array_equal(samples.labels, data.train.labels)


def test_augmentation_moves_training_words_alone_and_anew_in_every_epoch(data, monkeypatch):
    seen = []
    original = inputs.speech.encode

    def spy(words, code, *, jitter=None, seed=0):
        seen.append((words.split, jitter, seed))
        return original(words, code, jitter=jitter, seed=seed)

    monkeypatch.setattr(inputs.speech, "encode", spy)
    list(Run(small(mode="software", sigma_u=8.0), data).fit())
    assert [(split, jitter) for split, jitter, _ in seen] == [
        ("test", None), ("train", ChannelJitter(sigma=8.0)), ("train", ChannelJitter(sigma=8.0)),
    ]  # fmt: skip
    assert seen[1][2] != seen[2][2]
    seen.clear()
    list(Run(small(mode="software"), data).fit())
    assert [jitter for _, jitter, _ in seen] == [None, None]


def test_fixed_recurrent_weights_stay_what_they_were(data):
    start = Run(small(), data).learner.weights()
    begun = RecurrentWeights(*(w.copy() for w in start))
    for mode in ("itl", "software"):
        run = Run(small(mode=mode, recurrent="fixed"), data, start=begun)
        list(run.fit())
        np.testing.assert_array_equal(run.learner.weights().recurrent, begun.recurrent)
        assert (run.learner.weights().hidden != begun.hidden).any()


def test_autograd_trains_the_same_network(data):
    class Mine(SumOverTime):
        """No standard loss: it has no compiled form."""

    config = small(mode="software", epochs=1, recurrent="learned")
    goal = objective_of(config)
    mine = SpeechObjective(Mine(goal.task.scale), goal.rate, goal.weight)
    general, compiled = Run(config, data, objective=mine), Run(config, data)
    assert isinstance(general.learner, AutogradLearner)
    (one,), (other,) = list(general.fit()), list(compiled.fit())
    assert one.loss == pytest.approx(other.loss, rel=1e-4)
    assert one.hidden_spikes_per_image == pytest.approx(other.hidden_spikes_per_image, rel=0.02)
    fixed = Run(small(mode="software", recurrent="fixed"), data, objective=mine)
    before = fixed.learner.weights().recurrent.copy()
    list(fixed.fit())
    np.testing.assert_array_equal(fixed.learner.weights().recurrent, before)


def test_autograd_runs_in_the_loop_with_any_substrate(data):
    class Mine(SumOverTime):
        """No standard loss."""

    run = Run(small(epochs=3), data, objective=SpeechObjective(Mine(0.2)), chip=Chip(0))
    epochs = list(run.fit())
    assert epochs[-1].loss < epochs[0].loss
    state = {name: array.copy() for name, array in run.learner.state().items()}
    run.learner.restore(state)
    assert run.learner.state()["w_recurrent"].tobytes() == state["w_recurrent"].tobytes()


def test_an_objective_of_the_other_network_is_refused(data):
    with pytest.raises(InputError, match="SpeechObjective"):
        Run(small(), data, objective=Objective())
    with pytest.raises(InputError, match="an Objective for task 'mnist'"):
        Run(TrainConfig(limit=100), objective=SpeechObjective())


def test_weights_of_another_network_are_refused(data):
    start = Run(small(n_hidden=20), data).learner.weights()
    for bad in (start, Weights(start.hidden, start.output)):
        with pytest.raises(InputError, match="start: expected"):
            Run(small(), data, start=bad)


def test_data_of_the_other_kind_are_refused(data):
    with pytest.raises(InputError, match="expected images, got SpeechSet"):
        encode(data.train, TrainConfig())
    with pytest.raises(InputError, match="expected spoken words, got ImageSet"):
        encode(vision.load("mnist", "test").take(3), small())


def test_more_classes_than_outputs_are_refused(data):
    with pytest.raises(InputError, match="at most 2 classes"):
        Run(small(n_classes=2), data)


def test_a_checkpoint_of_another_task_is_named(data, tmp_path):
    list(Run(small(epochs=1), data, directory=tmp_path).fit())
    loaded = checkpoint.load(tmp_path / checkpoint.FILE)
    assert loaded.config == small(epochs=1)
    with pytest.raises(CheckpointError, match="task='speech' in the checkpoint, 'mnist' asked for"):
        Run(TrainConfig(limit=100), directory=tmp_path, resume=True)


def test_configurations_come_back_from_what_was_written_down():
    for config in (small(), TrainConfig(rotation=3.0)):
        assert config_of(json.loads(json.dumps(config.model_dump()))) == config
    with pytest.raises(KeyError):
        config_of({"task": "chess"})


def test_the_paper_has_numbers_for_the_heidelberg_digits_alone():
    assert published(SpeechConfig(task="shd")).test == 76.2
    assert published(SpeechConfig(task="shd", sigma_u=5.0)).test == 80.6
    assert published(SpeechConfig(task="shd", recurrent="fixed")).test == 64.3
    assert published(SpeechConfig(task="shd", mode="software")).test == 71.2
    assert published(SpeechConfig(task="speech")) is None
    assert published(SpeechConfig(task="shd", dropout=0.1)) is None


def test_the_record_says_what_was_run(data):
    run = Run(small(epochs=1), data)
    epochs = list(run.fit())
    record = run_record(run.config, run.profile, epochs)
    assert record["config"]["n_channels"] == 70
    assert record["provenance"]["train"]["theta_r"]["source"] == "assumed"


# --- files ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def shd(tmp_path, monkeypatch):
    """A small data set in the published layout, where ``shd`` is looked for; its sums are not asked for."""
    names = (*(f"word {k}" for k in range(3)),)
    for split, n in (("train", 90), ("test", 30)):
        spikefile.write(tmp_path / f"shd_{split}.h5", words(n, seed=n, classes=names, split=split))

    def load(name, split, *, progress=False, path=None):
        assert name == "shd"
        return spikefile.read(tmp_path / f"shd_{split}.h5", split=split)

    monkeypatch.setattr(inputs.speech, "load", load)
    return tmp_path


SMALL = ("--n-hidden", "24", "--n-steps", "60", "--epochs", "2", "--batch-size", "20", "--threads", "1")


def test_the_command_line_trains_on_words(shd, capsys, tmp_path):
    record = tmp_path / "record.json"
    assert main(["train", "shd", *SMALL, "--save", str(tmp_path / "run"), "--json", str(record)]) == 0
    out = capsys.readouterr().out
    assert "Spiking Heidelberg Digits, 70–24 (recurrent)–20, emulated chip, in the loop" in out
    assert "spikes/word" in out
    assert "paper, 100 epochs: 76.2 ± 1.3 % test" in out
    epochs = json.loads(record.read_text())["epochs"]
    assert len(epochs) == 2
    assert main(["train", "shd", *SMALL, "--epochs", "3", "--save", str(tmp_path / "run"), "--resume"]) == 0
    assert "3" in capsys.readouterr().out


def test_validation_holds_out_speakers_whatever_the_seed(shd):
    one, two = (Data.load(small(task="shd", validation=1, seed=k)) for k in (0, 1))
    assert one.held_out.split == "validation"
    assert len(np.unique(one.held_out.speakers)) == 1
    assert not np.isin(one.train.speakers, one.held_out.speakers).any()
    np.testing.assert_array_equal(one.held_out.index, two.held_out.index)


def test_limit_spreads_over_the_file(shd):
    some = Data.load(small(task="shd", limit=9))
    assert len(some.train) == len(some.held_out) == 9
    assert some.train.index.tolist() == list(range(0, 90, 10))
    assert len(Data.load(small(task="shd", limit=10_000)).train) == 90


def test_a_run_on_own_words_goes_on_with_these_alone(data, tmp_path):
    config = small(mode="software", epochs=1)

    def called(name):
        return Data(*(replace(one, name=name) for one in (data.train, data.held_out)))

    list(Run(config, called("my words"), directory=str(tmp_path)).fit())
    for other in (called("yours"), replace(data, origin="speech")):
        with pytest.raises(CheckpointError, match="got one on my words"):
            Run(config.replace(epochs=2), other, directory=tmp_path, resume=True)
    assert len(list(Run(config.replace(epochs=2), called("my words"), directory=tmp_path, resume=True).fit())) == 1
