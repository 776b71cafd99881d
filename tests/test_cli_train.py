"""``bss2lab train``: its options, its output, its errors."""

import errno
import json
import os
import re
import signal
import subprocess
import sys

import pytest

from bss2lab import checkpoint
from bss2lab.chip.profile import PROFILES
from bss2lab.cli import main, parser, train
from bss2lab.presets import PRESETS
from bss2lab.results import Epoch
from bss2lab.settings import TASKS, TrainConfig
from bss2lab.version import __version__

QUICK = ("--limit", "300", "--n-hidden", "20", "--epochs", "2", "--threads", "1")


def run(*words, task="mnist"):
    return main(["train", task, *QUICK, *map(str, words)])


def epochs_in(folder):
    return checkpoint.load(folder / checkpoint.FILE).position.epochs


# --- options -----------------------------------------------------------------------------------------------------


def option_help(task="mnist"):
    """Return {option: help text} of ``train TASK`` as argparse shows it."""
    command = parser("train")
    for name in ("train", task):
        command = next(a.choices for a in command._actions if name in (getattr(a, "choices", None) or ()))[name]
    formatter = command._get_formatter()
    return {
        option: formatter._expand_help(action)
        for action in command._actions
        if action.help and action.help != "==SUPPRESS=="
        for option in action.option_strings
    }


@pytest.mark.parametrize("task", ["mnist", "speech"])
def test_every_setting_has_an_option_that_says_what_it_is(task):
    texts = option_help(task)
    for name in set(TASKS[task].model_fields) - {"task"}:
        text = texts[f"--{name.replace('_', '-')}"]
        field = TASKS[task].model_fields[name]
        extra = TASKS[task].provenance()[name]
        assert text.startswith(extra["help"])
        assert extra["source"] in text
        assert f"{field.default} {extra['unit']}".strip() in text
        bounds = [
            getattr(rule, key) for rule in field.metadata for key in ("ge", "gt", "le", "lt") if hasattr(rule, key)
        ]
        assert all(f" {bound:g}" in text for bound in bounds)


def test_the_options_of_the_command_itself_are_explained():
    assert {"--save", "--resume", "--json", "--quiet", "--preset"} <= set(option_help())


def test_every_option_reaches_its_setting(monkeypatch):
    wanted = {
        "mode": "transfer", "sigma_d": 0.25, "detuned": "tau",
        "epochs": 3, "batch_size": 31, "learning_rate": 0.25, "lr_decay": 0.125, "seed": 77,
        "chip_seed": 78, "profile": "ideal", "n_hidden": 7, "n_steps": 21, "dt_us": 1.75, "tau_mem_us": 6.5,
        "tau_syn_us": 6.25, "beta": 12.0, "loss_scale": 13.0, "rho_b": 0.75, "rho_a": 0.5, "rho_w": 0.25,
        "dropout": 0.125, "rotation": 12.5, "validation": 33, "limit": 91, "threads": 2, "device": "cuda:1",
    }  # fmt: skip
    assert set(wanted) == set(TrainConfig.model_fields) - {"task"}

    class Seen(Exception):
        pass

    def load(config, **_):
        raise Seen(config)

    monkeypatch.setattr(train.Data, "load", load)
    words = [str(word) for name, value in wanted.items() for word in (f"--{name.replace('_', '-')}", value)]
    with pytest.raises(Seen) as caught:
        main(["train", "fashion", *words])
    assert caught.value.args[0] == TrainConfig(task="fashion", **wanted)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_is_where_the_settings_start_from(preset, monkeypatch):
    class Seen(Exception):
        pass

    def load(config, **_):
        raise Seen(config)

    monkeypatch.setattr(train.Data, "load", load)
    with pytest.raises(Seen) as caught:
        main(["train", "mnist", "--preset", preset, "--seed", "3"])
    assert caught.value.args[0] == PRESETS[preset].replace(seed=3)


def test_help_and_version_exit_at_once(capsys):
    for words, expected in (
        (["train", "mnist", "--help"], "--learning-rate"),
        (["train", "shd", "--help"], "--sigma-u"),
        (["--version"], __version__),
    ):
        with pytest.raises(SystemExit) as caught:
            main(words)
        assert caught.value.code == 0
        assert expected in capsys.readouterr().out


