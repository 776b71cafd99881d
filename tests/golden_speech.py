"""After ``bss2lab data make speech --to data/speech``: its README and its sums in the catalogue, anew."""

import hashlib
import re
from pathlib import Path

from bss2lab.datasets import spikepack
from bss2lab.datasets.voices import SPEAKERS, UNSEEN

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "data" / "speech"
CATALOGUE = ROOT / "bss2lab" / "datasets" / "catalogue.py"


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def row(*cells):
    return "| " + " | ".join(map(str, cells)) + " |"


def readme(packs):
    """Return the text of the README."""
    sets, kept, people = [], [], []
    for split, pack in packs.items():
        path = FOLDER / f"{split}.spk"
        sizes = [f"{n:,}" for n in (path.stat().st_size, len(pack.data), int(pack.data.n_spikes.sum()))]
        sets.append(row(f"`{path.name}`", *sizes, f"`{pack.content_sha256}`", f"`{sha256(path)}`"))
    sounds = sorted((FOLDER / "sounds").iterdir())
    for path in [FOLDER / "example.wav", *sounds]:
        kept.append(row(f"`{path.relative_to(FOLDER).as_posix()}`", f"{path.stat().st_size:,}", f"`{sha256(path)}`"))
    for i, one in enumerate(SPEAKERS):
        number = f"{i} (test set alone)" if i in UNSEEN else i
        people.append(
            row(number, one.voice, one.variant, one.english, one.german, one.pitch, one.rate_wpm, f"{one.tract:g}",
                f"{one.tilt_db:g}")
        )  # fmt: skip
    about = packs["train"].about
    test = packs["test"].data.speakers
    return TEXT.format(
        sets="\n".join(sets), sounds="\n".join(kept), speakers="\n".join(people),
        sound_bytes=f"{sum(path.stat().st_size for path in sounds):,}", n=about["config"]["repetitions"],
        tested=about["config"]["tested_words"], seed=about["config"]["seed"],
        program=about["origin"].split(" and ")[0], unseen=round(100 * sum(s in UNSEEN for s in test) / len(test)),
    )  # fmt: skip


def pinned(text, packs):
    """Return the catalogue with sums, sizes and numbers of recordings as they are now."""
    for split, pack in packs.items():
        size = (FOLDER / f"{split}.spk").stat().st_size / 1e6
        text, n = re.subn(
            rf'"{split}\.spk",(\s*)content_sha256="[0-9a-f]*",(\s*)size_mb=[\d.]+',
            rf'"{split}.spk",\g<1>content_sha256="{pack.content_sha256}",\g<2>size_mb={size:.1f}', text,
        )  # fmt: skip
        assert n == 1
    n_samples = ", ".join(f'"{split}": {len(pack.data)}' for split, pack in packs.items())
    begin = text.index("SPEECH = SpeechDataset")
    return text[:begin] + re.sub(r"n_samples=\{.*\}", f"n_samples={{{n_samples}}}", text[begin:], count=1)


TEXT = """\
# data/speech/: synthetic speech

Spoken digits as spikes in 700 channels, in the shape of the Spiking Heidelberg Digits (SHD): "zero" … "nine" and "null" … "neun", twelve speakers, two of them in the test set alone. **It is synthetic speech, not SHD and no recording of people.** Accuracies on it are not comparable with published ones on SHD.

| file | bytes | recordings | spikes | SHA-256 of the content (pinned in `bss2lab/datasets/catalogue.py`) | SHA-256 of the file |
|---|---|---|---|---|---|
{sets}

Training set: ten speakers × 20 words × {n} repetitions. Test set: the two unseen speakers (4 and 5) × 20 words × {n}, which is {unseen} % of it (SHD: 81 %), and one more repetition of {tested} words by each of the ten others. `bss2lab/datasets/spikepack.py` describes the layout; times are rounded to 1/2048 s, the step of SHD's float16 times between half a second and a second.

```python
from bss2lab.datasets import speech, speechfolder

train, test = speech.load("speech", "train"), speech.load("speech", "test")
speechfolder.sound_of(test, 0)  # its sound, for listening
```

## How it was made

`bss2lab data make speech --to data/speech`, seed {seed}, with {program}: about a quarter of an hour on one core. Each word is spoken by `espeak-ng` with a speaker's voice, pitch and rate; then its formants are scaled, its parts stretched unevenly, its spectrum bent, reverberation, noise and silence added (`voices.py`, with every number in `synthetic.SyntheticSpeechConfig`); then the chain of SHD from sound to spikes (`cochlea.py`). An utterance is a function of the seed and of speaker, word and repetition alone. Another version of espeak-ng gives other sounds; another processor or version of NumPy or SciPy may round a few spike times differently. The command says whether the result is the pinned one.

The shape of the spectrum, the rates of speaking, the silence at both ends and the noise were set by hand so that spikes, durations, channel profile and rate over time are about those of twelve real samples of SHD (`bss2lab/datasets/statistics.py` compares, `plots.draw_speech_statistics` draws). How much speakers and repetitions differ is not measured on people: it was set so that unseen speakers are harder than seen ones.

| speaker | voice | variant | English voice | German voice | pitch | words per minute | formants × | slope, dB/octave |
|---|---|---|---|---|---|---|---|---|
{speakers}

`de` as the English voice is a German accent, `en` as the German voice an English one (the words are then spelled for that voice). Voice `m` is a low voice, `f` a high one, as espeak-ng declares its variants.

## Sounds

`sounds/` holds the sounds of the test set and of speaker 0 of the training set, one Ogg Vorbis file per speaker ({sound_bytes} bytes with their index). The spikes were made from the sounds before they were compressed. `example.wav` is a "seven" of the default English voice, to try things with.

| file | bytes | SHA-256 |
|---|---|---|
{sounds}

## Licence

The files are released under the licence of this project (MIT). espeak-ng is published under the GPL, version 3 or later; that licence covers the program and its data files, not what the program speaks. Neither the program nor its data files are part of this project. (Its unvoiced consonants are played from short recordings within its data files; they are in the sounds here as in anything that it speaks.)
"""  # noqa: E501


if __name__ == "__main__":
    both = {split: spikepack.read(FOLDER / f"{split}.spk", split=split) for split in ("train", "test")}
    (FOLDER / "README.md").write_text(readme(both), encoding="utf-8")
    CATALOGUE.write_text(pinned(CATALOGUE.read_text(encoding="utf-8"), both), encoding="utf-8")
