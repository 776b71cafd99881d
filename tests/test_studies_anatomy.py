"""The anatomy study: its points, its store, its record and its command."""

import json
from dataclasses import fields, replace

import numpy as np
import pytest

from bss2lab.chip import Chip
from bss2lab.cli import main
from bss2lab.errors import DataError, InputError
from bss2lab.inputs import Data, encode
from bss2lab.results import to_json
from bss2lab.settings import TrainConfig
from bss2lab.studies import anatomy, injection
from bss2lab.train import Run

SHORT = TrainConfig(limit=400, n_hidden=20, epochs=2, threads=1, mode="software", learning_rate=5e-3)

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.slow]


def numbers(point):
    """Every number of a point, in order. (Sums in torch may differ in their last bits from call to call.)"""
    flat = []
    for field in fields(point):
        value = getattr(point, field.name)
        if isinstance(value, injection.Layers):
            flat += [getattr(layer, f.name) for layer in (value.hidden, value.output) for f in fields(layer)]
        elif field.name != "trained":
            flat.append(value)
    return flat


@pytest.fixture(scope="module")
def result():
    return anatomy.anatomy((0, 3), config=SHORT, sigmas=(0.0, 0.3), images=30)


def test_the_study_has_one_point_per_seed_training_and_spread(result):
    names = [(p.seed, p.trained, p.sigma_d) for p in result.points]
    assert names == [(s, kind, sigma) for s in (0, 3) for kind in anatomy.TRAININGS for sigma in (0.0, 0.3)]
    assert [p.seed for p in result.select(anatomy.IN_THE_LOOP)] == [0, 0, 3, 3]
    for p in result.points:
        assert p.full.hidden.cosine == pytest.approx(1)
        assert p.full.output.relative_norm == pytest.approx(1)
        assert p.loss_chip == pytest.approx(p.loss_full, rel=0.25)
    software = result.select(anatomy.SOFTWARE)
    assert software[0].loss_model == software[1].loss_model  # one network per seed, whatever the chip
    looped = result.select(anatomy.IN_THE_LOOP)
    assert looped[0].loss_model != looped[1].loss_model  # one network per chip


def test_a_point_of_the_study_is_one_that_can_be_taken_alone(result):
    data = Data.load(SHORT)
    config = SHORT.replace(seed=3, chip_seed=3)
    run = Run(config, data)
    list(run.fit())
    index = np.random.default_rng([3, 0]).permutation(len(data.train))[:30]
    chip = anatomy.detuned(Chip(3), 0.3, seed=3)
    point = anatomy.examine(
        config, run.learner.weights(), encode(data.train, config), index, chip=chip, trained=anatomy.SOFTWARE, seed=3,
        sigma_d=0.3,
    )  # fmt: skip
    want = next(p for p in result.points if (p.seed, p.trained, p.sigma_d) == (3, anatomy.SOFTWARE, 0.3))
    assert numbers(point) == pytest.approx(numbers(want), rel=1e-3, abs=1e-5)


def test_a_stopped_study_goes_on_from_its_store(result, tmp_path, monkeypatch):
    def stop(point):
        raise KeyboardInterrupt

    settings = {"config": SHORT, "sigmas": (0.0, 0.3), "images": 30, "store": tmp_path}
    with pytest.raises(KeyboardInterrupt):
        anatomy.anatomy((0,), done=stop, **settings)
    computed = []
    again = anatomy.anatomy((0,), done=computed.append, **settings)
    for ours, theirs in zip(again.points, result.points[:4], strict=True):
        assert (ours.seed, ours.trained, ours.sigma_d) == (theirs.seed, theirs.trained, theirs.sigma_d)
        assert numbers(ours) == pytest.approx(numbers(theirs), rel=1e-3, abs=1e-5)
    assert list(again.points[1:]) == computed
    assert anatomy.anatomy((0,), done=stop, **settings) == again  # nothing is left to do
    with pytest.raises(InputError, match="points of the same configuration"):
        anatomy.anatomy((0,), **{**settings, "images": 20})


@pytest.mark.parametrize(
    ("changes", "text"),
    [({"images": 0}, "images: expected 1 … 400"), ({"images": 401}, "images"), ({"trainings": ("magic",)}, "magic")],
)
def test_a_study_that_cannot_be_is_refused(changes, text):
    with pytest.raises(InputError, match=text):
        anatomy.anatomy((0,), config=SHORT, **changes)


def test_results_survive_json(result, tmp_path):
    path = tmp_path / "anatomy.json"
    path.write_text(to_json(anatomy.to_record(result)), encoding="utf-8")
    assert anatomy.load(path) == result
    assert "emulated, not measured" in json.loads(path.read_text(encoding="utf-8"))["note"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"config": {}, "images": 3, "points": [{}]}', "[" * 10**5])
def test_results_that_are_none_are_refused(text, tmp_path):
    path = tmp_path / "anatomy.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=r"anatomy.json: expected results of the anatomy study, got "):
        anatomy.load(path)


def test_the_table_holds_the_means(result):
    head, rule, *lines = anatomy.table(result).splitlines()
    assert head.count("|") == rule.count("|") == 12
    assert len(lines) == 4
    cells = [c.strip() for c in lines[1].strip("|").split("|")]
    some = [p for p in result.select(anatomy.SOFTWARE) if p.sigma_d == 0.3]
    assert cells[:2] == ["software", "30"]
    assert cells[4] == f"{np.mean([p.injected.hidden.cosine for p in some]):.2f}"
    assert cells[10] == f"{np.mean([100 * p.full.hidden.loss_change for p in some]):+.1f}"


def test_the_command_writes_what_the_study_found(result, tmp_path, monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(anatomy, "anatomy", lambda seeds, **options: asked.append((list(seeds), options)) or result)
    path = tmp_path / "out.json"
    assert main(["study", "anatomy", "--seeds", "2", "--store", str(tmp_path), "--json", str(path)]) == 0
    assert asked[0][0] == [0, 1]
    assert asked[0][1]["store"] == tmp_path
    assert anatomy.load(path) == result
    assert capsys.readouterr().out.strip() == anatomy.table(result)


def test_every_number_of_a_point_is_finite(result):
    """JSON holds nothing else."""
    for point in result.points:
        assert len(numbers(point)) == 7 + 4 * 2 * 4
        assert np.isfinite(numbers(point)).all()
    broken = replace(result, points=(replace(result.points[0], loss_chip=float("nan")),))
    with pytest.raises(ValueError, match="not JSON compliant"):
        to_json(anatomy.to_record(broken))


@pytest.mark.parametrize("sigma", [-0.1, 0.51, float("nan")])
def test_a_spread_out_of_range_is_refused(sigma):
    with pytest.raises(InputError, match=r"sigma_d: expected a normalised spread of 0 … 0.5"):
        anatomy.detuned(Chip(0), sigma, seed=0)
    with pytest.raises(InputError, match="sigma_d"):
        anatomy.anatomy((0,), sigmas=(0.1, sigma))
