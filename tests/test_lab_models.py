"""What all view models share: settings that are checked, a message, watchers, state to and from JSON; controls."""

from __future__ import annotations

import json
import math

import pytest

from bss2lab.errors import InputError, complain
from bss2lab.kernels import cache
from bss2lab.lab.engine import Engine
from bss2lab.lab.frame import Frame
from bss2lab.lab.models.base import ViewModel
from bss2lab.lab.models.control import Control
from bss2lab.settings import TrainConfig


class Toy(ViewModel):
    """A model with one control of every look."""

    title = "A toy"

    def __init__(self):
        controls = [
            Control.of(TrainConfig, "rho_b", look="log", low=1e-4, high=10, zero=True, live=True),
            Control.of(TrainConfig, "epochs", look="whole", low=1, high=100),
            Control("where", "where", "a", "choice", choices=(("here", "a"), ("there", "b"))),
            Control("on", "on", False, "switch"),
        ]
        super().__init__(controls, key="toy", engine=Engine())
        self.moves = []

    def on_set(self, moved):
        if moved.get("where") == "b" and self.values["on"] is False:
            raise InputError(complain("where", expected="'a' while it is off", got="'b'", fix="switch it on"))
        self.moves.append(moved)

    def frame(self):
        return Frame([], "a toy")


@pytest.fixture
def toy():
    return Toy()


def test_settings_begin_where_their_controls_do(toy):
    assert toy.values == {"rho_b": 0.04, "epochs": 15, "where": "a", "on": False}


def test_set_tells_what_moved_and_wakes_the_watchers(toy):
    heard = []
    end = toy.watch(heard.append)
    assert toy.set(rho_b=0.1, epochs=15)
    assert toy.moves == [{"rho_b": 0.1}]
    assert heard == [True]
    end()
    assert toy.set(rho_b=0.2)
    assert heard == [True]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"rho_b": -1.0}, "rho_b: expected 0 … 1000, got -1"),
        ({"rho_b": math.nan}, "expected a number"),
        ({"rho_b": "much"}, "expected a number"),
        ({"epochs": 2.5}, "expected a whole number 1 … 10,000, got 2.5; "),
        ({"epochs": True}, "expected a number"),
        ({"where": "c"}, "one of a, b"),
        ({"on": 1}, "on or off"),
        ({"wehre": "a"}, "one of rho_b, epochs"),
        ({"where": "b"}, "switch it on"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_changes(toy, values, words):
    before = dict(toy.values)
    assert not toy.set(**{"epochs": 7, **values})
    assert toy.values == before
    assert toy.message.kind == "error"
    assert words in toy.message.text
    assert toy.set(epochs=8)
    assert toy.message.text == ""


def test_state_goes_to_json_and_comes_back(toy, tmp_path):
    assert toy.set(rho_b=0.5, on=True)
    assert toy.set(where="b")
    toy.save(tmp_path / "state.json")
    other = Toy()
    other.set(on=True)
    assert other.load(tmp_path / "state.json")
    assert other.values == toy.values


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{", '{"bss2lab": "Other", "settings": {}}', '{"bss2lab": "Toy", "settings": 3}', '{"settings": {}}',
     '{"bss2lab": "Toy", "settings": {"rho_b": -3}}', '{"bss2lab": "Toy", "settings": {"unknown": 1}}'],
)  # fmt: skip
def test_a_state_of_something_else_is_refused_whole(toy, text):
    before = dict(toy.values)
    assert not toy.from_json(text)
    assert toy.values == before
    assert toy.message.kind == "error"


def test_a_missing_or_binary_file_is_one_clear_error(toy, tmp_path):
    assert not toy.load(tmp_path / "none.json")
    assert "FileNotFoundError" in toy.message.text
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00")
    assert not toy.load(tmp_path / "binary.json")
    assert "UnicodeDecodeError" in toy.message.text


def test_saved_state_is_plain_json(toy):
    assert json.loads(toy.to_json())["settings"]["epochs"] == 15


def test_defaults_bring_everything_back(toy):
    toy.set(rho_b=3.0, epochs=2)
    toy.defaults()
    assert toy.values["rho_b"] == 0.04
    assert toy.values["epochs"] == 15


def test_every_change_counts(toy):
    before = toy.version
    toy.set(epochs=3)
    toy.say("hello")
    assert toy.version == before + 2


def test_a_control_takes_meaning_bounds_and_source_from_the_field():
    control = Control.of(TrainConfig, "dropout", high=0.8)
    assert "silenced in each batch" in control.help
    assert control.source == "paper"
    assert control.least == 0.0
    assert (control.most, control.below) == (1.0, True)
    assert control.check(0.4) == 0.4
    with pytest.raises(InputError, match="dropout: expected at least 0 and under 1, got 1; "):
        control.check(1.0)
    assert "[paper]" in control.provenance


def test_a_bound_that_is_excluded_is_excluded():
    control = Control.of(TrainConfig, "learning_rate", label="learning rate")
    with pytest.raises(InputError, match="learning rate: expected over 0 and at most 1, got 0; "):
        control.check(0.0)
    assert control.check(1e-12) == 1e-12
    assert control.check(1) == 1.0


@pytest.mark.parametrize(
    ("name", "look", "allowed"),
    [
        ("sigma_d", "slider", "0 … 1"),
        ("chip_seed", "whole", "a whole number 0 … 4,294,967,295"),
        ("loss_scale", "log", "over 0 and at most 1000"),
        ("rotation", "slider", "0 … 180 °"),
    ],
)
def test_what_a_number_may_be_is_said_in_words(name, look, allowed):
    control = Control.of(TrainConfig, name, look=look)
    assert control.allowed == allowed
    with pytest.raises(InputError, match=r"got -1\.25; "):
        control.check(-1.25)


def test_a_control_says_its_value_in_words():
    assert Control.of(TrainConfig, "rho_b", label="ρ_b").shown(0.123456) == "ρ_b 0.123"
    assert (
        Control("d", "of its", "tau", "choice", choices=(("time constants", "tau"),)).shown("tau")
        == "of its time constants"
    )


def test_who_waits_for_a_kernel_says_so(toy):
    """A task that compiles: the sentence changes while it waits, and comes back."""
    toy.say("thinking", "busy")
    heard, seen = [], []
    end = toy.watch(lambda urgent: heard.append(toy.status.text))

    def steps():
        with_kernel = cache.Compiling("emulate", 9, elsewhere=False)
        cache._tell(with_kernel)
        seen.append(toy.status)
        cache._tell(None)
        yield

    assert toy.engine.start("toy", steps(), owner=toy).wait(10)
    assert "emulate" in seen[0].text
    assert "9 s" in seen[0].text
    assert seen[0].kind == "busy"
    assert heard == [seen[0].text, "thinking"]
    end()
    assert not toy.engine.listeners
