"""Checkpoints: what comes back is what went in, and nothing that is damaged, hostile or of another run gets in."""

import contextlib
import copy
import errno
import json
import os
import pickle
import struct
from types import SimpleNamespace

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

from bss2lab import checkpoint
from bss2lab.chip import Chip, ChipProfile
from bss2lab.chip.profile import PROFILES
from bss2lab.errors import CheckpointError
from bss2lab.inputs import Data
from bss2lab.settings import FREE_TO_CHANGE, TrainConfig
from bss2lab.train import Run

CONFIG = TrainConfig(limit=90, batch_size=30, n_hidden=6, epochs=3, threads=1, mode="software", learning_rate=5e-3)


def stop_after(batches):
    left = iter(range(batches - 1, -1, -1))
    return lambda: next(left) == 0


@pytest.fixture(scope="module")
def data():
    return Data.load(CONFIG)


@pytest.fixture(scope="module")
def made(data, tmp_path_factory):
    """A checkpoint in the middle of the second epoch, taken apart."""
    folder = tmp_path_factory.mktemp("made")
    run = Run(CONFIG, data, directory=folder)
    list(run.fit(stop=stop_after(5)))
    path = folder / checkpoint.FILE
    with safetensors.safe_open(path, framework="numpy") as file:
        header = json.loads(file.metadata()["bss2lab"])
    state = {name: np.array(value) for name, value in run.learner.state().items()}
    return SimpleNamespace(path=path, content=path.read_bytes(), header=header, state=state, run=run)


@pytest.fixture(scope="module")
def resume(data, tmp_path_factory):
    """Put a file where a checkpoint would lie, and resume from it."""
    folder = tmp_path_factory.mktemp("resume")

    def attempt(content, config=CONFIG):
        (folder / checkpoint.FILE).write_bytes(content)
        return Run(config, data, directory=folder, resume=True)

    return attempt


def packed(header, state):
    """Return a checkpoint with this header, whether or not it makes sense."""
    text = header if isinstance(header, str) else json.dumps(header)
    return safetensors.numpy.save(state, metadata={"bss2lab": text})


def container(header, data=b""):
    """Return a safetensors file with any header at all."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def refusal(resume, content):
    with pytest.raises(CheckpointError) as caught:
        resume(content)
    text = str(caught.value)
    assert "\n" not in text
    assert len(text) < 1000
    return text


# --- there and back ----------------------------------------------------------------------------------------------


def test_what_is_loaded_is_what_was_saved(made):
    loaded = checkpoint.load(made.path, CONFIG)
    assert loaded.config == CONFIG
    assert (loaded.chip_seed, loaded.profile, loaded.codes, loaded.chip()) == (None, None, None, None)
    assert loaded.position.epochs == made.run.epochs
    assert (len(loaded.position.epochs), loaded.position.batch) == (1, 2)
    assert loaded.position.sums.images == 60
    assert set(loaded.position.sums.terms) == {"task", "burst", "readout", "weight"}
    assert set(loaded.state) == set(made.state)
    for name, value in made.state.items():
        np.testing.assert_array_equal(loaded.state[name], value, err_msg=name)
        assert loaded.state[name].dtype == value.dtype


def test_the_chip_is_in_the_checkpoint(data, tmp_path):
    config = CONFIG.replace(mode="itl", epochs=1, chip_seed=11, profile="uncalibrated")
    list(Run(config, data, directory=tmp_path).fit())
    loaded = checkpoint.load(tmp_path / checkpoint.FILE)
    assert (loaded.chip_seed, loaded.profile) == (11, PROFILES["uncalibrated"])
    assert loaded.codes.same_as(Chip(11, "uncalibrated").codes)
    assert loaded.chip().mismatch.tau_mem_us.tolist() == Chip(11, "uncalibrated").mismatch.tau_mem_us.tolist()


def test_the_same_bytes_are_resumed(resume, made):
    run = resume(made.content)
    assert run.epochs == made.run.epochs
    for name, value in run.learner.state().items():
        np.testing.assert_array_equal(value, made.state[name], err_msg=name)


def test_a_checkpoint_holds_what_made_it(made):
    assert set(made.header) == {"format", "numerics", "versions", "config", "chip", "position"}
    assert made.header["numerics"] == checkpoint.NUMERICS
    assert {"bss2lab", "python", "numpy", "torch", "numba"} <= set(made.header["versions"])


def test_images_are_those_that_the_configuration_names(data, tmp_path, made):
    """A part of a data set is not somebody's own data."""
    assert checkpoint.load(made.path).data is None
    Run(CONFIG, Data(data.train, data.held_out), directory=tmp_path)
    assert checkpoint.load(tmp_path / checkpoint.FILE).data is None


