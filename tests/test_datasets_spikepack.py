"""Spikes in a small file: what is written comes back, and nothing damaged is taken for whole."""

import hashlib
import json
import lzma

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
from spoken import made_up, speech_set

from bss2lab.datasets import spikepack
from bss2lab.errors import DataError, InputError

QUICK = [phase for phase in hypothesis.Phase if phase != hypothesis.Phase.shrink]  # what fails is small as it is


def rounded(data, i, ticks=spikepack.TICKS_PER_S):
    """Times and channels of a recording as they should come back: in plain Python, sorted by time, then channel."""
    times, units = data.sample(i)
    whole = [(round(float(t) * ticks), int(u)) for t, u in zip(times, units, strict=True)]
    return [(float(np.float32(tick) / np.float32(ticks)), unit) for tick, unit in sorted(whole)]


def assert_same(pack, data, ticks=spikepack.TICKS_PER_S):
    assert len(pack.data) == len(data)
    for i in range(len(data)):
        times, units = pack.data.sample(i)
        assert list(zip(times.tolist(), units.tolist(), strict=True)) == rounded(data, i, ticks)
    for name in ("labels", "speakers"):
        np.testing.assert_array_equal(getattr(pack.data, name), getattr(data, name))
    assert (pack.data.classes, pack.data.n_units) == (data.classes, data.n_units)


@pytest.fixture
def written(tmp_path):
    path = tmp_path / "some.spk"
    spikepack.write(path, made_up(), np.arange(6) * 1000, about={"title": "made up"})
    return path


def test_what_is_written_comes_back(written):
    pack = spikepack.read(written, split="test")
    assert_same(pack, made_up())
    assert pack.repetitions.tolist() == [0, 1000, 2000, 3000, 4000, 5000]
    assert pack.about == {"title": "made up"}
    assert (pack.data.split, pack.data.name) == ("test", str(written))
    assert pack.data.index.tolist() == list(range(6))
    assert pack.data.speaker_info["gender"].tolist() == ["female", "male", "female"]
    for array in (pack.data.times_s, pack.data.units, pack.data.labels, pack.repetitions):
        assert not array.flags.writeable


@hypothesis.given(st.integers(0, 2**32), st.integers(1, 600), st.sampled_from([1000, 2048, 8000]))
@hypothesis.settings(max_examples=15, phases=QUICK)
def test_any_recordings_come_back(tmp_path_factory, seed, n, ticks):
    """Up to three blocks of recordings, some of them empty, with equal times and full channels among them."""
    rng = np.random.default_rng(seed)
    samples = []
    for count in rng.integers(0, 12, n):
        samples.append(
            (np.sort(rng.integers(0, 3 * ticks, count)) / ticks, rng.integers(0, rng.integers(1, 700), count))
        )
    labels, speakers = rng.integers(0, 3, n).tolist(), rng.integers(0, 255, n).tolist()
    data = speech_set(samples, labels, speakers)
    path = tmp_path_factory.mktemp("pack") / "any.spk"
    repetitions = rng.integers(0, 65_536, n)
    content = spikepack.write(path, data, repetitions, ticks_per_s=ticks)
    pack = spikepack.read(path)
    assert_same(pack, data, ticks)
    np.testing.assert_array_equal(pack.repetitions, repetitions)
    assert pack.content_sha256 == spikepack.content_sha256(path) == content


def test_no_recording_at_all_is_a_set_too(tmp_path):
    spikepack.write(tmp_path / "none.spk", speech_set([]), np.arange(0))
    assert len(spikepack.read(tmp_path / "none.spk").data) == 0


def test_many_spikes_of_one_channel_and_a_long_gap_come_back(tmp_path):
    data = speech_set([(np.zeros(3000), np.full(3000, 5)), ([0.0, 15.9], [699, 699])])
    spikepack.write(tmp_path / "many.spk", data, [0, 0])
    assert_same(spikepack.read(tmp_path / "many.spk"), data)


def test_the_content_sum_is_that_of_the_content_alone(tmp_path):
    sums = {spikepack.write(tmp_path / f"{i}.spk", made_up(), range(6), about={"i": i}) for i in (1, 2)}
    other = {
        spikepack.write(tmp_path / "3.spk", made_up(1), range(6)),
        spikepack.write(tmp_path / "4.spk", made_up(), range(1, 7)),
    }
    assert len(sums) == 1
    assert len(sums | other) == 3


def test_times_are_no_coarser_than_those_of_the_published_files():
    """float16 between half a second and a second, where most spikes of a word are."""
    assert float(np.spacing(np.float16(0.5))) >= 1 / spikepack.TICKS_PER_S


def test_every_bit_flip_is_noticed(written):
    whole = written.read_bytes()
    rng = np.random.default_rng(0)
    for position in sorted({*range(60), *range(len(whole) - 40, len(whole)), *rng.integers(0, len(whole), 200)}):
        changed = bytearray(whole)
        changed[position] ^= 1 << int(rng.integers(8))
        written.write_bytes(changed)
        for reader in (spikepack.read, spikepack.content_sha256):
            with pytest.raises(DataError, match=r"some\.spk: expected .*, got .*; replace the file"):
                reader(written)