# --- output ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "where"),
    [
        ("itl", "emulated chip, in the loop"),
        ("software", ", software"),
        ("transfer", "software, tested on the emulated chip"),
        ("ann", "ReLU ANN"),
    ],
)
def test_a_run_prints_its_table_beside_the_paper(mode, where, capsys, tmp_path):
    assert run("--mode", mode, "--save", tmp_path) == 0
    out, err = capsys.readouterr()
    lines = out.strip().splitlines()
    assert lines[0] == f"16×16 MNIST, 256–20–10, {where.removeprefix(', ')}"
    assert re.fullmatch(r"epoch\s+loss\s+train %\s+test %\s+spikes/image\s+s", lines[1].strip())
    for line, epoch in zip(lines[2:4], epochs_in(tmp_path), strict=True):
        number, loss, train_, test, spikes, _ = (float(x) for x in line.split())
        assert number == epoch.epoch
        assert loss == pytest.approx(epoch.loss, abs=5e-5)
        assert train_ == pytest.approx(100 * epoch.train_accuracy, abs=0.005)
        assert test == pytest.approx(100 * epoch.test_accuracy, abs=0.005)
        assert spikes == pytest.approx(epoch.hidden_spikes_per_image, abs=0.05)
    assert (mode == "transfer") != lines[-1].startswith("paper, 100 epochs: ")  # table 1 has no such row
    assert "Traceback" not in err
    assert "batch" in err  # the progress bar


def test_a_tuning_run_calls_its_accuracy_by_its_name(capsys):
    assert run("--mode", "software", "--validation", 100) == 0
    assert "validation %" in capsys.readouterr().out


def test_a_long_table_shows_its_beginning_and_its_end():
    epochs = [Epoch(k, 1.0, {"task": 1.0}, 0.5, 0.5, None, 20.0, 0.0, 1e-3, 1.0) for k in range(1, 31)]
    rows = [line.split()[0] for line in train.summary(TrainConfig(), epochs).splitlines() if line[:5].strip().isdigit()]
    assert rows == [str(k) for k in (1, 2, 3, *range(21, 31))]


def test_quiet_is_silent(capsys, tmp_path):
    assert run("--quiet", "--save", tmp_path, "--json", tmp_path / "run.json") == 0
    assert capsys.readouterr() == ("", "")
    assert json.loads((tmp_path / "run.json").read_text(encoding="utf-8"))["epochs"]


def test_json_to_standard_output_is_nothing_but_json(capsys, tmp_path):
    assert run("--json", "-", "--chip-seed", 4, "--save", tmp_path) == 0
    out, err = capsys.readouterr()
    record = json.loads(out)
    assert record["config"]["chip_seed"] == 4
    assert record["config"]["task"] == "mnist"
    assert set(record) >= {"config", "versions", "provenance", "epochs"}
    assert [Epoch(**e) for e in record["epochs"]] == epochs_in(tmp_path)
    assert "emulated chip, in the loop" in err  # the table has gone there


def test_json_to_a_file_is_whole_or_absent(monkeypatch, capsys, tmp_path):
    path = tmp_path / "out" / "run.json"
    assert run("--quiet", "--mode", "ann", "--json", path) == 0
    before = path.read_bytes()
    assert len(json.loads(before)["epochs"]) == 2

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    assert run("--quiet", "--mode", "ann", "--seed", 1, "--json", path) == 2
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["run.json"]
    assert "No space left on device" in capsys.readouterr().err


def test_a_resumed_run_reports_all_of_its_epochs(capsys, tmp_path):
    assert run("--mode", "software", "--quiet", "--save", tmp_path) == 0
    assert run("--mode", "software", "--save", tmp_path, "--resume", "--epochs", 3, "--json", tmp_path / "j") == 0
    rows = [line.split()[0] for line in capsys.readouterr().out.splitlines() if line[:5].strip().isdigit()]
    assert rows == ["1", "2", "3"]
    assert [e["epoch"] for e in json.loads((tmp_path / "j").read_text(encoding="utf-8"))["epochs"]] == [1, 2, 3]


# --- errors ------------------------------------------------------------------------------------------------------


@pytest.fixture
def no_data(monkeypatch):
    """Fail if a run gets as far as loading its data: the mistake was to be found before."""

    def load(*_, **__):
        raise AssertionError("loaded data")

    monkeypatch.setattr(train.Data, "load", load)


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
    assert len(err) < 400
    return err


