"""``bss2lab bench``: its arithmetic, its report and its errors. Nothing here depends on how fast a machine is."""

import importlib.util
import json
from dataclasses import asdict
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from bss2lab.bench import harness, peers, recurrent, report, steps
from bss2lab.bench.cochlea import CochleaSpeed
from bss2lab.bench.harness import Timing, interleave
from bss2lab.cli import main
from bss2lab.errors import InputError

pytestmark = pytest.mark.slow

# --- the harness, on a clock of its own --------------------------------------------------------------------------


class Clock:
    """Time passes only when a case says so."""

    def __init__(self):
        self.now, self.calls = 0.0, []

    def perf_counter(self):
        return self.now

    def case(self, name, seconds):
        """Return a case that takes ``seconds(call)``, or always ``seconds``."""

        def run():
            k = sum(n == name for n in self.calls)
            self.calls.append(name)
            self.now += seconds(k) if callable(seconds) else seconds

        return run


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(harness, "time", SimpleNamespace(perf_counter=made.perf_counter))
    return made


def test_ratios_say_how_many_times_faster_than_the_reference(clock):
    cases = {name: clock.case(name, s) for name, s in (("slow", 0.020), ("fast", 0.002), ("slower", 0.080))}
    found = interleave(cases, reference="slow", rounds=7)
    assert list(found) == ["slow", "fast", "slower"]
    assert [t.ratio for t in found.values()] == pytest.approx([1.0, 10.0, 0.25])
    assert [t.median_ms for t in found.values()] == pytest.approx([20.0, 2.0, 80.0])
    for t in found.values():
        assert t.low_ms == pytest.approx(t.high_ms)
        assert t.ratio_low == pytest.approx(t.ratio_high)


def test_quartiles_are_those_of_the_rounds(clock):
    """Case ``b`` takes 1, 2, 3, 4, 5 ms in its five rounds."""
    cases = {"a": clock.case("a", 0.010), "b": clock.case("b", lambda k: 0.001 * (k + 1))}
    b = interleave(cases, reference="a", rounds=5, inner=1, warm_up=0)["b"]
    assert (b.low_ms, b.median_ms, b.high_ms) == pytest.approx((2, 3, 4))
    assert (b.ratio_low, b.ratio, b.ratio_high) == pytest.approx((10 / 4, 10 / 3, 10 / 2))


def test_a_machine_that_slows_down_changes_times_and_not_ratios(clock):
    cases = {name: clock.case(name, lambda k, s=s: s * 1.5**k) for name, s in (("a", 0.004), ("b", 0.001))}
    found = interleave(cases, reference="a", rounds=9, inner=1, warm_up=0)["b"]
    assert found.high_ms > 3 * found.low_ms
    assert (found.ratio_low, found.ratio, found.ratio_high) == pytest.approx((4, 4, 4))


def test_within_a_turn_the_fastest_run_counts(clock):
    cases = {"a": clock.case("a", 0.001), "b": clock.case("b", lambda k: 0.001 if k % 5 == 3 else 1.0)}
    assert interleave(cases, reference="a", rounds=4, inner=5, warm_up=0)["b"].ratio == pytest.approx(1)


def test_the_warm_up_is_not_timed(clock):
    cases = {"a": clock.case("a", lambda k: 100.0 if k < 3 else 0.001)}
    assert interleave(cases, reference="a", rounds=3, inner=1, warm_up=3)["a"].high_ms == pytest.approx(1)


def test_every_case_takes_its_turn_and_each_goes_first_as_often(clock):
    cases = {name: clock.case(name, 0.001) for name in "abc"}
    interleave(cases, reference="a", rounds=6, inner=2, warm_up=1)
    assert clock.calls[:3] == ["a", "b", "c"]
    rounds = [clock.calls[k : k + 6 : 2] for k in range(3, len(clock.calls), 6)]
    assert [r[0] for r in rounds] == ["a", "b", "c", "a", "b", "c"]
    assert all(sorted(r) == ["a", "b", "c"] for r in rounds)