def test_every_truncation_is_noticed(written):
    whole = written.read_bytes()
    for length in sorted({*range(60), *range(60, len(whole), 37), len(whole) - 1}):
        written.write_bytes(whole[:length])
        with pytest.raises(DataError, match="expected"):
            spikepack.read(written)
    written.write_bytes(whole + b"\0")
    with pytest.raises(DataError, match="truncated or changed"):
        spikepack.read(written)


def forged(path, change_header=lambda header: None, change_blocks=lambda blocks: blocks):
    """Change a file, with every sum put right: what hostile hands could do."""
    body = path.read_bytes()[:-32]
    length = int.from_bytes(body[8:12], "little")
    header, parts = json.loads(body[12 : 12 + length]), body[12 + length :]
    blocks = []
    for packed, _ in header["blocks"]:
        blocks.append(lzma.decompress(parts[:packed], lzma.FORMAT_RAW, filters=spikepack._FILTERS))
        parts = parts[packed:]
    blocks = change_blocks(blocks)
    packs = [lzma.compress(block, lzma.FORMAT_RAW, filters=spikepack._FILTERS) for block in blocks]
    header["blocks"] = [[len(p), len(b)] for p, b in zip(packs, blocks, strict=True)]
    change_header(header)
    header["content_sha256"] = header.get("content_sha256") and spikepack._sum_of(header, blocks)
    text = json.dumps(header).encode()
    body = body[:8] + len(text).to_bytes(4, "little") + text + b"".join(packs)
    path.write_bytes(body + hashlib.sha256(body).digest())


@pytest.mark.parametrize(
    "change",
    [
        lambda h: h.update(n=7),
        lambda h: h.update(n=-1),
        lambda h: h.update(n=10**12),
        lambda h: h.update(n_units=10**9),
        lambda h: h.update(n_units="many"),
        lambda h: h.update(ticks_per_s=0),
        lambda h: h.update(classes=["zero"]),
        lambda h: h.update(speaker_info={"gender": ["m"]}),
        lambda h: h.update(speaker_info=3),
        lambda h: h.pop("blocks"),
        lambda h: h.update(blocks=[[1, 2]]),
        lambda h: h.update(blocks=[[h["blocks"][0][0], 2**40]]),
        lambda h: h.update(blocks=[[h["blocks"][0][0], 10]]),
        lambda h: h.update(blocks=[[-5, 10]]),
        lambda h: h.pop("content_sha256"),
    ],
)
def test_a_header_that_does_not_fit_is_refused(change, written):
    forged(written, change)
    with pytest.raises(DataError, match=r"some\.spk: expected"):
        spikepack.read(written)


@pytest.mark.parametrize(
    "change",
    [
        lambda block: block[:-1],
        lambda block: block + b"\0\0",
        lambda block: b"",
        lambda block: bytes([255]) + block[1:],  # a label that there is not
        lambda block: block[:24] + bytes([9]) + block[25:],  # more spikes than there are
        lambda block: block[:-20] + bytes([255]) * 20,  # times behind the end
    ],
)
def test_content_that_does_not_fit_is_refused(change, written):
    forged(written, change_blocks=lambda blocks: [change(blocks[0])])
    with pytest.raises(DataError, match=r"some\.spk: expected"):
        spikepack.read(written)


@pytest.mark.parametrize("content", [b"", b"\x89HDF\r\n\x1a\n" + b"\0" * 100, b"<html>", b"BSS2SPK\x02" + b"\0" * 99])
def test_another_kind_of_file_is_named(content, tmp_path):
    (tmp_path / "other.spk").write_bytes(content)
    with pytest.raises(DataError, match=r"other\.spk: expected a file that begins with"):
        spikepack.read(tmp_path / "other.spk")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"gone\.spk: expected a readable file, got No such file"):
        spikepack.read(tmp_path / "gone.spk")


@pytest.mark.parametrize(
    ("data", "repetitions", "words"),
    [
        (speech_set([([], [])], speakers=[-1]), [0], "speakers: expected 1 numbers, 0 … 255, got 1, -1 … 0"),
        (speech_set([([], [])]), [70_000], "repetitions: expected 1 numbers, 0 … 65,535"),
        (speech_set([([], [])]), [0, 1], "repetitions: expected 1 numbers"),
        (speech_set([([16.5], [0])]), [0], "expected times from 0 to 16 s"),
    ],
)
def test_what_does_not_fit_into_the_layout_is_refused_and_nothing_is_written(data, repetitions, words, tmp_path):
    with pytest.raises(InputError, match=words):
        spikepack.write(tmp_path / "no.spk", data, np.array(repetitions))
    assert list(tmp_path.iterdir()) == []