@pytest.mark.usefixtures("no_data")
@pytest.mark.parametrize(
    ("words", "pieces"),
    [
        (["--epochs", "0"], ["--epochs", "greater than or equal to 1", "got 0"]),
        (["--dropout", "1"], ["--dropout", "less than 1", "got 1.0"]),
        (["--rho-b", "-1"], ["--rho-b", "greater than or equal to 0", "got -1.0"]),
        (["--learning-rate", "nan"], ["--learning-rate", "finite number", "got nan"]),
        (["--learning-rate", "inf"], ["--learning-rate", "finite number", "got inf"]),
        (["--dt-us", "0"], ["--dt-us", "greater than 0 µs", "got 0.0"]),
        (["--seed", "1", "--chip-seed", "-1"], ["bss2lab: --chip-seed:", "got -1"]),
        (["--n-hidden", "250"], ["at most 256 neurons", "got 250 hidden + 10 output = 260", "at most 246 hidden"]),
        (["--mode", "transfer", "--n-hidden", "247"], ["at most 256 neurons", "got 247 hidden"]),
        (["--validation", "300"], ["--validation", "below limit = 300", "got 300"]),
        (["--device", "tpu"], ["--device", "'cpu', 'cuda' or 'cuda:N'", "got 'tpu'"]),
        (["--resume"], ["--resume", "expected --save DIR"]),
    ],
)
def test_a_setting_that_cannot_be_is_refused_before_any_work(words, pieces, capsys):
    text = complaint(capsys, *words)
    for piece in pieces:
        assert piece in text


@pytest.mark.usefixtures("no_data")
def test_two_mistakes_get_two_lines(capsys):
    assert run("--epochs", 0, "--dropout", 2) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("bss2lab: --epochs: expected")
    assert second.startswith("--dropout: expected")


@pytest.mark.usefixtures("no_data")
@pytest.mark.parametrize(
    "words",
    [["--mode", "hardware"], ["--epochs", "1.5"], ["--epochs", "many"], ["--preset", "best"], ["--turbo"], ["extra"]],
)
def test_words_that_mean_nothing_are_refused_by_the_parser(words, capsys):
    with pytest.raises(SystemExit) as caught:
        run(*words)
    assert caught.value.code == 2
    assert f": error: {'argument ' + words[0] if len(words) > 1 else 'unrecognized'}" in capsys.readouterr().err


def test_an_unknown_data_set_is_refused_by_the_parser(capsys):
    with pytest.raises(SystemExit) as caught:
        run(task="imagenet")
    assert caught.value.code == 2
    assert "invalid choice: 'imagenet'" in capsys.readouterr().err


def test_an_unknown_profile_is_refused_with_those_there_are(capsys):
    text = complaint(capsys, "--quiet", "--profile", "nonsense")
    for name in PROFILES:
        assert name in text
    assert "got 'nonsense'" in text


def test_a_profile_with_a_mistake_names_it(capsys, tmp_path):
    (tmp_path / "mine.json").write_text('{"tau_mem_us": -6}', encoding="utf-8")
    assert "tau_mem_us" in complaint(capsys, "--quiet", "--profile", tmp_path / "mine.json")
    (tmp_path / "mine.json").write_text('{"tau_mem": 6}', encoding="utf-8")
    assert "did you mean 'tau_mem_us'?" in complaint(capsys, "--quiet", "--profile", tmp_path / "mine.json")