# --- the peers ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("absent", [["norse"], ["snntorch", "spikingjelly"], list(peers.NAMES)])
def test_a_missing_peer_is_named_with_how_to_get_it(absent, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name: None if name in absent else found("json") if name in peers.NAMES else found(name),
    )
    with pytest.raises(InputError) as caught:
        peers.peer_steps(None)
    text = str(caught.value)
    assert text.startswith(f"--peers: expected {', '.join(peers.NAMES)}, got no {', '.join(absent)}; make bench")
    assert "pip install 'bss2lab[bench]'" in text


@pytest.fixture(scope="module")
def work():
    """A workload of the real kind and a smaller size."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steps, "_IMAGES", 300)
        patch.setattr(steps, "_PREPARATION_BATCHES", 60)
        return steps.workload()


def test_the_workload_is_a_network_that_spikes_on_real_images(work):
    assert work.dense.shape == (steps.BATCH, work.config.n_steps, 256)
    assert work.weights.hidden.shape == (256, work.config.n_hidden)
    np.testing.assert_array_equal(work.dense.sum(dim=(1, 2)), np.diff(work.samples.spikes.offsets[: steps.BATCH + 1]))
    np.testing.assert_array_equal(work.labels, work.samples.labels[: steps.BATCH])
    learner = steps.make_learner(work.config, steps.objective_of(work.config), None)
    steps._load(learner, work.weights)
    np.testing.assert_array_equal(learner.weights().output, work.weights.output)
    assert learner.evaluate(work.samples, noise_seed=0).hidden_spikes_per_image > 1


def test_the_compiled_and_the_eager_step_do_the_same_to_the_same_network(work, monkeypatch):
    """Catch the weights of both after one step: same gradient, same optimiser."""
    caught = {}
    make, adam = steps.make_learner, steps.torch.optim.Adam
    monkeypatch.setattr(steps, "make_learner", lambda *a: caught.setdefault("learner", make(*a)))
    monkeypatch.setattr(steps.torch.optim, "Adam", lambda weights, lr: caught.setdefault("adam", adam(weights, lr=lr)))
    compiled, eager = steps.compiled_step(work, on_chip=False), steps.eager_step(work)
    compiled()
    eager()
    for ours, theirs, start in zip(
        caught["learner"].weights(), caught["adam"].param_groups[0]["params"], work.weights, strict=True
    ):
        change, other = ours - start, theirs.detach().numpy() - start
        # Adam's first step is ± the rate; weights without gradient stay where they are
        assert np.abs(change - other).mean() < 0.02 * np.abs(other).mean()


@pytest.mark.filterwarnings("ignore")  # of the peers themselves
@pytest.mark.needs("the bench's peers")
def test_each_peer_decides_as_ours_does_and_trains(work, monkeypatch):
    networks = []
    step = peers._step
    monkeypatch.setattr(peers, "_step", lambda work, network: (networks.append(network), step(work, network))[1])
    cases = peers.peer_steps(work)
    assert list(cases) == ["snnTorch", "norse", "SpikingJelly"]
    learner = steps.make_learner(work.config, steps.objective_of(work.config), None)
    steps._load(learner, work.weights)
    ours = learner.evaluate(work.samples, noise_seed=0)
    for name, network, case in zip(cases, networks, cases.values(), strict=True):
        decided = network(work.dense.transpose(0, 1)).amax(dim=0).argmax(dim=1)
        # each discretises in its own way; a network that stays silent, or another one, agrees by chance
        assert np.mean(decided.numpy() == ours.decisions[: steps.BATCH]) > 0.7, name
        before = [p.detach().clone() for p in network.parameters()]
        case()
        assert [p.shape for p in before] == [w.T.shape for w in work.weights]
        assert all((p != old).any() for p, old in zip(network.parameters(), before, strict=True)), name


# --- the report --------------------------------------------------------------------------------------------------


FOUND = {
    "calibration_s": 12.25,
    "slowest_protocol": "refractory",
    "protocol_s": {"leak": 0.5, "refractory": 1.25},
    "construct_shipped_s": 0.012,
    "construct_cached_s": 0.034,
    "failures": 7,
    "spread_before": dict.fromkeys(report.SPREAD_GOALS, 0.5),
    "spread_after": dict.fromkeys(report.SPREAD_GOALS, 0.125),
    "spread_after_with_gains": {"gain_exc": 0.0625, "gain_inh": 0.03125},
    "exactness": {"psp_height": (0.001, 0.01), "psp_area": (0.002, 0.02), "crossing": (0.003, 0.03)},
}
"""What a look at the chip on the bench may give."""

_STEPS = {report.recurrent.EAGER: 1.0, report.recurrent.SOFTWARE: 8.0, report.recurrent.IN_THE_LOOP: 4.0}
SPEECH = {
    "hidden_spikes": 1234.0,
    "gradient_error": {"float32": 2.5e-7, "float64": 5e-16},
    "threads": {"1": {name: asdict(Timing(8 / r, 7 / r, 9 / r, r, r, r)) for name, r in _STEPS.items()}},
}
HEARD = CochleaSpeed(2.0, 0.1, 0.125, 0.15, 0.12, 250.0, 2000.0)
"""What the recurrent step and the cochlea may give."""


@pytest.fixture
def measured(monkeypatch):
    """Put numbers in the place of every measurement; return what was asked for."""
    asked = {"threads": [], "peers": 0, "parts": []}
    ratios = {report.EAGER: 1.0, report.SOFTWARE: 16.0, report.IN_THE_LOOP: 4.0, "snnTorch": 0.5, "norse": 0.25}

    def interleave(cases, *, reference, rounds):
        assert reference == report.EAGER
        asked["rounds"], asked["cases"] = rounds, list(cases)
        return {
            name: Timing(16 / ratios[name], 15 / ratios[name], 17 / ratios[name], *[ratios[name]] * 3) for name in cases
        }

    def peer_steps(_):
        asked["peers"] += 1
        return {"snnTorch": None, "norse": None}

    def workload():
        asked["parts"].append("training")
        return SimpleNamespace(config=SimpleNamespace(n_steps=20))

    def first_use():
        asked["parts"].append("fresh")
        return {"import_beyond_torch_s": 0.25, "first_kernel_s": 0.125}

    monkeypatch.setattr(report, "set_threads", lambda n: (asked["threads"].append(n), n)[1])
    monkeypatch.setattr(report.steps, "workload", workload)
    monkeypatch.setattr(report.steps, "eager_step", lambda _: None)
    monkeypatch.setattr(report.steps, "compiled_step", lambda _, on_chip: None)
    monkeypatch.setattr(report, "peer_steps", peer_steps)
    monkeypatch.setattr(report, "check_installed", lambda: None)
    monkeypatch.setattr(report, "interleave", interleave)
    monkeypatch.setattr(
        report.recurrent, "measure", lambda threads, rounds: (asked["parts"].append("speech"), dict(SPEECH))[1]
    )
    monkeypatch.setattr(report, "seconds_per_second", lambda rounds: HEARD)
    monkeypatch.setattr(report, "operations", lambda: (asked["parts"].append("chip"), FOUND)[1])
    doubled = {"1 worker": Timing(30e3, 29e3, 31e3, 1, 1, 1), "2 workers": Timing(16e3, 15e3, 17e3, 1.875, 1.8, 1.9)}
    monkeypatch.setattr(report, "scaling", lambda rounds: (asked["parts"].append("studies"), doubled)[1])
    rate = {"low": 9e4, "median": 1e5, "high": 1.1e5, "accuracy": 0.9}
    monkeypatch.setattr(report, "images_per_second", lambda rounds: rate)
    monkeypatch.setattr(report.fresh, "first_use", first_use)
    monkeypatch.setattr(report.fresh, "memory", lambda: [600, 610])
    return asked


def test_the_report_prints_ratios_beside_goals_and_writes_the_record(measured, capsys, tmp_path):
    assert main(["bench", "--threads", "1", "--rounds", "5", "--json", str(tmp_path / "b.json")]) == 0
    out = capsys.readouterr().out
    assert "software step: faster than eager PyTorch by: 16.0 ×   (goal ≥ 10)" in out
    assert "in-the-loop step: fraction of eager PyTorch's software step: 0.25    (goal ≤ 0.3)" in out
    assert "fast inference on the emulated chip: 100,000 images/s   (goal ≥ 85,000)" in out
    assert "memory of a training run: 600 → 610 MB   (goal < 1,500)" in out
    assert "fastest peer" not in out
    assert (measured["rounds"], measured["peers"], measured["threads"]) == (5, 0, [0, 0, 1, 1])
    record = json.loads((tmp_path / "b.json").read_text(encoding="utf-8"))
    assert "eight runs on 2 workers: faster than on 1 by: 1.88 ×   (goal ≥ 1.8)" in out
    assert set(record) == {
        "versions", "machine", "threads", "chip", "speech", "studies", "first_use", "memory_mb",
    }  # fmt: skip
    assert record["threads"]["1"]["steps"][report.SOFTWARE]["ratio"] == 16.0
    assert record["chip"]["calibration_s"] == 12.25


def test_the_report_holds_the_chip_against_what_was_promised(measured, capsys):
    assert main(["bench", "--part", "chip"]) == 0
    out = capsys.readouterr().out
    assert "calibration of 256 neurons, all parameters: 12.2 s   (goal ≤ 60)" in out
    assert "slowest measurement protocol, 256 neurons: 1.25 (refractory) s   (goal ≤ 2)" in out
    assert "constructing a chip, calibration shipped / cached: 12 / 34 ms   (goal ≤ 50)" in out
    assert "largest median error of the ideal emulator against exact solutions: 0.30 %   (goal < 0.5)" in out
    assert "    psp_area: median 0.200 %, largest 2.000 %\n" in out
    assert "7 failures of calibration" in out
    for name, (goal, ratio) in report.SPREAD_GOALS.items():
        (line,) = (line for line in out.splitlines() if line.startswith(f"    {name} "))
        assert line.removeprefix(f"    {name}").split()[:3] == ["0.500", "0.1250", "0.250"]
        assert goal in line
        assert line.endswith(f", ratio < {ratio}") == (ratio is not None)
    assert "gains, if they are given targets: 0.0625 and 0.0312" in out


def test_the_report_has_the_recurrent_step_and_the_cochlea(measured, capsys):
    assert main(["bench", "--part", "speech", "--threads", "1"]) == 0
    out = capsys.readouterr().out
    assert "70–186–20, recurrent, batch 100, 400 steps, 700 input and 1,234 hidden spikes per sample" in out
    assert "recurrent step: faster than eager PyTorch by: 8.0 ×   (goal ≥ 6)" in out
    assert "in the loop: fraction of eager PyTorch's software step: 0.25    (goal ≤ 0.35)" in out
    assert "gradient against the reference, float32: 2.5e-07    (goal < 1e-5)" in out
    assert "cochlea: seconds for a second of sound, 700 channels, one core: 0.12 s   (goal ≤ 0.15)" in out
    assert "2,000 × faster than its authors' code" in out


def test_the_recurrent_workload_is_lively_and_its_gradients_agree():
    work = recurrent.workload()
    assert 500 < work.hidden_spikes < 3000
    assert recurrent.gradient_error(work, torch.float64) < 1e-10
    assert recurrent.gradient_error(work, torch.float32) < 1e-5


def test_every_goal_has_its_line_in_a_whole_report(measured, capsys):
    assert main(["bench", "--peers", "--threads", "1"]) == 0
    out = capsys.readouterr().out
    for name, (goal, _) in report.GOALS.items():
        (line,) = (line for line in out.splitlines() if line.startswith(f"  {name}: "))
        assert line.endswith(f"(goal {goal})")


@pytest.mark.parametrize(
    ("words", "wanted", "keys"),
    [
        (
            [],
            ["chip", "training", "speech", "studies", "fresh"],
            {"chip", "speech", "studies", "first_use", "memory_mb"},
        ),
        (["--part", "speech"], ["speech"], {"speech"}),
        (["--part", "studies"], ["studies"], {"studies"}),
        (["--part", "chip"], ["chip"], {"chip"}),
        (["--part", "fresh"], ["fresh"], {"first_use", "memory_mb"}),
        (["--part", "training"], ["training"], set()),
        (
            ["--part", "fresh", "--part", "chip", "--part", "chip"],
            ["chip", "fresh"],
            {"chip", "first_use", "memory_mb"},
        ),
    ],
)
def test_a_part_runs_alone(measured, words, wanted, keys, tmp_path):
    assert main(["bench", *words, "--threads", "1", "--json", str(tmp_path / "b.json")]) == 0
    assert measured["parts"] == wanted
    record = json.loads((tmp_path / "b.json").read_text(encoding="utf-8"))
    assert set(record) == {"versions", "machine", "threads"} | keys
    assert bool(record["threads"]) == ("training" in wanted)


def test_the_command_knows_the_parts_of_the_report():
    from bss2lab.cli import bench

    assert bench.PARTS == report.PARTS


def test_the_fastest_peer_is_the_one_compared_with(measured, capsys):
    assert main(["bench", "--peers", "--threads", "1"]) == 0
    assert measured["peers"] == 1
    # snnTorch: 32 ms, norse: 64 ms, ours: 1 ms
    assert "faster than the fastest peer by: 32.0 ×   (goal ≥ 20)" in capsys.readouterr().out


def test_more_threads_than_cores_are_measured_once(measured, monkeypatch):
    monkeypatch.setattr("bss2lab.machine.usable_cores", lambda: 2)
    assert main(["bench", "--part", "training", "--threads", "8", "4", "1", "2"]) == 0
    assert measured["threads"] == [0, 1, 2]  # 0: the preparation


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--rounds", "2"], "--rounds: expected at least 3, got 2; "),
        (["--rounds", "-1"], "--rounds: expected at least 3, got -1; "),
        (["--threads", "0"], "--threads: expected counts ≥ 1, got 0; "),
        (["--threads", "2", "-3"], "--threads: expected counts ≥ 1, got -3; "),
        (["--peers", "--part", "chip"], "--peers: expected the part training, got chip; "),
    ],
)
def test_counts_that_cannot_be_are_refused_before_any_work(words, text, measured, capsys):
    assert main(["bench", *words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"bss2lab: {text}")
    assert err.count("\n") == 1
    assert measured["parts"] == []


def test_an_unwritable_json_file_is_found_before_any_work(measured, capsys, tmp_path):
    (tmp_path / "file").write_bytes(b"mine")
    assert main(["bench", "--json", str(tmp_path / "file" / "b.json")]) == 2
    assert str(tmp_path / "file" / "b.json") in capsys.readouterr().err
    assert measured["parts"] == []


def test_a_missing_peer_ends_the_benchmark_before_any_work_with_one_line(monkeypatch, measured, capsys):
    monkeypatch.setattr(report, "check_installed", peers.check_installed)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert main(["bench", "--peers"]) == 2
    out, err = capsys.readouterr()
    assert (out, measured["parts"]) == ("", [])
    assert err.startswith(
        "bss2lab: --peers: expected snntorch, norse, spikingjelly, got no snntorch, norse, spikingjelly"
    )
    assert err.count("\n") == 1


@pytest.mark.parametrize("words", [["--rounds", "many"], ["--threads"], ["--fast"], ["--part", "all"]])
def test_words_that_mean_nothing_are_refused_by_the_parser(words, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["bench", *words])
    assert caught.value.code == 2
    assert "error:" in capsys.readouterr().err
