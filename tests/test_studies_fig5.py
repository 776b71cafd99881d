"""Figure 5 in miniature: made-up words, small networks, and every number counted again by hand."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from bursts import words

from bss2lab import inputs
from bss2lab.errors import DataError, InputError
from bss2lab.presets import SPEECH_FULL
from bss2lab.runner import Runner
from bss2lab.settings import SpeechConfig
from bss2lab.studies import fig5, fig5_responses, listening, results, speech_training, training
from bss2lab.studies.catalogue import STUDIES
from bss2lab.studies.networks import load_network, save_network
from bss2lab.train import chip_of

pytestmark = pytest.mark.slow

SMALL = SpeechConfig(
    n_hidden=24, n_classes=3, n_steps=60, epochs=5, batch_size=20, threads=1, loss_scale=0.2, learning_rate=5e-3,
    lr_decay=0.97, overshoot=0.3,
)  # fmt: skip
CONFIG = fig5.SpeechStudyConfig(
    rows=(
        fig5.SpeechRow(name="learned", train=SMALL),
        fig5.SpeechRow(name="augmented", train=SMALL.replace(sigma_u=6.0)),
        fig5.SpeechRow(name="fixed", train=SMALL.replace(recurrent="fixed")),
        fig5.SpeechRow(name="software", train=SMALL.replace(mode="software")),
    ),
    seeds=2,
)
TRAIN = words(90, n_speakers=3)
TEST = words(75, seed=1, n_speakers=5, strange=2, split="test")


@pytest.fixture(scope="module")
def data():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inputs.speech, "load", lambda name, split, **_: {"train": TRAIN, "test": TEST}[split])
        training._LOADED.clear()
        yield
        training._LOADED.clear()


@pytest.fixture(scope="module")
def runner(tmp_path_factory, data):
    with ThreadPoolExecutor(1) as executor, Runner(tmp_path_factory.mktemp("store"), executor=executor) as made:
        yield made


@pytest.fixture(scope="module")
def result(runner):
    return fig5.speech(CONFIG, runner)


def test_every_row_has_its_seeds_and_epochs(result):
    assert [one.row.name for one in result.rows] == ["learned", "augmented", "fixed", "software"]
    for one in result.rows:
        for curves in (one.loss, one.train_accuracy, one.test_accuracy):
            assert [len(curve) for curve in curves] == [5, 5]
        assert len(set(one.loss)) == 2
    assert result.classes == TEST.classes
    assert result.synthetic


def test_the_words_are_those_of_the_data(result):
    assert result.train_words == (30, 30, 30, 0, 0)
    assert result.test_words == tuple((5, 5, 5) for _ in range(5))
    assert result.unseen == (3, 4)


def test_errors_are_those_of_the_finished_networks(result, runner):
    jobs = [speech_training.listening_job(SMALL.replace(seed=s, chip_seed=s), "learned") for s in (0, 1)]
    found = speech_training.listen_all(jobs, runner, "again")
    row = result.row("learned")
    confusion = np.zeros((3, 3), int)
    for seed, one in enumerate(found):
        for label, decision in zip(TEST.labels, one.test_decisions, strict=True):
            confusion[label, decision] += 1
        for speaker in range(5):
            misheard = (one.test_decisions != TEST.labels)[TEST.speakers == speaker].sum()
            assert row.test_wrong[seed][speaker] == misheard
        assert sum(row.train_wrong[seed]) == (one.train_decisions != TRAIN.labels).sum()
    np.testing.assert_array_equal(row.confusion, confusion)
    np.testing.assert_array_equal(np.sum(row.wrong, axis=1), np.sum(row.test_wrong, axis=0))


def test_accuracies_are_counted_over_words(result):
    wrong = np.array(result.row("learned").test_wrong)
    assert result.accuracy("learned").mean == pytest.approx(100 * (1 - wrong.sum() / 150))
    assert result.accuracy("learned", "unseen").mean == pytest.approx(100 * (1 - wrong[:, 3:].sum() / 60))
    assert result.accuracy("learned", "seen").mean == pytest.approx(100 * (1 - wrong[:, :3].sum() / 90))
    errors = result.speaker_errors("learned", "train")
    assert errors.shape == (2, 5)
    assert np.isnan(errors[:, 3:]).all()
    assert not np.isnan(errors[:, :3]).any()
    with pytest.raises(InputError, match="one of learned, augmented"):
        result.row("nobody")


def test_fixed_weights_are_the_learned_ones_in_another_order(runner, result):
    learned, fixed = (
        [job.inputs.get("recurrent") for job in jobs]
        for jobs in (
            [speech_training.listening_job(SMALL, "learned")],
            [speech_training.listening_job(SMALL.replace(recurrent="fixed"), "fixed", np.eye(24, dtype=np.float32))],
        )
    )
    assert learned == [None]
    np.testing.assert_array_equal(fixed[0], np.eye(24))
    source = speech_training.listen_all([speech_training.listening_job(SMALL, "learned")], runner, "source")[0]
    w = source.network.weights.recurrent
    mixed = speech_training.shuffled(w, 0)
    assert mixed.shape == w.shape
    np.testing.assert_array_equal(np.sort(mixed.ravel()), np.sort(w.ravel()))
    assert (mixed != w).any()
    assert (speech_training.shuffled(w, 1) != mixed).any()
    job = speech_training.listening_job(SMALL.replace(recurrent="fixed"), "fixed", mixed)
    found = speech_training.listen_all([job], runner, "fixed")[0]
    np.testing.assert_array_equal(found.network.weights.recurrent, mixed)
    assert tuple(e.loss for e in found.network.epochs) == result.row("fixed").loss[0]


def test_a_fixed_row_needs_its_twin(runner):
    alone = CONFIG.replace(rows=CONFIG.rows[1:3])
    with pytest.raises(InputError, match="row 'fixed': expected a row that is the same but for learned"):
        fig5.speech(alone, runner)


def test_a_result_comes_back_from_its_file(result, tmp_path):
    path = tmp_path / "fig5.json"
    results.save(path, "fig5", result)
    assert results.load(path, "fig5", fig5.Speech) == result
    with pytest.raises(DataError, match="study 'fig5'"):
        results.load(path, "fig3b", fig5.Speech)


def test_the_table_names_what_was_learned(result):
    lines = fig5.table(result).splitlines()
    assert "synthetic speech" in lines[0]
    assert "76.2 ± 1.3" in lines[2]
    assert "80.6 ± 1.0" in lines[3]
    assert "64.3 ± 2.3" in lines[4]
    real = replace(result, config=CONFIG.on("shd"))
    assert "Spiking Heidelberg Digits" in fig5.table(real)
    assert not real.synthetic


def test_the_full_study_has_the_papers_rows():
    assert [fig5.SpeechRow(name=n, train=t) for n, t in SPEECH_FULL.items()] == list(fig5.SpeechStudyConfig().rows)
    assert len(SPEECH_FULL) == 5
    assert all(fig5.Learned(row, (), (), (), (), (), (), (), ()).paper for row in fig5.SpeechStudyConfig().rows)
    for k, row in enumerate(fig5.SpeechStudyConfig().rows):
        if row.train.recurrent == "fixed":
            fig5._twin(fig5.SpeechStudyConfig().rows, k)


def test_parts_make_the_whole(result):
    whole, names = fig5.SpeechStudyConfig(), list(SPEECH_FULL)
    parts = whole.part("itl", augmented=False), whole.part("itl", augmented=True), whole.part("software")
    assert [[row.name for row in part.rows] for part in parts] == [
        [names[0], names[2]], [names[1]], [names[3], names[4]],
    ]  # fmt: skip
    assert [STUDIES[name].full for name in ("fig5", "fig5-augmented", "fig5-software")] == list(parts)
    one, two = (
        replace(result, config=CONFIG.replace(rows=CONFIG.rows[part]), rows=result.rows[part])
        for part in (slice(0, 1), slice(1, 4))
    )
    assert fig5.joined(one, two) == result
    assert fig5.joined(one) == one
    with pytest.raises(InputError, match="number of seeds, got 2 that differ"):
        fig5.joined(one, replace(two, config=CONFIG.replace(seeds=3)))
    with pytest.raises(InputError, match="number of seeds, got 2 that differ"):
        fig5.joined(one, replace(two, classes=("zero", "eins", "vier")))
    with pytest.raises(InputError, match="got no result"):
        fig5.joined()


def test_the_network_that_is_kept_is_the_augmented_one(runner, tmp_path):
    network = fig5.network(CONFIG, runner)
    assert network.config == SMALL.replace(sigma_u=6.0)
    path = tmp_path / "network.safetensors"
    save_network(path, network)
    back = load_network(path)
    assert back.config == network.config
    for got, want in zip(back.weights, network.weights, strict=True):
        np.testing.assert_array_equal(got, want)


# --- A -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("on_chip", [True, False])
def test_responses_show_what_the_network_did(runner, on_chip):
    network = fig5.network(CONFIG, runner)
    some = fig5_responses.spoken(TEST, ("zero", "eins", "fünf"), speaker=0)
    chip = chip_of(network.config) if on_chip else None
    shown = fig5_responses.responses(network.config, network.weights, some, chip=chip)
    assert shown.labels.tolist() == [0, 1, 2]
    assert shown.seen.readout.shape == (3, 60, 3)
    assert shown.seen.emulated == on_chip
    np.testing.assert_array_equal(shown.seen.decisions, shown.seen.readout.sum(axis=1).argmax(axis=1))
    assert len(shown.seen.hidden_spikes.times_us) > 10


def test_a_word_that_nobody_says_is_named():
    with pytest.raises(InputError, match="one of zero, eins, fünf"):
        fig5_responses.spoken(TEST, ("seven",))
    with pytest.raises(InputError, match="a recording of it, got none by 9"):
        fig5_responses.spoken(TEST, ("zero",), speaker=9)


def test_listening_ranks_the_words_and_says_when(runner):
    network = fig5.network(CONFIG, runner)
    chip = chip_of(network.config)
    answers = listening.listen(network.config, network.weights, TEST.take(15), chip=chip)
    right = sum(a.word == TEST.classes[label] for a, label in zip(answers, TEST.labels, strict=False))
    assert right >= 8
    for answer in answers:
        shares = [share for _, share in answer.ranking]
        assert shares == sorted(shares, reverse=True)
        assert sum(shares) == pytest.approx(1)
        assert answer.word == answer.ranking[0][0]
        assert 0 < answer.decided_us <= 61 * 1.7
        assert answer.input_spikes > 0