def test_cuda_is_refused_where_there_is_none(capsys, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    text = complaint(capsys, "--quiet", "--device", "cuda")
    assert "expected a working 'cuda'" in text
    assert "use device='cpu'" in text


def test_a_save_folder_below_a_file_is_refused_before_training(capsys, tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"mine")
    monkeypatch.setattr(train.Run, "fit", lambda *_, **__: pytest.fail("trained"))
    assert str(tmp_path / "file" / "run") in complaint(capsys, "--quiet", "--save", tmp_path / "file" / "run")
    assert (tmp_path / "file").read_bytes() == b"mine"


@pytest.mark.usefixtures("no_data")
def test_an_unwritable_json_file_is_found_before_any_work(capsys, tmp_path):
    (tmp_path / "file").write_bytes(b"mine")
    text = complaint(capsys, "--json", tmp_path / "file" / "run.json")
    assert str(tmp_path / "file" / "run.json") in text
    assert "which is no folder" in text
    assert "it is a folder" in complaint(capsys, "--json", tmp_path)


def test_starting_where_a_checkpoint_lies_is_refused(capsys, tmp_path):
    assert run("--mode", "software", "--quiet", "--save", tmp_path) == 0
    before = (tmp_path / checkpoint.FILE).read_bytes()
    assert "pass --resume" in complaint(capsys, "--mode", "software", "--quiet", "--save", tmp_path)
    assert (tmp_path / checkpoint.FILE).read_bytes() == before


def test_resuming_with_other_settings_names_them(capsys, tmp_path):
    assert run("--mode", "software", "--quiet", "--save", tmp_path) == 0
    text = complaint(capsys, "--mode", "software", "--quiet", "--save", tmp_path, "--resume", "--seed", 3)
    assert "seed=0 in the checkpoint, 3 asked for" in text


def test_resuming_from_a_damaged_checkpoint_is_refused(capsys, tmp_path):
    (tmp_path / checkpoint.FILE).write_bytes(b"not a checkpoint")
    text = complaint(capsys, "--quiet", "--save", tmp_path, "--resume")
    assert "expected a whole checkpoint of bss2lab" in text


@pytest.mark.slow
def test_the_shell_sees_one_line_status_2_and_no_traceback():
    command = [sys.executable, "-m", "bss2lab.cli", "train", "mnist", *QUICK, "--profile", "nonsense"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("bss2lab: ")
    assert done.stderr.count("\n") == 1


# --- Ctrl-C ------------------------------------------------------------------------------------------------------


def interrupting(monkeypatch, *, at, times=1):
    """Press Ctrl-C in the n-th batch."""
    advance, seen = train._Bar.advance, []

    def press(self, progress):
        advance(self, progress)
        seen.append(progress)
        if len(seen) == at:
            for _ in range(times):
                signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(train._Bar, "advance", press)
    return seen


def test_ctrl_c_stops_after_the_batch_and_keeps_the_checkpoint(monkeypatch, capsys, tmp_path):
    with monkeypatch.context() as patch:
        seen = interrupting(patch, at=5)
        assert run("--save", tmp_path / "run", "--json", tmp_path / "run.json") == 130
    out, err = capsys.readouterr()
    assert len(seen) == 5
    assert err.splitlines()[-1] == f"bss2lab: stopped in epoch 2; go on with --resume --save {tmp_path / 'run'}"
    assert "\n    1  " in out
    assert len(json.loads((tmp_path / "run.json").read_text(encoding="utf-8"))["epochs"]) == 1
    position = checkpoint.load(tmp_path / "run" / checkpoint.FILE).position
    assert (len(position.epochs), position.batch) == (1, 2)
    assert run("--save", tmp_path / "run", "--resume", "--quiet") == 0
    assert run("--save", tmp_path / "whole", "--quiet") == 0
    resumed, whole = (epochs_in(tmp_path / name) for name in ("run", "whole"))
    assert [(e.loss, e.test_accuracy) for e in resumed] == [(e.loss, e.test_accuracy) for e in whole]


def test_ctrl_c_in_the_first_epoch_without_save_says_that_nothing_is_kept(monkeypatch, capsys):
    interrupting(monkeypatch, at=1)
    assert run("--mode", "software") == 130
    assert capsys.readouterr().err.splitlines()[-1] == "bss2lab: stopped in epoch 1 (no --save: nothing kept)"


def test_ctrl_c_in_the_very_last_batch_keeps_what_is_left_to_do(monkeypatch, capsys, tmp_path):
    with monkeypatch.context() as patch:
        interrupting(patch, at=6)
        assert run("--mode", "software", "--quiet", "--save", tmp_path) == 130
    assert "stopped in epoch 2" in capsys.readouterr().err
    assert run("--mode", "software", "--quiet", "--save", tmp_path, "--resume") == 0
    assert len(epochs_in(tmp_path)) == 2


def test_a_second_ctrl_c_ends_at_once_and_the_last_epoch_is_kept(monkeypatch, capsys, tmp_path):
    with monkeypatch.context() as patch:
        interrupting(patch, at=5, times=2)
        assert run("--mode", "software", "--save", tmp_path) == 130
    assert "Traceback" not in capsys.readouterr().err
    assert len(epochs_in(tmp_path)) == 1
    assert run("--mode", "software", "--quiet", "--save", tmp_path, "--resume") == 0


def test_ctrl_c_means_what_it_did_before_once_the_run_is_over(monkeypatch, tmp_path):
    before = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patch:
        interrupting(patch, at=2)
        run("--mode", "software", "--quiet")
    assert signal.getsignal(signal.SIGINT) is before
    run("--mode", "software", "--quiet")
    assert signal.getsignal(signal.SIGINT) is before
