"""``bss2lab figure``: a saved run becomes a picture, or one line says why not."""

import importlib.util
import io
import json
import os

import golden
import numpy as np
import pytest
from matplotlib import image

from bss2lab import checkpoint, plots
from bss2lab.cli import figure, main
from bss2lab.inputs import Data
from bss2lab.settings import TrainConfig
from bss2lab.studies import fig3, results
from bss2lab.train import Run

pytestmark = pytest.mark.slow

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def quick(mode, **changes):
    return TrainConfig(**{"mode": mode, "limit": 300, "n_hidden": 30, "epochs": 2, "threads": 1, **changes})


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Saved runs: one of each mode, and a second seed."""
    folder = tmp_path_factory.mktemp("runs")
    data = Data.load(quick("itl"))
    for name, config in {
        **{mode: quick(mode) for mode in ("itl", "software", "transfer", "ann")},
        "another": quick("itl", seed=1, epochs=3),
    }.items():
        list(Run(config, data, directory=folder / name).fit())
    return folder


@pytest.fixture
def drawn(monkeypatch):
    """Keep the results that were drawn."""
    kept = []
    for name in ("draw_snapshots", "draw_learning_curves"):
        draw = getattr(plots, name)
        monkeypatch.setattr(plots, name, lambda *a, draw=draw: (kept.append(a), draw(*a))[1])
    return kept


def assert_is_picture(path, least=600):
    content = path.read_bytes()
    assert content.startswith(SIGNATURE)
    assert len(content) > 10_000
    pixels = image.imread(io.BytesIO(content))
    assert min(pixels.shape[:2]) > least / 2
    assert max(pixels.shape[:2]) > least
    assert pixels[..., :3].std() > 0.05  # something is on it
    assert (pixels[..., :3].min(axis=2) > 0.99).mean() > 0.3  # on paper


@pytest.mark.parametrize("mode", ["itl", "software", "transfer"])
def test_panel_a_of_a_saved_run(mode, runs, drawn, tmp_path, capsys):
    assert main(["figure", "3a", "--run", str(runs / mode), "--out", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'out' / 'fig3a.png'}\n"
    assert_is_picture(tmp_path / "out" / "fig3a.png", least=1400)
    (shots, names), *more = drawn
    assert not more
    assert names is None
    assert shots.labels.tolist() == list(figure.SHOWN)
    assert shots.emulated == (mode != "software")


@pytest.mark.parametrize("mode", ["itl", "software", "transfer", "ann"])
def test_panel_b_of_a_saved_run(mode, runs, drawn, tmp_path):
    assert main(["figure", "3b", "--run", str(runs / mode), "--out", str(tmp_path)]) == 0
    assert_is_picture(tmp_path / "fig3b.png")
    epochs = checkpoint.load(runs / mode / checkpoint.FILE).position.epochs
    curves, _ = drawn[0]
    np.testing.assert_array_equal(curves.loss, np.float32([[e.loss for e in epochs]]))


def test_panel_b_of_several_seeds_shows_what_all_of_them_have(runs, drawn, tmp_path):
    words = ["--run", str(runs / "another"), "--run", str(runs / "itl")]
    assert main(["figure", "3b", *words, "--out", str(tmp_path)]) == 0
    assert_is_picture(tmp_path / "fig3b.png")
    assert drawn[0][0].loss.shape == (2, 2)


def test_drawing_leaves_the_run_alone(runs, tmp_path):
    path = runs / "software" / checkpoint.FILE
    before = path.read_bytes()
    for panel in figure.PANELS:
        assert main(["figure", panel, "--run", str(runs / "software"), "--out", str(tmp_path)]) == 0
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == [checkpoint.FILE]


def test_a_run_is_drawn_on_its_own_chip_without_the_profiles_file(runs, drawn, tmp_path):
    """Chip number and profile come from the checkpoint: the same figure, wherever it is drawn."""
    profile = tmp_path / "mine.json"
    profile.write_text(json.dumps({"threshold_sd_mv": 60.0}), encoding="utf-8")
    config = quick("itl", epochs=1, chip_seed=12, profile=str(profile))
    run = Run(config, directory=tmp_path / "run")
    list(run.fit())
    images = fig3.first_of_each(run.data.held_out, figure.SHOWN)
    want = fig3.snapshots(config, run.learner.weights(), images, chip=run.chip)
    profile.unlink()
    assert main(["figure", "3a", "--run", str(tmp_path / "run"), "--out", str(tmp_path)]) == 0
    np.testing.assert_array_equal(drawn[0][0].readout, want.readout)


def test_without_a_run_a_short_one_is_made_on_the_spot(monkeypatch, drawn, tmp_path, capsys):
    monkeypatch.setattr(figure, "QUICK", quick("itl"))
    assert main(["figure", "3b", "--out", str(tmp_path)]) == 0
    out, err = capsys.readouterr()
    assert out == f"{tmp_path / 'fig3b.png'}\n"
    assert err.splitlines()[0] == "no --run given: training 2 epochs now"
    assert [line.split(":")[0] for line in err.splitlines()[1:]] == ["epoch 1", "epoch 2"]
    assert drawn[0][0].loss.shape == (1, 2)


# --- errors ------------------------------------------------------------------------------------------------------


def complaint(capsys, *words):
    assert main(["figure", *map(str, words)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("bss2lab: ")
    assert err.count("\n") == 1
    assert "expected" in err
    assert "got" in err
    return err


def test_a_folder_without_a_run_is_refused(capsys, tmp_path):
    text = complaint(capsys, "3a", "--run", tmp_path, "--out", tmp_path / "out")
    assert f"got nothing at {tmp_path / checkpoint.FILE}; train with --save first" in text


def test_a_damaged_run_is_refused(capsys, tmp_path):
    (tmp_path / checkpoint.FILE).write_bytes(b"damaged")
    assert "a whole checkpoint of bss2lab" in complaint(capsys, "3b", "--run", tmp_path, "--out", tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == [checkpoint.FILE]


def test_a_run_without_a_finished_epoch_has_no_learning_curve(capsys, tmp_path):
    list(Run(quick("software"), directory=tmp_path / "run").fit(stop=lambda: True))
    text = complaint(capsys, "3b", "--run", tmp_path / "run", "--out", tmp_path)
    assert "expected at least one finished epoch, got none; train first" in text


def test_an_ann_has_no_spikes_to_show(runs, capsys, tmp_path):
    text = complaint(capsys, "3a", "--run", runs / "ann", "--out", tmp_path)
    assert "expected a spiking network, got a run of mode 'ann'" in text
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_is_found_before_any_work(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(figure, "Run", lambda *_, **__: pytest.fail("worked"))
    (tmp_path / "file").write_bytes(b"mine")
    text = complaint(capsys, "3a", "--run", tmp_path, "--out", tmp_path / "file" / "out")
    assert str(tmp_path / "file" / "out" / "fig3a.png") in text
    assert (tmp_path / "file").read_bytes() == b"mine"


def test_a_full_disk_leaves_the_picture_that_was_there(runs, capsys, tmp_path, monkeypatch):
    (tmp_path / "fig3b.png").write_bytes(b"old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    text = complaint(capsys, "3b", "--run", runs / "ann", "--out", tmp_path)
    assert "No space left on device" in text
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {"fig3b.png": b"old"}


def test_a_missing_matplotlib_is_named_with_how_to_get_it(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    text = complaint(capsys, "3a", "--out", tmp_path / "out")
    assert "expected matplotlib, got none; pip install 'bss2lab[lab]'" in text
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("words", [["figure"], ["figure", "9z"], ["figure", "3a", "--run"]])
def test_words_that_mean_nothing_are_refused_by_the_parser(words, capsys):
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2
    assert "error:" in capsys.readouterr().err


# --- panels drawn from a study's result --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def studied(tmp_path_factory, studies_store, fashion_standin):
    """Results of all studies in miniature, where the command looks for them."""
    folder = tmp_path_factory.mktemp("here")
    for name in {study for study, _ in figure.STUDIED.values()}:
        results.save(folder / "data" / "results" / f"{name}.json", name, golden.compute(name, studies_store))
    return folder


@pytest.mark.parametrize("panel", figure.STUDIED)
def test_a_panel_of_a_study_is_drawn_from_its_result(panel, studied, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(studied)
    assert main(["figure", panel, "--out", str(tmp_path)]) == 0
    path = tmp_path / ("fig" * panel[0].isdigit() + f"{panel}.png")
    assert capsys.readouterr().out.strip() == str(path)
    assert_is_picture(path)


def test_without_a_result_of_ones_own_that_of_the_package_is_drawn(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["figure", "3e", "--out", "out"]) == 0
    assert_is_picture(tmp_path / "out" / "fig3e.png")
    mine = tmp_path / "data" / "results" / "fig3e.json"
    mine.parent.mkdir(parents=True)
    mine.write_text("{}")
    assert main(["figure", "3e", "--out", "out"]) == 2  # one's own comes first, and the error says which one it is
    assert str(mine) in capsys.readouterr().err


def test_a_result_is_taken_from_where_it_is_named(studied, tmp_path):
    file = studied / "data" / "results" / "fig3e.json"
    assert main(["figure", "3e", "--result", str(file), "--out", str(tmp_path)]) == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["3e", "--result", "x.json"], "x.json: expected a result of study fig3e"),
        (["3e", "--run", "somewhere"], "--run: expected with panel 3a or 3b, got 3e"),
        (["3a", "--result", "x.json"], "--result: expected with panel 3c or"),
    ],
)
def test_a_panel_of_a_study_needs_its_result(words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["figure", *words, "--out", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err
    assert not list((tmp_path / "out").glob("*.png"))
