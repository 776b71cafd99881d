"""What a run is fed with: sets that are empty or tiny, and data sets in the hands of torch."""

import numpy as np
import pytest
import torch
from bursts import words
from torch.utils.data import DataLoader, Subset

from bss2lab.datasets.speechset import split_validation as split_speakers
from bss2lab.datasets.vision import ImageSet, split_validation
from bss2lab.errors import InputError
from bss2lab.inputs import Data
from bss2lab.settings import SpeechConfig, TrainConfig
from bss2lab.train import Run
from bss2lab.types import Spikes

pytestmark = pytest.mark.usefixtures("one_thread")


def grey(n, split="train"):
    """Made-up images, each of one grey value in a black frame."""
    images = np.zeros((n, 28, 28), np.uint8)
    images[:, 6:22, 6:22] = (20 + 200 * np.arange(n) // max(1, n))[:, None, None]
    return ImageSet(images, (np.arange(n) % 10).astype(np.uint8), "mnist", split, 2)


TASKS = {
    "images": (grey, TrainConfig(n_hidden=12, epochs=1, threads=1)),
    "words": (words, SpeechConfig(n_hidden=12, n_classes=3, n_steps=30, epochs=1, threads=1)),
}


# --- empty and tiny sets ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", TASKS)
def test_an_empty_set_is_refused_and_named(task):
    make, _ = TASKS[task]
    whole = make(4)
    with pytest.raises(InputError, match="training set: expected at least one sample, got none"):
        Data(whole.take(0), whole)
    with pytest.raises(InputError, match="test set: expected at least one sample, got none"):
        Data(whole, make(4, split="test").take(0))


@pytest.mark.parametrize(
    ("task", "mode"),
    [(t, m) for t in TASKS for m in ("itl", "software", "transfer", "ann") if (t, m) != ("words", "ann")],
)
def test_one_sample_is_enough_and_a_batch_may_be_larger_than_the_set(task, mode):
    make, config = TASKS[task]
    for n in (1, 3):
        (epoch,) = Run(config.replace(mode=mode, batch_size=1000), Data(make(n), make(n, split="test"))).fit()
        assert 0 <= epoch.test_accuracy <= 1
        assert np.isfinite(epoch.loss)


def test_nothing_to_hold_out_is_said_in_words():
    with pytest.raises(InputError, match="two images or more"):
        split_validation(grey(1), 1)
    alone = words(6)
    with pytest.raises(InputError, match="two speakers or more"):
        split_speakers(alone.subset(alone.speakers == alone.speakers[0]), n_speakers=1)


# --- as torch's data sets ---------------------------------------------------------------------------------------


def test_images_come_from_a_loader_in_batches():
    data = grey(23)
    images, labels = zip(*DataLoader(data, batch_size=10, num_workers=0), strict=True)
    assert [len(x) for x in images] == [10, 10, 3]
    assert images[0].dtype == torch.uint8
    np.testing.assert_array_equal(torch.cat(images), data.prepare())
    np.testing.assert_array_equal(torch.cat(labels), data.labels)


def test_shuffled_images_keep_their_labels():
    data, generator = grey(200), torch.Generator().manual_seed(0)
    order = {image.tobytes(): label for image, label in data}
    seen = 0
    for images, labels in DataLoader(data, batch_size=16, shuffle=True, generator=generator):
        seen += sum(order[image.numpy().tobytes()] % 10 == label for image, label in zip(images, labels, strict=True))
    assert seen == 200
    assert len(order) > 100


def test_a_part_of_a_set_is_one_for_torch_too():
    data = grey(12)
    ((images, labels),) = DataLoader(Subset(data, [3, 11]), batch_size=2)
    np.testing.assert_array_equal(images, data.prepare()[[3, 11]])
    assert labels.tolist() == [3, 1]


def test_words_come_from_a_loader_with_their_labels():
    data = words(9)
    seen = [item for batch in DataLoader(data, batch_size=4, collate_fn=list) for item in batch]
    assert len(seen) == 9
    for k, ((times, channels), label) in enumerate(seen):
        for got, want in zip((times, channels), data.sample(k), strict=True):
            np.testing.assert_array_equal(got, want, strict=True)
        assert type(label) is int
        assert label == data.labels[k]
        torch.from_numpy(times)  # (warns of arrays that are read-only)


SETS = {
    "images": (grey(5), lambda data: data.images),
    "words": (words(5), lambda data: data.index),
    "spikes": (
        Spikes.from_events([([float(k)], [k]) for k in range(5)], n_units=5, duration_us=6.0),
        lambda data: data.units,
    ),
}


@pytest.mark.parametrize("name", SETS)
def test_numbers_count_as_in_a_list(name):
    data, _ = SETS[name]
    assert len(list(data)) == len(data) == 5
    for k, same in [(-1, 4), (-5, 0), (np.int64(2), 2), (torch.tensor(3), 3)]:
        assert repr(data[k]) == repr(data[same])
    for bad in (5, -6, 10**12):
        with pytest.raises(IndexError):
            data[bad]
    for bad in ("1", 1.0, None):
        with pytest.raises(TypeError):
            data[bad]


@pytest.mark.parametrize("name", SETS)
def test_slices_and_arrays_give_sets(name):
    data, content = SETS[name]
    everything = content(data)
    for index in (slice(1, 4), slice(None, None, -2), [4, 0], np.array([2]), torch.tensor([1]), np.arange(5) > 2):
        part = data[index]
        assert type(part) is type(data)
        chosen = np.arange(5)[index if isinstance(index, slice) else np.asarray(index)]
        np.testing.assert_array_equal(content(part), everything[chosen])