def test_nothing_but_the_checkpoint_lies_in_its_folder(made):
    assert [p.name for p in made.path.parent.iterdir()] == [checkpoint.FILE]


# --- damage ------------------------------------------------------------------------------------------------------


def test_a_missing_file_says_what_to_do(tmp_path):
    path = tmp_path / checkpoint.FILE
    with pytest.raises(CheckpointError, match=r"expected a file, got nothing at .*; train with --save first"):
        checkpoint.load(path)


def test_a_file_cut_short_anywhere_is_refused(resume, made):
    n = len(made.content)
    header = 8 + struct.unpack("<Q", made.content[:8])[0]
    lengths = {*range(20), *range(20, header, header // 40), header - 1, header, header + 1, n - 1, n - 4}
    lengths |= {*range(header, n, (n - header) // 20)} - {n}
    for length in sorted(lengths):
        text = refusal(resume, made.content[:length])
        assert "expected a whole checkpoint of bss2lab" in text, length
        assert "delete it and train again" in text


def test_bytes_behind_the_end_are_refused(resume, made):
    refusal(resume, made.content + b"\0")


@given(flips=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), min_size=1, max_size=4))
def test_flipped_bits_are_refused_or_harmless_to_read(resume, made, flips):
    damaged = bytearray(made.content)
    for where, bits in flips:
        damaged[int(where * len(damaged))] ^= bits
    with contextlib.suppress(CheckpointError):
        resume(bytes(damaged))


@given(where=st.floats(0, 1, exclude_max=True), bits=st.integers(1, 255))
def test_flipped_bits_in_the_header_are_refused_or_harmless_to_read(resume, made, where, bits):
    header = 8 + struct.unpack("<Q", made.content[:8])[0]
    damaged = bytearray(made.content)
    damaged[int(where * header)] ^= bits
    try:
        run = resume(bytes(damaged))
    except CheckpointError:
        return
    assert run.config == CONFIG  # no other run has slipped in
    assert [e.epoch for e in run.epochs] == list(range(1, len(run.epochs) + 1))


@given(st.binary(max_size=400))
def test_any_bytes_are_refused(resume, content):
    with pytest.raises(CheckpointError):
        resume(content)


# --- hostile files -----------------------------------------------------------------------------------------------


class Intruder:
    """Leaves a trace if it is ever unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_pickle_is_refused_and_not_run(resume, tmp_path):
    trace = tmp_path / "was here"
    refusal(resume, pickle.dumps(Intruder(trace)))
    assert not trace.exists()
    pickle.loads(pickle.dumps(Intruder(trace)))  # (it would have)
    assert trace.is_dir()


TENSOR = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}

FOREIGN = {
    "empty": b"",
    "text": b"hello" * 100,
    "zeros": bytes(4096),
    "a header said to be enormous": struct.pack("<Q", 2**63) + b"{}",
    "a header said to be long": struct.pack("<Q", 10**8) + b"{}",
    "a header that is no JSON": container(b"{]"),
    "a header that is no text": container(b"\xff\xfe\xfd"),
    "a header nested too deeply": container(b"[" * 50_000 + b"]" * 50_000),
    "metadata that is no text": container({"__metadata__": {"bss2lab": 3}}),
    "metadata that is a list": container({"__metadata__": []}),
    "a tensor beyond the end": container({"w": TENSOR}, b"1234"),
    "a tensor before the beginning": container({"w": {**TENSOR, "data_offsets": [-8, 0]}}),
    "overlapping tensors": container({"v": TENSOR, "w": {**TENSOR, "data_offsets": [4, 12]}}, bytes(12)),
    "a tensor of the wrong size": container({"w": {**TENSOR, "shape": [3]}}, bytes(8)),
    "a shape that overflows": container({"w": {**TENSOR, "shape": [2**62, 4]}}, bytes(8)),
    "an unknown dtype": container({"w": {**TENSOR, "dtype": "F31"}}, bytes(8)),
    "safetensors of something else": safetensors.numpy.save({"w": np.zeros(3, np.float32)}),
    "safetensors with other metadata": safetensors.numpy.save({"w": np.zeros(3)}, metadata={"format": "pt"}),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_files_of_other_kinds_are_refused(name, resume):
    text = refusal(resume, FOREIGN[name])
    assert "expected a whole checkpoint of bss2lab" in text


@pytest.mark.parametrize("dtype", ["BF16", "F8_E4M3", "F16", "I32", "BOOL"])
def test_tensors_of_other_types_are_refused(dtype, resume, made):
    size = {"F32": 4, "BF16": 2, "F16": 2, "I32": 4}.get(dtype, 1)
    shape = list(made.state["w_hidden"].shape)
    n = size * int(np.prod(shape))
    meta = {"__metadata__": {"bss2lab": json.dumps(made.header)}}
    refusal(resume, container({**meta, "w_hidden": {"dtype": dtype, "shape": shape, "data_offsets": [0, n]}}, bytes(n)))


def changed(header, *path, to):
    """Return the header with one entry changed (or, with ``to`` = KeyError, taken out)."""
    header = copy.deepcopy(header)
    place = header
    for key in path[:-1]:
        place = place[key]
    if to is KeyError:
        del place[path[-1]]
    else:
        place[path[-1]] = to
    return header


HUGE = 10**400  # an integer that no float can hold
CHIP = {
    "seed": 5,
    "profile": {"calibrated": False},
    "codes": {name: codes.tolist() for name, codes in Chip(5, "uncalibrated").codes.items()},
}


def codes_with(**changes):
    return {**CHIP, "codes": {**CHIP["codes"], **changes}}


EPOCH = ("position", "epochs", 0)

HOSTILE = {
    **{f"no {key}": ((key,), KeyError) for key in ("format", "numerics", "config", "chip", "position")},
    "an older format": (("format",), 1),
    "a later format": (("format",), 3),
    "a config that is a list": (("config",), []),
    "a config that is text": (("config",), "default"),
    "an unknown key": (("config", "turbo"), True),
    "a config out of range": (("config", "dropout"), 1.5),
    "text for a number": (("config", "rho_b"), "much"),
    "a chip that is a number": (("chip",), 3),
    **{f"a chip without {key}": (("chip",), {k: v for k, v in CHIP.items() if k != key}) for key in CHIP},
    "a chip whose seed is text": (("chip",), {**CHIP, "seed": "x"}),
    "a chip whose seed is digits": (("chip",), {**CHIP, "seed": "5"}),
    "half a seed": (("chip",), {**CHIP, "seed": 1.5}),
    "a seed below zero": (("chip",), {**CHIP, "seed": -1}),
    "a seed of too many bits": (("chip",), {**CHIP, "seed": 2**32}),
    "a chip with an endless seed": (("chip",), {**CHIP, "seed": float("inf")}),
    "a chip with an unknown constant": (("chip",), {**CHIP, "profile": {"tau": 1}}),
    "a chip with a constant out of range": (("chip",), {**CHIP, "profile": {"tau_mem_us": -6.0}}),
    "codes that are nothing": (("chip",), {**CHIP, "codes": None}),
    "codes that are a list": (("chip",), {**CHIP, "codes": list(CHIP["codes"])}),
    "codes of too few parameters": (("chip",), {**CHIP, "codes": {"leak": 200}}),
    "codes of an unknown parameter": (("chip",), codes_with(tau=80)),
    "codes of too few neurons": (("chip",), codes_with(leak=[200] * 255)),
    "codes of too many neurons": (("chip",), codes_with(leak=[200] * 257)),
    "codes in two rows": (("chip",), codes_with(leak=[[200] * 256] * 2)),
    "a code out of range": (("chip",), codes_with(leak=[200] * 255 + [1023])),
    "a code below zero": (("chip",), codes_with(tau_mem=[-1] + [80] * 255)),
    "a trim out of range": (("chip",), codes_with(cadc_trim=[128] * 256)),
    "half a code": (("chip",), codes_with(reset=[200.5] * 256)),
    "codes that are text": (("chip",), codes_with(reset=["200"] * 256)),
    "codes that are NaN": (("chip",), codes_with(reset=[float("nan")] * 256)),
    "a code beyond all numbers": (("chip",), codes_with(reset=[HUGE] * 256)),
    "lists of codes of unequal lengths": (("chip",), codes_with(reset=[[200], [200, 201]])),
    "a position that is a list": (("position",), [1, 2]),
    "no position": (("position",), {}),
    "epochs that are a number": (("position", "epochs"), 7),
    "an epoch that is a number": (EPOCH, 7),
    "epochs out of order": ((*EPOCH, "epoch"), 2),
    "an epoch zero": ((*EPOCH, "epoch"), 0),
    "a loss in words": ((*EPOCH, "loss"), "low"),
    "a loss that is NaN": ((*EPOCH, "loss"), float("nan")),
    "a loss beyond all numbers": ((*EPOCH, "loss"), HUGE),
    "loss terms that are a list": ((*EPOCH, "loss_terms"), [1.0]),
    "a loss term that is nothing": ((*EPOCH, "loss_terms"), {"task": None}),
    "no accuracy": ((*EPOCH, "train_accuracy"), KeyError),
    "an infinite time": ((*EPOCH, "seconds"), float("inf")),
    "half a batch": (("position", "batch"), 1.5),
    "batches below zero": (("position", "batch"), -1),
    "infinitely many batches": (("position", "batch"), float("inf")),
    "more batches than there are": (("position", "batch"), 4),
    "a batch that the sums know nothing of": (("position", "batch"), 3),
    "a batch that is text": (("position", "batch"), "two"),
    "seconds that are NaN": (("position", "seconds"), float("nan")),
    "sums that are a list": (("position", "sums"), [1]),
    "sums of nothing": (("position", "sums"), {}),
    "images that are a list": (("position", "sums", "images"), [60]),
    "images below zero": (("position", "sums", "images"), -60),
    "more images than there are": (("position", "sums", "images"), 90),
    "more right than images": (("position", "sums", "correct"), 61),
    "fewer right than none": (("position", "sums", "correct"), -1),
    "an endless number of images": (("position", "sums", "images"), HUGE),
    "an endless number clipped": (("position", "sums", "clipped"), HUGE),
    "terms that are text": (("position", "sums", "terms"), "task"),
    "spikes that are NaN": (("position", "sums", "hidden_spikes"), float("nan")),
}


def test_the_chip_that_the_hostile_ones_are_made_of_is_a_good_one(made, tmp_path):
    """What is refused below is refused for what was changed in it."""
    (tmp_path / "c").write_bytes(packed(changed(made.header, "chip", to=CHIP), made.state))
    assert Chip(5, "uncalibrated").codes.same_as(checkpoint.load(tmp_path / "c").chip().codes)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_headers_are_refused(name, resume, made):
    path, value = HOSTILE[name]
    text = refusal(resume, packed(changed(made.header, *path, to=value), made.state))
    assert "expected a whole checkpoint of bss2lab" in text


@pytest.mark.parametrize("own", [3, [], {"name": "x"}, {"name": 3, "classes": []}, {"name": "x", "classes": [1]}])
def test_data_that_are_none_are_refused(own, resume, made):
    refusal(resume, packed(made.header | {"data": own}, made.state))


def test_epochs_that_repeat_or_skip_are_refused(resume, made):
    record = made.header["position"]["epochs"][0]
    for numbers in ((1, 1), (1, 3), (2, 1), (0, 1)):
        epochs = [{**record, "epoch": n} for n in numbers]
        refusal(resume, packed(changed(made.header, "position", "epochs", to=epochs), made.state))


@pytest.mark.parametrize(
    "text", ["[" * 100_000 + "]" * 100_000, '{"a":' * 100_000 + "1" + "}" * 100_000, "[]", "3", "null", '"x"', "{", ""]
)
def test_header_text_that_is_no_header_is_refused(text, resume, made):
    refusal(resume, packed(text, made.state))


def places(value, path=()):
    """Return the path of every entry of nested JSON."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [*([path] if path else []), *(p for key, below in items for p in places(below, (*path, key)))]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=5), below, max_size=3),
    max_leaves=6,
)


@given(data=st.data(), value=JSON)
def test_anything_anywhere_in_the_header_is_refused_or_harmless_to_read(resume, made, data, value):
    path = data.draw(st.sampled_from(places(made.header)))
    try:
        run = resume(packed(changed(made.header, *path, to=value), made.state))
    except CheckpointError:
        return
    json.dumps([e.loss for e in run.epochs], allow_nan=False)
    assert run.config == CONFIG


ARRAYS = {
    "none at all": lambda s: s.clear(),
    "one missing": lambda s: s.pop("w_output"),
    "one too many": lambda s: s.update(extra=np.zeros(1, np.float32)),
    "a transposed one": lambda s: s.update(w_hidden=np.ascontiguousarray(s["w_hidden"].T)),
    "one of a smaller network": lambda s: s.update(w_hidden=s["w_hidden"][:, :1].copy()),
    "an empty one": lambda s: s.update(w_hidden=np.empty((0, 0), np.float32)),
    "one in double precision": lambda s: s.update(w_output=s["w_output"].astype(np.float64)),
    "a step that is a float": lambda s: s.update(step=s["step"].astype(np.float64)),
    "weights that are NaN": lambda s: s["w_hidden"].fill(np.nan),
    "one infinite weight": lambda s: s["w_output"].__setitem__((0, 0), np.inf),
    "negative second moments": lambda s: s["moment2_hidden"].fill(-1.0),
    "a step before the first": lambda s: s["step"].fill(-1),
    "a step at the end of time": lambda s: s["step"].fill(2**63 - 1),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_that_do_not_fit_are_refused(name, resume, made):
    state = {key: np.array(value) for key, value in made.state.items()}
    ARRAYS[name](state)
    assert "expected a whole checkpoint of bss2lab" in refusal(resume, packed(made.header, state))


def test_a_folder_in_the_place_of_the_file_is_refused(tmp_path):
    (tmp_path / checkpoint.FILE).mkdir()
    with pytest.raises(CheckpointError, match="expected a whole checkpoint"):
        checkpoint.load(tmp_path / checkpoint.FILE)


# --- another run's -----------------------------------------------------------------------------------------------

OTHER = {
    "task": "fashion",
    "mode": "ann",
    "epochs": 7,
    "batch_size": 31,
    "learning_rate": 0.25,
    "lr_decay": 0.125,
    "seed": 77,
    "chip_seed": 78,
    "profile": "ideal",
    "sigma_d": 0.25,
    "detuned": "tau",
    "n_hidden": 7,
    "n_steps": 21,
    "dt_us": 1.75,
    "tau_mem_us": 6.5,
    "tau_syn_us": 6.5,
    "beta": 12.0,
    "loss_scale": 12.0,
    "rho_b": 0.75,
    "rho_a": 0.75,
    "rho_w": 0.75,
    "dropout": 0.75,
    "rotation": 12.0,
    "validation": 33,
    "limit": 91,
    "threads": 2,
    "device": "cuda",
}


def test_every_setting_is_either_compared_or_free_to_change(made):
    assert set(OTHER) == set(TrainConfig.model_fields)
    for name, value in OTHER.items():
        assert getattr(CONFIG, name) != value
        with_it = {"mode": "itl"} if name == "sigma_d" else {}  # there must be a chip to detune
        other = CONFIG.replace(**with_it, **{name: value})
        if name in FREE_TO_CHANGE:
            assert checkpoint.load(made.path, other).config == CONFIG
            continue
        with pytest.raises(CheckpointError) as caught:
            checkpoint.load(made.path, other)
        text = str(caught.value)
        assert f"{name}={getattr(CONFIG, name)!r} in the checkpoint, {value!r} asked for;" in text
        assert text.count(" asked for") == 1 + len(with_it)
        assert str(made.path) in text
        assert "resume with the same settings, or choose another folder" in text


def test_several_changed_settings_are_all_named(made):
    with pytest.raises(CheckpointError) as caught:
        checkpoint.load(made.path, CONFIG.replace(seed=5, dropout=0.5))
    assert f"seed={CONFIG.seed} in the checkpoint, 5 asked for" in str(caught.value)
    assert f"dropout={CONFIG.dropout} in the checkpoint, 0.5 asked for" in str(caught.value)


def test_another_version_of_the_numerics_is_refused(made, monkeypatch):
    monkeypatch.setattr(checkpoint, "NUMERICS", made.header["numerics"] + 1)
    want = (
        f"expected numerics version {made.header['numerics'] + 1}, got {made.header['numerics']}; finish the run with"
    )
    with pytest.raises(CheckpointError, match=want):
        checkpoint.load(made.path, CONFIG)


def test_another_profile_of_the_same_name_is_refused(data, tmp_path):
    file = tmp_path / "mine.json"
    file.write_text(json.dumps({"cadc_noise_lsb": 1.0}), encoding="utf-8")
    config = CONFIG.replace(mode="itl", epochs=1, profile=str(file))
    list(Run(config, data, directory=tmp_path / "run").fit())
    assert Run(config, data, directory=tmp_path / "run", resume=True).finished
    file.write_text(json.dumps({"cadc_noise_lsb": 3.0}), encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"same chip profile, got cadc_noise_lsb=1.0 in the checkpoint, 3.0 now;"):
        Run(config, data, directory=tmp_path / "run", resume=True)


def test_the_profile_is_read_back_without_its_file(data, tmp_path):
    file = tmp_path / "mine.json"
    file.write_text(json.dumps({"cadc_noise_lsb": 1.0}), encoding="utf-8")
    config = CONFIG.replace(mode="itl", epochs=1, profile=str(file))
    list(Run(config, data, directory=tmp_path / "run").fit())
    file.unlink()
    loaded = checkpoint.load(tmp_path / "run" / checkpoint.FILE)
    assert loaded.profile.cadc_noise_lsb == 1.0
    run = Run(config, data, chip=loaded.chip(), directory=tmp_path / "run", resume=True)
    assert run.finished


# --- the codes of the chip ---------------------------------------------------------------------------------------

ON_CHIP = CONFIG.replace(mode="itl", epochs=2, chip_seed=3)


def test_a_run_on_a_decalibrated_chip_resumes_on_the_very_same_chip(data, tmp_path):
    chip = Chip(3).decalibrate(0.3, seed=4)
    whole = Run(ON_CHIP, data, chip=chip, directory=tmp_path / "whole")
    list(whole.fit())
    list(Run(ON_CHIP, data, chip=chip, directory=tmp_path / "parts").fit(stop=stop_after(2)))
    kept = checkpoint.load(tmp_path / "parts" / checkpoint.FILE).chip()
    assert kept.codes.same_as(chip.codes)
    np.testing.assert_array_equal(kept.mismatch.tau_mem_us, chip.mismatch.tau_mem_us)
    assert np.std(kept.mismatch.tau_mem_us) > 20 * np.std(Chip(3).mismatch.tau_mem_us)
    resumed = Run(ON_CHIP, data, chip=kept, directory=tmp_path / "parts", resume=True)
    assert resumed.epochs == []
    list(resumed.fit())
    assert [(e.loss, e.test_accuracy) for e in resumed.epochs] == [(e.loss, e.test_accuracy) for e in whole.epochs]
    for name, value in resumed.learner.state().items():
        np.testing.assert_array_equal(value, whole.learner.state()[name], err_msg=name)


def test_the_codes_matter_to_the_run(data):
    """So that mistaking one chip for the other would not go unnoticed above."""
    one, two = (list(Run(ON_CHIP, data, chip=chip).fit()) for chip in (Chip(3), Chip(3).decalibrate(0.3, seed=4)))
    assert one[0].loss != two[0].loss


def test_resuming_with_other_codes_is_refused_and_the_parameters_are_named(data, tmp_path):
    chip = Chip(3).decalibrate(0.3, "threshold", seed=4)
    list(Run(ON_CHIP, data, chip=chip, directory=tmp_path).fit(stop=stop_after(2)))
    before = (tmp_path / checkpoint.FILE).read_bytes()
    with pytest.raises(CheckpointError) as caught:
        Run(ON_CHIP, data, directory=tmp_path, resume=True)  # the calibrated chip of the configuration
    assert str(caught.value) == (
        f"{tmp_path / checkpoint.FILE}: expected the same codes on the chip, got others for threshold; "
        "write the codes that the run began with (Loaded.chip() has them), or choose another folder"
    )
    assert (tmp_path / checkpoint.FILE).read_bytes() == before


@pytest.mark.parametrize("name", [name for name, _ in Chip(0, "ideal").codes.items()])
def test_a_single_other_code_is_noticed(name, data, tmp_path):
    config = ON_CHIP.replace(profile="uncalibrated", epochs=1)
    chip = Chip(3, "uncalibrated")
    list(Run(config, data, chip=chip, directory=tmp_path).fit(stop=stop_after(1)))
    codes = np.array(getattr(chip.codes, name))
    codes[200] += 1
    with pytest.raises(CheckpointError, match=f"got others for {name}; write"):
        Run(config, data, chip=chip.with_codes(**{name: codes}), directory=tmp_path, resume=True)
    assert not Run(config, data, chip=chip, directory=tmp_path, resume=True).finished


def test_other_measured_neurons_are_refused_in_few_words(data, tmp_path):
    """A profile of measured neurons has a great many numbers."""
    profiles = [
        ChipProfile.from_measurements({"tau_mem_us": np.random.default_rng(k).normal(6, 0.5, 300)}) for k in range(2)
    ]
    one, other = (Chip(3, profile) for profile in profiles)
    list(Run(ON_CHIP, data, chip=one, directory=tmp_path).fit(stop=stop_after(1)))
    with pytest.raises(CheckpointError) as caught:
        Run(ON_CHIP, data, chip=other, directory=tmp_path, resume=True)
    assert "same chip profile, got" in str(caught.value)
    assert "measured=" in str(caught.value)
    assert len(str(caught.value)) < 800


# --- writing -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["fsync", "replace", "chmod"])
def test_a_disk_that_fails_in_mid_run_leaves_the_epoch_before(call, data, tmp_path, monkeypatch):
    whole = Run(CONFIG, data, directory=tmp_path / "whole")
    list(whole.fit())
    run = Run(CONFIG, data, directory=tmp_path / "run")
    records = run.fit()
    next(records)

    def fail(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(OSError, match=r"expected a place to write to, got No space left on device; free space"):
            next(records)
    loaded = checkpoint.load(tmp_path / "run" / checkpoint.FILE, CONFIG)
    assert len(loaded.position.epochs) == 1
    assert [p.name for p in (tmp_path / "run").iterdir()] == [checkpoint.FILE]
    resumed = Run(CONFIG, data, directory=tmp_path / "run", resume=True)
    list(resumed.fit())
    for name, value in resumed.learner.state().items():
        np.testing.assert_array_equal(value, whole.learner.state()[name], err_msg=name)


def test_half_written_leftovers_are_not_mistaken_for_a_checkpoint(data, made, tmp_path):
    leftover = tmp_path / f".{checkpoint.FILE}.abcd.part"
    leftover.write_bytes(made.content)
    assert Run(CONFIG, data, directory=tmp_path, resume=True).epochs == []
    assert leftover.read_bytes() == made.content
